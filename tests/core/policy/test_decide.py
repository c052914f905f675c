"""The merge of invariants, policy and grants: the laws that hold for every input."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.kernel.decision import Effect, Obligation, Violation
from charter.core.policy.decide import (
    UNAVAILABLE_RULE,
    UNKNOWN_OBLIGATION_RULE,
    GrantView,
    covers,
    decide,
    resource_digest,
    used_grants,
)
from charter.core.policy.result import PolicyFailure, PolicyOutcome, parse_outcome
from tests.policies.documents import merged, person_creates, spec
from tests.spec import spec as proves

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DOCUMENT = person_creates()
RULES = ("a/one", "a/two", "b/three")


def violation(rule: str, effect: Effect, **more: Any) -> Violation:
    return Violation(rule, effect, f"{rule} speaks.", "Do otherwise.", approvers=("lead",), **more)


def outcome(*violations: Violation, obligations: tuple[Obligation, ...] = ()) -> PolicyOutcome:
    return PolicyOutcome(violations, obligations, (), 10)


def grant(*rules: str, **changes: Any) -> GrantView:
    return replace(
        GrantView(
            id="grt_1",
            subject_id="per_dana",
            action="workspace.create",
            resource_digest=resource_digest(DOCUMENT),
            rules=frozenset(rules),
            expires_at=NOW + timedelta(seconds=1),
        ),
        **changes,
    )


effects = st.sampled_from([Effect.WARN, Effect.REQUIRE_APPROVAL, Effect.DENY])
reasons = st.lists(st.builds(violation, st.sampled_from(RULES), effects), max_size=5)
grants = st.lists(
    st.builds(lambda rules: grant(*rules), st.sets(st.sampled_from(RULES))), max_size=3
)


@proves("PC-2")
@given(reasons, reasons)
def test_the_effect_is_the_strongest_reason(
    invariants: list[Violation], spoken: list[Violation]
) -> None:
    decision = decide(DOCUMENT, invariants, outcome(*spoken))
    strongest = max((v.effect.rank for v in (*invariants, *spoken)), default=0)
    assert decision.effect.rank == strongest
    assert set(decision.violations) == {*invariants, *spoken}


@given(reasons, reasons, grants, effects)
def test_another_reason_never_loosens(
    invariants: list[Violation], spoken: list[Violation], given: list[GrantView], effect: Effect
) -> None:
    before = decide(DOCUMENT, invariants, outcome(*spoken), given)
    more = violation("c/new", effect)
    assert decide(DOCUMENT, invariants, outcome(*spoken, more), given).effect.rank >= (
        before.effect.rank
    )
    denied = decide(DOCUMENT, [*invariants, violation("c/new", Effect.DENY)], outcome(*spoken))
    assert denied.effect is Effect.DENY


@proves("AP-1", "RG-5")
@given(reasons, reasons, grants)
def test_grants_answer_approvals_and_nothing_else(
    invariants: list[Violation], spoken: list[Violation], given: list[GrantView]
) -> None:
    without = decide(DOCUMENT, invariants, outcome(*spoken))
    with_them = decide(DOCUMENT, invariants, outcome(*spoken), given)
    dropped = set(without.violations) - set(with_them.violations)
    covered = frozenset().union(*(g.rules for g in given))
    assert all(v.effect is Effect.REQUIRE_APPROVAL and v.rule in covered for v in dropped)
    if without.effect is Effect.DENY:
        assert with_them.effect is Effect.DENY


@given(reasons, grants)
def test_an_invariants_approval_is_not_for_grants(
    invariants: list[Violation], given: list[GrantView]
) -> None:
    assert set(decide(DOCUMENT, invariants, outcome(), given).violations) == set(invariants)


@given(reasons, reasons, grants)
def test_the_same_facts_give_the_same_decision(
    invariants: list[Violation], spoken: list[Violation], given: list[GrantView]
) -> None:
    first = decide(DOCUMENT, invariants, outcome(*spoken), given)
    again = decide(DOCUMENT, invariants[::-1], outcome(*spoken[::-1]), given[::-1])
    assert first.as_json() == again.as_json()


@proves("PC-8")
@given(reasons, grants)
def test_a_failure_denies_and_keeps_the_invariants(
    invariants: list[Violation], given: list[GrantView]
) -> None:
    failure = PolicyFailure("policy-engine-error", "The rule at a.rego:1 failed.")
    decision = decide(DOCUMENT, invariants, failure, given)
    assert decision.effect is Effect.DENY
    assert {v.rule for v in decision.violations} == {
        UNAVAILABLE_RULE,
        *(v.rule for v in invariants),
    }
    assert used_grants(DOCUMENT, failure, given) == ()


def test_an_unknown_obligation_denies_and_a_known_one_comes_along() -> None:
    asked = outcome(obligations=(Obligation("notify", {"whom": "owner"}),))
    refused = decide(DOCUMENT, (), asked)
    assert refused.effect is Effect.DENY
    assert [v.rule for v in refused.violations] == [UNKNOWN_OBLIGATION_RULE]
    allowed = decide(DOCUMENT, (), asked, (), frozenset({"notify"}))
    assert (allowed.effect, allowed.obligations) == (Effect.ALLOW, asked.obligations)


APPROVAL = violation("a/one", Effect.REQUIRE_APPROVAL, requires=("justification",))


@proves("AP-5")
def test_what_an_approval_lacks_is_said() -> None:
    (lacking,) = decide(DOCUMENT, (), outcome(APPROVAL)).violations
    assert lacking.requires == ("justification",)
    assert lacking.fix == "Do otherwise. Add first: justification."
    justified = merged(DOCUMENT, {"context": {"justification": "Training run"}})
    (complete,) = decide(justified, (), outcome(APPROVAL)).violations
    assert complete.effect is Effect.REQUIRE_APPROVAL
    assert complete.fix == "Do otherwise."
    blank = merged(DOCUMENT, {"context": {"justification": "  "}})
    assert "Add first" in decide(blank, (), outcome(APPROVAL)).violations[0].fix


@pytest.mark.parametrize(
    "changes",
    [
        {"subject_id": "per_lee"},
        {"action": "workspace.extend"},
        {"resource_digest": "sha256:0"},
        {"rules": frozenset({"a/two"})},
        {"expires_at": NOW},
        {"revoked_at": NOW - timedelta(hours=1)},
    ],
)
def test_a_grant_that_does_not_fit_covers_nothing(changes: dict[str, Any]) -> None:
    given = grant("a/one", **changes)
    assert not covers(given, "a/one", DOCUMENT)
    assert decide(DOCUMENT, (), outcome(APPROVAL), [given]).effect is Effect.REQUIRE_APPROVAL


def test_a_grant_that_fits_is_used_and_named() -> None:
    given = grant("a/one")
    assert decide(DOCUMENT, (), outcome(APPROVAL), [given]).effect is Effect.ALLOW
    assert used_grants(DOCUMENT, outcome(APPROVAL), [given]) == ("grt_1",)


def test_a_grant_to_create_lets_that_workspace_start_again() -> None:
    start = merged(DOCUMENT, {"action": {"name": "workspace.start"}, "resource": {"id": "ws_9"}})
    assert covers(grant("a/one"), "a/one", start)
    larger = merged(start, {"resource": {"spec": {"vcpu": 96}}})
    assert not covers(grant("a/one"), "a/one", larger)
    assert not covers(grant("a/one", action="workspace.start"), "a/one", DOCUMENT)


def test_without_a_readable_time_no_grant_counts() -> None:
    for now in ("ABSENT", 5, "soon", "2026-03-02T09:00:00"):
        document = merged(DOCUMENT, {"context": {"now": now}})
        assert not covers(grant("a/one"), "a/one", document)


def answer(**changes: Any) -> str:
    said = {
        "id": "a/one",
        "effect": "deny",
        "mode": "enforce",
        "severity": "high",
        "message": "No.",
        "fix": "Do otherwise.",
        "controls": ["SOC2 CC6.1"],
        "approvers": [],
        "approvals_needed": 1,
        "requires": [],
        "grant_seconds": None,
        "source": "a.rego:3",
    }
    whole: dict[str, Any] = {
        "effect": "deny",
        "violations": [merged(said, changes.pop("violation", {}))],
        "obligations": [],
        "shadow": [],
        "evaluated": 5,
    }
    return json.dumps(merged(whole, changes))


def test_an_answer_is_read() -> None:
    read = parse_outcome(answer())
    assert isinstance(read, PolicyOutcome)
    (spoken,) = read.violations
    assert (spoken.rule, spoken.effect, spoken.source) == ("a/one", Effect.DENY, "a.rego:3")


@proves("PC-2")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"<undefined>"',
        "{}",
        "[" * 100_000,
        answer(effect="allow"),
        answer(effect="warn"),
        answer(evaluated=0),
        answer(evaluated="ABSENT"),
        answer(evaluated=True),
        answer(violations="none"),
        answer(violations=["no"]),
        answer(obligations="ABSENT"),
        answer(obligations=[{"params": {}}]),
        answer(obligations=[{"type": "notify", "params": []}]),
        answer(shadow=[{}]),
        answer(violation={"id": "ABSENT"}),
        answer(violation={"id": ""}),
        answer(violation={"effect": "maybe"}),
        answer(violation={"effect": "allow"}),
        answer(violation={"mode": "sometimes"}),
        answer(violation={"severity": "huge"}),
        answer(violation={"message": 5}),
        answer(violation={"fix": "ABSENT"}),
        answer(violation={"controls": "SOC2"}),
        answer(violation={"approvals_needed": 0}),
        answer(violation={"grant_seconds": 1.5}),
        answer(effect="require_approval", violation={"effect": "require_approval"}),
    ],
)
def test_a_malformed_answer_is_a_failure(text: str) -> None:
    failure = parse_outcome(text)
    assert isinstance(failure, PolicyFailure)
    assert decide(DOCUMENT, (), failure).effect is Effect.DENY


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_no_answer_whatever_breaks_the_reader(text: str) -> None:
    assert isinstance(parse_outcome(text), PolicyFailure)


def test_the_digest_leaves_the_id_out_and_takes_the_rest_in() -> None:
    digest = resource_digest(DOCUMENT)
    assert digest == resource_digest(merged(DOCUMENT, {"resource": {"id": "ws_7"}}))
    assert digest == resource_digest(merged(DOCUMENT, spec(size="large")))
    for change in ({"owner": "per_lee"}, {"spec": {"vcpu": 3}}, {"labels": {"data": "phi"}}):
        assert digest != resource_digest(merged(DOCUMENT, {"resource": change}))
