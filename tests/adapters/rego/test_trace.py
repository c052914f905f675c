"""The trace: which statement held with which values, in every way of writing a rule."""

from __future__ import annotations

from typing import Any

import pytest

from charter.adapters.rego.load import shipped_bundle
from charter.adapters.rego.syntax import PolicyRefusedError
from charter.adapters.rego.trace import Tracer, shortened
from charter.adapters.rego.worker import PolicyWorker, WorkerFailedError, WorkerLimits
from charter.core.kernel.canonical import canonical_json
from tests.adapters.rego.test_engine import IS_ADMIN_NEW, IS_ADMIN_OLD, NEW, OLD, with_rules
from tests.policies.documents import agent_creates, merged, person_creates, spec
from tests.spec import spec as proves

HEAD = "package p\n\nimport rego.v1\nimport future.keywords.not\n\n"


@pytest.fixture(scope="module")
def shipped() -> Tracer:
    return Tracer(shipped_bundle())


def bodies(tracer: Tracer, document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tracer.trace(canonical_json(document))["bodies"]
    return found


def traced(rules: str, document: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return bodies(Tracer(with_rules(HEAD + rules)), document or person_creates())


def seen(statement: dict[str, Any]) -> dict[str, Any]:
    return {v["path"] or v["text"]: v.get("value", "undefined") for v in statement["values"]}


@proves("PC-13")
def test_a_rule_that_fired_tells_line_fact_and_setting(shipped: Tracer) -> None:
    document = merged(person_creates(), spec(resources={"cpu": 40}))
    (fired,) = [b for b in bodies(shipped, document) if b["state"] == "fired"]
    assert (fired["id"], fired["file"]) == (
        "admission/cpu-needs-approval",
        "admission/workspace-limits.rego",
    )
    source = shipped_bundle().text(fired["file"]).split("\n")
    (solution,) = fired["solutions"]
    for statement in solution["statements"]:
        assert source[statement["line"] - 1].strip() == statement["text"]
    assert seen(solution["statements"][1]) == {
        "input.request.object.spec.resources.cpu": 40,
        "data.settings.limits.cpu_without_approval": 32,
    }
    helper = solution["statements"][0]["values"][0]
    assert helper["text"] == "facts.placing"
    assert helper["path"] is None
    assert helper["at"].startswith("lib/facts.rego:")
    assert solution["said"]["message"] == "40 vCPU are more than the 32 that need no approval."


@proves("PC-13")
@pytest.mark.parametrize(
    ("cpu", "near"),
    [(2, False), (23, False), (24, True), (31, True), (32, True), (40, False)],
)
def test_what_nearly_fired_is_a_comparison_within_a_quarter(
    shipped: Tracer, cpu: int, *, near: bool
) -> None:
    document = merged(person_creates(), spec(resources={"cpu": cpu}))
    found = {b["id"]: b for b in bodies(shipped, document)}
    rule = found["admission/cpu-needs-approval"]
    assert (rule["near"] is not None) is near
    if near:
        assert (rule["near"]["left"], rule["near"]["right"]) == (cpu, 32)
        assert rule["near"]["line"] == rule["stopped_line"]
    # Asking for no GPU is not nearly asking for one; an agent's rule is not nearly a person's.
    assert found["admission/gpu-needs-approval"]["near"] is None
    assert found["agent/cpu-above-maximum"]["near"] is None


@proves("PC-13")
def test_each_solution_has_its_own_values(shipped: Tracer) -> None:
    document = merged(
        agent_creates(),
        {"resource": {"data_class": "confidential"}}
        | spec(network={"mode": "none", "egressAllowlist": ["a.example.org", "b.example.org:443"]}),
    )
    (fired,) = [b for b in bodies(shipped, document) if b["id"] == "ai/confidential-destinations"]
    hosts = [
        [v["value"] for s in solution["statements"] for v in s["values"] if v["text"] == "host"]
        for solution in fired["solutions"]
    ]
    assert hosts == [["a.example.org"], ["b.example.org"]]
    entry = fired["solutions"][0]["statements"][4]["values"][0]
    assert entry["path"] == "input.request.object.spec.network.egressAllowlist[*]"


@proves("PC-1", "PC-13")
@pytest.mark.parametrize("text", [OLD + IS_ADMIN_OLD, NEW + IS_ADMIN_NEW], ids=["old", "new"])
def test_the_example_policy_is_traced_in_both_syntaxes(text: str) -> None:
    document = merged(
        person_creates(), spec(agent=True, template={"approved": False}, resources={"cpu": 33})
    )
    found = bodies(Tracer(with_rules(text)), document)
    assert [b["state"] for b in found] == ["fired"] * 3
    assert {b["default_id"] for b in found} == {"workspace.admission/deny"}
    values: dict[str, Any] = {}
    for body in found:
        for statement in body["solutions"][0]["statements"]:
            values |= seen(statement)
    assert values["input.request.object.spec.resources.cpu"] == 33
    assert values["input.request.object.spec.template.approved"] is False
    admin = merged(document, {"subject": {"roles": ["platform-admin"]}})
    states = [b["state"] for b in bodies(Tracer(with_rules(text)), admin)]
    assert sorted(states) == ["fired", "fired", "stopped"]


@proves("PC-13")
@pytest.mark.parametrize(
    ("rule", "state", "expected"),
    [
        ('deny contains "x" if not input.no.such', "fired", {"input.no.such": "undefined"}),
        (
            'deny contains "x" if "developer" in input.subject.roles',
            "fired",
            {"input.subject.roles": ["developer"]},
        ),
        (
            'deny contains "x" if { every r in input.subject.roles { startswith(r, "dev") } }',
            "fired",
            {"input.subject.roles": ["developer"]},
        ),
        (
            'deny contains "x" if { n := count([r | some r in input.subject.roles]); n > 5 }',
            "stopped",
            {"n": 1},
        ),
        (
            'deny contains "x" if twice(input.context.n) > 3\n\ntwice(n) := n * 2',
            "fired",
            {"twice(input.context.n)": 4, "input.context.n": 2},
        ),
        (
            'deny contains "x" if { some i; input.subject.roles[i] == "developer"; i == 0 }',
            "fired",
            {"input.subject.roles[*]": "developer", "i": 0},
        ),
        (
            'deny contains "x" if input.subject.id == "a"',
            "stopped",
            {"input.subject.id": "per_dana"},
        ),
        ('deny contains "x" if input.a == 1 with input as {"a": 1}', "fired", {"input.a": 1}),
        ('deny contains msg if { msg := sprintf("%v", [input.subject.id]) }', "fired", {}),
        ('deny contains "x"', "fired", {}),
    ],
)
def test_ways_of_writing_a_rule(rule: str, state: str, expected: dict[str, Any]) -> None:
    document = merged(person_creates(), {"context": {"n": 2}})
    (body,) = traced(rule, document)
    assert body["state"] == state, body
    statements = body["solutions"][0]["statements"] if state == "fired" else body["statements"]
    values: dict[str, Any] = {}
    for statement in statements:
        values |= seen(statement)
    assert {name: values.get(name) for name in expected} == expected


def test_several_bodies_are_told_apart() -> None:
    found = traced(
        'deny contains "x" if input.subject.kind == "agent"\n\n'
        'deny contains "x" if input.subject.kind == "human"\n'
    )
    assert [(b["state"], b["line"]) for b in found] == [("stopped", 6), ("fired", 8)]


@proves("PC-13")
def test_what_cannot_be_looked_into_is_said_and_silences_nothing_else() -> None:
    rules = (
        'deny contains "fine" if input.subject.kind == "human"\n\n'
        'warn contains "number" if to_number(input.subject.id) > 1\n\n'
        'warn contains "share" if {\n\tleft := count(input.subject.teams) - 1\n'
        "\tleft > 0\n\t10 / left > 1\n}\n"
    )
    answer = Tracer(with_rules(HEAD + rules)).trace(canonical_json(person_creates()))
    assert [b["state"] for b in answer["bodies"]] == ["fired", "unknown", "stopped"]
    assert answer["notes"] == [
        "1 of 3 rule bodies could not be looked into; the decision itself does not depend on that."
    ]


def test_a_worker_traces_as_this_process_does(shipped: Tracer) -> None:
    document = canonical_json(person_creates())
    with PolicyWorker() as worker:
        worker.load(shipped_bundle())
        assert worker.trace(document) == shipped.trace(document)


def test_a_rule_without_end_ends_the_worker_and_not_the_caller() -> None:
    digits = "numbers.range(1, 400)"
    rule = (
        f"deny contains x if {{ input.go; some a in {digits}; some b in {digits}; "
        f'some c in {digits}; a * b * c < 0; x := "x" }}'
    )
    with PolicyWorker(WorkerLimits(task_cpu_seconds=2, task_seconds=20)) as worker:
        worker.load(with_rules(HEAD + rule))
        with pytest.raises(WorkerFailedError):
            worker.trace(canonical_json({**person_creates(), "go": True}))


def test_a_bundle_that_cannot_decide_is_refused() -> None:
    with pytest.raises(PolicyRefusedError):
        Tracer(with_rules(HEAD + 'deny contains "x" if {\n\tx > 1\n\tx := input.y\n}'))


def test_long_values_are_shortened_and_say_so() -> None:
    assert shortened(list(range(20)))[-1] == "… 8 more"
    assert shortened("x" * 400).endswith(" …")
    assert shortened({str(n): n for n in range(20)})["…"] == "8 more"
    assert shortened([[[[[["deep"]]]]]]) == [[[[["…"]]]]]
