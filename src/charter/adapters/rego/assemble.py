"""Making one policy out of a bundle's files: checks, the list of speaking rules, the catalogue.

The aggregator of a bundle (`lib/decision.rego`, package `charter`) has to hear every `deny`,
`warn`, `require_approval` and `obligation`, in whatever package somebody put it: a rule that nobody
asks is the classic silent hole of policy as code. Rego cannot enumerate packages without
evaluating all of them, so the list is written here, from the syntax trees, as a module of its
own (`data.charter.sources`). The metadata of all rules goes in as `data.catalogue`.

Everything is a function of the bundle's files; the same bundle always gives the same policy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.rego.names import name_problems
from charter.adapters.rego.profile import misread
from charter.adapters.rego.reads import Program
from charter.adapters.rego.syntax import (
    NONDETERMINISTIC,
    Module,
    PolicyRefusedError,
    Rule,
    modules_of,
)
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import TEST_SUFFIX, Bundle, PolicyData

AGGREGATOR: Final = ("charter",)
"""The package of the aggregator; rules of this package and below it are never collected."""

ENTRYPOINT: Final = "data.charter.decision"
SOURCES_FILE: Final = "generated/charter-sources.rego"
_TEXT_FIELDS: Final = ("id", "severity", "fix", "owner")


@dataclass(frozen=True, slots=True)
class Assembly:
    """A bundle that passed every check, ready to be loaded into an engine."""

    modules: tuple[Module, ...]
    tests: tuple[Module, ...]
    sources: str
    data_json: str
    data: PolicyData
    speaking: tuple[Rule, ...]
    notices: tuple[str, ...]
    program: Program


def _speaking(modules: tuple[Module, ...]) -> tuple[Rule, ...]:
    return tuple(
        rule
        for module in modules
        if module.package[:1] != AGGREGATOR
        for rule in module.rules
        if rule.speaks
    )


def _shape_problems(rules: tuple[Rule, ...]) -> list[str]:
    """A speaking rule must be a set; of anything else the aggregator would hear nothing."""
    return [
        f"{rule.file}:{rule.line}: '{rule.name}' must be a set of messages "
        f"({rule.name} contains … if …), or the aggregator would not hear it."
        for rule in rules
        if rule.kind != "Set"
    ]


def _call_problems(modules: tuple[Module, ...]) -> list[str]:
    return [
        f"{module.file}:{line}: {name} is not allowed, because its answer depends on more than the "
        "input and could not be replayed. Use input.context.now for the time."
        for module in modules
        for name, line in module.calls
        if name in NONDETERMINISTIC
    ]


def _entry(rule: Rule, problems: list[str]) -> dict[str, Any]:
    """What one rule's metadata says, checked."""
    custom = rule.metadata.get("custom", {})
    where = f"{rule.file}:{rule.line}"
    entry: dict[str, Any] = {"source": where}
    for name in _TEXT_FIELDS:
        if not isinstance(custom.get(name, ""), str):
            problems.append(f"{where}: '{name}' in METADATA must be a text.")
        elif name in custom and name != "id":
            entry[name] = custom[name]
    if entry.get("severity", "medium") not in {"low", "medium", "high", "critical"}:
        problems.append(f"{where}: the severity must be low, medium, high or critical.")
    entry["controls"] = custom.get("controls", [])
    if not isinstance(entry["controls"], list) or not all(
        isinstance(control, str) for control in entry["controls"]
    ):
        problems.append(f"{where}: 'controls' in METADATA must be a list of texts.")
    if "title" in rule.metadata:
        entry["title"] = str(rule.metadata["title"])
    return entry


def _catalogue(rules: tuple[Rule, ...], problems: list[str]) -> dict[str, dict[str, Any]]:
    """What is known about each rule id, for the aggregator to add to what the rule says."""
    found: dict[str, dict[str, Any]] = {}
    declared: set[str] = set()
    for rule in rules:
        entry = _entry(rule, problems)
        declares = "id" in rule.metadata.get("custom", {})
        if declares and rule.id in declared:
            problems.append(
                f"{entry['source']}: the id {rule.id} is also used at {found[rule.id]['source']}."
            )
        elif declares or rule.id not in found:
            found[rule.id] = entry
        if declares:
            declared.add(rule.id)
    return found


def _data_problems(data: PolicyData, known: set[str], warning: set[str]) -> list[str]:
    """Rule ids in data that no rule has: a misspelt one would silently switch nothing."""
    named = (
        *data.enforcement.named(),
        *(("data.exemptions", exemption.rule) for exemption in data.exemptions),
        *(("data.approvals.rules", rule) for rule in data.approvals.rules),
    )
    problems = [
        f"{place} names {rule}, which no rule has." for place, rule in named if rule not in known
    ]
    problems += [
        f"{place} names {rule}, which never warns."
        for place, rule in data.enforcement.named()
        if place.endswith(".strict") and rule in known - warning
    ]
    return problems


def _path(rule: Rule) -> str:
    return "data" + "".join(f"[{json.dumps(part)}]" for part in rule.path)


def sources_of(rules: tuple[Rule, ...], *, evaluated: int) -> str:
    """The module that lists these speaking rules, each set once however many bodies it has.

    `evaluated` is how many rules were considered; an index may have left some out (`index`).
    """
    lines = ["package charter.sources", "", "import rego.v1", ""]
    sets = {rule.path: rule for rule in rules}
    for _, rule in sorted(sets.items()):
        said = {
            "effect": json.dumps(rule.name),
            "rule": json.dumps(rule.default_id),
            "said": "said",
        }
        fields = ", ".join(f'"{name}": {value}' for name, value in said.items())
        lines.append(f"spoken contains {{{fields}}} if some said in {_path(rule)}")
    if not sets:
        lines.append("spoken := set()")
    lines += ["", f"evaluated := {evaluated}", ""]
    return "\n".join(lines)


def _notices(modules: tuple[Module, ...]) -> tuple[str, ...]:
    found: list[str] = []
    for module in modules:
        if module.old_syntax:
            found.append(
                f"{module.file} is written in the syntax of Rego before version 1; it works, and "
                "should be converted (import rego.v1, 'contains', 'if')."
            )
        elif module.negations and "future.keywords.not" not in module.imports:
            found.append(
                f"{module.file}:{module.negations[0]} uses 'not' without import "
                "future.keywords.not; engines differ about undefined values there."
            )
    return tuple(found)


def assemble(bundle: Bundle, *, tests: bool = False, strict: bool = True) -> Assembly:
    """The policy in `bundle`; raises `PolicyRefusedError` with every problem found.

    Without `strict`, what engines read differently is let through: only to compare what one engine
    makes of a bundle with what it makes of the converted one.
    """
    everything = modules_of(bundle, tests=tests)
    modules = tuple(m for m in everything if not m.file.endswith(TEST_SUFFIX))
    test_modules = tuple(m for m in everything if m.file.endswith(TEST_SUFFIX))
    speaking = _speaking(modules)
    problems = _shape_problems(speaking) + _call_problems(everything)
    problems += name_problems(everything)
    problems += [finding.sentence() for finding in misread(everything)] if strict else []
    catalogue = _catalogue(speaking, problems)
    if not any(
        m.package == AGGREGATOR and any(r.name == "decision" for r in m.rules) for m in modules
    ):
        problems.append("No module gives data.charter.decision; lib/decision.rego is missing.")
    reserved = [m.file for m in modules if m.package == (*AGGREGATOR, "sources")]
    problems.extend(
        f"{file} uses the package charter.sources, which is generated." for file in reserved
    )
    try:
        settings = bundle.settings()
        data = PolicyData.from_documents(settings)
    except InvalidInputError as error:
        raise PolicyRefusedError([*problems, error.message]) from error
    warning = {rule.id for rule in speaking if rule.name == "warn"}
    problems += _data_problems(data, set(catalogue), warning)
    if problems:
        raise PolicyRefusedError(problems)
    return Assembly(
        modules=modules,
        tests=test_modules,
        sources=sources_of(speaking, evaluated=len(speaking)),
        data_json=json.dumps({"settings": settings, "catalogue": {"rules": catalogue}}),
        data=data,
        speaking=speaking,
        notices=_notices(modules),
        program=Program(modules),
    )


def sources_module(assembly: Assembly) -> tuple[str, str]:
    """File name and text of the generated module."""
    return SOURCES_FILE, assembly.sources
