"""Small bundles for the tests of the author's tools."""

from __future__ import annotations

from charter.adapters.rego.load import shipped_bundle
from charter.core.policy.bundle import Bundle

RULE = "package p\n\nimport rego.v1\nimport future.keywords.not\n\n"
NOTE = '# METADATA\n# title: "T"\n# custom: {id: p/x, severity: low, fix: "Do."}\n'
FIRES = (
    "package p_test\n\nimport rego.v1\n\n"
    'test_x if data.p.deny["No."] with input as {"subject": {"id": "p/x"}}\n'
)


def with_rules(text: str, **files: str) -> Bundle:
    """The shipped aggregator and data with these rules and tests and no others."""
    shipped = shipped_bundle()
    nothing = dict.fromkeys(p for p in shipped.modules if not p.startswith("lib/"))
    empty_rules = {
        "data/enforcement.json": '{"rules": {}}',
        "data/approvals.json": '{"deadline_seconds": 60, "reminder_seconds": 60, "rules": {}, '
        '"fallback": {"approvers": ["team-lead"], "approvals_needed": 1, "requires": [], '
        '"grant_seconds": null}}',
    }
    tests = dict.fromkeys((*shipped.test_modules, *cases(shipped)))
    return shipped.with_files({**nothing, **tests, **empty_rules, "own.rego": text, **files})


STUB = (
    "package charter\n\nimport rego.v1\n\n"
    "decision := {said | some said in data.charter.sources.spoken}\n"
)


def to_lint(text: str, **files: str) -> Bundle:
    """The same with an aggregator of one line: quick to read, and it decides nothing."""
    facts = "package charter.facts\n\nimport rego.v1\n\naction := input.action.name\n"
    return with_rules(text, **{"lib/decision.rego": STUB, "lib/facts.rego": facts, **files})


def cases(bundle: Bundle) -> list[str]:
    """The tables of a bundle."""
    return [p for p in bundle.files if p.startswith("tests/cases/")]
