"""Everything that the specification's source asks of policies is answered by the starter set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from charter.adapters.rego.describe import RuleDescription, describe_rules
from charter.adapters.rego.load import shipped_bundle
from tests.spec import spec
from tools.reference.spec_coverage import known_ids

HERE = Path(__file__).parent
SEED: dict[str, list[dict[str, Any]]] = yaml.safe_load((HERE / "seed.yaml").read_text())
ENTRIES = [
    pytest.param(entry, id=f"{section}: {entry['fact']}")
    for section, entries in SEED.items()
    for entry in entries
]
FILES = (
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
)


@pytest.fixture(scope="module")
def rules() -> dict[str, RuleDescription]:
    return {rule.id: rule for rule in describe_rules(shipped_bundle())}


@pytest.fixture(scope="module")
def tested() -> str:
    bundle = shipped_bundle()
    tables = "".join(bundle.text(path) for path in bundle.files if path.startswith("tests/cases/"))
    return tables + "".join(bundle.text(path) for path in bundle.test_modules)


@spec("PC-3")
@pytest.mark.parametrize("entry", ENTRIES)
def test_each_demand_has_its_answer(
    entry: dict[str, Any], rules: dict[str, RuleDescription], tested: str
) -> None:
    if "mechanism" in entry:
        assert set(entry) == {"fact", "mechanism", "spec"}
        assert entry["spec"] in known_ids()
        return
    assert set(entry) == {"fact", "rules"}
    for name in entry["rules"]:
        rule = rules[name]
        assert name in tested
        assert rule.severity in {"low", "medium", "high", "critical"}
        assert rule.fix
        assert rule.controls
        assert rule.owner


@spec("PC-3")
def test_few_demands_are_left_to_other_mechanisms() -> None:
    entries = [entry for section in SEED.values() for entry in section]
    elsewhere = [entry["fact"] for entry in entries if "mechanism" in entry]
    assert len(entries) >= 150
    assert len(elsewhere) <= 24, elsewhere


@spec("PC-3")
def test_every_rule_answers_a_demand(rules: dict[str, RuleDescription]) -> None:
    named = {
        name for section in SEED.values() for entry in section for name in entry.get("rules", ())
    }
    assert set(rules) - named == set()


@spec("PC-3")
def test_the_repository_has_the_files_of_the_layout() -> None:
    assert set(FILES) <= set(shipped_bundle().files)


@spec("PC-3")
def test_rules_about_agents_stand_apart(rules: dict[str, RuleDescription]) -> None:
    for rule in rules.values():
        if rule.id.startswith("agent/"):
            assert re.search(r"/agent-", rule.file), f"{rule.id} stands in {rule.file}"
