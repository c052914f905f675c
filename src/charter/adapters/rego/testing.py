"""Running the tests of a bundle: every rule named `test_…`, with reasons when one fails.

A Rego test passes when its rule is true. When it is not, Rego says nothing more, which is why
people stop writing tests. Here a failed test is taken apart: its statements are asked one by one
until the first that does not hold, and where that is a comparison, both sides are shown. What the
policy printed meanwhile belongs to the report, and so do the lines that no test has reached.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.rego.assemble import Assembly, assemble
from charter.adapters.rego.engine import build, probe
from charter.adapters.rego.library import Engine
from charter.adapters.rego.syntax import (
    Module,
    Rule,
    explain_error,
    guarded,
    slice_of,
    source_of,
    span_of,
)
from charter.core.policy.bundle import Bundle

_PREFIX: Final = "test_"
_SKIP_PREFIX: Final = "todo_test_"  # the convention of Rego's own test command
_MISSING: Final = '"<undefined>"'
_LONGEST_VALUE: Final = 2_000  # characters of a shown value; a whole document helps nobody


@dataclass(frozen=True, slots=True)
class TestFailure:
    """Why a test failed; `line` is where, `statement` what did not hold there."""

    __test__ = False

    line: int
    reason: str
    statement: str = ""
    actual: str | None = None
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """One test: `passed`, or why not; `prints` is what the policy printed."""

    __test__ = False

    name: str
    file: str
    line: int
    passed: bool
    skipped: bool = False
    failure: TestFailure | None = None
    prints: tuple[str, ...] = ()

    def show(self) -> str:
        """For people: one line for a pass, all that is known for a failure."""
        if self.failure is None:
            return f"{'SKIP' if self.skipped else 'PASS'} {self.name}"
        why = self.failure
        lines = [f"FAIL {self.name}", f"  {self.file}:{why.line}: {why.reason}"]
        if why.statement:
            lines.append(f"    {why.statement}")
        if why.actual is not None:
            lines += [f"    left:  {why.actual}", f"    right: {why.expected}"]
        lines += [f"    printed at {text}" for text in self.prints]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """Which lines of a module some test has evaluated; `percent` counts those with code."""

    file: str
    covered: tuple[int, ...]
    missed: tuple[int, ...]

    @property
    def percent(self) -> float:
        """100.0 for a file with nothing to cover."""
        total = len(self.covered) + len(self.missed)
        return 100.0 if total == 0 else 100.0 * len(self.covered) / total


@dataclass(frozen=True, slots=True)
class TestReport:
    """All tests of a bundle. No test at all is not a pass."""

    __test__ = False

    tests: tuple[TestOutcome, ...]
    coverage: tuple[FileCoverage, ...]

    @property
    def passed(self) -> bool:
        """Whether there were tests and none failed."""
        ran = [test for test in self.tests if not test.skipped]
        return bool(ran) and all(test.passed for test in ran)

    @property
    def failures(self) -> tuple[TestOutcome, ...]:
        """The tests that failed."""
        return tuple(test for test in self.tests if not test.passed and not test.skipped)


def _ask(engine: Engine, rule: str) -> str | None:
    """The value of `rule` as JSON text, None when it is undefined."""
    answer: str = engine.eval_rule_as_json(rule)
    return None if answer == _MISSING else answer


def _short(value: str) -> str:
    compact = json.dumps(json.loads(value), ensure_ascii=False)
    return compact if len(compact) <= _LONGEST_VALUE else compact[:_LONGEST_VALUE] + " …"


def _data(path: tuple[str, ...]) -> str:
    return "data." + ".".join(path)


class _Runner:
    """Runs tests on one engine; each evaluation sees no input but what the test gives."""

    def __init__(self, assembly: Assembly, *, coverage: bool) -> None:
        self._assembly = assembly
        self._engine = build(assembly, tests=True, coverage=coverage)
        probe(self._engine)
        self._engine.set_input_json("{}")

    def run(self, module: Module, name: str, rules: list[Rule]) -> TestOutcome:
        first = rules[0]
        label = f"{_data(module.package)}.{name}"
        if name.startswith(_SKIP_PREFIX):
            return TestOutcome(label, module.file, first.line, passed=False, skipped=True)
        failure: TestFailure | None = None
        try:
            answer = _ask(self._engine, _data(first.path))
            if answer is None or json.loads(answer) is not True:
                failure = self._take_apart(module, rules)
        except BaseException as error:  # noqa: BLE001  (panics derive from it)
            guarded(error)
            reason = explain_error(error, show_reason=True)
            failure = TestFailure(first.line, f"evaluation failed at {reason}")
        prints = tuple(self._engine.take_prints())
        return TestOutcome(
            label, module.file, first.line, passed=failure is None, failure=failure, prints=prints
        )

    def _take_apart(self, module: Module, rules: list[Rule]) -> TestFailure:
        """The first statement of the test's first body that does not hold."""
        rule = rules[0]
        fallback = TestFailure(rule.line, "the test is not true")
        bodies = rule.tree.get("bodies") or []
        if len(rules) > 1 or len(bodies) != 1:
            return fallback
        statements = bodies[0]["query"]["stmts"]
        texts = [self._statement(module, statement) for statement in statements]
        text = _probe_module(module, statements, texts)
        engine = self._engine.clone()
        try:
            engine.set_rego_v0(module.old_syntax)
            engine.add_policy("probe.rego", text)
            engine.set_input_json("{}")
            for number in range(len(statements)):
                if _ask(engine, _data((*module.package, f"charter_probe_{number}"))) is None:
                    sides = None
                    if _sides(module, statements[number]) is not None:
                        sides = _ask(engine, _data((*module.package, f"charter_sides_{number}")))
                    return _failed_statement(statements[number], texts[number], sides)
        except BaseException as error:  # noqa: BLE001
            guarded(error)  # the probe is a help, not the test: without it there is less to say
        return fallback

    @staticmethod
    def _statement(module: Module, statement: dict[str, Any]) -> str:
        return source_of(module.text, statement)

    def coverage(self) -> tuple[FileCoverage, ...]:
        report = json.loads(self._engine.get_coverage_report_as_json())
        tested = {module.file for module in self._assembly.modules}
        return tuple(
            FileCoverage(
                file=entry["path"],
                covered=tuple(entry["covered"]),
                missed=tuple(entry["not_covered"]),
            )
            for entry in sorted(report["files"], key=lambda entry: str(entry["path"]))
            if entry["path"] in tested
        )


def _sides(module: Module, statement: dict[str, Any]) -> tuple[str, str, str] | None:
    """Left side, right side and the `with …` of a comparison; None for anything else."""
    expression = statement["literal"].get("Expr", {}).get("expr", {})
    comparison = expression.get("BoolExpr")
    if comparison is None:
        return None
    _, inner = span_of(statement["literal"]["Expr"])
    _, whole = span_of(statement)
    modifiers = slice_of(module.text, {"start": inner, "end": whole})
    left, right = (source_of(module.text, comparison[side]) for side in ("lhs", "rhs"))
    return left, right, modifiers


def _probe_module(module: Module, statements: list[dict[str, Any]], texts: list[str]) -> str:
    """A module of the same package in which the test's statements are asked step by step."""
    head = [line for line in module.text.split("\n") if line.startswith(("package ", "import "))]
    lines = [*head, ""]
    then = " if" if not module.old_syntax else ""
    for number, statement in enumerate(statements):
        until = "\n\t".join(texts[: number + 1])
        lines.append(f"charter_probe_{number}{then} {{\n\t{until}\n}}\n")
        sides = _sides(module, statement)
        if sides is not None:
            left, right, modifiers = sides
            before = "\n\t".join(
                [
                    *texts[:number],
                    f"charter_left := {left}{modifiers}",
                    f"charter_right := {right}{modifiers}",
                ]
            )
            value = "[charter_left, charter_right]"
            lines.append(f"charter_sides_{number} := {value}{then} {{\n\t{before}\n}}\n")
    return "\n".join(lines)


def _failed_statement(statement: dict[str, Any], text: str, sides: str | None) -> TestFailure:
    line = int(statement["span"]["line"])
    if sides is None:
        return TestFailure(line, "this does not hold", statement=text)
    left, right = (json.dumps(side) for side in json.loads(sides))
    return TestFailure(
        line, "the two sides differ", statement=text, actual=_short(left), expected=_short(right)
    )


def run_tests(bundle: Bundle, *, coverage: bool = False) -> TestReport:
    """Run every `test_…` rule of the bundle's test modules, in the order of files and lines.

    Raises `PolicyRefusedError` when the bundle or a test module cannot be loaded.
    """
    assembly = assemble(bundle, tests=True)
    runner = _Runner(assembly, coverage=coverage)
    outcomes: list[TestOutcome] = []
    for module in assembly.tests:
        named: dict[str, list[Rule]] = {}
        for rule in module.rules:
            if rule.name.startswith((_PREFIX, _SKIP_PREFIX)):
                named.setdefault(rule.name, []).append(rule)
        outcomes.extend(runner.run(module, name, rules) for name, rules in named.items())
    return TestReport(tuple(outcomes), runner.coverage() if coverage else ())
