"""`charter grant …`: what approvals gave, until when; taking it back, and asking for it again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.arguments import given, seconds
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.show import table
from charter.cli.text import joined, one_line, pairs, say, when

app = noun("What approvals gave, and until when.")

Id = Annotated[str, typer.Argument(metavar="GRANT", help="The grant's id (grt_…).")]


@command(
    app,
    "list",
    examples=["charter grant list", "charter grant list --mine", "charter grant list --ended"],
)
def list_(
    call: Call,
    mine: Annotated[
        bool, typer.Option("--mine", help="Only yours and those of your agents.")
    ] = False,
    ended: Annotated[
        bool, typer.Option("--ended", help="Also those that ran out, were used or taken back.")
    ] = False,
    limit: Limit = 100,
    all_: All = False,
) -> None:
    """List grants that you may see; by default those that still hold."""
    page = call.client.page(
        "grants",
        limit=None if all_ else limit,
        query={"mine": "true" if mine else None, "holds": None if ended else "true"},
    )

    def text(items: list[Any]) -> None:
        table(
            ("ID", "STATE", "HOLDER", "FOR", "UNTIL", "GIVEN BY"),
            [
                (
                    grant["id"],
                    grant["state"],
                    grant["holder"],
                    grant["summary"],
                    "one use" if grant["single_use"] else when(grant["expires_at"]),
                    joined(name for name in grant["approvers"] if name),
                )
                for grant in items
            ],
        )

    call.listing(
        page,
        text,
        empty="No grant holds. What ended: charter grant list --ended"
        if not ended
        else "There are no grants.",
    )


@command(app, "show", examples=["charter grant show grt_01h…"])
def show(call: Call, grant_id: Id) -> None:
    """Show a grant: for whom, for what, who gave it, and until when."""
    found = call.client.get("grants", grant_id)

    def text() -> None:
        pairs(
            [
                ("id", found["id"]),
                ("state", found["state"]),
                ("for", found["summary"]),
                ("holder", f"{found['holder']} ({found['holder_kind']})"),
                ("action", found["action"]),
                ("rules", joined(found["rules"])),
                ("given by", joined(name for name in found["approvers"] if name)),
                ("given at", when(found["created_at"])),
                ("until", when(found["expires_at"])),
                ("ends with task", found["task_id"]),
                ("justification", found["justification"]),
                ("ticket", found["ticket"]),
                ("revoked at", when(found["revoked_at"]) if found["revoked_at"] else None),
                ("revoked by", found["revoked_by"]),
                ("why", found["revoke_reason"]),
                ("request", found["approval_id"]),
                ("renewal", found["renewal_id"]),
            ]
        )
        if found["renewable"]:
            say(f"Renew it: charter grant renew {one_line(found['id'])}")

    call.answer(found, text)


@command(app, "revoke", examples=["charter grant revoke grt_01h… -m 'done early'"])
def revoke(
    call: Call,
    grant_id: Id,
    reason: Annotated[
        str | None, typer.Option("--reason", "-m", help="Why; its holder reads it.")
    ] = None,
) -> None:
    """End a grant now. What runs by it is stopped."""
    found = call.client.post("grants", grant_id, "revoke", body=given({"reason": reason})).body
    call.said(found, f"{one_line(found['id'])} is {one_line(found['state'])}.")


@command(
    app,
    "renew",
    examples=[
        "charter grant renew grt_01h…",
        "charter grant renew grt_01h… --for 2d -m 'not done'",
    ],
)
def renew(
    call: Call,
    grant_id: Id,
    justification: Annotated[
        str | None, typer.Option("--justification", "-m", help="As before, if left out.")
    ] = None,
    ticket: Annotated[
        str | None, typer.Option("--ticket", metavar="TICKET", help="As before, if left out.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="SPAN", help="For how long: 4h, 2d, 1w.")
    ] = None,
) -> None:
    """Ask for the same again before it ends; its approvers are asked anew."""
    body = given(
        {
            "justification": justification,
            "ticket": ticket,
            "duration_seconds": seconds(duration, "--for"),
        }
    )
    found = call.client.post("grants", grant_id, "renew", body=body).body
    call.said(
        found,
        f"Asked again: {one_line(found['id'])}, until {when(found['deadline'])}.\n"
        f"Follow it: charter approval show {one_line(found['id'])}",
    )
