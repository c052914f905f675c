"""`charter quota …`: more of a quota for a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import typer

from charter import clock
from charter.cli.arguments import given, mib, minutes, moment
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import ExitCode, usage
from charter.cli.show import approval, table
from charter.cli.text import amount as amount_text
from charter.cli.text import dimension_word, one_line, say, when
from charter.core.resources.amounts import DIMENSIONS

app = noun("More of a quota for a while.")

_WORDS = {"memory": "memory_mib", "disk": "disk_mib", **{name: name for name in DIMENSIONS}}


@command(
    app,
    "request",
    examples=[
        "charter quota request vcpu 16 --for 3d --reason 'Release week'",
        "charter quota request memory 64GiB --team web --until 2027-01-31 --reason 'Load test'",
    ],
)
def request(
    call: Call,
    dimension: Annotated[
        str, typer.Argument(metavar="OF", help="vcpu, memory, disk, gpu or workspaces.")
    ],
    amount: Annotated[
        str, typer.Argument(metavar="AMOUNT", help="How much more: 16, or 64GiB of memory or disk.")
    ],
    reason: Annotated[str, typer.Option("--reason", "-m", help="What for; approvers read it.")],
    team: Annotated[str | None, typer.Option("--team", help="Of a team's quota.")] = None,
    project: Annotated[str | None, typer.Option("--project", help="Of a project's quota.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="A date or a time.")] = None,
    span: Annotated[
        str | None, typer.Option("--for", metavar="SPAN", help="For so long: 90min, 3d, 2w.")
    ] = None,
) -> None:
    """Ask for more of your quota, a team's or a project's; it falls back by itself."""
    known = _WORDS.get(dimension)
    if known is None:
        raise usage(
            f"There is no quota of {dimension!r}.", "Choose vcpu, memory, disk, gpu or workspaces."
        )
    if team is not None and project is not None:
        raise usage("--team and --project are two quotas.", "Ask for one of them.")
    if (until is None) is (span is None):
        raise usage("A raised quota has an end.", "Give --until or --for.")
    ends = moment(until, None, "--until")
    if span is not None:
        ends = (clock.now() + timedelta(minutes=minutes(span, "--for"))).isoformat()
    number = mib(amount, "AMOUNT") if known.endswith("_mib") else _count(amount)
    scope = "team" if team is not None else "project" if project is not None else "user"
    body = given(
        {
            "scope": scope,
            "of": team or project,
            "dimension": known,
            "amount": number,
            "until": ends,
            "reason": reason,
        }
    )
    outcome = call.client.post("quotas", "overrides", body=body).body

    def text() -> None:
        if outcome["approval"] is not None:
            approval(outcome["approval"])
        else:
            say(f"Raised until {when(outcome['override']['expires_at'])}.")

    call.answer(outcome, text)
    if outcome["approval"] is not None:
        raise typer.Exit(ExitCode.APPROVAL_REQUIRED)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise usage(f"{text!r} is not a number.", "Write a whole number, such as 16.")
    return int(text)


@command(app, "overrides", examples=["charter quota overrides", "charter quota overrides --json"])
def overrides(call: Call, limit: Limit = 50, all_: All = False) -> None:
    """List raised quotas: whose, how much more, until when."""
    page = call.client.page("quotas", "overrides", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("ID", "STATE", "SCOPE", "OF", "MORE", "UNTIL", "ASKED BY"),
            [
                (
                    o["id"],
                    o["state"],
                    o["scope"],
                    dimension_word(o["dimension"]),
                    amount_text(o["dimension"], o["amount"]),
                    when(o["expires_at"]),
                    o["requester"],
                )
                for o in items
            ],
        )

    call.listing(page, text, empty="No quota is raised. Ask for more: charter quota request")


@command(app, "release", examples=["charter quota release qov_01h…"])
def release(
    call: Call,
    override: Annotated[str, typer.Argument(metavar="OVERRIDE", help="Its id (qov_…).")],
) -> None:
    """Give a raised quota back before its end; what is in use goes on."""
    found = call.client.post("quotas", "overrides", override, "revoke").body
    call.said(found, f"{one_line(found['id'])} is {one_line(found['state'])}.")
