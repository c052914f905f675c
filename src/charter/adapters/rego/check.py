"""The check of a whole bundle, as an author, a hook, CI and the server's pipeline run it.

Reading, profile, linter, schemas, tests with coverage and tables, in this order; what can still be
said after a mistake is said, so that one run shows all of them. The check is a function of the
bundle's files: no clock, no network, no files beside the bundle. It evaluates the bundle's tests,
so bundles that nobody vouches for are checked in a worker process (`worker`).

Source: Spec PC-4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.rego.assemble import AGGREGATOR, Assembly, assemble
from charter.adapters.rego.findings import Finding, Severity, in_order
from charter.adapters.rego.lint import lint_findings, speaking
from charter.adapters.rego.profile import profile_findings, template_findings
from charter.adapters.rego.reads import input_references
from charter.adapters.rego.schemas import (
    data_findings,
    input_problem,
    input_schemas,
    sure_texts,
)
from charter.adapters.rego.syntax import Module, PolicyRefusedError, Rule, parse
from charter.adapters.rego.testing import TestReport, run_tests
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import Bundle, PolicyData

_PLACE: Final = re.compile(r"^([\w./-]+\.(?:rego|json|yaml)):(\d+):?\s*")
_MOST_LINES: Final = 12  # of lines without a test in one finding


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found. `report` is None when no test ran, because of an error or by request."""

    digest: str
    files: int
    rules: int
    findings: tuple[Finding, ...]
    report: TestReport | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that keep the bundle from deciding."""
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that somebody should look at."""
        return tuple(f for f in self.findings if f.severity is Severity.WARNING)

    @property
    def passed(self) -> bool:
        """Whether the bundle may decide."""
        return not self.errors

    @property
    def coverage_percent(self) -> float | None:
        """The share of the rules' lines that tests have evaluated; None when no test ran."""
        return None if self.report is None else coverage_percent(self.report)

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON document."""
        percent = self.coverage_percent
        tests = self.report.tests if self.report is not None else ()
        return {
            "passed": self.passed,
            "digest": self.digest,
            "files": self.files,
            "rules": self.rules,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "findings": [finding.as_json() for finding in self.findings],
            "tests": None
            if self.report is None
            else {
                "run": sum(not test.skipped for test in tests),
                "failed": len(self.report.failures),
                "skipped": sum(test.skipped for test in tests),
                "coverage_percent": None if percent is None else round(percent, 1),
                "failures": [
                    {"name": t.name, "file": t.file, "line": t.line, "shown": t.show()}
                    for t in self.report.failures
                ],
            },
        }


def coverage_percent(report: TestReport) -> float:
    """The share of lines that tests have evaluated, over all files; 100 when there is no line."""
    covered = sum(len(entry.covered) for entry in report.coverage)
    total = covered + sum(len(entry.missed) for entry in report.coverage)
    return 100.0 if total == 0 else 100.0 * covered / total


def _located(rule: str, sentence: str) -> Finding:
    """A sentence of the loader as a finding; the place is taken from its beginning."""
    place = _PLACE.match(sentence)
    if place is None:
        return Finding(rule, "the bundle", 0, sentence)
    return Finding(rule, place[1], int(place[2]), sentence[place.end() :])


def parsed(bundle: Bundle, paths: tuple[str, ...]) -> tuple[tuple[Module, ...], list[Finding]]:
    """The modules at `paths`, and a finding for each that cannot be read."""
    modules: list[Module] = []
    findings: list[Finding] = []
    for path in paths:
        try:
            modules.append(parse(path, bundle.text(path)))
        except PolicyRefusedError as error:
            templates = template_findings(path, bundle.text(path))
            findings += templates or [_located("parse", p) for p in problems_of(error)]
        except InvalidInputError as error:
            findings.append(Finding("parse", path, 0, error.message))
    return tuple(modules), findings


def problems_of(error: InvalidInputError) -> list[str]:
    """The single sentences of a refusal."""
    listed = error.details.get("problems")
    return [str(p) for p in listed] if isinstance(listed, list) and listed else [error.message]


def _data(bundle: Bundle) -> tuple[PolicyData | None, list[Finding]]:
    found = data_findings(bundle)
    try:
        return PolicyData.from_bundle(bundle), found
    except InvalidInputError as error:
        if not found:
            found = [Finding("data-schema", "data", 0, problem) for problem in problems_of(error)]
        return None, found


def _input_findings(bundle: Bundle, modules: tuple[Module, ...]) -> tuple[list[Finding], Any]:
    schemas, findings = input_schemas(bundle)
    for module in modules:
        for path, line in input_references(module, modules):
            problem = input_problem(path, schemas)
            if problem is not None:
                findings.append(Finding(problem[0], module.file, line, problem[1]))
    return findings, sure_texts(schemas)


def _refusals(bundle: Bundle, known: list[Finding]) -> tuple[list[Finding], Assembly | None]:
    """What the loader refuses and nothing else has found yet; or the bundle, ready to be tested."""
    try:
        return [], assemble(bundle, tests=True)
    except InvalidInputError as error:
        places = {(f.file, f.line) for f in known if f.severity is Severity.ERROR}
        found = [_located(_kind(problem), problem) for problem in problems_of(error)]
        if any(f.severity is Severity.ERROR for f in known):
            found = [f for f in found if f.line and (f.file, f.line) not in places]
        return found, None


def _kind(problem: str) -> str:
    if "is also used at" in problem:
        return "duplicate-id"
    if "which no rule has" in problem:
        return "unknown-rule-id"
    return "shape" if "must be a set of messages" in problem else "load"


def _tests(modules: tuple[Module, ...], report: TestReport) -> list[Finding]:
    """What the outcomes mean: failures, rules without a test, lines that none has reached."""
    found = [
        Finding("test-failed", test.file, test.line, f"{test.name} fails.")
        for test in report.failures
    ]
    if not any(not test.skipped for test in report.tests):
        found.append(Finding("no-tests", "tests", 0, "the bundle has no test."))
        return found
    missed = {entry.file: set(entry.missed) for entry in report.coverage}
    for _, rule in speaking(modules):
        lines = sorted(missed.get(rule.file, set()) & set(range(rule.line, rule.end_line + 1)))
        if lines:
            found.append(_unreached(rule, lines))
    for module in modules:
        rest = missed.get(module.file, set())
        for rule in module.rules:
            if rule.speaks and module.package[:1] != AGGREGATOR:
                rest = rest - set(range(rule.line, rule.end_line + 1))
        if rest:
            found.append(Finding("uncovered-lines", module.file, min(rest), _lines(sorted(rest))))
    return found


def _unreached(rule: Rule, lines: list[int]) -> Finding:
    if rule.line in lines:
        return Finding("untested-rule", rule.file, rule.line, f"no test makes {rule.id} fire.")
    return Finding("uncovered-lines", rule.file, lines[0], f"{rule.id}: {_lines(lines)}")


def _lines(lines: list[int]) -> str:
    shown = ", ".join(map(str, lines[:_MOST_LINES])) + (" …" if len(lines) > _MOST_LINES else "")
    if len(lines) == 1:
        return f"line {shown} is never reached."
    return f"lines {shown} are never reached."


def _untested(bundle: Bundle, modules: tuple[Module, ...]) -> list[Finding]:
    """Speaking rules with an id of their own that no test and no table names."""
    text = "\n".join(
        bundle.text(path)
        for path in bundle.files
        if path in bundle.test_modules or path.startswith("tests/")
    )
    ids: dict[str, Rule] = {}
    for _, rule in speaking(modules):
        if "id" in rule.metadata.get("custom", {}):
            ids.setdefault(rule.id, rule)
    return [
        Finding("untested-rule", rule.file, rule.line, f"no test and no table names {name}.")
        for name, rule in ids.items()
        if name not in text
    ]


def check(
    bundle: Bundle, *, tests: bool = True, coverage_floor: float | None = None
) -> CheckReport:
    """Everything that can be said about `bundle` without asking anybody else."""
    modules, found = parsed(bundle, bundle.modules)
    test_modules, unread = parsed(bundle, bundle.test_modules)
    found += unread
    readable = not found
    found += [
        finding
        for finding in profile_findings((*modules, *test_modules))
        if readable or finding.rule != "undefined-name"  # it may stand in a file that is not read
    ]
    data, misfits = _data(bundle)
    input_findings, texts = _input_findings(bundle, modules)
    found += misfits + input_findings
    found += lint_findings(modules, test_modules, data=data, texts=texts)
    assembly = None
    if readable:
        refused, assembly = _refusals(bundle, found)
        found += refused
    report = None
    if tests and not any(finding.severity is Severity.ERROR for finding in found):
        try:
            report = run_tests(bundle, coverage=True, assembly=assembly)
        except InvalidInputError as error:
            found += [_located("load", problem) for problem in problems_of(error)]
        else:
            found += _tests(modules, report)
            percent = coverage_percent(report)
            if coverage_floor is not None and percent < coverage_floor:
                found.append(
                    Finding(
                        "coverage",
                        "the bundle",
                        0,
                        f"{percent:.1f} % of the lines are tested; the floor is"
                        f" {coverage_floor:g} %.",
                    )
                )
    if readable:
        named = {(f.file, f.line) for f in found if f.rule == "untested-rule"}
        found += [f for f in _untested(bundle, modules) if (f.file, f.line) not in named]
    ids = {rule.id for _, rule in speaking(modules)}
    return CheckReport(bundle.digest, len(bundle.files), len(ids), in_order(found), report)
