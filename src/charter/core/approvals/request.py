"""Approval requests: who has to say yes to what, and whether enough people have.

A decision that needs an approval becomes a request. Each rule that spoke is a *requirement*: so
many different people out of these roles, and perhaps a justification. One person may satisfy
several requirements, but counts once in each. Any no of somebody who was entitled to say yes
settles the request.

A request settles once. Whichever comes first, the last yes, a no, the cancellation or the deadline,
decides, and what comes later changes nothing. That is computed from the votes and times whenever
the request is looked at; expiry waits for no clean-up.

Source: Spec AP-1, ID-9.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from charter.core.approvals.grants import Grant
from charter.core.kernel.decision import Effect, Violation
from charter.core.kernel.errors import ConflictError


class Verdict(StrEnum):
    """What an approver says."""

    APPROVE = "approve"
    DENY = "deny"


class ApprovalState(StrEnum):
    """Where a request stands; every state but `pending` is final."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one rule asks for: `count` different people, each with one of `roles`.

    `requires` names what the request itself must carry (`justification`). `grant_seconds` is how
    long the yes lasts; None means that it is good for this one request.
    """

    rule: str
    roles: frozenset[str]
    count: int = 1
    requires: tuple[str, ...] = ()
    grant_seconds: int | None = None

    def __post_init__(self) -> None:
        if self.count < 1 or not self.roles:
            raise ValueError("a requirement needs at least one person of at least one role")
        if self.grant_seconds is not None and self.grant_seconds <= 0:
            raise ValueError("a grant lasts at least one second")


@dataclass(frozen=True, slots=True)
class Vote:
    """What one person said, with the roles they held then in the scope of the resource."""

    approver_id: str
    approver_roles: frozenset[str]
    verdict: Verdict
    comment: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """One request. `sponsor_id` is the sponsor of the agent that asked, None when a person did."""

    id: str
    requester_id: str
    requester_kind: str
    sponsor_id: str | None
    action: str
    resource_digest: str
    requirements: tuple[Requirement, ...]
    created_at: datetime
    deadline: datetime
    votes: tuple[Vote, ...] = ()
    cancelled_at: datetime | None = None
    justification: str = ""
    resource_kind: str = ""
    resource_id: str | None = None
    team_id: str | None = None
    project_id: str | None = None
    task_id: str | None = None

    def __post_init__(self) -> None:
        if not self.requirements:
            raise ValueError("a request without requirements would be approved by nobody")


def requirements_from(violations: Iterable[Violation]) -> tuple[Requirement, ...]:
    """The requirements that follow from the violations of a decision, ordered by rule.

    Raises ValueError when a rule asks for an approval and names nobody who could give it.
    """
    needed = {
        Requirement(
            rule=violation.rule,
            roles=frozenset(violation.approvers),
            count=violation.approvals_needed,
            requires=violation.requires,
            grant_seconds=violation.grant_seconds,
        )
        for violation in violations
        if violation.effect is Effect.REQUIRE_APPROVAL
    }
    return tuple(sorted(needed, key=lambda r: (r.rule, sorted(r.roles), r.count)))


def missing_fields(requirements: Iterable[Requirement], *, justification: str) -> tuple[str, ...]:
    """What the request must carry and does not; an unknown demand is never met."""
    carried = {"justification"} if justification.strip() else set()
    demanded = {field for requirement in requirements for field in requirement.requires}
    return tuple(sorted(demanded - carried))


def _eligible(request: ApprovalRequest, vote: Vote) -> bool:
    """Whether this vote counts, had it come in time."""
    return vote.approver_id not in (request.requester_id, request.sponsor_id) and any(
        vote.approver_roles & requirement.roles for requirement in request.requirements
    )


def _missing(
    request: ApprovalRequest, approvals: Iterable[Vote]
) -> tuple[tuple[Requirement, int], ...]:
    votes = tuple(approvals)
    missing: list[tuple[Requirement, int]] = []
    for requirement in request.requirements:
        people = {vote.approver_id for vote in votes if vote.approver_roles & requirement.roles}
        if len(people) < requirement.count:
            missing.append((requirement, requirement.count - len(people)))
    return tuple(missing)


def _settle(
    request: ApprovalRequest, now: datetime
) -> tuple[ApprovalState, datetime | None, tuple[Vote, ...]]:
    """The state, the moment it was settled, and the approvals that counted until then."""
    closes, closed = request.deadline, ApprovalState.EXPIRED
    if request.cancelled_at is not None and request.cancelled_at <= closes:
        closes, closed = request.cancelled_at, ApprovalState.CANCELLED
    complete = not missing_fields(request.requirements, justification=request.justification)
    approvals: dict[str, Vote] = {}
    heard: set[str] = set()
    for vote in sorted(request.votes, key=lambda v: (v.at, v.approver_id)):
        in_time = request.created_at <= vote.at <= now and vote.at < closes
        if not in_time or vote.approver_id in heard or not _eligible(request, vote):
            continue
        heard.add(vote.approver_id)
        if vote.verdict is Verdict.DENY:
            return ApprovalState.DENIED, vote.at, tuple(approvals.values())
        approvals[vote.approver_id] = vote
        if complete and not _missing(request, approvals.values()):
            return ApprovalState.APPROVED, vote.at, tuple(approvals.values())
    if now >= closes:
        return closed, closes, tuple(approvals.values())
    return ApprovalState.PENDING, None, tuple(approvals.values())


def state(request: ApprovalRequest, now: datetime) -> ApprovalState:
    """Where the request stands at `now`."""
    return _settle(request, now)[0]


def settled_at(request: ApprovalRequest, now: datetime) -> datetime | None:
    """When it left the pending state; None while it has not."""
    return _settle(request, now)[1]


def outstanding(request: ApprovalRequest, now: datetime) -> tuple[tuple[Requirement, int], ...]:
    """The requirements that still lack approvals, each with how many people are missing."""
    return _missing(request, _settle(request, now)[2])


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
) -> Violation | None:
    """Why this subject may not vote on this request now; None when they may.

    `voter_roles` are the roles that hold in the scope of the resource at `now`.
    """
    if voter_kind != "human":
        return _no_vote(
            "agent-never-approves",
            "Agents never approve anything; approvals are given by people.",
            "Ask somebody with one of the roles that the request names.",
        )
    if voter_id in (request.requester_id, request.sponsor_id):
        return _no_vote(
            "own-request",
            "Nobody approves their own request, nor that of an agent they sponsor.",
            "Wait for another approver; the request names who may vote.",
        )
    current = state(request, now)
    if current is not ApprovalState.PENDING:
        return _no_vote(
            "approval-settled",
            f"The request is already settled: it is {current}.",
            "Nothing is left to decide; a new request can be made if it is still needed.",
        )
    if any(vote.approver_id == voter_id for vote in request.votes):
        return _no_vote(
            "vote-twice",
            "You have already voted on this request, and a vote stands.",
            "Wait for the other approvers; a new request can be made if things have changed.",
        )
    roles = frozenset(role for needed in request.requirements for role in needed.roles)
    if not voter_roles & roles:
        return _no_vote(
            "not-an-approver",
            "You hold none of the roles that this request asks for here.",
            f"Leave it to somebody who is {' or '.join(sorted(roles))} in this scope.",
        )
    return None


def grant_for(request: ApprovalRequest, now: datetime, *, grant_id: str) -> Grant:
    """The grant that an approved request gives.

    It lasts as long as the shortest of its requirements allows, counted from `now`. When one of
    them gives its yes for this one request only, the grant is used up by it, and lapses with the
    request's deadline if it is not. Raises ConflictError when the request is not approved.
    """
    current = state(request, now)
    if current is not ApprovalState.APPROVED:
        raise ConflictError(
            f"The request is {current}, so nothing can be granted for it.",
            fix="Wait for the missing approvals, or make a new request.",
            code="not-approved",
        )
    spans = [needed.grant_seconds for needed in request.requirements]
    lasting = [seconds for seconds in spans if seconds is not None]
    ends = [now + timedelta(seconds=seconds) for seconds in lasting]
    single_use = len(lasting) < len(spans)
    if single_use:
        ends.append(request.deadline)
    return Grant(
        id=grant_id,
        request_id=request.id,
        subject_id=request.requester_id,
        action=request.action,
        resource_digest=request.resource_digest,
        rules=frozenset(needed.rule for needed in request.requirements),
        granted_at=now,
        expires_at=min(ends),
        single_use=single_use,
        task_id=request.task_id,
    )
