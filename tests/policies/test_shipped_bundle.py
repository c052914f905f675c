"""The shipped policies: their own tests, the tables, and that nothing about a rule is forgotten."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from charter.adapters.rego.describe import describe_rules
from charter.adapters.rego.engine import RegorusEngine
from charter.adapters.rego.load import shipped_bundle
from charter.adapters.rego.testing import run_tests
from charter.core.policy.decide import decide
from charter.core.policy.result import PolicyOutcome
from tests.policies.documents import base, merged, spec
from tests.spec import spec as proves

POLICIES = Path(__file__).parents[2] / "src/charter/policies"
CASES = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in sorted((POLICIES / "tests/cases").glob("*.yaml"))
    for case in yaml.safe_load(file.read_text())
]


@pytest.fixture(scope="module")
def engine() -> RegorusEngine:
    return RegorusEngine(shipped_bundle())


@proves("PC-2", "AG-1", "AP-5", "RG-1", "CA-3", "SC-3")
@pytest.mark.parametrize("case", CASES)
def test_the_tables(engine: RegorusEngine, case: dict[str, Any]) -> None:
    document = merged(base(case["base"]), case.get("change", {}))
    document = merged(document, spec(**case["spec"])) if "spec" in case else document
    decision = engine.decide(document)
    spoken = sorted(v.rule for v in decision.violations)
    assert (decision.effect.value, spoken) == (case["effect"], case.get("rules", []))
    if "approvers" in case:
        assert list(decision.decisive[0].approvers) == case["approvers"]
    if "requires" in case:
        assert list(decision.decisive[0].requires) == case["requires"]
    if "message" in case:
        assert decision.decisive[0].message == case["message"]


@proves("PC-4")
def test_the_bundles_own_tests_pass_and_reach_every_line() -> None:
    report = run_tests(shipped_bundle(), coverage=True)
    assert [test.show() for test in report.failures] == []
    assert report.passed
    assert len(report.tests) > 100
    assert {entry.file: entry.missed for entry in report.coverage if entry.missed} == {}


@proves("PC-3")
def test_the_layout_of_the_starter_set() -> None:
    files = shipped_bundle().files
    assert {
        "admission/workspace-limits.rego",
        "admission/template-validation.rego",
        "admission/security-controls.rego",
        "admission/agent-permissions.rego",
        "runtime/idle-timeout.rego",
        "runtime/network-policies.rego",
        "runtime/agent-runtime-limits.rego",
        "ai-governance/llm-provider-allowlist.rego",
        "ai-governance/token-budget-limits.rego",
        "ai-governance/data-classification.rego",
        "compliance/soc2-controls.rego",
        "compliance/hipaa-controls.rego",
        "compliance/eu-ai-act-controls.rego",
        "tests/workspace-limits_test.rego",
        "tests/agent-permissions_test.rego",
        "docs/policy-guide.md",
        "docs/change-log.md",
    } <= set(files)


@proves("PC-3")
def test_every_rule_is_described_tested_and_documented() -> None:
    bundle = shipped_bundle()
    rules = describe_rules(bundle)
    assert len(rules) >= 220
    tested = "".join(bundle.text(path) for path in bundle.test_modules)
    guide = bundle.text("docs/policy-guide.md")
    for rule in rules:
        assert re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+", rule.id), rule
        assert rule.title != rule.id, rule.id
        assert rule.fix.endswith("."), rule.id
        assert rule.owner, rule.id
        assert rule.controls, rule.id
        assert f'fires("{rule.id}"' in tested, f"{rule.id} has no test in which it fires"
        assert f'silent("{rule.id}"' in tested, f"{rule.id} has no test in which it is silent"
        assert f"`{rule.id}`" in guide, f"{rule.id} is not in docs/policy-guide.md"
        assert f'"id": "{rule.id}"' in rule.text, f"{rule.id} says another id than its metadata"


def test_the_profile_is_kept() -> None:
    bundle = shipped_bundle()
    assert RegorusEngine(bundle).notices == ()
    for path in (*bundle.modules, *bundle.test_modules):
        assert "import rego.v1" in bundle.text(path), path


def test_numbers_stand_in_data_only() -> None:
    bundle = shipped_bundle()
    for path in bundle.modules:
        if path.startswith("lib/"):
            continue
        code = "\n".join(line for line in bundle.text(path).split("\n") if line[:1] != "#")
        code = re.sub(r'"[^"\n]*"|`[^`]*`', "", code)
        numbers = {int(found) for found in re.findall(r"(?<![\w.])\d+(?![\w.])", code)}
        # 0 and 1 count and index; 100 is a percentage, 10^9 the nanoseconds of a second.
        assert numbers <= {0, 1, 100, 1_000_000_000}, path


def test_the_guide_of_fields_names_what_the_rules_read() -> None:
    root = Path(__file__).parents[2]
    guide = (root / "docs/reference/policy-input.md").read_text()
    settings = shipped_bundle().settings()
    actions: Any = settings["actions"]
    for action, entry in actions["actions"].items():
        assert f"`{action}`" in guide, action
        for path in entry["required"]:
            assert f"`{'.'.join(path)}`" in guide, path
    for paths in actions["subjects"].values():
        for path in paths:
            assert f"`{'.'.join(path)}`" in guide, path


def test_the_policy_knows_every_permission() -> None:
    from charter.core.access.permissions import Permission  # noqa: PLC0415

    assert RegorusEngine(shipped_bundle()).data.actions >= {p.value for p in Permission}


def test_a_replay_gives_the_same_decision() -> None:
    document = merged(base("person creates"), spec(resources={"cpu": 96}))
    answers = [RegorusEngine(shipped_bundle()).ask(document) for _ in range(3)]
    assert all(isinstance(answer, PolicyOutcome) for answer in answers)
    decisions = [decide(document, (), answer).as_json() for answer in answers]
    assert decisions[0] == decisions[1] == decisions[2]
