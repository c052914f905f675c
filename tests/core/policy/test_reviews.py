"""When reviews are due, who sits in them, and when one is complete."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.policy.reading import Reader
from charter.core.policy.reviews import (
    AD_HOC_TRIGGERS,
    DEFAULT_CADENCE,
    SCHEDULED,
    Member,
    ReviewKind,
    ReviewState,
    Side,
    Trigger,
    add_months,
    due_of,
    lacking,
    next_due,
    not_seated,
    read_cadence,
    state_of,
    to_open,
)
from tests.spec import spec
from tests.support import STARTER

BEGAN = datetime(2026, 1, 31, 9, tzinfo=UTC)
QUARTER, YEAR = ReviewKind.EFFECTIVENESS, ReviewKind.FULL
NONE: frozenset[ReviewKind] = frozenset()
moments = st.integers(0, 36_500).map(lambda days: BEGAN + timedelta(days=days))


def at(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, 9, tzinfo=UTC)


def test_months_end_where_they_end() -> None:
    assert add_months(BEGAN, 1) == at(2026, 2, 28)
    assert add_months(BEGAN, 3) == at(2026, 4, 30)
    assert add_months(BEGAN, 25) == at(2028, 2, 29)


@given(moments, st.integers(1, 60), st.integers(1, 60))
def test_more_months_are_later(moment: datetime, few: int, more: int) -> None:
    assert moment < add_months(moment, few) < add_months(moment, few + more)


@spec("PC-11")
def test_a_quarter_for_effectiveness_and_a_year_for_all() -> None:
    assert next_due(QUARTER, DEFAULT_CADENCE, {}, BEGAN) == at(2026, 4, 30)
    assert next_due(YEAR, DEFAULT_CADENCE, {}, BEGAN) == at(2027, 1, 31)
    held = {QUARTER: at(2026, 5, 2)}
    assert next_due(QUARTER, DEFAULT_CADENCE, held, BEGAN) == at(2026, 8, 2)
    assert next_due(YEAR, DEFAULT_CADENCE, held, BEGAN) == at(2027, 1, 31)


@spec("PC-11")
def test_the_years_review_counts_as_the_quarters() -> None:
    held = {QUARTER: at(2026, 10, 1), YEAR: at(2027, 1, 20)}
    assert next_due(QUARTER, DEFAULT_CADENCE, held, BEGAN) == at(2027, 4, 20)


@spec("PC-11")
@pytest.mark.parametrize(
    ("now", "is_open", "expected"),
    [
        (at(2026, 4, 15), NONE, []),
        (at(2026, 4, 16), NONE, [QUARTER]),
        (at(2026, 4, 16), frozenset({QUARTER}), []),
        (at(2027, 1, 2), NONE, [YEAR]),  # and no second one beside it
        (at(2027, 1, 2), frozenset({QUARTER}), [YEAR]),
        (at(2027, 1, 2), frozenset({YEAR}), []),
    ],
)
def test_what_the_calendar_opens(
    now: datetime, is_open: frozenset[ReviewKind], expected: list[ReviewKind]
) -> None:
    assert [kind for kind, _ in to_open(DEFAULT_CADENCE, {}, is_open, BEGAN, now)] == expected


@given(moments, st.sets(st.sampled_from(SCHEDULED)))
def test_what_was_opened_is_not_opened_again(now: datetime, before: set[ReviewKind]) -> None:
    is_open = frozenset(before)
    opened = {kind for kind, _ in to_open(DEFAULT_CADENCE, {}, is_open, BEGAN, now)}
    assert not opened & is_open
    assert to_open(DEFAULT_CADENCE, {}, is_open | opened, BEGAN, now) == ()


@spec("PC-11")
@pytest.mark.parametrize("trigger", AD_HOC_TRIGGERS)
def test_an_event_has_a_due_date_of_its_own(trigger: Trigger) -> None:
    assert due_of(trigger, DEFAULT_CADENCE, BEGAN) > BEGAN
    assert due_of(Trigger.INCIDENT, DEFAULT_CADENCE, BEGAN) == BEGAN + timedelta(days=7)


def test_where_a_review_stands() -> None:
    times: dict[str, Any] = {"due_at": BEGAN, "held_at": None, "closed_at": None}
    assert state_of(**times, now=BEGAN) is ReviewState.OPEN
    assert state_of(**times, now=BEGAN + timedelta(seconds=1)) is ReviewState.OVERDUE
    late = BEGAN + timedelta(days=9)
    assert state_of(**{**times, "held_at": late}, now=late) is ReviewState.HELD
    assert state_of(**{**times, "closed_at": late}, now=late) is ReviewState.CLOSED


@spec("PC-11")
def test_every_side_must_sit_and_minutes_be_written() -> None:
    members = [Member(f"per_{side}", side) for side in Side]
    assert lacking(DEFAULT_CADENCE, held_at=BEGAN, members=members, minutes="We met.") == ()
    said = lacking(DEFAULT_CADENCE, held_at=None, members=members[1:], minutes=" \n")
    assert said == (
        "It was not held yet.",
        "Nobody in the committee speaks for security.",
        "It has no minutes.",
    )
    small = replace(DEFAULT_CADENCE, sides=(Side.PLATFORM,))
    assert lacking(small, held_at=BEGAN, members=members[1:2], minutes="We met.") == ()


def test_nobody_speaks_for_two_sides() -> None:
    assert not_seated([]) == ("The committee has no members.",)
    assert not_seated([Member("per_a", Side.SECURITY), Member("per_b", Side.SECURITY)]) == ()
    twice = [Member("per_a", Side.SECURITY), Member("per_a", Side.PLATFORM)]
    assert not_seated(twice) == ("One person cannot speak for two sides.",)


def test_the_cadence_is_data() -> None:
    problems: list[str] = []
    documents = STARTER.settings()
    assert read_cadence(Reader(documents, "data", problems)) == DEFAULT_CADENCE
    assert read_cadence(Reader({}, "data", problems)) == DEFAULT_CADENCE
    assert problems == []
    wrong = {"reviews": {**documents["reviews"], "full": {"every_months": 0}, "extra": 1}}  # type: ignore[dict-item]
    read_cadence(Reader(wrong, "data", problems))
    assert problems == [
        "data.reviews.full.every_months must be at least 1, and it is 0.",
        "data.reviews.full.opens_days_before must be a whole number.",
        "data.reviews.extra is not a known entry.",
    ]
