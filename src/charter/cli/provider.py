"""`charter provider capabilities`: what the sandboxes of this installation really enforce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from charter.cli.command import Call, command, noun
from charter.cli.show import Styled, table
from charter.cli.text import coloured, one_line, say

app = noun("What the sandboxes enforce here.")


@command(
    app,
    "capabilities",
    examples=["charter provider capabilities", "charter provider capabilities --local --json"],
)
def capabilities(
    call: Call,
    local: Annotated[
        bool, typer.Option("--local", help="Probe this machine itself, without a server.")
    ] = False,
) -> None:
    """Show what is enforced on workspaces, by which mechanism, and what is not."""
    found: Mapping[str, Any]
    if local:
        from charter.adapters.workspaces.local import probe  # noqa: PLC0415 — only for --local

        found = asdict(probe.findings().capabilities)
    else:
        found = call.client.get("provider", "capabilities")

    def text() -> None:
        say(f"provider {one_line(found['provider'])}, isolation by {one_line(found['isolation'])}")
        table(
            ("CAPABILITY", "ENFORCED", "HOW"),
            [
                (
                    item["name"],
                    Styled(
                        coloured("yes", "green") if item["enforced"] else coloured("no", "yellow")
                    ),
                    item["how"],
                )
                for item in found["items"]
            ],
        )

    call.answer(found, text)
