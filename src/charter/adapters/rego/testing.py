"""Running the tests of a bundle: rules named `test_…` and tables, with reasons when one fails.

A Rego test passes when its rule is true. When it is not, Rego says nothing more, which is why
people stop writing tests. Here a failed test is taken apart: its statements are asked one by one
until the first that does not hold, and where that is a comparison, both sides are shown. What the
policy printed meanwhile belongs to the report, and so do the lines that no test has reached.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.rego.assemble import ENTRYPOINT, Assembly, assemble
from charter.adapters.rego.engine import build, probe
from charter.adapters.rego.library import Engine
from charter.adapters.rego.syntax import (
    Module,
    Rule,
    explain_error,
    guarded,
    reference,
    slice_of,
    source_of,
    span_of,
)
from charter.adapters.rego.tables import Case, cases_of, differs
from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.decision import Decision
from charter.core.policy.bundle import Bundle
from charter.core.policy.decide import decide
from charter.core.policy.result import PolicyOutcome, parse_outcome

_PREFIX: Final = "test_"
_SKIP_PREFIX: Final = "todo_test_"  # the convention of Rego's own test command
_MISSING: Final = '"<undefined>"'
_LONGEST_VALUE: Final = 2_000  # characters of a shown value; a whole document helps nobody
_LINE: Final = 96  # characters of a line in a report


@dataclass(frozen=True, slots=True)
class TestFailure:
    """Why a test failed: `line` is where, `statement` what did not hold there.

    `actual` and `expected` are the two sides of a comparison, or what came of a table's case and
    what should have; `input` is the document that did it, where the test names one.
    """

    __test__ = False

    line: int
    reason: str
    statement: str = ""
    actual: str | None = None
    expected: str | None = None
    input: str | None = None


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
    table: bool = False

    def show(self) -> str:
        """For people: one line for a pass, all that is known for a failure."""
        if self.failure is None:
            return f"{'SKIP' if self.skipped else 'PASS'} {self.name}"
        why = self.failure
        lines = [f"FAIL {self.name}", f"  {self.file}:{why.line}: {why.reason}"]
        if why.statement:
            lines.append(f"    {why.statement}")
        if why.actual is not None and self.table:
            lines += [f"    actual:   {why.actual}", f"    expected: {why.expected}"]
        elif why.actual is not None:
            lines += [f"    left:  {why.actual}", f"    right: {why.expected}"]
        if why.input is not None:
            first, *more = _laid_out(why.input)
            lines.append(f"    {'changes' if self.table else 'input'}: {first}")
            lines += [f"    {line}" for line in more]
        lines += [f"    printed at {text}" for text in self.prints]
        return "\n".join(lines)


def _laid_out(document: str) -> list[str]:
    """A document over as many lines as it needs."""
    try:
        value = json.loads(document)
    except ValueError:  # it was cut off
        return [document]
    return _lines_of(value)


def _lines_of(value: object, before: str = "", after: str = "") -> list[str]:
    flat = before + json.dumps(value, ensure_ascii=False) + after
    if len(flat) <= _LINE:
        return [flat]
    if isinstance(value, dict) and value:
        opening, closing = "{", "}"
        inner = [(json.dumps(key, ensure_ascii=False) + ": ", each) for key, each in value.items()]
    elif isinstance(value, list) and value:
        opening, closing = "[", "]"
        inner = [("", each) for each in value]
    else:
        return [flat]
    lines = [before + opening]
    for number, (key, each) in enumerate(inner, 1):
        comma = "," if number < len(inner) else ""
        lines += [f"  {line}" for line in _lines_of(each, key, comma)]
    return [*lines, closing + after]


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

    def run_case(self, case: Case) -> TestOutcome:
        """One case of a table."""
        failure: TestFailure | None = None
        try:
            if (difference := differs(case, self._decide)) is not None:
                expected, actual = (json.dumps(side) for side in difference)
                failure = TestFailure(
                    case.line,
                    "something else came of it",
                    actual=_short(actual),
                    expected=_short(expected),
                    input=_short(json.dumps(case.changes)),
                )
        except BaseException as error:  # noqa: BLE001  (panics derive from it)
            guarded(error)
            reason = explain_error(error, show_reason=True)
            failure = TestFailure(case.line, f"evaluation failed at {reason}")
        prints = tuple(self._engine.take_prints())
        self._engine.set_input_json("{}")
        return TestOutcome(
            f"{case.file}: {case.name}",
            case.file,
            case.line,
            passed=failure is None,
            failure=failure,
            prints=prints,
            table=True,
        )

    def _decide(self, document: Mapping[str, Any]) -> Decision:
        self._engine.set_input_json(canonical_json(document))
        outcome = parse_outcome(self._engine.eval_rule_as_json(ENTRYPOINT))
        known = (
            frozenset(o.type for o in outcome.obligations)
            if isinstance(outcome, PolicyOutcome)
            else frozenset()
        )
        return decide(document, (), outcome, known_obligations=known)

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
                    sides = document = None
                    if _sides(module, statements[number]) is not None:
                        sides = _ask(engine, _data((*module.package, f"charter_sides_{number}")))
                    if _documents(module, statements[number]):
                        document = _ask(engine, _data((*module.package, f"charter_input_{number}")))
                    return _failed_statement(statements[number], texts[number], sides, document)
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


def _documents(module: Module, statement: dict[str, Any]) -> tuple[str, ...]:
    """The source of the document that a statement asks about, if there is one.

    It stands behind `with input as`, or as the last argument of an imported helper.
    """
    for modifier in statement.get("with_mods", ()):
        if reference(modifier["refr"]) == ("input",):
            return (source_of(module.text, modifier["as"]),)
    expression = statement["literal"].get("Expr", {}).get("expr", {})
    call = expression.get("Call")
    if call is None or not call["params"] or "String" in call["params"][-1]:
        return ()
    if (reference(call["fcn"]) or ("",))[0] not in module.aliases:
        return ()
    return (source_of(module.text, call["params"][-1]),)


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
        for source in _documents(module, statement):
            before = "\n\t".join([*texts[:number], f"charter_document := {source}"])
            lines.append(f"charter_input_{number} := charter_document{then} {{\n\t{before}\n}}\n")
    return "\n".join(lines)


def _failed_statement(
    statement: dict[str, Any], text: str, sides: str | None, document: str | None
) -> TestFailure:
    line = int(statement["span"]["line"])
    shown = None if document is None else _short(document)
    if sides is None:
        return TestFailure(line, "this does not hold", statement=text, input=shown)
    left, right = (json.dumps(side) for side in json.loads(sides))
    return TestFailure(
        line,
        "the two sides differ",
        statement=text,
        actual=_short(left),
        expected=_short(right),
        input=shown,
    )


def run_tests(
    bundle: Bundle, *, coverage: bool = False, assembly: Assembly | None = None
) -> TestReport:
    """Run every `test_…` rule of the bundle and every case of its tables.

    In the order of files and lines, rules first. Raises `PolicyRefusedError` when the bundle or a
    test module cannot be loaded, `TableError` when a table cannot be read. `assembly` is that of
    the bundle with its tests, if it has been made already.
    """
    assembly = assembly or assemble(bundle, tests=True)
    cases = cases_of(bundle)
    runner = _Runner(assembly, coverage=coverage)
    outcomes: list[TestOutcome] = []
    for module in assembly.tests:
        named: dict[str, list[Rule]] = {}
        for rule in module.rules:
            if rule.name.startswith((_PREFIX, _SKIP_PREFIX)):
                named.setdefault(rule.name, []).append(rule)
        outcomes.extend(runner.run(module, name, rules) for name, rules in named.items())
    outcomes.extend(runner.run_case(case) for case in cases)
    return TestReport(tuple(outcomes), runner.coverage() if coverage else ())
