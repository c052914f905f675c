"""The check of a bundle: every rule of the linter speaks where it should, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from charter.adapters.rego.builtins import ARITY, DEPRECATED
from charter.adapters.rego.check import check
from charter.adapters.rego.findings import LINT_RULES
from charter.adapters.rego.library import Engine
from charter.adapters.rego.load import shipped_bundle
from charter.adapters.rego.names import _is_builtin
from charter.adapters.rego.schemas import data_findings
from charter.core.policy.bundle import Bundle
from tests.adapters.rego.bundles import FIRES, NOTE, RULE, to_lint, with_rules
from tests.spec import spec as proves

FIXTURES = Path(__file__).parent / "fixtures"
NEW = (FIXTURES / "seed_new.rego").read_text()
OLD = (FIXTURES / "seed_old.rego").read_text()
PLAIN = "package p\n\nimport rego.v1\n\n"  # without the import for `not`


def found(bundle: Bundle, *, tests: bool = False) -> list[tuple[str, str, int]]:
    report = check(bundle, tests=tests)
    return [(f.rule, f.file, f.line) for f in report.findings]


def rules_at(text: str, line: int = 0, **files: str) -> set[str]:
    """The linter's rules that speak of own.rego, at one line where given."""
    return {
        rule
        for rule, file, at in found(to_lint(text, **files))
        if file == "own.rego" and (not line or at == line)
    }


# Each row: the linter's rule, the text of a module, and the line at which it must speak.
SPEAKS = [
    ("parse", "package p\n\ndeny contains", 3),
    ("ambiguous-not", PLAIN + 'd if not startswith(input.action.name, "w")', 5),
    ("ambiguous-not", PLAIN + "d if not 5 < input.context.quota.wanted.vcpu", 5),
    ("ambiguous-not", PLAIN + 'd if not "a" in input.subject.roles', 5),
    ("ambiguous-not", PLAIN + "d if not input.resource.labels[input.subject.id]", 5),
    ("ambiguous-not", PLAIN + "d if not f(input.subject.id)\n\nf(x) if x == 1", 5),
    (
        "ambiguous-not",
        PLAIN + "d if not f(other)\n\nf(x) if x == 1\n\nother := input.subject.id",
        5,
    ),
    ("not-import", PLAIN + "d if not input.subject.mfa", 5),
    ("not-body", RULE + "d if not { input.subject.mfa }", 6),
    ("not-replayable", RULE + "d if time.now_ns() > 3", 6),
    ("not-replayable", RULE + 'd if http.send({"url": "x"})', 6),
    ("undefined-name", RULE + "d if { x := misspelt; x }", 6),
    ("unknown-function", RULE + 'd if io.jwt.decode("x")', 6),
    ("deprecated-function", RULE + 'd if re_match("a", "b")', 6),
    ("wrong-arity", RULE + 'd if startswith("a")', 6),
    ("wrong-arity", RULE + "d if f(1)\n\nf(a, b) := a + b", 6),
    ("output-argument", RULE + "d if { count([1], n); n == 1 }", 6),
    ("output-argument", RULE + "d if f(1, 2)\n\nf(a) := a + 1", 6),
    ("keyword-in-reference", RULE + "d if input.context.if", 6),
    ("whole-package", RULE + "d := data.charter", 6),
    ("whole-package", RULE + "import data.charter.facts\n\nd := facts", 8),
    ("whole-package", RULE + "d if { some x; data.charter.facts[x] }", 6),
    ("chained-bodies", RULE + "d if { input.subject.mfa } { input.subject.via }", 6),
    ("call-across-space", RULE + "d if {\n\tinput.subject.mfa\n\t(1 == 1)\n}", 7),
    ("string-interpolation", RULE + 'd := $"a {input.subject.id}"', 6),
    ("large-integer", RULE + "d := 9007199254740993", 6),
    ("never-fires", RULE + "d if {\n\tinput.subject.mfa\n\tfalse\n}", 8),
    ("never-fires", RULE + "d if 1 == 2", 6),
    ("never-fires", RULE + 'd if {\n\tinput.subject.via == "a"\n\tinput.subject.via == "b"\n}', 8),
    ("never-fires", RULE + "d if {\n\tx := input.subject.n\n\tx > 5\n\t3 > x\n}", 9),
    ("never-fires", RULE + 'd if {\n\tx := input.subject.n\n\tx in {"a", "b"}\n\tx == "c"\n}', 9),
    ("never-fires", RULE + "d if {\n\tx := input.subject.n\n\tx == 5\n\tx != 5\n}", 9),
    ("never-fires", RULE + 'd if input.action.name in {"workspace.creat"}', 6),
    ("never-fires", RULE + 'import data.charter.facts\n\nd if facts.action == "x"', 8),
    ("shape", RULE + 'deny := "No." if true', 6),
    ("metadata", RULE + 'deny contains "No." if input.subject', 6),
    ("duplicate-id", RULE + f"{NOTE}deny contains 1 if true\n\n{NOTE}warn contains 1 if true", 14),
    ("old-syntax", "package p\n\nd[x] { x := 1 }", 0),
    ("unused-import", RULE + "import data.charter.facts\n\nd := 1", 6),
    ("shadowed-name", RULE + "a := 1\n\nd if { a := 2; a > 1 }", 8),
    ("shadowed-name", RULE + "d if { count := 2; count > 1 }", 6),
    ("unguarded-value", RULE + 'd if startswith(input.resource.spec.note, "a")', 6),
    ("division-by-zero", RULE + "d if input.context.a / input.context.b > 1", 6),
    ("division-by-zero", RULE + "d if 1 / 0 > 1", 6),
    ("unknown-input", RULE + "d if input.resurce.id", 6),
    ("unknown-input", RULE + "d if input.action.nmae", 6),
    ("unknown-input", RULE + "d if { s := input.subject; s.teems }", 6),
    ("unknown-input", RULE + 'd if object.get(input, ["subject", "rolse"], [])', 6),
    ("doubtful-input", RULE + "d if input.request.object.spec.resurces.cpu > 1", 6),
    ("doubtful-input", RULE + "d if input.context.weather", 6),
]


@proves("PC-4")
@pytest.mark.parametrize(("rule", "text", "line"), SPEAKS)
def test_each_rule_of_the_linter_speaks(rule: str, text: str, line: int) -> None:
    assert rule in rules_at(text, line), found(to_lint(text))


SILENT = [
    PLAIN + "d if not input.subject.mfa == true",
    PLAIN + "d if not helper\n\nhelper if input.subject.mfa",
    PLAIN + 'd if {\n\tx := input.subject.id\n\tnot startswith(x, "w")\n}',
    PLAIN + "d if not f(1)\n\nf(x) if x == 2",
    PLAIN + "d if { some t in input.subject.teams; not t in {1, 2} }",
    PLAIN + "d if not count({t | some t in input.subject.teams}) > 1",
    PLAIN + "d if not limit < 3\n\nlimit := 5",
]


@pytest.mark.parametrize("text", SILENT)
def test_negations_whose_operands_cannot_be_missing_are_in_the_profile(text: str) -> None:
    assert "ambiguous-not" not in rules_at(text)


QUIET = [
    RULE + "d if { some x in input.subject.roles; x == 1; some y in input.subject.roles; y == 2 }",
    RULE + "d if { input.subject.teams[_] == 1; input.subject.teams[_] == 2 }",
    RULE + 'd if { [_, "a"] = input.resource.spec.x; _ = 3; _ = 4 }',
    RULE + 'd if { input.subject.via in {"a", "b"}; input.subject.via != "a" }',
    RULE + "d if { x := input.resource.spec.n; x > 5; x < 7; x >= 6; x <= 6 }",
    RULE + 'd if { input.subject.via == "a"; not input.subject.via == "b" }',
    RULE + "d if { input.context.quota.wanted.vcpu == 1; input.context.quota.wanted.gpu == 2 }",
    RULE
    + 'd if { is_string(input.resource.spec.note); startswith(input.resource.spec.note, "a") }',
    RULE + 'd if startswith(input.resource.kind, "a")',
    RULE + "d if { b := input.context.quota.wanted.vcpu; b > 0; 5 / b > 1 }",
    RULE + "d if input.request.object.spec.containers[_].image",
    RULE + "d if input.resource.labels.anything",
    RULE + "d if input.resource.spec.whatever.it.holds",
    RULE + "d if some line in input.context.quota.lines",
    RULE + "import data.charter.facts\n\nd if facts.action == data.charter.facts.action",
    RULE + "d if { some x; data.settings.sizes[x] }",
]


@pytest.mark.parametrize("text", QUIET)
def test_what_is_well_meant_is_left_alone(text: str) -> None:
    assert not rules_at(text) & {
        "never-fires",
        "whole-package",
        "unguarded-value",
        "division-by-zero",
        "unknown-input",
        "doubtful-input",
    }, found(to_lint(text))


@pytest.mark.parametrize("text", [OLD, NEW], ids=["old", "new"])
def test_the_example_policy_as_printed_lacks_its_helper(text: str) -> None:
    report = check(with_rules(text))
    assert [f.rule for f in report.errors] == ["undefined-name"]
    (finding,) = report.errors
    assert finding.message == "'is_admin' is defined nowhere."
    assert "Define a rule of that name" in finding.fix
    assert report.report is None  # nothing is tested that cannot be loaded


@proves("PC-1")
@pytest.mark.parametrize(
    ("text", "helper"),
    [
        (OLD, '\nis_admin {\n\tinput.subject.roles[_] == "platform-admin"\n}\n'),
        (NEW, '\nis_admin if "platform-admin" in input.subject.roles\n'),
    ],
    ids=["old", "new"],
)
def test_the_example_policy_completed_is_accepted(text: str, helper: str) -> None:
    report = check(with_rules(text + helper), tests=False)
    assert report.errors == ()
    assert ("old-syntax" in {f.rule for f in report.findings}) is (text == OLD)


def test_the_suggestion_names_what_was_meant() -> None:
    report = check(with_rules(RULE + "d if input.resurce.id"), tests=False)
    (finding,) = [f for f in report.findings if f.rule == "unknown-input"]
    assert finding.message == "input.resurce does not exist; did you mean input.resource?"
    assert finding.place == "own.rego:6"


def test_a_bundle_may_describe_more_input() -> None:
    text = RULE + "d if input.context.weather.rain > 3"
    schema = {
        "properties": {"context": {"properties": {"weather": {"properties": {"rain": {}}}}}},
    }
    assert "doubtful-input" in rules_at(text)
    extra = {"schemas/input/weather.json": json.dumps(schema)}
    assert "doubtful-input" not in rules_at(text, **extra)
    misspelt = RULE + "d if input.context.weather.rian > 3"
    assert "doubtful-input" in rules_at(misspelt, **extra)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"type": 5}', '{"$ref": "https://example.org/x.json"}']
)
def test_a_schema_that_cannot_be_used_is_told(content: str) -> None:
    bundle = with_rules(RULE, **{"schemas/input/own.json": content})
    assert ("schema-file", "schemas/input/own.json", 0) in found(bundle)


@proves("PC-4")
def test_data_is_held_against_its_schema_with_file_path_and_expectation() -> None:
    limits = json.loads(shipped_bundle().text("data/limits.json"))
    limits |= {"cpu_max": "many", "surprise": 1}
    bundle = shipped_bundle().with_files({"data/limits.json": json.dumps(limits, indent=2)})
    report = check(bundle)
    told = {f.message: f.line for f in report.findings if f.rule == "data-schema"}
    line = next(
        n for n, t in enumerate(bundle.text("data/limits.json").split("\n"), 1) if "cpu_max" in t
    )
    assert told['cpu_max: "many" is not of type "integer".'] == line
    assert any("surprise" in message for message in told)
    assert report.report is None


def test_data_numbers_that_the_engine_would_round_are_told() -> None:
    bundle = with_rules(RULE, **{"data/own.json": '{"a": [1, 9007199254740993]}'})
    assert ("large-integer", "data/own.json", 1) in found(bundle)


def test_a_bundle_brings_schemas_for_its_own_documents() -> None:
    schema = '{"properties": {"a": {"type": "string"}}}'
    files = {"data/own.json": '{"a": 1}', "schemas/data/own.json": schema}
    assert ("data-schema", "data/own.json", 1) in found(with_rules(RULE, **files))


# Entries that older bundles do not have.
OPTIONAL = {
    "ticket_pattern",
    "delegation",
    "passkey_challenge_seconds",
    "scim_token_max_seconds",
}


def test_every_shipped_document_has_a_schema_as_strict_as_the_reader() -> None:
    shipped = shipped_bundle()
    for name in ("limits", "tiers", "quotas", "lifecycle", "credentials", "approvals"):
        document = json.loads(shipped.text(f"data/{name}.json"))
        for key in [k for k in document if k != "_why" and k not in OPTIONAL]:
            less = {k: v for k, v in document.items() if k != key}
            bundle = shipped.with_files({f"data/{name}.json": json.dumps(less)})
            told = data_findings(bundle)
            assert [f.file for f in told] == [f"data/{name}.json"], (name, key)


UNKNOWN_ID = {"data/enforcement.json": '{"rules": {"p/none": "off"}}'}


def test_rule_ids_in_data_are_looked_up() -> None:
    rules = {rule for rule, _, _ in found(with_rules(RULE, **UNKNOWN_ID))}
    assert "unknown-rule-id" in rules


def test_a_rule_that_is_switched_off_is_noted() -> None:
    text = RULE + NOTE + 'deny contains "No." if input.subject'
    off = {"data/enforcement.json": '{"rules": {"p/x": "off"}}'}
    assert "switched-off" in rules_at(text, **off)
    assert "switched-off" not in rules_at(text)


@proves("PC-4")
def test_missing_tests_are_told() -> None:
    text = RULE + NOTE + 'deny contains "No." if input.subject\n\nhelper(x) := x + 1\n'
    assert ("no-tests", "tests", 0) in found(to_lint(text), tests=True)
    tested = check(to_lint(text, **{"p_test.rego": FIRES}))
    assert [(f.rule, f.line) for f in tested.findings if f.file == "own.rego"] == [
        ("uncovered-lines", 11)
    ]
    silent = FIRES.replace('data.p.deny["No."]', "count(data.p.deny) == 0").replace(
        '{"subject": {"id": "p/x"}}', "{}"
    )
    untested = check(to_lint(text, **{"p_test.rego": silent}))
    assert ("untested-rule", 9) in {(f.rule, f.line) for f in untested.findings}
    floor = check(to_lint(text, **{"p_test.rego": FIRES}), coverage_floor=99)
    assert "coverage" in {f.rule for f in floor.errors}


def test_a_failed_test_is_an_error_with_the_input_that_did_it() -> None:
    text = RULE + NOTE + 'deny contains "No." if input.subject'
    failing = FIRES.replace('deny["No."]', 'deny["Nope."]')
    report = check(to_lint(text, **{"p_test.rego": failing}))
    assert [f.rule for f in report.errors] == ["test-failed"]
    (failure,) = report.as_json()["tests"]["failures"]
    assert 'input: {"subject": {"id": "p/x"}}' in failure["shown"]


def test_one_run_shows_every_mistake() -> None:
    bundle = to_lint(
        RULE + "d if input.resurce\n\ne if time.now_ns() > 1",
        **{"other.rego": "package q\n\nwhat {", **UNKNOWN_ID, "data/tasks.json": "{}"},
    )
    rules = {rule for rule, _, _ in found(bundle)}
    assert {"parse", "unknown-input", "not-replayable", "data-schema"} <= rules


def test_the_tables_of_functions_agree_with_the_engine() -> None:
    engine = Engine()
    assert [name for name in ARITY if not _is_builtin(engine, name)] == []
    assert [name for name in DEPRECATED if _is_builtin(engine, name)] == []


def test_every_rule_of_the_linter_has_a_reason_and_a_remedy() -> None:
    for name, rule in LINT_RULES.items():
        assert rule.why.endswith((".", "?")), name
        assert rule.fix.endswith("."), name
    told = {row[0] for row in SPEAKS} | {
        *("no-tests", "untested-rule", "uncovered-lines", "coverage", "test-failed"),
        *("schema-file", "data-schema", "unknown-rule-id", "switched-off", "load"),
    }
    assert set(LINT_RULES) == told  # a rule without a test here is no rule
