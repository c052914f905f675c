"""`charter keys …`: the keys that sign agents' credentials."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.command import Call, Yes, command, noun
from charter.cli.show import table
from charter.cli.text import one_line, remark, say, when

app = noun("Keys that sign agents' credentials.")
_SHOWN = 12


@command(app, "list", examples=["charter keys list", "charter keys list --json"])
def list_(call: Call) -> None:
    """List the signing keys: which sign, until when, and what still counts of the others."""
    page = call.client.get("keys")

    def text(items: list[Any]) -> None:
        table(
            ("KEY", "STATE", "MADE ON", "SINCE", "SIGNS UNTIL", "COUNTS UNTIL"),
            [
                (
                    key["id"][:_SHOWN],
                    key["state"],
                    key["made_on"],
                    when(key["created_at"]),
                    when(key["retired_at"] or key["expires_at"]),
                    when(key["verifies_until"]) if key["verifies_until"] else "",
                )
                for key in items
            ],
        )
        for key in items:
            if key["state"] == "due":
                remark(
                    f"{key['id'][:_SHOWN]} is replaced on {when(key['expires_at'])} by itself;"
                    " charter keys rotate does it now."
                )

    call.listing(
        page, text, empty="No credential was signed yet; the first one makes the first key."
    )


@command(app, "rotate", examples=["charter keys rotate", "charter keys rotate --compromised --yes"])
def rotate(
    call: Call,
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised",
            help="Somebody else may have a key: nothing that the old ones signed counts any more.",
        ),
    ] = False,
    yes: Yes = False,
) -> None:
    """Replace the keys that sign agents' credentials, on every replica.

    What the old keys have signed counts until it runs out, within minutes; agents notice nothing.
    With --compromised it counts no more, and every agent needs a new credential from its sponsor.
    """
    if compromised:
        call.confirm("End the credentials of all agents?", yes=yes)
    done = call.client.post("keys", "rotate", body={"compromised": compromised}).body

    def text() -> None:
        say(f"{one_line(done['key'])[:_SHOWN]} signs from now on; {len(done['retired'])} retired.")
        if compromised:
            say("Every credential of every agent is dead: charter agent credential NAME.")

    call.answer(done, text)
