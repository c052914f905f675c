"""Approval requests: who has to say yes to what, and whether enough people have.

A decision that needs an approval becomes a request. Each rule that spoke is a *requirement*, or a
sequence of them (`requirements.py`). One person may satisfy the requirements of several rules, but
counts once in each, and never in two steps of one sequence: a vote counts in what was open when it
was given. Any no of somebody who was entitled to say yes settles the request.

A request settles once. Whichever comes first, the last yes, a no, the cancellation or the deadline,
decides, and what comes later changes nothing. All of it is computed from the votes and times
whenever the request is looked at: when a step opened, when it escalated, when it ran out.

A vote given in somebody's stead counts as theirs, so that a person and their delegate are one. And
a yes counts only while the voter still is what made it count: whoever has lost the role when the
next vote comes leaves their word as evidence, and somebody else has to give theirs.

Source: Spec AP-1, ID-9.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from charter.core.approvals.grants import Grant
from charter.core.approvals.requirements import (
    Carried,
    Requirement,
    grant_span,
    missing_fields,
)
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
class Vote:
    """What one person said, and as what: the approvers' words that were true of them then.

    With `for_id` it was given in the stead of that person, and the words are true of that person.
    From `lost_at` on `lost_roles` are true no longer.
    """

    approver_id: str
    approver_roles: frozenset[str]
    verdict: Verdict
    comment: str
    at: datetime
    for_id: str | None = None
    lost_roles: frozenset[str] = frozenset()
    lost_at: datetime | None = None

    @property
    def counts_as(self) -> str:
        """Whose vote it is."""
        return self.for_id or self.approver_id

    def roles_at(self, moment: datetime) -> frozenset[str]:
        """The words that hold at `moment`."""
        if self.lost_at is None or moment < self.lost_at:
            return self.approver_roles
        return self.approver_roles - self.lost_roles


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
    ticket: str = ""
    duration_seconds: int | None = None

    def __post_init__(self) -> None:
        if not self.requirements:
            raise ValueError("a request without requirements would be approved by nobody")

    @property
    def carried(self) -> Carried:
        """What it carries beside what it asks for."""
        return Carried(self.justification, self.ticket, self.duration_seconds)

    @property
    def interested(self) -> frozenset[str]:
        """Who never votes on it: whoever asked, and whoever answers for the agent that did."""
        return frozenset({self.requester_id, self.sponsor_id or self.requester_id})


@dataclass(slots=True)
class _Progress:
    """How far one requirement has come; `votes` are the yeses that counted when they were given."""

    needed: Requirement
    opened_at: datetime | None = None
    escalated_at: datetime | None = None
    votes: list[Vote] = field(default_factory=list)

    def people(self, moment: datetime) -> int:
        """How many different people have said yes and still count at `moment`."""
        return len({v.counts_as for v in self.votes if v.roles_at(moment) & self.asked(v.at)})

    def lacks(self, moment: datetime) -> int:
        """How many people are missing."""
        return max(0, self.needed.count - self.people(moment))

    def asked(self, moment: datetime) -> frozenset[str]:
        """Who is entitled at `moment`."""
        if self.opened_at is None or moment < self.opened_at:
            return frozenset()
        if self.escalated_at is None or moment < self.escalated_at:
            return self.needed.roles
        return self.needed.roles | self.needed.escalate_to


@dataclass(frozen=True, slots=True)
class Standing:
    """One requirement at a moment: what is missing, since when it is asked, since when escalated.

    `opened_at` is None while it waits for the step before it.
    """

    requirement: Requirement
    people_missing: int
    opened_at: datetime | None
    escalated_at: datetime | None

    @property
    def asked(self) -> frozenset[str]:
        """Who is entitled to answer."""
        if self.opened_at is None:
            return frozenset()
        more = frozenset() if self.escalated_at is None else self.requirement.escalate_to
        return self.requirement.roles | more

    @property
    def escalates_at(self) -> datetime | None:
        """When it escalated, or will if nobody answers before; None when nobody is waited for."""
        after = self.requirement.escalate_seconds
        if self.escalated_at is not None or self.opened_at is None or after is None:
            return self.escalated_at
        return self.opened_at + timedelta(seconds=after) if self.people_missing else None


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a request up to a moment: where it stands, since when, and each requirement."""

    state: ApprovalState
    settled_at: datetime | None
    standings: tuple[Standing, ...]


def seen_at(request: ApprovalRequest, now: datetime) -> datetime:
    """The moment at which the request is looked at: never before what is known to have happened.

    Clocks of several machines differ a little, and a vote is never set before the one that it had
    to wait for.
    """
    return max((now, *(vote.at for vote in request.votes)))


def course(request: ApprovalRequest, now: datetime) -> Course:
    """What has become of the request by `now`."""
    closes, closed = request.deadline, ApprovalState.EXPIRED
    if request.cancelled_at is not None and request.cancelled_at <= closes:
        closes, closed = request.cancelled_at, ApprovalState.CANCELLED
    progress = [_Progress(needed) for needed in request.requirements]
    _open(progress, request.created_at)
    complete = not missing_fields(request.requirements, request.carried)
    heard: set[str] = set()
    for vote in sorted(request.votes, key=lambda v: (v.at, v.approver_id)):
        if not (request.created_at <= vote.at <= now and vote.at < closes):
            continue
        _escalate(progress, vote.at)
        if not _counts(request, vote, progress, heard):
            continue
        heard |= {vote.approver_id, vote.counts_as}
        if vote.verdict is Verdict.DENY:
            return _course(ApprovalState.DENIED, vote.at, progress)
        for each in progress:
            if vote.approver_roles & each.asked(vote.at):
                each.votes.append(vote)
        _open(progress, vote.at)
        if complete and not any(each.lacks(vote.at) for each in progress):
            return _course(ApprovalState.APPROVED, vote.at, progress)
    _escalate(progress, min(now, closes))
    if now >= closes:
        return _course(closed, closes, progress)
    return _course(ApprovalState.PENDING, None, progress, now)


def _course(
    state: ApprovalState,
    settled: datetime | None,
    progress: Iterable[_Progress],
    now: datetime | None = None,
) -> Course:
    moment = settled or now
    if moment is None:
        raise AssertionError("a course ends at a moment")
    return Course(
        state,
        settled,
        tuple(Standing(p.needed, p.lacks(moment), p.opened_at, p.escalated_at) for p in progress),
    )


def _open(progress: Iterable[_Progress], moment: datetime) -> None:
    """Open what has its turn at `moment`: the first steps, and those whose step before is done.

    What was opened once stays open, also when a vote in the step before stops counting.
    """
    steps = tuple(progress)
    for each in steps:
        before = [p for p in steps if p.needed.rule == each.needed.rule]
        if each.opened_at is None and all(
            p.opened_at is not None and not p.lacks(moment)
            for p in before
            if p.needed.step < each.needed.step
        ):
            each.opened_at = moment


def _escalate(progress: Iterable[_Progress], moment: datetime) -> None:
    """Note what has gone unanswered for too long by `moment`; the moment itself is too long."""
    for each in progress:
        after = each.needed.escalate_seconds
        if each.opened_at is None or each.escalated_at is not None or after is None:
            continue
        due = each.opened_at + timedelta(seconds=after)
        if due <= moment and each.lacks(moment):
            each.escalated_at = due


def _counts(
    request: ApprovalRequest, vote: Vote, progress: Iterable[_Progress], heard: set[str]
) -> bool:
    """Whether it is the vote of an entitled person who was not heard yet, in person or not."""
    people = {vote.approver_id, vote.counts_as}
    if people & (request.interested | heard):
        return False
    return any(vote.approver_roles & each.asked(vote.at) for each in progress)


def state(request: ApprovalRequest, now: datetime) -> ApprovalState:
    """Where the request stands at `now`."""
    return course(request, now).state


def settled_at(request: ApprovalRequest, now: datetime) -> datetime | None:
    """When it left the pending state; None while it has not."""
    return course(request, now).settled_at


def outstanding(request: ApprovalRequest, now: datetime) -> tuple[tuple[Requirement, int], ...]:
    """The requirements that still lack approvals, each with how many people are missing."""
    return tuple(
        (standing.requirement, standing.people_missing)
        for standing in course(request, now).standings
        if standing.people_missing
    )


def escalated(request: ApprovalRequest, now: datetime) -> tuple[Requirement, ...]:
    """The requirements that went unanswered for too long, at `now` or before they were answered."""
    return tuple(s.requirement for s in course(request, now).standings if s.escalated_at)


def asked(request: ApprovalRequest, now: datetime) -> frozenset[str]:
    """Everybody who is entitled to vote at `now`, in the words of the requirements."""
    found = course(request, now)
    if found.state is not ApprovalState.PENDING:
        return frozenset()
    return frozenset().union(*(standing.asked for standing in found.standings))


def put_to(request: ApprovalRequest, now: datetime) -> dict[str, datetime]:
    """To whom the request is put, and from when on: what is open, and what will escalate.

    The moments may lie in the future; they hold as long as nobody votes.
    """
    found: dict[str, datetime] = {}
    for standing in course(request, now).standings:
        if standing.opened_at is None:
            continue
        for words, moment in (
            (standing.requirement.roles, standing.opened_at),
            (standing.requirement.escalate_to, standing.escalates_at),
        ):
            if moment is not None:
                found |= {word: min(moment, found.get(word, moment)) for word in words}
    return found


def grant_for(request: ApprovalRequest, now: datetime, *, grant_id: str) -> Grant:
    """The grant that an approved request gives.

    It lasts as long as was asked for, or as the shortest of its requirements allows, counted from
    `now`. When one of them gives its yes for this one request only, the grant is used up by it, and
    lapses with the request's deadline if it is not. Raises ConflictError when the request is not
    approved.
    """
    current = state(request, now)
    if current is not ApprovalState.APPROVED:
        raise ConflictError(
            f"The request is {current}, so nothing can be granted for it.",
            fix="Wait for the missing approvals, or make a new request.",
            code="not-approved",
        )
    seconds, single_use = grant_span(request.requirements, request.duration_seconds)
    ends = [] if seconds is None else [now + timedelta(seconds=seconds)]
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
