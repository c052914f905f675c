"""`charter approval …`: what waits for a person's word, and giving it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.arguments import one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.show import approval, requirement, table
from charter.cli.text import joined, one_line, say, span, when
from charter.core.approvals.request import ApprovalState

app = noun("Vote on what waits for a person.")

Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="The request's id (apr_…).")]
Comment = Annotated[
    str | None, typer.Option("--comment", "-m", help="A word to the requester; it is recorded.")
]


@command(
    app,
    "list",
    examples=[
        "charter approval list",
        "charter approval list --for-me",
        "charter approval list --state all --json",
    ],
)
def list_(
    call: Call,
    *,
    state: Annotated[
        str, typer.Option("--state", help="pending, approved, denied, cancelled, expired or all.")
    ] = "pending",
    mine: Annotated[bool, typer.Option("--mine", help="Only those that you asked for.")] = False,
    for_me: Annotated[
        bool, typer.Option("--for-me", help="Only those that you can vote on now.")
    ] = False,
    gate: Annotated[
        str | None, typer.Option("--gate", metavar="RULE", help="Only those that this rule asks.")
    ] = None,
    team: Annotated[str | None, typer.Option("--team", help="Only those of this team.")] = None,
    requester: Annotated[
        str | None, typer.Option("--requester", help="Only those of this person or their agents.")
    ] = None,
    limit: Limit = 100,
    all_: All = False,
) -> None:
    """List approval requests that you may see; by default those that still wait."""
    page = call.client.page(
        "approvals",
        limit=None if all_ else limit,
        query={
            "state": None if state == "all" else one_of(state, "--state", (*ApprovalState, "all")),
            "mine": "true" if mine else None,
            "for_me": "true" if for_me else None,
            "rule": gate,
            "team": team,
            "requester": requester,
        },
    )

    def text(items: list[Any]) -> None:
        table(
            ("ID", "STATE", "REQUESTER", "ASKS FOR", "NEEDS", "DEADLINE", "YOU"),
            [
                (
                    a["id"],
                    a["state"],
                    a["requester"],
                    a["summary"],
                    joined(map(requirement, a["outstanding"])),
                    when(a["deadline"]),
                    "may vote" if a["can_vote"] else "",
                )
                for a in items
            ],
        )

    call.listing(
        page,
        text,
        empty="Nothing waits for an approval. What is settled: charter approval list --state all"
        if state == "pending"
        else "No approval request matches.",
    )


@command(app, "show", examples=["charter approval show apr_01h…"])
def show(call: Call, approval_id: Id) -> None:
    """Show a request: who asks, for what, who must agree, and who has."""
    found = call.client.get("approvals", approval_id)
    call.answer(found, lambda: approval(found))


def _vote(call: Call, approval_id: str, verb: str, comment: str | None) -> None:
    body = {} if comment is None else {"comment": comment}
    found = call.client.post("approvals", approval_id, verb, body=body).body

    def text() -> None:
        say(f"{one_line(found['id'])} is {one_line(found['state'])}: {one_line(found['summary'])}")
        if found["outstanding"] and found["state"] == "pending":
            say(f"Still needed: {joined(map(requirement, found['outstanding']))}")
        if found.get("outcome"):
            say(f"Outcome: {one_line(found['outcome'])} {one_line(found.get('result_id') or '')}")

    call.answer(found, text)


@command(app, "approve", examples=["charter approval approve apr_01h… -m 'until Friday'"])
def approve(call: Call, approval_id: Id, comment: Comment = None) -> None:
    """Say yes. With the last yes that is needed, the request is carried out at once."""
    _vote(call, approval_id, "approve", comment)


@command(app, "deny", examples=["charter approval deny apr_01h… -m 'use the shared cluster'"])
def deny(call: Call, approval_id: Id, comment: Comment = None) -> None:
    """Say no; that ends the request."""
    _vote(call, approval_id, "deny", comment)


@command(app, "cancel", examples=["charter approval cancel apr_01h… -m 'not needed any more'"])
def cancel(
    call: Call,
    approval_id: Id,
    reason: Annotated[
        str | None, typer.Option("--reason", "-m", help="Why; whoever was asked reads it.")
    ] = None,
) -> None:
    """Withdraw a request of your own."""
    body = {} if reason is None else {"reason": reason}
    found = call.client.post("approvals", approval_id, "cancel", body=body).body
    call.said(found, f"{one_line(found['id'])} is {one_line(found['state'])}.")


@command(app, "comment", examples=["charter approval comment apr_01h… -m 'for how long?'"])
def comment(
    call: Call,
    approval_id: Id,
    text: Annotated[str, typer.Option("--message", "-m", help="What you have to say.")],
) -> None:
    """Say something to those who are asked, or to the requester, while it is open."""
    found = call.client.post("approvals", approval_id, "comments", body={"text": text}).body
    said = len(found["comments"])
    call.said(found, f"{one_line(found['id'])} has {said} comment{'' if said == 1 else 's'}.")


@command(
    app,
    "waiting",
    examples=["charter approval waiting", "charter approval waiting --days 90 --json"],
)
def waiting(
    call: Call,
    days: Annotated[
        int, typer.Option("--days", min=1, max=366, help="Decisions of so many days.")
    ] = 30,
) -> None:
    """Show where approvals wait, and how long decisions took, by gate and by approver."""
    found = call.client.get("approvals", "waiting", query={"days": str(days)})

    def text() -> None:
        if not found["gates"]:
            say("Nothing waits, and nothing was decided in that time.")
            return
        table(
            (
                "GATE",
                "OPEN",
                "OLDEST",
                "DECIDED",
                "MEDIAN",
                "P90",
                "REMINDERS",
                "ESCALATED",
                "EXPIRED",
            ),
            [
                (
                    gate["rule"],
                    str(gate["open"]),
                    when(gate["oldest_at"]) if gate["oldest_at"] else "",
                    str(gate["decided"]),
                    span(gate["median_seconds"]),
                    span(gate["p90_seconds"]),
                    str(gate["reminders"]),
                    str(gate["escalated"]),
                    str(gate["expired"]),
                )
                for gate in found["gates"]
            ],
        )
        say("")
        table(
            ("APPROVER", "OPEN", "OLDEST", "ANSWERED", "MEDIAN", "P90"),
            [
                (
                    each["approver"],
                    str(each["open"]),
                    when(each["oldest_at"]) if each["oldest_at"] else "",
                    str(each["decided"]),
                    span(each["median_seconds"]),
                    span(each["p90_seconds"]),
                )
                for each in found["approvers"]
            ],
        )
        if found["people"]:
            say("")
            table(
                ("PERSON", "VOTES", "FOR OTHERS", "MEDIAN", "P90"),
                [
                    (
                        each["person"],
                        str(each["decided"]),
                        str(each["in_stead"]),
                        span(each["median_seconds"]),
                        span(each["p90_seconds"]),
                    )
                    for each in found["people"]
                ],
            )

    call.answer(found, text)
