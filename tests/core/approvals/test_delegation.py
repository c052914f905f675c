"""Standing in for somebody: how far, how long, never in a circle, never against the separation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.access.roles import ORGANISATION, Binding
from charter.core.access.separation import RoleConflict
from charter.core.access.subjects import Human
from charter.core.approvals.delegation import Absence, lent, stood_in_for, why_not_named
from charter.core.approvals.rules import DelegationLimits
from tests.core.approvals.test_request import T0, at
from tests.spec import spec

LIMITS = DelegationLimits(max_seconds=7 * 86_400, max_depth=1)


def away(who: str, delegate: str, start: float = 0, end: float = 60, **more: object) -> Absence:
    absence = Absence(f"{who}-{delegate}", who, delegate, at(start), at(end))
    return replace(absence, **more)  # type: ignore[arg-type]


@spec("AP-1")
def test_it_lasts_for_its_span_or_until_it_is_revoked() -> None:
    one = away("lee", "dee", 10, 20)
    assert [stood_in_for("dee", [one], at(m)) for m in (9, 10, 19, 20)] == [
        (),
        ("lee",),
        ("lee",),
        (),
    ]
    ended = replace(one, revoked_at=at(15))
    assert stood_in_for("dee", [ended], at(14)) == ("lee",)
    assert stood_in_for("dee", [ended], at(15)) == ()


@spec("AP-1")
def test_a_chain_is_followed_as_deep_as_policy_said() -> None:
    chain = [away("ann", "bob"), away("bob", "cem"), away("cem", "dee")]
    assert stood_in_for("dee", chain, at(1)) == ("cem",)
    deeper = [replace(each, max_depth=2) for each in chain]
    assert stood_in_for("dee", deeper, at(1)) == ("cem", "bob")
    # Whoever named somebody under a stricter policy is not lent further by a later, looser one.
    mixed = [chain[0], *[replace(each, max_depth=3) for each in chain[1:]]]
    assert stood_in_for("dee", mixed, at(1)) == ("cem", "bob")


@spec("AP-1", "ID-9")
def test_nobody_in_a_circle_stands_in_for_anybody() -> None:
    circle = [away("ann", "bob"), away("bob", "ann")]
    assert stood_in_for("bob", circle, at(1)) == ()
    assert stood_in_for("ann", circle, at(1)) == ()


@spec("AP-1", "ID-9")
@pytest.mark.parametrize(
    ("wanted", "others", "code"),
    [
        (away("ann", "ann"), [], "own-delegate"),
        (away("ann", "bob", -20, -10), [], "span-invalid"),
        (away("ann", "bob", 20, 20), [], "span-invalid"),
        (away("ann", "bob", 0, 8 * 1440), [], "span-too-long"),
        (away("ann", "bob"), [away("ann", "cem", 30, 90)], "already-away"),
        (away("ann", "bob"), [away("bob", "ann", 30, 90)], "delegation-circle"),
        (away("ann", "bob"), [away("bob", "cem"), away("cem", "ann")], "delegation-circle"),
        (away("ann", "bob"), [away("bob", "ann", 60, 90)], None),
        (away("ann", "bob"), [replace(away("bob", "ann"), revoked_at=T0)], None),
        (away("ann", "bob"), [away("cem", "bob"), away("bob", "dee")], None),
    ],
)
def test_what_can_be_named(wanted: Absence, others: list[Absence], code: str | None) -> None:
    refusal = why_not_named(wanted, others, T0, LIMITS)
    assert (None if refusal is None else refusal.code) == code


@spec("ID-9")
def test_roles_that_may_not_meet_are_not_lent() -> None:
    def bound(role: str, **more: object) -> Binding:
        return replace(Binding(role, ORGANISATION), **more)  # type: ignore[arg-type]

    absent = (bound("security-admin"), bound("team-lead"))
    pia = Human("pia", "pia", (bound("platform-admin"),))
    dan = Human("dan", "dan", (bound("developer"),))
    assert [b.role for b in lent(absent, pia, T0)] == ["team-lead"]
    assert [b.role for b in lent(absent, dan, T0)] == ["security-admin", "team-lead"]
    listed = [RoleConflict(frozenset({"developer", "team-lead"}), "policy")]
    assert [b.role for b in lent(absent, dan, T0, listed)] == ["security-admin"]
    assert lent(absent, replace(dan, active=False), T0) == ()
    assert lent(absent, replace(dan, bindings=()), T0) == ()
    assert lent((bound("team-lead", expires_at=T0),), dan, T0) == ()
    assert lent((bound("team-lead", break_glass="bg_1"),), dan, T0) == ()


PEOPLE = st.sampled_from(["ann", "bob", "cem", "dee"])


@spec("AP-1", "ID-9")
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PEOPLE, PEOPLE, st.integers(0, 50), st.integers(1, 50)), max_size=7))
def test_what_was_named_one_by_one_never_runs_in_a_circle(
    wishes: list[tuple[str, str, int, int]],
) -> None:
    entered: list[Absence] = []
    for who, delegate, start, length in wishes:
        wanted = away(who, delegate, start, start + length, max_depth=3)
        if why_not_named(wanted, entered, T0, LIMITS) is None:
            entered.append(wanted)
    for minute in range(0, 100, 7):
        now = T0 + timedelta(minutes=minute)
        live = {each.person_id: each.delegate_id for each in entered if each.live(now)}
        for person, delegate in live.items():
            seen, step = {person}, delegate
            while step in live:
                assert step not in seen, entered
                seen.add(step)
                step = live[step]
