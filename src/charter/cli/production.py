"""`charter production …`: get into production just in time, and out again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from charter.cli.arguments import given
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import ExitCode
from charter.cli.show import approval, table
from charter.cli.text import one_line, pairs, remark, say, when
from charter.core.kernel.units import show_seconds

app = noun("Get into production just in time.")

Id = Annotated[str, typer.Argument(metavar="ACCESS", help="The access's id (pac_…).")]


@command(
    app,
    "request",
    examples=[
        "charter production request --project ledger --minutes 60 --reason 'Incident 4711'",
        "charter production request --project ledger --minutes 30 --reason Fix --ticket OPS-4711",
    ],
)
def request(
    call: Call,
    project: Annotated[str, typer.Option("--project", help="The project in production.")],
    minutes: Annotated[int, typer.Option("--minutes", min=1, help="How long you need it.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="What for; approvers read it.")],
    ticket: Annotated[str | None, typer.Option("--ticket", help="The incident's number.")] = None,
) -> None:
    """Ask the security team for access; when they agree, take its token."""
    body = given({"project": project, "minutes": minutes, "reason": reason, "ticket": ticket})
    outcome = call.client.post("production", "accesses", body=body).body

    def text() -> None:
        if outcome["approval"] is not None:
            approval(outcome["approval"])
            say("", "When it is approved: charter production list --mine")
        else:
            _describe(outcome["access"])

    call.answer(outcome, text)
    if outcome["approval"] is not None:
        raise typer.Exit(ExitCode.APPROVAL_REQUIRED)


def _describe(a: Mapping[str, Any]) -> None:
    waits = a["state"] == "approved"
    pairs(
        [
            ("access", a["id"]),
            ("state", a["state"]),
            ("project", f"{a['project']} ({a['environment']})"),
            ("person", a["person"]),
            ("lasts", show_seconds(a["seconds"])),
            ("ticket", a["ticket"]),
            ("token to be taken until" if waits else "ends", when(a["expires_at"])),
            ("revoked", when(a["revoked_at"]) if a["revoked_at"] else None),
            ("used", f"{a['uses']} times" if a["uses"] else "never"),
            (
                "last used",
                f"{when(a['last_used_at'])} at {a['last_used_where']}" if a["uses"] else None,
            ),
            ("approval", a["approval_id"]),
        ]
    )
    if waits:
        say(f"Take its token: charter production token {one_line(a['id'])}")


@command(app, "list", examples=["charter production list --mine", "charter production list --json"])
def list_(
    call: Call,
    mine: Annotated[bool, typer.Option("--mine", help="Only your own.")] = False,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List accesses that you may see, with how often each was used."""
    page = call.client.page(
        "production",
        "accesses",
        limit=None if all_ else limit,
        query={"mine": "true" if mine else None},
    )

    def text(items: list[Any]) -> None:
        table(
            ("ID", "STATE", "PERSON", "PROJECT", "LASTS", "ENDS", "USED", "LAST AT"),
            [
                (
                    a["id"],
                    a["state"],
                    a["person"],
                    a["project"],
                    show_seconds(a["seconds"]),
                    when(a["expires_at"]),
                    a["uses"],
                    a["last_used_where"],
                )
                for a in items
            ],
        )

    call.listing(page, text, empty="No access. Ask for one: charter production request")


@command(app, "show", examples=["charter production show pac_01h…"])
def show(call: Call, access: Id) -> None:
    """Show an access: whose, where, until when, how often used."""
    found = call.client.get("production", "accesses", access)
    call.answer(found, lambda: _describe(found))


@command(
    app,
    "token",
    examples=[
        "charter production token pac_01h…",
        "charter production token pac_01h… --json | jq -r .token",
    ],
)
def token(call: Call, access: Id) -> None:
    """Take the token of your approved access; it is shown this once, and the time runs."""
    made = call.client.post("production", "accesses", access, "token").body

    def text() -> None:
        remark(f"Valid until {when(made['expires_at'])} for {one_line(made['project'])} only.")
        remark("Each use is recorded. It is shown this once:")
        say(one_line(made["token"]))

    call.answer(made, text)


@command(app, "revoke", examples=["charter production revoke pac_01h…"])
def revoke(call: Call, access: Id) -> None:
    """End an access at once."""
    found = call.client.post("production", "accesses", access, "revoke").body
    call.said(found, f"{one_line(found['id'])} is {one_line(found['state'])}.")
