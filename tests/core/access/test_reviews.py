"""Access reviews: who answers for what, and what silence means."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.rego.load import shipped_bundle
from charter.core.access.reviews import (
    DEFAULT_RULES,
    Answer,
    Item,
    Kind,
    Place,
    ends_by_silence,
    may_answer,
    place_of,
    quarter,
    reviewer_roles,
    unused,
)
from charter.core.access.roles import RoleName
from charter.core.access.subjects import Human
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import PolicyData
from tests.core.access.people import HUMANS, LATER, LEE, NOW, ROOT, SAM, VIEW
from tests.spec import spec

OF_RED = Item(Kind.ROLE, "per_dana", "red", "developer", privileged=False)
OF_ALL = Item(Kind.ROLE, "per_x", None, "platform-admin", privileged=True)
OF_SECURITY = Item(Kind.ROLE, "per_sam", None, "security-admin", privileged=True)


def objection(who: Human, item: Item, **times: object) -> str | None:
    when = {"deadline": LATER, "now": NOW, **times}
    found = may_answer(who, item, DEFAULT_RULES, **when)
    return None if found is None else found.rule


@spec("ID-10")
@pytest.mark.parametrize(
    ("who", "item", "rule"),
    [
        (LEE, OF_RED, None),
        (SAM, OF_RED, None),
        (ROOT, OF_RED, "not-a-reviewer"),
        (VIEW, OF_RED, "not-a-reviewer"),
        (LEE, replace(OF_RED, team_id="blue"), "not-a-reviewer"),
        (LEE, replace(OF_RED, holder_id=LEE.id), "own-access"),
        (SAM, OF_ALL, None),
        (LEE, OF_ALL, "not-a-reviewer"),
        (ROOT, OF_SECURITY, None),
        (SAM, replace(OF_SECURITY, holder_id="per_other"), "not-a-reviewer"),
        (LEE, replace(OF_RED, answer=Answer.KEEP), None),
        (LEE, replace(OF_RED, answer=Answer.REVOKE), "review-settled"),
        (LEE, replace(OF_RED, answer=Answer.LAPSED), "review-settled"),
    ],
)
def test_who_answers(who: Human, item: Item, rule: str | None) -> None:
    assert objection(who, item) == (None if rule is None else f"invariant/{rule}")


@spec("ID-10", "ID-11")
def test_a_role_that_was_borrowed_in_an_emergency_answers_for_nothing() -> None:
    borrowed = tuple(replace(binding, break_glass="bg_1") for binding in SAM.bindings)
    assert objection(replace(SAM, bindings=borrowed), OF_RED) == "invariant/not-a-reviewer"


@spec("ID-10")
def test_nothing_is_answered_at_the_deadline() -> None:
    assert objection(LEE, OF_RED, now=LATER - timedelta(microseconds=1)) is None
    assert objection(LEE, OF_RED, now=LATER) == "invariant/review-settled"


@spec("ID-10")
@given(HUMANS, st.sampled_from([OF_RED, OF_ALL, OF_SECURITY]))
def test_nobody_ever_answers_for_themselves(who: Human, item: Item) -> None:
    assert objection(who, replace(item, holder_id=who.id)) == "invariant/own-access"


@spec("ID-10")
def test_the_organisation_stands_in_for_a_team_and_not_the_other_way_round() -> None:
    assert reviewer_roles(OF_RED, DEFAULT_RULES) == {"team-lead", "security-admin"}
    assert reviewer_roles(OF_ALL, DEFAULT_RULES) == {"security-admin"}
    assert [place_of(i) for i in (OF_RED, OF_ALL, OF_SECURITY)] == list(Place)


@spec("ID-10")
def test_only_the_admin_of_the_organisation_does_not_end_by_silence() -> None:
    assert not ends_by_silence(OF_ALL, "organisation")
    assert ends_by_silence(OF_ALL, "team")
    for role in RoleName:
        if role is not RoleName.PLATFORM_ADMIN:
            assert ends_by_silence(replace(OF_ALL, role=role.value), "organisation")


@spec("ID-10")
def test_stale_is_ninety_days_since_the_last_use_or_the_beginning() -> None:
    days = timedelta(days=90)
    assert unused(NOW - days, None, DEFAULT_RULES, NOW)
    assert not unused(NOW - days, NOW - days + timedelta(seconds=1), DEFAULT_RULES, NOW)
    assert unused(NOW - 2 * days, NOW - days, DEFAULT_RULES, NOW)
    assert not unused(NOW, None, DEFAULT_RULES, NOW)


def test_quarters() -> None:
    assert [quarter(NOW.replace(month=m)) for m in (1, 3, 4, 12)] == [
        "2026-Q1",
        "2026-Q1",
        "2026-Q2",
        "2026-Q4",
    ]


def test_the_shipped_numbers_and_what_is_refused() -> None:
    documents = shipped_bundle().settings()
    assert PolicyData.from_documents(documents).access_reviews == DEFAULT_RULES
    without = {name: d for name, d in documents.items() if name != "access_reviews"}
    assert PolicyData.from_documents(without).access_reviews == DEFAULT_RULES
    wrong = {**documents["access_reviews"], "every_months": 0}
    with pytest.raises(InvalidInputError, match="every_months"):
        PolicyData.from_documents({**documents, "access_reviews": wrong})
