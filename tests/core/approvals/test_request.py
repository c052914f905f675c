"""Approvals: who may vote, when a request is settled, and that it is settled only once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from charter.core.approvals.grants import active, covers, granted_rules
from charter.core.approvals.request import (
    ApprovalRequest,
    ApprovalState,
    Verdict,
    Vote,
    grant_for,
    outstanding,
    settled_at,
    state,
)
from charter.core.approvals.requirements import (
    Carried,
    Requirement,
    missing_fields,
    requirements_from,
)
from charter.core.approvals.voting import may_vote
from charter.core.kernel.decision import Effect, Violation
from charter.core.kernel.errors import ConflictError
from tests.spec import spec

T0 = datetime(2026, 3, 2, 8, tzinfo=UTC)
LEAD = frozenset({"team-lead"})
SECURITY = frozenset({"security-admin"})
BIG = Requirement("admission/large", LEAD)
GPU = Requirement("admission/gpu", LEAD, requires=("justification",), grant_seconds=7 * 86_400)
PROD = Requirement("admission/production", SECURITY, count=2, grant_seconds=3600)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def request(*requirements: Requirement, **facts) -> ApprovalRequest:
    """A request of dana, made at T0 and open for an hour."""
    given_facts = {
        "id": "apr_1",
        "requester_id": "dana",
        "requester_kind": "human",
        "sponsor_id": None,
        "action": "workspace.create",
        "resource_digest": "sha256:1",
        "requirements": requirements or (BIG,),
        "created_at": T0,
        "deadline": at(60),
        "justification": "a large build",
    }
    return ApprovalRequest(**{**given_facts, **facts})


def yes(who: str, minute: float, roles: frozenset[str] = LEAD) -> Vote:
    return Vote(who, roles, Verdict.APPROVE, "", at(minute))


def no(who: str, minute: float, roles: frozenset[str] = LEAD) -> Vote:
    return Vote(who, roles, Verdict.DENY, "too large", at(minute))


def cast(asked: ApprovalRequest, *votes: Vote) -> ApprovalRequest:
    return replace(asked, votes=asked.votes + votes)


HISTORIES = [
    # what happened, at which minute one looks, what is seen
    (request(), 1, "pending"),
    (request(), 59.9, "pending"),
    (request(), 60, "expired"),
    (cast(request(), yes("lee", 5)), 4, "pending"),
    (cast(request(), yes("lee", 5)), 5, "approved"),
    (cast(request(), yes("lee", 5)), 9999, "approved"),
    (cast(request(), yes("lee", 60)), 60, "expired"),
    (cast(request(), no("lee", 5)), 5, "denied"),
    (cast(request(), yes("lee", 5), no("max", 6)), 6, "approved"),
    (cast(request(), no("max", 5), yes("lee", 6)), 6, "denied"),
    # votes that do not count
    (cast(request(), yes("dana", 5)), 6, "pending"),
    (cast(request(sponsor_id="lee", requester_id="agt"), yes("lee", 5)), 6, "pending"),
    (cast(request(), yes("sam", 5, SECURITY)), 6, "pending"),
    (cast(request(), no("sam", 5, SECURITY)), 6, "pending"),
    (cast(request(), yes("lee", -1)), 6, "pending"),
    # n of m counts different people
    (cast(request(PROD), yes("a", 1, SECURITY)), 5, "pending"),
    (cast(request(PROD), yes("a", 1, SECURITY), yes("a", 2, SECURITY)), 5, "pending"),
    (cast(request(PROD), yes("a", 1, SECURITY), yes("b", 2, SECURITY)), 5, "approved"),
    # the first word of a person stands
    (cast(request(PROD), yes("a", 1, SECURITY), no("a", 2, SECURITY)), 5, "pending"),
    # one person may satisfy several requirements, and every requirement must be satisfied
    (cast(request(BIG, GPU), yes("lee", 1)), 5, "approved"),
    (cast(request(BIG, PROD), yes("lee", 1)), 5, "pending"),
    (
        cast(request(BIG, PROD), yes("lee", 1, LEAD | SECURITY), yes("b", 2, SECURITY)),
        5,
        "approved",
    ),
    # what the request itself must carry
    (cast(request(GPU, justification=" "), yes("lee", 1)), 5, "pending"),
    (cast(request(GPU, justification=" "), yes("lee", 1)), 60, "expired"),
    # cancelled
    (request(cancelled_at=at(3)), 2, "pending"),
    (request(cancelled_at=at(3)), 3, "cancelled"),
    (request(cancelled_at=at(3)), 61, "cancelled"),
    (cast(request(cancelled_at=at(3)), yes("lee", 2)), 5, "approved"),
    (cast(request(cancelled_at=at(3)), yes("lee", 3)), 5, "cancelled"),
    (request(cancelled_at=at(99)), 100, "expired"),
]


@spec("AP-1", "ID-9")
@pytest.mark.parametrize(("asked", "minute", "seen"), HISTORIES)
def test_what_is_seen_when(asked, minute, seen) -> None:
    assert state(asked, at(minute)) == seen
    assert (settled_at(asked, at(minute)) is None) == (seen == "pending")


@spec("AP-1")
def test_what_is_still_missing() -> None:
    asked = request(BIG, PROD)
    assert outstanding(asked, at(1)) == ((BIG, 1), (PROD, 2))
    asked = cast(asked, yes("a", 1, SECURITY))
    assert outstanding(asked, at(1)) == ((BIG, 1), (PROD, 1))
    asked = cast(asked, yes("lee", 2), yes("b", 3, SECURITY))
    assert outstanding(asked, at(3)) == ()


VOTERS = [
    # who, kind, roles, at which minute, the rule that forbids it
    ("lee", "human", LEAD, 1, None),
    ("lee", "human", LEAD | SECURITY, 1, None),
    ("dana", "human", LEAD, 1, "own-request"),
    ("agt", "agent", LEAD, 1, "agent-never-approves"),
    ("svc", "service", LEAD, 1, "agent-never-approves"),
    ("sam", "human", SECURITY, 1, "not-an-approver"),
    ("sam", "human", frozenset(), 1, "not-an-approver"),
    ("lee", "human", LEAD, 60, "approval-settled"),
    ("max", "human", LEAD, 6, "vote-twice"),
]


@spec("AP-1", "ID-9")
@pytest.mark.parametrize(("who", "kind", "roles", "minute", "refusal"), VOTERS)
def test_who_may_vote(who, kind, roles, minute, refusal) -> None:
    two = replace(BIG, count=2)
    asked = cast(request(two), yes("max", 5))
    found = may_vote(asked, who, kind, roles, at(minute))
    assert (found and found.rule) == (refusal and f"invariant/{refusal}")
    assert found is None or found.fix


@spec("AP-4", "ID-9")
def test_a_sponsor_does_not_approve_the_own_agents_request() -> None:
    asked = request(requester_id="agt", requester_kind="agent", sponsor_id="lee")
    found = may_vote(asked, "lee", "human", LEAD, at(1))
    assert found is not None
    assert found.rule == "invariant/own-request"
    assert may_vote(asked, "max", "human", LEAD, at(1)) is None


def spoke(rule_id: str, effect: Effect = Effect.REQUIRE_APPROVAL, **facts) -> Violation:
    return Violation(rule_id, effect, "large", "ask", approvers=("team-lead",), **facts)


@spec("AP-1", "AP-5")
def test_requirements_follow_from_the_decision() -> None:
    found = requirements_from(
        [
            spoke("b", requires=("justification",), grant_seconds=60, approvals_needed=2),
            spoke("a"),
            spoke("a"),
            spoke("c", Effect.WARN),
        ]
    )
    assert found == (
        Requirement("a", LEAD),
        Requirement("b", LEAD, 2, ("justification",), 60),
    )
    assert missing_fields(found, Carried()) == ("justification",)
    assert missing_fields(found, Carried("why")) == ()
    unknown = [replace(BIG, requires=("ticket",))]
    assert missing_fields(unknown, Carried("why")) == ("ticket",)


def test_what_nobody_could_approve_is_no_request() -> None:
    with pytest.raises(ValueError, match="at least one role"):
        requirements_from([replace(spoke("a"), approvers=())])
    with pytest.raises(ValueError, match="at least one person"):
        Requirement("a", LEAD, count=0)
    with pytest.raises(ValueError, match="at least one second"):
        Requirement("a", LEAD, grant_seconds=0)
    with pytest.raises(ValueError, match="without requirements"):
        replace(request(), requirements=())


# --- grants -----------------------------------------------------------------------------------
@spec("AP-2", "ID-8")
def test_a_grant_lasts_as_long_as_its_shortest_rule_and_ends_by_itself() -> None:
    both = cast(request(GPU, PROD), yes("a", 1, LEAD | SECURITY), yes("b", 2, SECURITY))
    grant = grant_for(both, at(2), grant_id="grt_1")
    assert grant.expires_at == at(62)
    assert grant.rules == {"admission/gpu", "admission/production"}
    assert not grant.single_use
    assert not active(grant, at(1))
    assert active(grant, at(2))
    assert not active(grant, at(62))
    gpu = grant_for(cast(request(GPU), yes("a", 1)), at(2), grant_id="grt_2")
    assert gpu.expires_at == at(2) + timedelta(days=7)


@spec("AP-1")
def test_a_yes_to_one_request_is_used_up_by_it() -> None:
    grant = grant_for(cast(request(BIG, GPU), yes("lee", 1)), at(1), grant_id="grt_1")
    assert grant.single_use
    assert grant.expires_at == at(60)
    assert active(grant, at(2))
    assert not active(replace(grant, used_at=at(2)), at(3))


@spec("AP-1")
def test_a_revoked_grant_ends_at_once() -> None:
    grant = grant_for(cast(request(GPU), yes("lee", 1)), at(1), grant_id="grt_1")
    revoked = replace(grant, revoked_at=at(10))
    assert active(revoked, at(9))
    assert not active(revoked, at(10))


@spec("AP-1", "AP-4")
def test_a_grant_covers_one_subject_action_thing_and_task() -> None:
    asked = cast(request(GPU, task_id="tsk_1"), yes("lee", 1))
    grant = grant_for(asked, at(1), grant_id="grt_1")
    fits = {
        "subject_id": "dana",
        "action": "workspace.create",
        "resource_digest": "sha256:1",
        "task_id": "tsk_1",
        "now": at(2),
    }
    assert covers(grant, **fits)
    assert granted_rules([grant], **fits) == {"admission/gpu"}
    for name, other in [
        ("subject_id", "kim"),
        ("action", "workspace.resize"),
        ("resource_digest", "sha256:2"),
        ("task_id", "tsk_2"),
        ("task_id", None),
        ("now", at(99_999)),
    ]:
        assert not covers(grant, **{**fits, name: other})
        assert granted_rules([grant], **{**fits, name: other}) == frozenset()
    anywhere = replace(grant, task_id=None)
    assert covers(anywhere, **fits)


@spec("AP-1")
@pytest.mark.parametrize(("minute", "seen"), [(1, "pending"), (60, "expired")])
def test_nothing_is_granted_for_what_is_not_approved(minute, seen) -> None:
    with pytest.raises(ConflictError, match=seen):
        grant_for(request(), at(minute), grant_id="grt_1")


# --- properties -------------------------------------------------------------------------------
PEOPLE = st.sampled_from(["dana", "lee", "max", "sam", "kim"])
ROLES = st.frozensets(st.sampled_from(["team-lead", "security-admin", "developer"]))
MINUTES = st.integers(-5, 70)
VOTES = st.lists(
    st.builds(Vote, PEOPLE, ROLES, st.sampled_from(Verdict), st.just(""), MINUTES.map(at)),
    max_size=8,
).map(tuple)
REQUIREMENTS = st.lists(
    st.builds(
        Requirement,
        rule=st.sampled_from(["a", "b", "c"]),
        roles=st.frozensets(st.sampled_from(["team-lead", "security-admin"]), min_size=1),
        count=st.integers(1, 3),
        grant_seconds=st.none() | st.integers(1, 9999),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
REQUESTS = st.builds(
    lambda requirements, votes, cancelled, sponsor: request(
        *requirements, votes=votes, cancelled_at=cancelled, sponsor_id=sponsor
    ),
    REQUIREMENTS,
    VOTES,
    st.none() | MINUTES.map(at),
    st.none() | PEOPLE,
)


@spec("AP-1")
@given(REQUESTS, MINUTES, MINUTES)
def test_a_settled_request_stays_as_it_is(asked, first, second) -> None:
    early, late = at(min(first, second)), at(max(first, second))
    before, after = state(asked, early), state(asked, late)
    if before is not ApprovalState.PENDING:
        assert after is before
        assert settled_at(asked, late) == settled_at(asked, early)
    assert state(asked, at(60)) is not ApprovalState.PENDING


@spec("AP-1", "ID-9")
@given(REQUESTS, MINUTES)
def test_an_approval_took_enough_different_people_who_were_entitled(asked, minute) -> None:
    if state(asked, at(minute)) is not ApprovalState.APPROVED:
        return
    strangers = {asked.requester_id, asked.sponsor_id}
    for needed in asked.requirements:
        people = {
            vote.approver_id
            for vote in asked.votes
            if vote.verdict is Verdict.APPROVE
            and vote.approver_roles & needed.roles
            and T0 <= vote.at < at(60)
        }
        assert len(people - strangers) >= needed.count
    assert outstanding(asked, at(minute)) == ()
    grant = grant_for(asked, at(minute), grant_id="grt_1")
    assert grant.rules == {needed.rule for needed in asked.requirements}


@spec("ID-9")
@given(REQUESTS, MINUTES)
def test_what_the_requester_and_the_sponsor_say_makes_no_difference(asked, minute) -> None:
    others = tuple(
        vote
        for vote in asked.votes
        if vote.approver_id not in (asked.requester_id, asked.sponsor_id)
    )
    assert state(asked, at(minute)) is state(replace(asked, votes=others), at(minute))


@spec("AP-1")
@given(REQUESTS, st.permutations(range(8)), MINUTES)
def test_the_order_in_which_votes_are_stored_makes_no_difference(asked, order, minute) -> None:
    stored = list(asked.votes)
    if len({(v.at, v.approver_id) for v in stored}) < len(stored):
        return  # two words of one person in one instant: refused by may_vote
    shuffled = tuple(stored[i] for i in order if i < len(stored))
    assert state(replace(asked, votes=shuffled), at(minute)) is state(asked, at(minute))


class Approvals(RuleBasedStateMachine):
    """One request, voted on as `may_vote` allows, with time passing and cancellations."""

    @initialize(requirements=REQUIREMENTS, by_agent=st.booleans())
    def begin(self, requirements, by_agent) -> None:
        self.now = T0
        self.asked = request(
            *requirements,
            requester_id="agt" if by_agent else "dana",
            sponsor_id="dana" if by_agent else None,
        )
        self.approvers: dict[str, frozenset[str]] = {}
        self.model = ApprovalState.PENDING

    def look(self) -> None:
        """What a clerk with paper and pencil would have noted by now."""
        if self.model is ApprovalState.PENDING and self.now >= self.asked.deadline:
            self.model = ApprovalState.EXPIRED

    @rule(seconds=st.integers(0, 900))
    def time_passes(self, seconds) -> None:
        self.now += timedelta(seconds=seconds)
        self.look()

    @rule(
        who=PEOPLE,
        kind=st.sampled_from(["human", "human", "human", "agent"]),
        roles=ROLES,
        verdict=st.sampled_from([Verdict.APPROVE, Verdict.APPROVE, Verdict.DENY]),
    )
    def somebody_votes(self, who, kind, roles, verdict) -> None:
        refusal = may_vote(self.asked, who, kind, roles, self.now)
        if refusal is not None:
            return
        assert kind == "human"
        assert who != "dana"
        assert who not in {vote.approver_id for vote in self.asked.votes}
        assert self.model is ApprovalState.PENDING
        vote = Vote(who, roles, verdict, "", self.now)
        self.asked = cast(self.asked, vote)
        if verdict is Verdict.DENY:
            self.model = ApprovalState.DENIED
            return
        self.approvers[who] = roles
        if all(
            sum(bool(held & needed.roles) for held in self.approvers.values()) >= needed.count
            for needed in self.asked.requirements
        ):
            self.model = ApprovalState.APPROVED

    @rule()
    def the_requester_cancels(self) -> None:
        voted_now = any(vote.at == self.now for vote in self.asked.votes)
        if self.model is ApprovalState.PENDING and not voted_now:
            self.asked = replace(self.asked, cancelled_at=self.now)
            self.model = ApprovalState.CANCELLED

    @invariant()
    def the_request_says_what_the_clerk_noted(self) -> None:
        if not hasattr(self, "asked"):
            return
        assert state(self.asked, self.now) is self.model
        if self.model is ApprovalState.APPROVED:
            grant = grant_for(self.asked, self.now, grant_id="grt_1")
            assert grant.subject_id == self.asked.requester_id
        else:
            with pytest.raises(ConflictError):
                grant_for(self.asked, self.now, grant_id="grt_1")


TestApprovals = spec("AP-1", "ID-9")(Approvals.TestCase)
TestApprovals.settings = settings(max_examples=60, stateful_step_count=25)
