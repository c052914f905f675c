"""Steps, escalation, stand-ins and lost roles: the course of a request, computed from its votes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.approvals.request import (
    ApprovalState,
    Verdict,
    Vote,
    asked,
    course,
    escalated,
    grant_for,
    outstanding,
    put_to,
    state,
)
from charter.core.approvals.requirements import (
    Carried,
    Requirement,
    grant_span,
    longest_duration,
    missing_fields,
    requirements_from,
)
from charter.core.approvals.rules import ApprovalRule, ApprovalSettings, Escalation, Step
from charter.core.approvals.voting import may_vote
from charter.core.kernel.decision import Effect, Violation
from tests.core.approvals.test_request import LEAD, SECURITY, T0, at, cast, no, request, yes
from tests.spec import spec

BOSS = frozenset({"manager"})
ADMIN = frozenset({"platform-admin"})
RULE = "production/needs-approval"
FIRST = Requirement(RULE, BOSS, grant_seconds=60)
SECOND = Requirement(RULE, SECURITY, count=2, grant_seconds=60, step=1)
SLOW = Requirement("a/b", LEAD, escalate_seconds=600, escalate_to=ADMIN)


@spec("AP-1")
def test_the_next_step_opens_when_the_one_before_is_complete() -> None:
    both = request(FIRST, SECOND)
    assert asked(both, at(1)) == BOSS
    assert put_to(both, at(1)) == {"manager": T0}
    refusal = may_vote(both, "sam", "human", SECURITY, at(1))
    assert refusal is not None
    assert refusal.rule == "invariant/not-your-turn"
    one = cast(both, yes("mia", 5, BOSS))
    assert asked(one, at(5)) == BOSS | SECURITY
    assert put_to(one, at(5)) == {"manager": T0, "security-admin": at(5)}
    assert may_vote(one, "sam", "human", SECURITY, at(6)) is None
    two = cast(one, yes("sam", 6, SECURITY))
    assert [needed.step for needed, _ in outstanding(two, at(7))] == [1]
    assert state(cast(two, yes("sue", 8, SECURITY)), at(8)) is ApprovalState.APPROVED


@spec("AP-1", "ID-9")
def test_a_vote_before_its_step_is_open_counts_for_nothing() -> None:
    early = cast(request(FIRST, SECOND), yes("sam", 2, SECURITY), yes("mia", 5, BOSS))
    assert dict(outstanding(early, at(6))) == {SECOND: 2}
    veto = cast(request(FIRST, SECOND), no("sam", 2, SECURITY))
    assert state(veto, at(6)) is ApprovalState.PENDING


@spec("AP-1", "ID-9")
def test_whoever_approved_one_step_cannot_approve_the_next() -> None:
    once = cast(request(FIRST, replace(SECOND, count=1)), yes("mia", 5, BOSS | SECURITY))
    assert state(once, at(6)) is ApprovalState.PENDING
    refusal = may_vote(once, "mia", "human", BOSS | SECURITY, at(6))
    assert refusal is not None
    assert refusal.rule == "invariant/vote-twice"


@spec("AP-1")
def test_steps_of_other_rules_do_not_wait() -> None:
    other = Requirement("other/rule", LEAD, grant_seconds=60)
    both = request(FIRST, SECOND, other)
    assert asked(both, at(1)) == BOSS | LEAD


@spec("AP-1")
def test_escalation_begins_at_its_moment_and_adds_approvers() -> None:
    waits = request(SLOW)
    assert put_to(waits, at(1)) == {"team-lead": T0, "platform-admin": at(10)}
    refusal = may_vote(waits, "pia", "human", ADMIN, at(9.9))
    assert refusal is not None
    assert refusal.rule == "invariant/not-escalated"
    assert escalated(waits, at(9.9)) == ()
    assert escalated(waits, at(10)) == (SLOW,)
    assert may_vote(waits, "pia", "human", ADMIN, at(10)) is None
    assert may_vote(waits, "lee", "human", LEAD, at(10)) is None


@spec("AP-1")
@pytest.mark.parametrize("who", [yes("pia", 10, ADMIN), yes("lee", 10, LEAD)])
def test_both_may_answer_at_the_very_moment_of_the_escalation(who: Vote) -> None:
    assert state(cast(request(SLOW), who), at(10)) is ApprovalState.APPROVED


@spec("AP-1")
def test_what_was_answered_in_time_never_escalates() -> None:
    slow, other = SLOW, Requirement("c/d", SECURITY)
    done = cast(request(slow, other), yes("lee", 9))
    assert escalated(done, at(30)) == ()
    assert "platform-admin" not in put_to(done, at(30))
    assert may_vote(done, "pia", "human", ADMIN, at(30)) is not None
    early = cast(request(slow, other), yes("pia", 9.9, ADMIN))
    assert dict(outstanding(early, at(9.9))) == {slow: 1, other: 1}


@spec("AP-1", "ID-9")
def test_a_person_and_their_delegate_are_one_voice() -> None:
    two = Requirement("a/b", LEAD, count=2)
    stead = replace(yes("dee", 2), for_id="lee")
    assert state(cast(request(two), stead, yes("lee", 3)), at(4)) is ApprovalState.PENDING
    assert state(cast(request(two), stead, yes("dee", 3)), at(4)) is ApprovalState.PENDING
    assert state(cast(request(two), stead, yes("max", 3)), at(4)) is ApprovalState.APPROVED
    voted = cast(request(two), stead)
    for voter, for_id in (("lee", None), ("dee", None), ("zoe", "lee"), ("dee", "max")):
        refusal = may_vote(voted, voter, "human", LEAD, at(4), for_id=for_id)
        assert refusal is not None
        assert refusal.rule == "invariant/vote-twice"


@spec("AP-1", "ID-9")
@pytest.mark.parametrize(
    ("voter", "for_id"), [("dana", "lee"), ("lee", "dana"), ("spo", "lee"), ("lee", "spo")]
)
def test_nobody_decides_their_own_request_through_another(voter: str, for_id: str) -> None:
    own = request(requester_id="dana", sponsor_id="spo")
    refusal = may_vote(own, voter, "human", LEAD, at(1), for_id=for_id)
    assert refusal is not None
    assert refusal.rule == "invariant/own-request"
    forged = cast(own, replace(yes(voter, 1), for_id=for_id))
    assert state(forged, at(2)) is ApprovalState.PENDING


@spec("AP-1", "ID-9")
def test_a_yes_counts_only_while_the_voter_is_what_made_it_count() -> None:
    two = Requirement("a/b", LEAD, count=2)
    lost = replace(yes("lee", 2), lost_roles=LEAD, lost_at=at(5))
    assert state(cast(request(two), lost, yes("max", 4)), at(4)) is ApprovalState.APPROVED
    later = cast(request(two), lost, yes("max", 5))
    assert state(later, at(6)) is ApprovalState.PENDING
    assert dict(outstanding(later, at(6))) == {two: 1}
    assert state(cast(later, yes("zoe", 7)), at(7)) is ApprovalState.APPROVED
    # A no has settled the request when it was given; what its giver lost later changes nothing.
    veto = replace(no("lee", 2), lost_roles=LEAD, lost_at=at(5))
    assert state(cast(request(two), veto), at(9)) is ApprovalState.DENIED


@spec("AP-1")
def test_a_step_that_was_opened_stays_open_when_the_one_before_is_lost() -> None:
    lost = replace(yes("mia", 2, BOSS), lost_roles=BOSS, lost_at=at(4))
    one = replace(SECOND, count=1)
    asked_on = cast(request(FIRST, one), lost, yes("sam", 4, SECURITY))
    found = course(asked_on, at(5))
    assert found.state is ApprovalState.PENDING
    assert [s.people_missing for s in found.standings] == [1, 0]
    assert state(cast(asked_on, yes("moe", 6, BOSS)), at(6)) is ApprovalState.APPROVED


@spec("AP-1")
def test_a_request_carries_what_policy_asks_for_and_lasts_as_asked() -> None:
    needed = replace(FIRST, requires=("duration", "ticket"), max_grant_seconds=7200)
    assert missing_fields([needed], Carried("why")) == ("duration", "ticket")
    assert missing_fields([needed], Carried("", "OPS-1", 60)) == ()
    assert longest_duration([needed]) == 7200
    assert grant_span([needed], None) == (60, False)
    assert grant_span([needed], 600) == (600, False)
    assert grant_span([needed], 99_999) == (7200, False)
    once = Requirement("a/b", LEAD)
    assert longest_duration([needed, once]) is None
    assert grant_span([needed, once], 600) == (60, True)
    carried = request(needed, ticket="OPS-1", duration_seconds=600)
    given_grant = grant_for(cast(carried, yes("mia", 5, BOSS)), at(5), grant_id="grt_1")
    assert given_grant.expires_at == at(15)


@spec("AP-1")
def test_policy_adds_steps_to_what_the_rule_says() -> None:
    rule = ApprovalRule(
        ("ignored",),
        1,
        (),
        60,
        also=(Step(("team-lead",), 1),),
        then=(Step(("security-admin",), 2),),
        escalation=Escalation(600, ("platform-admin",)),
    )
    policy = ApprovalSettings(600, 300, rule, {})
    spoke = Violation("r/x", Effect.REQUIRE_APPROVAL, "No.", "Ask.", approvers=("manager",))
    found = requirements_from([spoke], policy)
    assert [(r.step, sorted(r.roles), r.count) for r in found] == [
        (0, ["manager"], 1),
        (0, ["team-lead"], 1),
        (1, ["security-admin"], 2),
    ]
    assert {r.escalate_seconds for r in found} == {600}


PEOPLE = ("ann", "bob", "cem", "dee", "eve")
WORDS = (LEAD, SECURITY, BOSS, ADMIN, LEAD | SECURITY)


@st.composite
def votes(draw: st.DrawFn) -> tuple[Vote, ...]:
    minutes = draw(st.lists(st.integers(0, 70), max_size=6, unique=True))
    return tuple(
        Vote(
            draw(st.sampled_from(PEOPLE)),
            draw(st.sampled_from(WORDS)),
            draw(st.sampled_from([*[Verdict.APPROVE] * 3, Verdict.DENY])),
            "",
            at(minute),
            for_id=draw(st.sampled_from([None, None, *PEOPLE])),
        )
        for minute in minutes
    )


@spec("AP-1", "ID-9")
@settings(max_examples=150, deadline=None)
@given(votes(), st.integers(0, 80), st.integers(0, 80))
def test_whatever_happens_a_request_settles_once(
    cast_votes: tuple[Vote, ...], first: int, second: int
) -> None:
    needed = (replace(SLOW, count=2), FIRST, replace(SECOND, count=1))
    whole = cast(request(*needed, requester_id="ann"), *cast_votes)
    sooner, later = sorted((at(first), at(second)))
    before, after = course(whole, sooner), course(whole, later)
    if before.state is not ApprovalState.PENDING:
        assert (after.state, after.settled_at) == (before.state, before.settled_at)
    # What comes later never changes what was seen before it.
    assert course(replace(whole, votes=tuple(v for v in cast_votes if v.at <= sooner)), sooner) == (
        before
    )
    if after.state is ApprovalState.APPROVED:
        counted = [v for v in cast_votes if v.at <= later and v.verdict is Verdict.APPROVE]
        people = {v.counts_as for v in counted if "ann" not in (v.approver_id, v.counts_as)}
        assert len(people) >= 2  # two people in one step, and nobody in two steps of a sequence
    for word, since in put_to(whole, later).items():
        if since <= later and after.state is ApprovalState.PENDING:
            assert may_vote(whole, "new", "human", frozenset({word}), later) is None
