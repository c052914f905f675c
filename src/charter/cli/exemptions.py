"""`charter policy exemptions`: who is left out of which rule, and how often that counted."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.arguments import one_of
from charter.cli.command import Call, command
from charter.cli.show import table
from charter.cli.text import joined, say, when


def register(app: typer.Typer) -> None:
    """Add the command to `charter policy`."""

    @command(
        app,
        "exemptions",
        examples=["charter policy exemptions", "charter policy exemptions --state expired"],
    )
    def exemptions(
        call: Call,
        state: Annotated[
            str | None, typer.Option("--state", help="Only these: active, soon or expired.")
        ] = None,
    ) -> None:
        """List the exemptions of the active bundle: owner, reason, scope, end, and their use."""
        one_of(state, "--state", ("active", "soon", "expired"))
        found: Any = call.client.get("policies", "exemptions")
        items = [e for e in found["items"] if state in (None, e["state"])]

        def text() -> None:
            if not items:
                say("Nobody is exempt from any rule." if state is None else "None is like that.")
                return
            table(
                ("RULE", "STATE", "ENDS", "SCOPE", "OWNER", "USED", "REASON"),
                [
                    (
                        e["rule"],
                        e["state"],
                        when(e["expires_at"]),
                        joined(f"{s['kind']} {s['name']}" for s in e["scope"]),
                        e["owner"],
                        e["used"],
                        e["reason"],
                    )
                    for e in items
                ],
            )
            for e in items:
                for s in e["scope"]:
                    if s["problem"]:
                        say(f"! {e['rule']}: {s['problem']}")

        call.answer({"items": items, "next": None}, text)
