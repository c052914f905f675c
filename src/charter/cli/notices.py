"""`charter notice …`: what Charter has to tell you."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.show import table
from charter.cli.text import when

app = noun("What you should know.")


@command(app, "list", examples=["charter notice list", "charter notice list --unread"])
def list_(
    call: Call,
    unread: Annotated[
        bool, typer.Option("--unread", help="Only those not marked as read.")
    ] = False,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List your notices, newest first."""
    page = call.client.page("notices", limit=None if all_ or unread else limit)
    if unread:
        kept = [n for n in page["items"] if not n["read_at"]]
        shown = kept if all_ else kept[:limit]
        page = {"items": shown, "next": None if len(shown) == len(kept) else shown[-1]["id"]}

    def text(items: list[Any]) -> None:
        table(
            ("AT", "KIND", "MESSAGE", "ABOUT", "READ", "ID"),
            [
                (
                    when(n["created_at"]),
                    n["kind"],
                    n["message"],
                    n["resource_id"],
                    when(n["read_at"]) if n["read_at"] else "no",
                    n["id"],
                )
                for n in items
            ],
        )

    call.listing(page, text, empty="No notices.")


@command(app, "read", examples=["charter notice read ntc_01h…"])
def read(
    call: Call, notice: Annotated[str, typer.Argument(metavar="NOTICE", help="Its id (ntc_…).")]
) -> None:
    """Mark a notice as read."""
    found = call.client.post("notices", notice, "read").body
    document = found if isinstance(found, dict) else {"id": notice, "read": True}
    call.said(document, f"{notice} is marked as read.")
