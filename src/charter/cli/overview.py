"""`charter overview`: the platform at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from charter.cli.command import Call, command
from charter.cli.show import quotas
from charter.cli.text import effect_name, joined, pairs, say, when

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app, "overview", examples=["charter overview", "charter overview --json"])
def overview(call: Call) -> None:
    """Show the platform at a glance, within what you may see."""
    found = call.client.get("overview")

    def text() -> None:
        audit = found["audit"]
        pairs(
            [
                ("workspaces", _counts(found["workspaces"])),
                ("agents", _counts(found["agents"])),
                ("waiting for your vote", str(found["pending_approvals"])),
                ("decisions today", _decisions(found["decisions_today"])),
                (
                    "audit trail",
                    None
                    if audit is None
                    else f"{audit['size']} entries, sealed {when(audit['sealed_at'])},"
                    f" {audit['pending']} pending",
                ),
            ]
        )
        if found["quotas"]:
            say("")
            quotas(found["quotas"])

    call.answer(found, text)


def _counts(counts: Mapping[str, Any]) -> str:
    return joined((f"{number} {word}" for word, number in counts.items()), "none")


def _decisions(counts: Mapping[str, Any]) -> str:
    return " · ".join(f"{n} {effect_name(effect)}" for effect, n in counts.items()) or "none"
