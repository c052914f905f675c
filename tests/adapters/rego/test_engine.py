"""The engine: both syntaxes, refusals that name the place, and failures that fail closed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.rego import engine as engine_module
from charter.adapters.rego.describe import describe_rules
from charter.adapters.rego.engine import EngineThread, RegorusEngine
from charter.adapters.rego.load import load_directory, shipped_bundle
from charter.adapters.rego.syntax import NONDETERMINISTIC, PolicyRefusedError, parse
from charter.adapters.rego.testing import run_tests
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import InvalidInputError, NotFoundError
from charter.core.policy.bundle import Bundle
from charter.core.policy.decide import UNAVAILABLE_RULE
from charter.core.policy.result import PolicyFailure, PolicyOutcome
from tests.policies.documents import merged, person_creates, spec
from tests.spec import spec as proves

FIXTURES = Path(__file__).parent / "fixtures"
SECRET = "a-value-that-must-not-be-shown"


def with_rules(text: str, **files: str) -> Bundle:
    """The shipped aggregator and data with these rules and no others."""
    shipped = shipped_bundle()
    nothing = dict.fromkeys(p for p in shipped.modules if not p.startswith("lib/"))
    empty_rules = {
        "data/enforcement.json": '{"rules": {}}',
        "data/approvals.json": '{"deadline_seconds": 60, "reminder_seconds": 60, "rules": {}, '
        '"fallback": {"approvers": ["team-lead"], "approvals_needed": 1, "requires": [], '
        '"grant_seconds": null}}',
    }
    tests = dict.fromkeys(shipped.test_modules)
    return shipped.with_files({**nothing, **tests, **empty_rules, "own.rego": text, **files})


def rules_of(answer: PolicyOutcome | PolicyFailure) -> list[tuple[str, str, str]]:
    assert isinstance(answer, PolicyOutcome), answer
    return [(v.rule, v.effect.value, v.message) for v in answer.violations]


OLD = (FIXTURES / "seed_old.rego").read_text()
NEW = (FIXTURES / "seed_new.rego").read_text()
IS_ADMIN_OLD = '\nis_admin {\n\tinput.subject.roles[_] == "platform-admin"\n}\n'
IS_ADMIN_NEW = '\nis_admin if "platform-admin" in input.subject.roles\n'


@proves("PC-1")
@pytest.mark.parametrize("text", [OLD + IS_ADMIN_OLD, NEW + IS_ADMIN_NEW], ids=["old", "new"])
def test_the_example_policy_works_in_both_syntaxes(text: str) -> None:
    engine = RegorusEngine(with_rules(text))
    assert engine.ask(person_creates()).violations == ()  # type: ignore[union-attr]
    document = merged(
        person_creates(),
        spec(agent=True, template={"approved": False}, resources={"cpu": 33}),
    )
    name = "workspace.admission/deny"
    assert rules_of(engine.ask(document)) == [
        (name, "deny", "Agent workspaces require explicit egress allowlist"),
        (name, "deny", "CPU limit exceeds maximum (32) for non-admins"),
        (name, "deny", "Workspace must use approved template"),
    ]
    admin = merged(document, {"subject": {"roles": ["platform-admin"]}})
    assert len(rules_of(engine.ask(admin))) == 2
    pod = merged(document, {"request": {"kind": {"kind": "Pod"}}})
    assert rules_of(engine.ask(pod)) == []


def test_the_older_syntax_is_noticed() -> None:
    (notice,) = RegorusEngine(with_rules(OLD + IS_ADMIN_OLD)).notices
    assert "own.rego" in notice
    assert "before version 1" in notice
    assert RegorusEngine(with_rules(NEW + IS_ADMIN_NEW)).notices == ()


@pytest.mark.parametrize("text", [OLD, NEW], ids=["old", "new"])
def test_the_example_policy_as_printed_is_refused_naming_the_helper(text: str) -> None:
    with pytest.raises(PolicyRefusedError) as refusal:
        RegorusEngine(with_rules(text))
    assert "'is_admin', which is defined nowhere" in refusal.value.message
    assert "own.rego:" in refusal.value.message


RULE = "package p\n\nimport rego.v1\n\n"


@proves("PC-1", "PC-4")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("package p\n\ndeny contains", "own.rego:3"),
        (RULE + 'deny := "No." if true', "must be a set of messages"),
        (RULE + "deny contains nothing(1) if input.rare", "calls 'nothing', which this engine"),
        (RULE + 'deny contains "x" if {\n\tinput.rare\n\ty := misspelt\n\ty\n}', "'misspelt'"),
        (RULE + 'deny contains "x" if {\n\tinput.rare\n\tcount(misspelt) > 1\n}', "'misspelt'"),
        (RULE + "deny contains misspelt if input.rare", "'misspelt', which is defined nowhere"),
        ("package charter.sources\n\nimport rego.v1\n\nspoken contains 1", "is generated"),
        (RULE + "# METADATA\n# : [\ndeny contains 1 if true", "METADATA comment is not YAML"),
        (RULE + "# METADATA\n# text\ndeny contains 1 if true", "METADATA comment is not an object"),
        (
            RULE + "# METADATA\n# custom: {severity: huge}\ndeny contains 1 if true",
            "severity must be",
        ),
        (
            RULE + "# METADATA\n# custom: {controls: CC6}\ndeny contains 1 if true",
            "must be a list of texts",
        ),
        (
            RULE + "# METADATA\n# custom: {id: a/b}\ndeny contains 1 if true\n\n"
            "# METADATA\n# custom: {id: a/b}\nwarn contains 1 if true",
            "is also used at own.rego:7",
        ),
    ],
)
def test_a_bundle_that_cannot_decide_is_refused(text: str, words: str) -> None:
    with pytest.raises(PolicyRefusedError) as refusal:
        RegorusEngine(with_rules(text))
    assert words in refusal.value.message
    assert "stack backtrace" not in refusal.value.message


@pytest.mark.parametrize("name", sorted(NONDETERMINISTIC))
def test_functions_that_cannot_be_replayed_are_refused(name: str) -> None:
    arguments = ", ".join(['"a"', "1"][: NONDETERMINISTIC[name]])
    with pytest.raises(PolicyRefusedError, match=f"{name} is not allowed"):
        RegorusEngine(with_rules(RULE + f"deny contains x if x := {name}({arguments})"))


@pytest.mark.parametrize("name", ["time.now_ns", "http.send", "rand.intn", "opa.runtime"])
def test_they_fail_even_when_the_scan_is_passed_by(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charter.adapters.rego.assemble._call_problems", lambda _: [])
    arguments = ", ".join(['"a"', "1"][: NONDETERMINISTIC[name]])
    text = RULE + f'deny contains "x" if {{\n\tinput.go\n\t{name}({arguments})\n}}'
    answer = RegorusEngine(with_rules(text)).ask({"go": True})
    assert isinstance(answer, PolicyFailure)
    assert answer.code == "policy-engine-error"


def test_data_that_names_no_rule_is_refused() -> None:
    bundle = shipped_bundle().with_files(
        {"data/enforcement.json": '{"rules": {"admission/no-such-rule": "off"}}'}
    )
    with pytest.raises(PolicyRefusedError, match="no-such-rule, which no rule has"):
        RegorusEngine(bundle)


def test_a_bundle_without_aggregator_is_refused() -> None:
    with pytest.raises(PolicyRefusedError, match=r"lib/decision\.rego is missing"):
        RegorusEngine(shipped_bundle().with_files({"lib/decision.rego": None}))


def test_a_bundle_without_rules_denies() -> None:
    decision = RegorusEngine(with_rules("package p")).decide(person_creates())
    assert decision.effect is Effect.DENY
    assert "policy-no-rules" in decision.explain()


@proves("PC-2", "PC-8")
@pytest.mark.parametrize(
    "body",
    [
        "to_number(input.go)",  # an error of a function
        "1 / (count(input.go) - count(input.go)) == 0",  # an error of arithmetic
        "two",  # two values for one rule
    ],
)
def test_an_error_while_evaluating_denies_and_tells_nothing_of_the_input(body: str) -> None:
    text = (
        RULE + f'deny contains "x" if {{\n\tinput.go\n\t{body}\n}}\n\n'
        "two := 1 if input.go\n\ntwo := 2 if input.go\n"
    )
    engine = RegorusEngine(with_rules(text))
    decision = engine.decide(merged(person_creates(), {"go": SECRET}))
    assert decision.effect is Effect.DENY
    assert [v.rule for v in decision.violations] == [UNAVAILABLE_RULE]
    assert "own.rego:" in decision.explain()
    assert SECRET not in str(decision.as_json())
    assert engine.decide(person_creates()).effect is Effect.ALLOW  # and it goes on


class _Panic(BaseException):
    """As the library's own panic: not an Exception."""


class _Panicking:
    def set_input_json(self, _: str) -> None:
        raise _Panic(SECRET)


def test_a_panic_denies_and_the_engine_is_built_anew() -> None:
    engine = RegorusEngine(shipped_bundle())
    engine._whole = _Panicking()
    decision = engine.decide(person_creates())
    assert (decision.effect, SECRET in str(decision)) == (Effect.DENY, False)
    assert engine.decide(person_creates()).effect is Effect.ALLOW


def test_the_librarys_own_panic_is_caught() -> None:
    text = RULE + 'deny contains "x" if {\n\tinput.go\n\tstrings.count("", "") == 0\n}'
    engine = RegorusEngine(with_rules(text))
    answer = engine.ask({"go": True})
    assert isinstance(answer, PolicyFailure)
    assert isinstance(engine.ask({}), PolicyOutcome)


def test_a_request_to_stop_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopping:
        def set_input_json(self, _: str) -> None:
            raise KeyboardInterrupt

    engine = RegorusEngine(shipped_bundle())
    engine._whole = Stopping()
    with pytest.raises(KeyboardInterrupt):
        engine.ask({})


@pytest.mark.parametrize("said", ["7", "true", "null", '["x"]'])
def test_a_rule_that_says_nonsense_denies(said: str) -> None:
    engine = RegorusEngine(with_rules(RULE + f"warn contains {said} if input.subject"))
    assert engine.decide(person_creates()).effect is Effect.DENY


def test_an_object_with_a_wrong_field_denies() -> None:
    text = RULE + 'warn contains {"id": "a/b", "message": "x", "severity": 9} if input.subject'
    decision = RegorusEngine(with_rules(text)).decide(person_creates())
    assert "policy-output-malformed" in decision.explain()


def test_rules_are_heard_in_any_package_however_deep() -> None:
    text = 'package a.b["c-d"].e\n\nimport rego.v1\n\ndeny contains "x" if input.subject'
    engine = RegorusEngine(with_rules(text))
    assert rules_of(engine.ask(person_creates())) == [("a.b.c-d.e/deny", "deny", "x")]
    nested = RULE + 'inner.deny contains "y" if input.subject'
    assert rules_of(RegorusEngine(with_rules(nested)).ask(person_creates())) == [
        ("p.inner/deny", "deny", "y")
    ]


def test_what_is_not_json_denies() -> None:
    answer = RegorusEngine(shipped_bundle()).ask({"subject": object()})
    assert isinstance(answer, PolicyFailure)
    assert answer.code == "policy-input-invalid"
    assert isinstance(RegorusEngine(shipped_bundle()).evaluate("{"), PolicyFailure)


def test_the_backtrace_of_the_environment_is_switched_off() -> None:
    code = (
        "from charter.adapters.rego.syntax import PolicyRefusedError, parse\n"
        "try: parse('a.rego', 'package')\n"
        "except PolicyRefusedError as error: print(error.message)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "RUST_BACKTRACE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "a.rego:1" in run.stdout
    assert len(run.stdout.splitlines()) == 1


# --- the thread -----------------------------------------------------------------------------
@pytest.fixture
def thread() -> Iterator[EngineThread]:
    with EngineThread(shipped_bundle()) as running:
        yield running


def test_any_thread_may_ask(thread: EngineThread) -> None:
    found: list[Any] = []
    askers = [
        threading.Thread(target=lambda: found.append(thread.decide(person_creates()).effect))
        for _ in range(8)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert found == [Effect.ALLOW] * 8


@proves("PC-5")
def test_bundles_are_swapped_and_a_broken_one_is_not(thread: EngineThread) -> None:
    before = thread.digest
    with pytest.raises(PolicyRefusedError):
        thread.swap(with_rules("package"))
    assert (thread.digest, thread.decide(person_creates()).effect) == (before, Effect.ALLOW)
    stricter = with_rules(RULE + 'deny contains "No." if true')
    thread.swap(stricter)
    assert thread.digest == stricter.digest
    assert thread.decide(person_creates()).effect is Effect.DENY


def test_a_closed_thread_denies() -> None:
    thread = EngineThread(shipped_bundle())
    thread.close()
    thread.close()
    assert "policy-engine-closed" in thread.decide(person_creates()).explain()


def test_a_thread_that_does_not_answer_in_time_denies() -> None:
    held = threading.Event()
    with EngineThread(shipped_bundle(), timeout_seconds=0.001) as thread:
        waiting = thread.submit(lambda _: held.wait())
        decision = thread.decide(person_creates())
        held.set()
        waiting.result()
    assert "policy-timeout" in decision.explain()


def test_a_broken_bundle_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with pytest.raises(PolicyRefusedError):
        EngineThread(with_rules("package"))
    assert threading.active_count() == before


# --- folders, descriptions, tests -------------------------------------------------------------
def test_folders(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_directory(tmp_path / "none")
    with pytest.raises(InvalidInputError, match=r"holds no \.rego file"):
        load_directory(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hidden.rego").write_text("package hidden")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.rego").write_text("package a")
    (tmp_path / "program.bin").write_bytes(b"\x00")
    assert list(load_directory(tmp_path).files) == ["sub/a.rego"]
    (tmp_path / "b.rego").symlink_to(tmp_path / "sub" / "a.rego")
    with pytest.raises(InvalidInputError, match="symbolic link"):
        load_directory(tmp_path)


@proves("PC-13")
def test_a_rule_is_described_with_its_place_and_text() -> None:
    rules = {rule.id: rule for rule in describe_rules(shipped_bundle())}
    rule = rules["agent/egress-allowlist-missing"]
    assert (rule.package, rule.effect, rule.mode) == (
        "admission.agent_permissions",
        "deny",
        "enforce",
    )
    assert rule.source == f"admission/agent-permissions.rego:{rule.line}"
    assert rule.text.startswith("# METADATA")
    assert rule.text.endswith("}")
    assert "explicit egress allowlist" in rule.text


def test_a_violation_says_where_its_rule_stands() -> None:
    document = merged(person_creates(), spec(template={"approved": False}))
    (spoken,) = RegorusEngine(shipped_bundle()).decide(document).violations
    rule = {r.id: r for r in describe_rules(shipped_bundle())}[spoken.rule]
    assert spoken.source == rule.source
    assert (spoken.severity, spoken.controls) == (rule.severity, rule.controls)


TESTS = """package x_test

import rego.v1

test_passes if 1 == 1

test_differs if {
	n := 3
	print("seen", n)
	count([1, 2]) == n
}

test_does_not_hold if {
	some x in [1, 2]
	x in [3]
}

test_fails if to_number("x") == 1

todo_test_later if false
"""


@proves("PC-4")
def test_a_failed_test_says_why() -> None:
    text = RULE + 'deny contains "x" if {\n\tinput.go\n\tcount(input.go) > 1\n}'
    bundle = with_rules(text, **{"x_test.rego": TESTS})
    report = run_tests(bundle, coverage=True)
    shown = {test.name.rpartition(".")[2]: test.show() for test in report.tests}
    assert not report.passed
    assert shown["test_passes"] == "PASS data.x_test.test_passes"
    assert shown["todo_test_later"] == "SKIP data.x_test.todo_test_later"
    assert "x_test.rego:10: the two sides differ" in shown["test_differs"]
    assert "count([1, 2]) == n\n    left:  2\n    right: 3" in shown["test_differs"]
    assert "printed at x_test.rego:9: seen 3" in shown["test_differs"]
    assert "x_test.rego:15: this does not hold\n    x in [3]" in shown["test_does_not_hold"]
    assert "evaluation failed at x_test.rego:18" in shown["test_fails"]
    coverage = {entry.file: entry for entry in report.coverage}
    assert (coverage["own.rego"].missed, coverage["own.rego"].percent < 100) == ((5, 7), True)


def test_no_test_at_all_is_no_pass() -> None:
    assert not run_tests(with_rules(RULE + 'deny contains "x" if input.go')).passed


def test_a_test_module_that_does_not_compile_is_refused() -> None:
    bundle = with_rules(RULE, **{"x_test.rego": "package x_test\n\ntest_a if misspelt"})
    with pytest.raises(PolicyRefusedError, match="misspelt"):
        run_tests(bundle)


def test_names_that_are_bound_somehow_are_not_reported() -> None:
    text = (
        RULE
        + """import data.elsewhere as other

deny contains x if {
	some i, j
	input.list[i][j] == 1
	some key, value in input.object
	every k, v in input.object { k != v }
	[a, {"b": b}] = input.pair
	x := {n: m | n := a; m := sprintf("%v", [b])}
	helper(key, {"z": value})
	other.thing[_]
	p := input.p
	p.q
}

helper(first, {"z": second}) := first if second

default fallback := 1
"""
    )
    RegorusEngine(with_rules(text))


def test_parsing_finds_what_is_called_and_negated() -> None:
    module = parse("a.rego", RULE + "deny contains 1 if {\n\tnot input.x\n\tcount([]) == 0\n}")
    assert module.package == ("p",)
    assert module.calls == (("count", 7),)
    assert module.negations == (6,)


@pytest.mark.skipif(
    "CHARTER_OPA_URL" not in os.environ, reason="optional: no OPA server is configured"
)
def test_the_example_policy_agrees_with_opa() -> None:
    import httpx2  # noqa: PLC0415

    base = os.environ["CHARTER_OPA_URL"].rstrip("/")
    text = NEW + IS_ADMIN_NEW
    httpx2.put(f"{base}/v1/policies/charter-parity", content=text).raise_for_status()
    engine = RegorusEngine(with_rules(text))
    for change in (spec(), spec(agent=True), spec(resources={"cpu": 33})):
        document = merged(person_creates(), change)
        answer = httpx2.post(
            f"{base}/v1/data/workspace/admission/deny", json={"input": document}
        ).json()
        assert [m for _, _, m in rules_of(engine.ask(document))] == sorted(answer["result"])


def test_the_module_offers_its_name_and_version() -> None:
    assert engine_module.RegorusEngine.name == "regorus"
    assert EngineThread.version.count(".") == 2
