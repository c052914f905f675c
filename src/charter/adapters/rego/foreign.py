"""Policies of others: modules that are no Charter bundle, read, linted and tested as they are.

A folder of a policy library has no aggregator, no data documents and no ids. What can be said about
it: which files are in the profile and which are not, with the sentence that says why; and, where
all files of the folder are in it, whether its own tests pass. Nothing that is refused is evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.rego.findings import Finding, Severity, in_order
from charter.adapters.rego.library import Engine
from charter.adapters.rego.profile import profile_findings, template_findings
from charter.adapters.rego.syntax import (
    Module,
    PolicyRefusedError,
    add,
    explain_error,
    guarded,
    parse,
)

_UNDEFINED: Final = '"<undefined>"'
_TEST: Final = "test_"


@dataclass(frozen=True, slots=True)
class ForeignReport:
    """What is known of a folder of modules; `tests` maps each test's full name to its outcome.

    `tests` is empty when a file was refused: a test of the rest would say nothing.
    """

    modules: tuple[Module, ...]
    findings: tuple[Finding, ...]
    tests: Mapping[str, bool]

    def refused(self, file: str) -> tuple[Finding, ...]:
        """Why a file is outside the profile; nothing for one that is in it."""
        return tuple(f for f in self.findings if f.file == file and f.severity is Severity.ERROR)

    @property
    def accepted(self) -> bool:
        """Whether every file is in the profile."""
        return not any(f.severity is Severity.ERROR for f in self.findings)


def examine(files: Mapping[str, str], *, data: Mapping[str, Any] | None = None) -> ForeignReport:
    """The report on these modules, by path; `data` is what they read as `data`."""
    modules: list[Module] = []
    findings: list[Finding] = []
    for file, text in sorted(files.items()):
        try:
            modules.append(parse(file, text))
        except PolicyRefusedError as error:
            problems = error.details["problems"]
            told = problems[0] if isinstance(problems, list) else error.message
            findings += template_findings(file, text) or (
                Finding("parse", file, 0, str(told).removeprefix(f"{file}:")),
            )
    known = profile_findings(tuple(modules))
    if findings:  # what is named may stand in a file that cannot be read
        known = [finding for finding in known if finding.rule != "undefined-name"]
    findings += known
    report = ForeignReport(tuple(modules), in_order(findings), {})
    if not report.accepted:
        return report
    try:
        engine = loaded(report.modules, data)
    except PolicyRefusedError as error:
        return ForeignReport(report.modules, (Finding("load", "", 0, error.message),), {})
    return ForeignReport(report.modules, report.findings, _tests(engine, report.modules))


def loaded(modules: tuple[Module, ...], data: Mapping[str, Any] | None = None) -> Engine:
    """An engine with these modules and data; raises `PolicyRefusedError`."""
    engine = Engine()
    engine.set_gather_prints(True)
    try:
        for module in modules:
            add(engine, module)
        if data:
            engine.add_data_json(json.dumps(data))
    except BaseException as error:  # noqa: BLE001  (panics derive from it)
        guarded(error)
        raise PolicyRefusedError([explain_error(error, show_reason=True) + "."]) from None
    return engine


def asked(engine: Engine, path: tuple[str, ...], document: object) -> Any:
    """What the rule or package at `path` says on `document`; None when undefined.

    Raises `PolicyRefusedError` when the evaluation fails, as it would for a decision.
    """
    try:
        engine.set_input_json(json.dumps(document))
        query = "data" + "".join(f"[{json.dumps(step)}]" for step in path)
        answer = json.loads(engine.eval_query_as_json(query))
        engine.take_prints()
    except BaseException as error:  # noqa: BLE001
        guarded(error)
        raise PolicyRefusedError([explain_error(error, show_reason=True) + "."]) from None
    results = answer.get("result") or []
    return results[0]["expressions"][0]["value"] if results else None


def _tests(engine: Engine, modules: tuple[Module, ...]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for module in modules:
        for rule in module.rules:
            if not rule.name.startswith(_TEST) or rule.kind == "Func":
                continue
            name = "data." + ".".join(rule.path)
            if name not in found:
                found[name] = _holds(engine, name)
    return found


def _holds(engine: Engine, name: str) -> bool:
    try:
        engine.set_input_json("{}")
        answer = engine.eval_rule_as_json(name)
        engine.take_prints()
    except BaseException as error:  # noqa: BLE001
        guarded(error)
        return False
    return bool(answer != _UNDEFINED and json.loads(answer) is True)
