"""How strict the policy is where: the enforcement data, and what an exemption leaves behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from charter.adapters.rego.assemble import assemble
from charter.adapters.rego.load import shipped_bundle
from charter.adapters.rego.syntax import PolicyRefusedError
from charter.core.kernel.decision import Mode, SparedBy
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import PolicyData
from charter.core.policy.result import PolicyFailure, PolicyOutcome, parse_outcome
from charter.core.policy.strictness import ENVIRONMENTS
from tests.spec import spec


def _documents(**enforcement: object) -> dict[str, Any]:
    documents: dict[str, Any] = json.loads(json.dumps(shipped_bundle().settings()))
    documents["enforcement"] |= enforcement
    return documents


@spec("PC-14")
def test_the_shipped_strictness() -> None:
    here = PolicyData.from_bundle(shipped_bundle()).enforcement.environments
    assert set(here) == set(ENVIRONMENTS)
    assert "compliance/data-class-missing" in here["production"].strict
    assert dict(here["experimental"].severity) == {"low": Mode.DRY_RUN, "medium": Mode.WARN}
    assert here["experimental"].rules["runtime/session-too-old"] is Mode.ENFORCE
    assert not here["staging"].strict
    assert not here["staging"].rules


def test_data_without_environments_knows_the_usual_ones() -> None:
    documents = _documents()
    del documents["enforcement"]["environments"]
    data = PolicyData.from_documents(documents)
    assert set(data.enforcement.environments) == set(ENVIRONMENTS)


@spec("PC-14")
@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"severity": {"critical": "warn"}}, "severity.critical is not one of low, medium, high"),
        ({"severity": {"low": "off"}}, "severity.low must be one of dry-run, warn"),
        ({"rules": {"a/b": "loose"}}, "rules.a/b must be one of off, dry-run, warn, enforce"),
        ({"strict": "all"}, "strict must be a list of texts"),
        ({"mode": "warn"}, "environments.lab.mode is not a known entry"),
    ],
)
def test_a_wrong_entry_is_named(entry: object, problem: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be used") as refusal:
        PolicyData.from_documents(_documents(environments={"lab": entry}))
    assert problem in str(refusal.value.message)


@spec("PC-7", "PC-14")
@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"strict": ["no/such-rule"]}, "lab.strict names no/such-rule, which no rule has"),
        ({"rules": {"no/such-rule": "off"}}, "lab.rules names no/such-rule, which no rule has"),
        ({"strict": ["agent/approves"]}, "lab.strict names agent/approves, which never warns"),
    ],
)
def test_rule_ids_in_the_data_must_mean_something(entry: object, problem: str) -> None:
    changed = json.dumps(_documents(environments={"lab": entry})["enforcement"])
    with pytest.raises(PolicyRefusedError) as refusal:
        assemble(shipped_bundle().with_files({"data/enforcement.json": changed}))
    assert problem in refusal.value.message


def _exempted(**scope: str) -> dict[str, Any]:
    documents = _documents()
    documents["exemptions"]["exemptions"] = [
        {
            "rule": "hipaa/phi-region",
            "owner": "security-admin",
            "reason": "Migration",
            "scope": scope,
            "expires_at": "2027-01-31T00:00:00Z",
        }
    ]
    return documents


@spec("PC-7")
def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"scope.planet is not a known entry"):
        PolicyData.from_documents(_exempted(team="team_1", planet="mars"))


def _shadow(**extra: object) -> str:
    silent = {"id": "a/b", "effect": "deny", "mode": "enforce", "message": "No.", "fix": "Ask."}
    answer = {"effect": "allow", "violations": [], "obligations": [], "evaluated": 1}
    return json.dumps(answer | {"shadow": [silent | extra]})


@spec("PC-7")
def test_the_shadow_says_which_exemption_spared_a_rule() -> None:
    exemption = {"owner": "security-admin", "reason": "Migration", "expires_at": "2027-01-31"}
    outcome = parse_outcome(_shadow(exemption=exemption))
    assert isinstance(outcome, PolicyOutcome)
    (spared,) = outcome.shadow
    assert spared.exemption == SparedBy("security-admin", "Migration", "2027-01-31")
    assert spared.as_json()["exemption"] == exemption


def test_without_an_exemption_a_violation_is_written_as_before() -> None:
    outcome = parse_outcome(_shadow())
    assert isinstance(outcome, PolicyOutcome)
    assert "exemption" not in outcome.shadow[0].as_json()


@pytest.mark.parametrize("exemption", ["yes", {}, {"owner": 1, "reason": "", "expires_at": ""}])
def test_a_malformed_exemption_is_a_failure(exemption: object) -> None:
    assert isinstance(parse_outcome(_shadow(exemption=exemption)), PolicyFailure)
