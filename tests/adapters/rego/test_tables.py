"""Tables: cases in YAML, their documents, and what a failed one says."""

from __future__ import annotations

import pytest

from charter.adapters.rego.load import shipped_bundle
from charter.adapters.rego.tables import Documents, TableError, cases_of, merged
from charter.adapters.rego.testing import run_tests
from tests.adapters.rego.bundles import NOTE, RULE, with_rules
from tests.policies import documents
from tests.spec import spec as proves

CASES = "tests/cases/own.yaml"
DENIES = (
    RULE + NOTE + 'deny contains {"id": "p/x", "message": "No."} if input.resource.labels.bad\n'
)


@pytest.mark.parametrize(
    "name",
    ["person creates", "agent creates", "person sponsors", "person agent.kill", "agent a.b"],
)
def test_the_starter_sets_documents_are_those_of_the_tests(name: str) -> None:
    assert Documents.of(shipped_bundle()).get(name) == documents.base(name)


def test_merging_adds_replaces_and_takes_away() -> None:
    before = {"a": {"b": 1, "c": 2}, "d": [1]}
    after = merged(before, {"a": {"b": "ABSENT", "e": 3}, "d": [2]})
    assert after == {"a": {"c": 2, "e": 3}, "d": [2]}
    assert before == {"a": {"b": 1, "c": 2}, "d": [1]}


def test_documents_are_made_from_one_another() -> None:
    made = Documents(
        {
            "one ACTION": {"is": {"action": {"name": "ACTION"}, "list": ["ACTION", 2]}},
            "two": {"from": ["one x.y", "three"], "change": {"more": 1}},
            "three": {"is": {"list": []}},
            "circle": {"from": "circle"},
            "wrong": {"what": 1},
        }
    )
    assert made.get("two") == {"action": {"name": "x.y"}, "list": [], "more": 1}
    for name, words in {
        "circle": "made from itself",
        "wrong": "may have 'is' or 'from'",
        "nobody": "there is no document 'nobody'",
        "one ": "there is no document",
    }.items():
        with pytest.raises(KeyError, match=words):
            made.get(name)


GOOD = """# A comment
- name: bad is refused
  base: person creates
  change: {resource: {labels: {bad: 2026-03-02}}}
  effect: deny
  rules: [p/x]
  message: No.
- name: all is well
  base: person creates
  spec: {size: ABSENT}
  effect: allow
"""


@proves("PC-4")
def test_a_table_is_run_with_the_tests_and_counts_for_coverage() -> None:
    report = run_tests(with_rules(DENIES, **{CASES: GOOD}), coverage=True)
    assert report.passed
    assert [t.show() for t in report.tests] == [
        f"PASS {CASES}: bad is refused",
        f"PASS {CASES}: all is well",
    ]
    assert [t.line for t in report.tests] == [2, 8]
    assert {c.file: c.missed for c in report.coverage}["own.rego"] == ()


@proves("PC-4")
def test_a_failed_case_says_what_was_expected_what_came_and_what_was_changed() -> None:
    wrong = GOOD.replace("[p/x]", "[p/y]").replace("message: No.", "message: Never.")
    report = run_tests(with_rules(DENIES, **{CASES: wrong}))
    (failure,) = report.failures
    shown = failure.show()
    assert f"{CASES}:2: something else came of it" in shown
    assert 'actual:   {"effect": "deny", "rules": ["p/x"], "message": "No."}' in shown
    assert 'expected: {"effect": "deny", "rules": ["p/y"], "message": "Never."}' in shown
    assert 'changes: {"resource": {"labels": {"bad": "2026-03-02"}}}' in shown


def test_a_case_in_which_the_policy_fails_says_where() -> None:
    text = RULE + "deny contains x if { input.resource.labels.bad; x := to_number(1 / 0) }"
    (failed, _) = run_tests(with_rules(text, **{CASES: GOOD})).tests
    assert "evaluation failed at own.rego:6" in failed.show()


def test_approvers_and_requirements_are_compared() -> None:
    text = DENIES.replace("deny contains", "require_approval contains")
    case = GOOD.replace("effect: deny", "effect: require_approval\n  requires: []").replace(
        "message: No.", "approvers: [team-lead]"
    )
    assert run_tests(with_rules(text, **{CASES: case})).passed
    other = run_tests(with_rules(text, **{CASES: case.replace("[team-lead]", "[nobody]")}))
    assert "team-lead" in other.failures[0].show()


WRONG = [
    ("- [", "own.yaml:1: this is not YAML"),
    ("a: b", "must be a list of cases"),
    ("- just a text", "own.yaml:1: a case is an object"),
    ("- {name: x, base: person creates}", "a case needs 'effect'"),
    ("- {name: x, base: person creates, effect: no}", "the effect is one of"),
    ("- {name: x, base: y, effect: deny}", "there is no document 'y'"),
    ("- {name: x, base: person creates, effect: deny, rules: a}", "'rules' must be a list"),
    ("- {name: x, base: person creates, effect: deny, ruels: []}", "a case has no 'ruels'"),
    ("- &a {name: x, base: person creates, effect: deny, change: {b: *a}}", "own.yaml"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_a_table_that_cannot_be_read_names_the_place(text: str, words: str) -> None:
    with pytest.raises(TableError, match=r"tests/cases/own\.yaml:1") as refusal:
        cases_of(shipped_bundle().with_files({CASES: text}))
    assert words in refusal.value.message


def test_documents_that_are_none_are_refused() -> None:
    with pytest.raises(TableError, match="an object of documents"):
        Documents.of(shipped_bundle().with_files({"tests/documents.yaml": "[]"}))
