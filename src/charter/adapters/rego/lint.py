"""What is wrong with a bundle although every engine can read it.

Rules that can never fire, rules of which nobody knows what they are for, names that mislead, and
functions that would fail on the wrong kind of value. What engines read differently is the matter
of `profile`; what a file's data should look like that of `schemas`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from charter.adapters.rego.builtins import ARITY, TEXT_ARGUMENTS
from charter.adapters.rego.contradictions import (
    action_names,
    bodies,
    constant,
    is_constant,
    local_names,
    never_holds,
)
from charter.adapters.rego.findings import Finding
from charter.adapters.rego.profile import line_of
from charter.adapters.rego.syntax import Module, Rule, nodes, reference
from charter.core.kernel.decision import Mode
from charter.core.policy.data import PolicyData

_AGGREGATOR: Final = "charter"
_NEEDED: Final = ("id", "severity", "fix")
_KINDS: Final = {"is_string", "is_number", "is_array", "is_object", "is_set", "is_boolean"}


def speaking(modules: Iterable[Module]) -> Iterator[tuple[Module, Rule]]:
    """The rules that the aggregator hears, with their modules."""
    for module in modules:
        if module.package[:1] != (_AGGREGATOR,):
            yield from ((module, rule) for rule in module.rules if rule.speaks)


def never_fires(modules: tuple[Module, ...], actions: frozenset[str]) -> Iterator[Finding]:
    """Bodies that cannot hold; `actions` are those that exist, empty when that is not known."""
    for module in modules:
        for rule in module.rules:
            for statements in bodies(rule.tree):
                contradiction = never_holds(statements)
                if contradiction is not None:
                    line, reason = contradiction
                    yield Finding(
                        "never-fires", rule.file, line, f"'{rule.name}' can never hold: {reason}."
                    )
                for line, names in action_names(module, statements) if actions else ():
                    if names and not names & actions:
                        yield Finding(
                            "never-fires",
                            rule.file,
                            line,
                            f"'{rule.name}' can never hold: data.actions knows no action "
                            f"{' or '.join(sorted(names))}.",
                        )


def metadata(modules: tuple[Module, ...]) -> Iterator[Finding]:
    """Speaking rules that do not say what they are; each id once, in any of its bodies."""
    described: dict[tuple[str, ...], set[str]] = {}
    first: dict[tuple[str, ...], Rule] = {}
    for _, rule in speaking(modules):
        custom = rule.metadata.get("custom", {})
        key = (rule.id,) if "id" in custom else rule.path
        first.setdefault(key, rule)
        has = {name for name in _NEEDED if custom.get(name)}
        described.setdefault(key, set()).update(has, {"title"} & set(rule.metadata))
    for key, rule in first.items():
        missing = [name for name in ("title", *_NEEDED) if name not in described[key]]
        if missing:
            yield Finding(
                "metadata",
                rule.file,
                rule.line,
                f"{rule.id} does not say its {', '.join(missing)}.",
            )


def imports(modules: tuple[Module, ...]) -> Iterator[Finding]:
    """Imports of data or input that nothing in the module uses."""
    for module in modules:
        used = {
            str(node["Var"]["value"])
            for rule in module.rules
            for node in rule.nodes
            if isinstance(node.get("Var"), dict)
        }
        for path, alias in zip(module.imports, module.aliases, strict=True):
            if path.split(".")[0] in {"data", "input"} and alias not in used:
                pattern = re.compile(rf"^import\s+{re.escape(path)}\b", re.MULTILINE)
                found = pattern.search(module.text)
                line = module.text.count("\n", 0, found.start()) + 1 if found else 0
                yield Finding("unused-import", module.file, line, f"{path} is not used.")


def shadows(modules: tuple[Module, ...]) -> Iterator[Finding]:
    """Local variables that are named like a rule of the package, an import or a function."""
    names: dict[tuple[str, ...], set[str]] = {}
    for module in modules:
        own = names.setdefault(module.package, set())
        own.update(rule.path[len(module.package)] for rule in module.rules)
    plain = {name for name in ARITY if "." not in name}
    for module in modules:
        taken = names[module.package] | set(module.aliases) | plain | {"input", "data"}
        for rule in module.rules:
            for name, line in local_names(rule.tree):
                if name in taken:
                    yield Finding(
                        "shadowed-name", rule.file, line, f"'{name}' also names something outside."
                    )


def unguarded(modules: tuple[Module, ...], texts: Iterable[tuple[str, ...]]) -> Iterator[Finding]:
    """Functions on parts of the input that may be of another type; `texts` are surely texts."""
    sure = set(texts)
    for module in modules:
        for rule in module.rules:
            asked = _asked(rule.tree)
            for node in rule.nodes:
                yield from _unguarded_call(rule, node, asked, sure)
                yield from _division(rule, node)


def _asked(tree: object) -> set[tuple[str, ...]]:
    """The references of which the rule asks what kind of value they are."""
    found: set[tuple[str, ...]] = set()
    for node in nodes(tree):
        call = node.get("Call")
        if isinstance(call, dict) and (reference(call["fcn"]) or ("",))[-1] in _KINDS:
            argument = reference(call["params"][0]) if call["params"] else None
            if argument is not None:
                found.add(argument)
    return found


def _unguarded_call(
    rule: Rule, node: dict[str, Any], asked: set[tuple[str, ...]], sure: set[tuple[str, ...]]
) -> Iterator[Finding]:
    call = node.get("Call")
    name = reference(call["fcn"]) if isinstance(call, dict) else None
    dotted = ".".join(name or ())
    for place in TEXT_ARGUMENTS.get(dotted, ()):
        if call is None or place >= len(call["params"]):
            continue
        term = reference(call["params"][place])
        if term is None or term[0] != "input" or term in asked or term in sure:
            continue
        yield Finding(
            "unguarded-value",
            rule.file,
            line_of(call["params"][place]),
            f"{dotted} fails when {'.'.join(term)} is there and no text.",
        )


def _division(rule: Rule, node: dict[str, Any]) -> Iterator[Finding]:
    sum_ = node.get("ArithExpr")
    if not isinstance(sum_, dict) or sum_["op"] not in {"Div", "Mod"}:
        return
    divisor = constant(sum_["rhs"])
    if is_constant(divisor):
        if divisor == 0:
            yield Finding("division-by-zero", rule.file, line_of(sum_), "this divides by zero.")
        return
    term = reference(sum_["rhs"])
    if term is None or term[0] not in {"input", *(name for name, _ in local_names(rule.tree))}:
        return  # a number of the data or of another rule: its own place to say that it is not zero
    if not _mentions(rule.tree, term):
        yield Finding("division-by-zero", rule.file, line_of(sum_), "the divisor may be zero.")


def _mentions(tree: object, term: tuple[str, ...]) -> bool:
    """Whether some comparison of the rule speaks of `term`."""
    return any(
        reference(side) == term
        for node in nodes(tree)
        if isinstance(node.get("BoolExpr"), dict)
        for side in (node["BoolExpr"]["lhs"], node["BoolExpr"]["rhs"])
    )


def switched_off(modules: tuple[Module, ...], data: PolicyData) -> Iterator[Finding]:
    """Rules whose mode is off."""
    seen: set[str] = set()
    for _, rule in speaking(modules):
        if data.mode_of(rule.id) is Mode.OFF and rule.id not in seen:
            seen.add(rule.id)
            yield Finding("switched-off", rule.file, rule.line, f"{rule.id} is switched off.")


def old_syntax(modules: tuple[Module, ...]) -> Iterator[Finding]:
    """Files in the syntax of Rego before version 1."""
    for module in modules:
        if module.old_syntax:
            yield Finding(
                "old-syntax", module.file, 0, "this file is in the syntax of Rego before version 1."
            )


def lint_findings(
    modules: tuple[Module, ...],
    tests: tuple[Module, ...],
    *,
    data: PolicyData | None = None,
    texts: Iterable[tuple[str, ...]] = (),
) -> list[Finding]:
    """Everything that this module finds; without `data` what depends on it is left out."""
    everything = (*modules, *tests)
    found = [
        *never_fires(modules, data.actions if data is not None else frozenset()),
        *metadata(modules),
        *imports(everything),
        *shadows(modules),
        *unguarded(modules, texts),
        *old_syntax(everything),
    ]
    if data is not None:
        found += switched_off(modules, data)
    return found
