"""Failures within a window shut the door, for a time, and begin anew afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.attempts import (
    AttemptLimits,
    Failures,
    after_failure,
    read_attempt_limits,
)
from charter.core.policy.reading import Reader
from tests.spec import spec

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
LIMITS = AttemptLimits(window_seconds=60, lock_seconds=120)
MOST = 3


def failing(*seconds: float) -> Failures:
    """What is known after failures at these seconds."""
    known: Failures | None = None
    for at in seconds:
        known = after_failure(known, MOST, LIMITS, NOW + timedelta(seconds=at))
    assert known is not None
    return known


@spec("ID-5")
def test_the_third_failure_within_the_window_shuts_the_door() -> None:
    assert failing(0, 1).wait_seconds(NOW) == 0
    shut = failing(0, 1, 2)
    assert shut.wait_seconds(NOW + timedelta(seconds=2)) == 120
    assert shut.wait_seconds(NOW + timedelta(seconds=121.5)) == 1
    assert shut.wait_seconds(NOW + timedelta(seconds=122)) == 0


def test_failures_that_are_far_apart_shut_nothing() -> None:
    assert failing(0, 40, 80, 120, 160).locked_until is None


def test_while_it_is_shut_nothing_is_counted_and_nothing_is_prolonged() -> None:
    assert failing(0, 1, 2, 50, 100) == failing(0, 1, 2)


def test_after_the_lock_counting_begins_anew() -> None:
    assert failing(0, 1, 2, 122) == Failures(1, NOW + timedelta(seconds=122))


def test_one_may_be_too_many() -> None:
    assert after_failure(None, 1, LIMITS, NOW).wait_seconds(NOW) == 120


@given(st.lists(st.floats(0, 50), max_size=60))
def test_no_more_than_so_many_are_heard_in_any_stretch(gaps: list[float]) -> None:
    """However attempts are timed, between two openings of the door `MOST` are heard."""
    at, known, heard = NOW, None, 0
    for gap in gaps:
        at += timedelta(seconds=gap)
        before = known
        known = after_failure(known, MOST, LIMITS, at)
        if known.count == 1 and known is not before:
            heard = 0
        heard += known is not before
        assert heard <= MOST


def test_limits_are_read_strictly_and_older_bundles_have_defaults() -> None:
    problems: list[str] = []
    assert read_attempt_limits(Reader({}, "data", problems)) == AttemptLimits()
    wrong = {"attempts": {"window_seconds": 0, "lock_seconds": 90_000, "address_failures": "5"}}
    read_attempt_limits(Reader(wrong, "data", problems))
    assert len(problems) == 4
