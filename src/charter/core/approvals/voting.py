"""Whether somebody may vote on a request now, and if not, why not.

Source: Spec AP-1, ID-9.
"""

from __future__ import annotations

from datetime import datetime

from charter.core.approvals.request import ApprovalRequest, ApprovalState, Course, course
from charter.core.kernel.decision import Effect, Violation


def _no_vote(rule: str, message: str, fix: str) -> Violation:
    return Violation(
        rule=f"invariant/{rule}",
        effect=Effect.DENY,
        message=message,
        fix=fix,
        severity="high",
        source="Spec AP-1, ID-9",
    )


def may_vote(
    request: ApprovalRequest,
    voter_id: str,
    voter_kind: str,
    voter_roles: frozenset[str],
    now: datetime,
    *,
    for_id: str | None = None,
) -> Violation | None:
    """Why this subject may not vote on this request now; None when they may.

    `voter_roles` are the words that are true at `now`, where the thing asked for would be, of the
    voter or, when they vote in somebody's stead, of that person (`for_id`).
    """
    if voter_kind != "human":
        return _no_vote(
            "agent-never-approves",
            "Agents never approve anything; approvals are given by people.",
            "Ask somebody with one of the roles that the request names.",
        )
    people = {voter_id, for_id or voter_id}
    if people & request.interested:
        return _no_vote(
            "own-request",
            "Nobody approves their own request, nor that of an agent they sponsor.",
            "Wait for another approver; the request names who may vote.",
        )
    found = course(request, now)
    if found.state is not ApprovalState.PENDING:
        return _no_vote(
            "approval-settled",
            f"The request is already settled: it is {found.state}.",
            "Nothing is left to decide; a new request can be made if it is still needed.",
        )
    if any({vote.approver_id, vote.counts_as} & people for vote in request.votes):
        return _already_voted(request, voter_id)
    open_to = frozenset().union(*(standing.asked for standing in found.standings))
    if voter_roles & open_to:
        return None
    return _not_asked(found, voter_roles, open_to)


def _already_voted(request: ApprovalRequest, voter_id: str) -> Violation:
    if any(vote.approver_id == voter_id for vote in request.votes):
        said = "You have already voted on this request, and a vote stands."
    else:
        said = "This vote was already given, by the one whose it is or by their delegate."
    return _no_vote(
        "vote-twice",
        said,
        "Wait for the other approvers; a new request can be made if things have changed.",
    )


def _not_asked(found: Course, voter_roles: frozenset[str], open_to: frozenset[str]) -> Violation:
    waiting = frozenset().union(
        *(s.requirement.roles for s in found.standings if s.opened_at is None)
    )
    later = frozenset().union(
        *(s.requirement.escalate_to for s in found.standings if s.opened_at is not None)
    )
    if voter_roles & waiting:
        return _no_vote(
            "not-your-turn",
            "You are asked when those before you have agreed.",
            "Wait; you are told when it is your turn.",
        )
    if voter_roles & later:
        return _no_vote(
            "not-escalated",
            "You may answer only once those who were asked have not answered in time.",
            "Wait; you are told when it comes to that.",
        )
    return _no_vote(
        "not-an-approver",
        "You hold none of the roles that this request asks for here.",
        f"Leave it to somebody who is {' or '.join(sorted(map(spoken, open_to)))} in this scope.",
    )


def spoken(word: str) -> str:
    """An approver's word for people to read; ids of people and teams are for faces to name."""
    if word == "manager":
        return "the requester's manager"
    if word.startswith("person:"):
        return "the person that it names"
    if word.startswith("team:"):
        return "in the team that it names"
    return word
