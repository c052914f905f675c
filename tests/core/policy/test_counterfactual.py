"""The search for the smallest change: what it proposes passes, and no part of it does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.decision import Effect
from charter.core.policy.asked import AMOUNTS, Facts, current, with_change
from charter.core.policy.choices import Known
from charter.core.policy.counterfactual import Change, Proposal, Search, smallest_change
from tests.policies.documents import merged, person_creates, person_sponsors, spec
from tests.spec import spec as proves

SETTINGS = shipped_bundle().settings()
TEMPLATES = (
    {
        "name": "python",
        "version": "1.0.0",
        "approved": True,
        "for_kinds": ["human", "agent"],
        "use_instead": None,
    },
)
Rule = tuple[str, int, str]


def facts(document: dict[str, Any], *, developer: bool = True) -> dict[str, Any]:
    """The stored facts of a document, of a developer of the whole organisation."""
    document = copy.deepcopy(document)
    if "request" in document:
        document["resource"]["spec"] = copy.deepcopy(document["request"]["object"]["spec"])
    role = "developer" if developer else "read-only"
    bound = {"scope_kind": "organisation", "scope_id": "organisation", "expires_at": None}
    return {
        "document": document,
        "subject": {
            "kind": "human",
            "id": "per_dana",
            "handle": "dana",
            "teams": ["team_1"],
            "active": True,
            "bindings": [{"role": role, **bound}],
        },
        "resource": {
            "kind": document["resource"]["kind"],
            "owner_id": "per_dana",
            "owner_kind": "human",
            "team_id": "team_1",
            "project_id": "prj_1",
        },
        "quota": copy.deepcopy(document["context"].get("quota")),
        "grants": [],
        "known_obligations": [],
    }


class Evaluator:
    """Decides by rules (field, largest amount, effect), and counts."""

    def __init__(self, rules: Sequence[Rule], *, constant: str | None = None) -> None:
        self.rules = rules
        self.constant = constant
        self.asked = 0

    def __call__(self, many: Sequence[Facts]) -> list[Mapping[str, Any]]:
        self.asked += len(many)
        return [self.decide(one) for one in many]

    def decide(self, one: Facts) -> Mapping[str, Any]:
        spoken = [
            {"rule": f"{field}-{most}", "effect": effect}
            for field, most, effect in self.rules
            if current(one, field) > most
        ]
        if self.constant is not None:
            spoken.append({"rule": "constant", "effect": self.constant})
        ranks = [Effect(v["effect"]) for v in spoken]
        strongest = max(ranks, key=lambda e: e.rank, default=Effect.ALLOW)
        return {"effect": strongest.value, "violations": spoken}


def search(document: dict[str, Any], rules: Sequence[Rule], **more: Any) -> Search:
    return smallest_change(
        facts(document), SETTINGS, Known(TEMPLATES), Evaluator(rules, **more), most=400
    )


def applied(base: Facts, changes: Sequence[Change]) -> Facts:
    found = base
    for change in sorted(changes, key=lambda c: (c.field != "size", c.field)):
        value = change.after
        if change.field == "template":
            value = next(t for t in TEMPLATES if f"{t['name']}@{t['version']}" == value)
        found = with_change(found, change.field, value, SETTINGS)
    return found


limits = st.lists(
    st.tuples(
        st.sampled_from(sorted(AMOUNTS)),
        st.integers(1, 400_000),
        st.sampled_from(["deny", "require_approval", "warn"]),
    ),
    max_size=5,
)
amounts = st.fixed_dictionaries(
    {
        "cpu": st.integers(1, 300),
        "memoryMib": st.integers(1, 1024).map(lambda gib: gib * 1024),
        "diskMib": st.integers(1, 1024).map(lambda gib: gib * 1024),
        "gpu": st.integers(0, 16),
    }
)


@proves("PC-13")
@settings(max_examples=60, deadline=None)
@given(limits, amounts)
def test_what_is_proposed_passes_and_no_part_of_it_does(
    rules: list[Rule], asked: dict[str, int]
) -> None:
    document = merged(person_creates(), spec(resources=asked))
    found = search(document, rules)
    evaluator = Evaluator(rules)
    base = facts(document)
    before = Effect(evaluator.decide(base)["effect"])
    again = search(document, rules)
    assert canonical_json([shown(p) for p in found.proposals]) == canonical_json(
        [shown(p) for p in again.proposals]
    )
    assert found.evaluations <= 400
    for proposal in found.proposals:
        after = Effect(evaluator.decide(applied(base, proposal.changes))["effect"])
        assert after is proposal.effect
        assert after.rank < before.rank
        assert applied(base, proposal.changes) == proposal.facts
        for count in range(len(proposal.changes)):
            for part in combinations(proposal.changes, count):
                less = Effect(evaluator.decide(applied(base, part))["effect"])
                assert less.rank > after.rank
    if before.rank <= Effect.WARN.rank:
        assert found.proposals == ()


def shown(proposal: Proposal) -> dict[str, Any]:
    return {
        "changes": [change.as_json() for change in proposal.changes],
        "effect": proposal.effect.value,
    }


@proves("PC-13")
@pytest.mark.parametrize("limit", [1, 7, 24, 31, 39])
def test_the_nearest_number_is_found_wherever_the_limit_stands(limit: int) -> None:
    document = merged(person_creates(), spec(resources={"cpu": 40}))
    (proposal,) = search(document, [("vcpu", limit, "require_approval")]).proposals
    assert proposal.changes == (Change("vcpu", 40, limit),)


def test_memory_is_proposed_in_whole_gibibytes() -> None:
    document = merged(person_creates(), spec(resources={"memoryMib": 64 * 1024}))
    (proposal,) = search(document, [("memory_mib", 20_000, "require_approval")]).proposals
    assert proposal.changes == (Change("memory_mib", 65536, 19 * 1024),)


def test_an_approval_in_place_of_a_refusal_is_second_best() -> None:
    document = merged(person_creates(), spec(resources={"cpu": 200}))
    rules: list[Rule] = [("vcpu", 128, "deny"), ("vcpu", 32, "require_approval")]
    first, second = search(document, rules).proposals
    assert (first.effect, first.changes) == (Effect.ALLOW, (Change("vcpu", 200, 32),))
    assert (second.effect, second.changes) == (
        Effect.REQUIRE_APPROVAL,
        (Change("vcpu", 200, 128),),
    )


def test_what_no_choice_can_change_is_named() -> None:
    document = merged(person_creates(), spec(resources={"cpu": 200}))
    found = search(document, [("vcpu", 128, "deny")], constant="deny")
    assert found.proposals == ()
    assert found.stubborn == ("constant",)
    assert not found.exhausted


def test_the_bound_holds_and_is_told() -> None:
    document = merged(person_creates(), spec(resources={"cpu": 200}))
    evaluator = Evaluator([("vcpu", 128, "deny")], constant="deny")
    found = smallest_change(facts(document), SETTINGS, Known(), evaluator, most=10)
    assert evaluator.asked <= 10
    assert found.exhausted


def test_many_fields_at_once() -> None:
    document = merged(
        person_creates(),
        spec(resources={"cpu": 200, "memoryMib": 2048 * 1024, "diskMib": 2048 * 1024, "gpu": 9}),
    )
    rules: list[Rule] = [
        ("vcpu", 32, "deny"),
        ("memory_mib", 131072, "deny"),
        ("disk_mib", 102400, "deny"),
        ("gpu", 0, "deny"),
    ]
    (proposal,) = search(document, rules).proposals
    assert {c.field: c.after for c in proposal.changes} == {
        "vcpu": 32,
        "memory_mib": 131072,
        "disk_mib": 102400,
        "gpu": 0,
    }


def test_a_change_is_made_everywhere_in_the_facts() -> None:
    base = facts(merged(person_creates(), spec(resources={"cpu": 40})))
    changed = with_change(base, "vcpu", 32, SETTINGS)
    assert base["document"]["resource"]["spec"]["resources"]["cpu"] == 40
    document = changed["document"]
    assert document["resource"]["spec"] == document["request"]["object"]["spec"]
    assert document["resource"]["spec"]["resources"]["cpu"] == 32
    assert changed["quota"]["wanted"] == document["context"]["quota"]["wanted"]
    assert changed["quota"]["wanted"]["vcpu"] == base["quota"]["wanted"]["vcpu"] - 8


def test_another_size_keeps_what_the_request_overrides() -> None:
    base = facts(merged(person_creates(), spec(resources={"cpu": 40})))
    changed = with_change(base, "size", "medium", SETTINGS)
    resources = changed["document"]["resource"]["spec"]["resources"]
    assert resources == {"cpu": 40, "memoryMib": 32768, "diskMib": 102400, "gpu": 0}


def test_a_deadline_moves_with_its_minutes() -> None:
    document = person_sponsors()
    document["resource"]["spec"]["minutes"] = 600
    changed = with_change(facts(document), "minutes", 30, SETTINGS)
    assert changed["document"]["resource"]["spec"]["deadline"] == "2026-03-02T09:30:00.000000Z"


def test_what_describes_the_work_is_never_proposed() -> None:
    document = merged(person_creates(), {"resource": {"labels": {"data": "phi", "k": "v"}}})
    found = search(document, [], constant="deny")
    assert "labels.data" not in found.fields
    assert "labels.k" in found.fields


def test_a_place_of_another_class_is_never_proposed() -> None:
    places = [
        {
            "team": "team_2",
            "project": None,
            "team_name": name,
            "project_name": None,
            "data_class": name,
            "environment": "development",
            "lines": [],
        }
        for name in ("internal", "public")
    ]

    def decide(many: Sequence[Facts]) -> list[Mapping[str, Any]]:
        elsewhere = [one["document"]["resource"]["team"] == "team_2" for one in many]
        no = {"effect": "deny", "violations": [{"rule": "team", "effect": "deny"}]}
        return [{"effect": "allow", "violations": []} if moved else no for moved in elsewhere]

    found = smallest_change(
        facts(person_creates()), SETTINGS, Known(places=places), decide, most=400
    )
    assert [c.as_json() for p in found.proposals for c in p.changes] == [
        {"field": "place", "from": None, "to": "team internal"}
    ]
    moved = found.proposals[0].facts
    assert moved["resource"]["team_id"] == "team_2"
    assert moved["document"]["subject"]["roles"] == ["developer"]
