"""The shared vocabulary: identifiers, canonical documents, units, and the precedence of effects."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.kernel.canonical import canonical_json, digest, parse_rfc3339, rfc3339
from charter.core.kernel.decision import (
    Decision,
    Effect,
    Mode,
    Obligation,
    Violation,
    decide_from,
)
from charter.core.kernel.errors import (
    CharterError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    TooManyError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.core.kernel.identifiers import PREFIXES, is_id, make_id
from charter.core.kernel.units import show_mib, show_seconds
from tests.spec import spec

MILLISECONDS = st.integers(0, 2**48 - 1)
RANDOMNESS = st.binary(min_size=10, max_size=10)
KINDS = st.sampled_from(sorted(PREFIXES))


@given(KINDS, MILLISECONDS, RANDOMNESS)
def test_an_identifier_has_the_shape_of_its_kind_and_of_no_other(kind, now_ms, randomness) -> None:
    text = make_id(kind, now_ms, randomness)
    assert [k for k in PREFIXES if is_id(k, text)] == [kind]
    assert text.isascii()
    assert len(text) == len(PREFIXES[kind]) + 27


@given(KINDS, MILLISECONDS, MILLISECONDS, RANDOMNESS, RANDOMNESS)
def test_identifiers_of_one_kind_sort_by_age(kind, early, late, first, second) -> None:
    if early > late:
        early, late = late, early
    if early < late:
        assert make_id(kind, early, first) < make_id(kind, late, second)
    else:
        assert (make_id(kind, early, first) < make_id(kind, late, second)) == (first < second)


def test_prefixes_are_unique() -> None:
    assert len(set(PREFIXES.values())) == len(PREFIXES)


@pytest.mark.parametrize("text", ["", "ws_", "ws_" + "0" * 25, "ws_" + "u" * 26, "WS_" + "0" * 26])
def test_what_is_no_identifier(text) -> None:
    assert not is_id("workspace", text)


def test_a_trailing_newline_is_no_part_of_an_identifier() -> None:
    assert not is_id("workspace", "ws_" + "0" * 26 + "\n")


@pytest.mark.parametrize("size", [0, 9, 11])
def test_an_identifier_takes_exactly_ten_random_bytes(size) -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        make_id("workspace", 0, bytes(size))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_reads_back_and_is_stable(value) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_makes_no_difference(value) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_a_number_that_is_none_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 — the zone is given apart


@given(MOMENTS, st.integers(-14, 14))
def test_times_read_back_whatever_zone_they_came_in(moment, hours) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(hours=hours)))
    assert parse_rfc3339(rfc3339(elsewhere)) == moment
    assert rfc3339(elsewhere) == rfc3339(moment)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        rfc3339(datetime(2026, 1, 1))  # noqa: DTZ001 — that is what is tested
    with pytest.raises(ValueError, match="zone"):
        parse_rfc3339("2026-01-01T00:00:00")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (45, "45 s"),
        (5400, "1 h 30 min"),
        (14_400, "4 h"),
        (90_061, "1 d 1 h"),
    ],
)
def test_spans_for_people(seconds, text) -> None:
    assert show_seconds(seconds) == text


@pytest.mark.parametrize(("mib", "text"), [(0, "0 GiB"), (8192, "8 GiB"), (1500, "1500 MiB")])
def test_memory_for_people(mib, text) -> None:
    assert show_mib(mib) == text


def violation(rule: str, effect: Effect) -> Violation:
    return Violation(rule=rule, effect=effect, message=f"{rule} spoke", fix="do this")


VIOLATIONS = st.lists(
    st.builds(violation, st.sampled_from("abcdef"), st.sampled_from(Effect)), max_size=8
)


@spec("PC-2")
@given(VIOLATIONS, VIOLATIONS)
def test_the_strongest_enforced_effect_decides_and_shadow_changes_nothing(spoken, shadow) -> None:
    decision = decide_from(spoken, shadow=shadow)
    strongest = max((v.effect for v in spoken), key=lambda e: e.rank, default=Effect.ALLOW)
    assert decision.effect is strongest
    assert decision.allowed == (strongest in {Effect.ALLOW, Effect.WARN})
    assert decision == decide_from(reversed(spoken), shadow=shadow)
    assert set(decision.decisive) == {v for v in spoken if v.effect is strongest}
    assert decision.effect is decide_from(spoken).effect


@spec("PC-2")
@given(VIOLATIONS, VIOLATIONS)
def test_another_rule_never_weakens_a_decision(spoken, more) -> None:
    assert decide_from([*spoken, *more]).effect.rank >= decide_from(spoken).effect.rank


def test_the_order_of_effects() -> None:
    assert sorted(Effect, key=lambda e: e.rank) == [
        Effect.ALLOW,
        Effect.WARN,
        Effect.REQUIRE_APPROVAL,
        Effect.DENY,
    ]


def test_a_decision_explains_itself_and_is_written_canonically() -> None:
    decision = decide_from(
        [violation("b", Effect.DENY), violation("a", Effect.DENY), violation("c", Effect.WARN)],
        obligations=[Obligation("z"), Obligation("a", {"k": 1})],
    )
    assert decision.explain() == "a spoke b spoke"
    assert [o.type for o in decision.obligations] == ["a", "z"]
    assert json.loads(canonical_json(decision.as_json()))["effect"] == "deny"
    assert decision.violations[0].as_json()["mode"] == Mode.ENFORCE
    assert Decision(Effect.ALLOW).explain() == "Nothing forbids it."


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CharterError, 500),
        (InvalidInputError, 422),
        (UnauthenticatedError, 401),
        (ForbiddenError, 403),
        (NotFoundError, 404),
        (ConflictError, 409),
        (TooManyError, 429),
        (UnavailableError, 503),
    ],
)
def test_every_error_has_a_status_a_code_and_a_next_step(error, status) -> None:
    raised = error("No.", fix="Do this.", details={"limit": 1})
    assert (raised.status, raised.message, raised.fix) == (status, "No.", "Do this.")
    assert raised.code == error.code
    assert error("No.", fix="Do this.", code="other").code == "other"
