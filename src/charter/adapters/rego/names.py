"""Finding names that mean nothing: misspelt variables, missing helpers, unknown functions.

The engine notices such a name only when evaluation reaches it. A rule with a misspelt helper behind
a rarely true condition would load, and then fail on the day it is needed. So every name in a bundle
is looked up before the bundle may decide: it must be bound in its rule, defined in its package,
imported, or a function that the engine has.

The check does not follow scopes inside a rule (a name bound in one comprehension counts as bound in
the whole rule). It may therefore overlook a mistake; it never reports one that is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

from charter.adapters.rego.library import Engine
from charter.adapters.rego.syntax import (
    NONDETERMINISTIC,
    Module,
    Rule,
    guarded,
    slice_of,
)

_ALWAYS: Final = frozenset({"input", "data", "_"})
_UNKNOWN_FUNCTION: Final = "could not find function"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name that means nothing; `called` when it stands where a function should."""

    file: str
    line: int
    name: str
    called: bool

    def sentence(self) -> str:
        """What is wrong, and what to do."""
        if self.called:
            return f"{self.file}:{self.line} calls '{self.name}', which this engine does not have."
        return (
            f"{self.file}:{self.line} uses '{self.name}', which is defined nowhere. Define a rule "
            f"named '{self.name}' in the same package."
        )


def _spans(value: object) -> Iterator[dict[str, Any]]:
    """Names that the syntax tree gives as bare places: `some x`, `every k, v in …`."""
    if isinstance(value, dict) and {"start", "end"} <= set(value):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _spans(item)


def _variables(tree: object) -> Iterator[tuple[str, int]]:
    """Every variable in `tree` with its line, functions' names and `with` targets left out."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            if "Var" in node:
                yield str(node["Var"]["value"]), int(node["Var"]["span"]["line"])
            elif "Call" in node:
                stack.append(node["Call"]["params"])
            elif "with_mods" in node:
                stack.append({name: part for name, part in node.items() if name != "with_mods"})
                stack.extend(modifier["as"] for modifier in node["with_mods"])
            else:
                stack.extend(node.values())


def _given(pattern: object) -> Iterator[str]:
    """The variables that matching a value with `pattern` may give a value to.

    The first name of a reference is none: it has to have a value before a step can be taken.
    """
    stack = [pattern]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            if "Var" in node:
                yield str(node["Var"]["value"])
            elif "Call" in node:
                stack.append(node["Call"]["params"])
            elif "RefDot" in node or "RefBrack" in node:
                step = node.get("RefDot") or node["RefBrack"]
                stack.append(step.get("index"))
                if "Var" not in step["refr"]:
                    stack.append(step["refr"])
            else:
                stack.extend(node.values())


def _bound_here(node: dict[str, Any], text: str) -> Iterator[str]:
    """The names that this one node gives a value to."""
    patterns: list[object] = []
    places: list[object] = []
    if "AssignExpr" in node:
        patterns.append(node["AssignExpr"]["lhs"])
        if node["AssignExpr"]["op"] == "Eq":  # unification binds in both directions
            patterns.append(node["AssignExpr"]["rhs"])
    elif "SomeIn" in node:
        patterns += [node["SomeIn"]["key"], node["SomeIn"]["value"]]
    elif "RefBrack" in node:
        patterns.append(node["RefBrack"]["index"])
    elif "Func" in node:
        patterns.append(node["Func"]["args"])
    elif "SomeVars" in node:
        places.append(node["SomeVars"]["vars"])
    elif "Every" in node:
        places += [node["Every"]["key"], node["Every"]["value"]]
    yield from _given(patterns)
    yield from (slice_of(text, span) for span in _spans(places))


_bound: WeakKeyDictionary[Rule, frozenset[str]] = WeakKeyDictionary()


def bound_names(rule: Rule, text: str) -> frozenset[str]:
    """The names that `rule`, of a module with this text, gives a value to."""
    found = _bound.get(rule)
    if found is None:
        found = frozenset(name for node in rule.nodes for name in _bound_here(node, text))
        _bound[rule] = found
    return found


def _rule_unknowns(module: Module, rule: Rule, defined: set[str]) -> Iterator[Unknown]:
    known = defined | bound_names(rule, module.text) | _ALWAYS
    head = rule.tree.get("refr") if rule.kind == "Default" else None
    seen: set[str] = set()
    for name, line in _variables({k: v for k, v in rule.tree.items() if v is not head}):
        if name not in known and name not in seen and not name.startswith("__"):
            seen.add(name)
            yield Unknown(module.file, line, name, called=False)


def _is_builtin(engine: Engine, name: str) -> bool:
    try:
        engine.eval_query_as_json(f"{name}(1)")
    except BaseException as error:  # noqa: BLE001  (panics derive from it)
        guarded(error)
        return _UNKNOWN_FUNCTION not in str(error)
    return True


@lru_cache(maxsize=1)  # a check asks twice about the same modules
def name_findings(modules: tuple[Module, ...]) -> tuple[Unknown, ...]:
    """Every name that means nothing."""
    packages: dict[tuple[str, ...], set[str]] = {}
    for module in modules:
        own = packages.setdefault(module.package, set())
        own.update(rule.path[len(module.package)] for rule in module.rules)
    unknown: list[Unknown] = []
    engine = Engine()
    engine.set_gather_prints(True)
    builtins: dict[str, bool] = dict.fromkeys(NONDETERMINISTIC, True)
    for module in modules:
        defined = packages[module.package] | set(module.aliases)
        for rule in module.rules:
            unknown.extend(_rule_unknowns(module, rule, defined))
        for name, line in module.calls:
            if name.partition(".")[0] in defined | _ALWAYS:
                continue
            if name not in builtins:
                builtins[name] = _is_builtin(engine, name)
            if not builtins[name]:
                unknown.append(Unknown(module.file, line, name, called=True))
    return tuple(unknown)


def name_problems(modules: tuple[Module, ...]) -> list[str]:
    """One sentence for each name that means nothing."""
    return [unknown.sentence() for unknown in name_findings(modules)]
