"""What must hold before a rule can speak, as far as it depends on the key of a document alone.

A rule's own statements count, and what they take for granted: `kubernetes.admitting` holds only if
the body of that helper does, `some pod in pods` only if something puts a pod there, `assessing(x)`
only if the function's body can hold. So a helper with a single definition passes its conditions on
to the rules that use it.

Such conditions are necessary, not sufficient: they may leave a rule out, and never let one speak.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.rego.names import bound_names
from charter.adapters.rego.places import StatementReads
from charter.adapters.rego.reads import Program
from charter.adapters.rego.syntax import Module, Rule, nodes
from charter.core.policy.paths import InputPath

_DEEPEST: Final = 4  # helpers of helpers; what lies deeper is asked when the rule is
Condition = tuple[Module, str]


@dataclass(frozen=True, slots=True)
class Guard:
    """The conditions of one rule. `statements` are its own: where the guard holds, they do."""

    module: Module
    rule: Rule
    statements: tuple[StatementReads, ...]
    implied: tuple[Condition, ...]

    def conditions(self) -> tuple[Condition, ...]:
        """All of them, each with the module in which it has to be asked."""
        return (*((self.module, one.text) for one in self.statements), *self.implied)


def guard_of(
    program: Program, module: Module, rule: Rule, key_paths: AbstractSet[InputPath]
) -> Guard | None:
    """The guard of a rule; None when nothing about it depends on `key_paths` alone."""
    own = _closed(program, module, rule, key_paths)
    found = {
        (of.file, text): (of, text) for of, text in _implied(program, module, rule, key_paths, 0)
    }
    implied = tuple(found.values())
    return Guard(module, rule, own, implied) if own or implied else None


def _closed(
    program: Program, module: Module, rule: Rule, key_paths: AbstractSet[InputPath]
) -> tuple[StatementReads, ...]:
    return tuple(
        statement
        for statement in program.statements(module, rule)
        if statement.closed and statement.inputs <= key_paths
    )


def _implied(
    program: Program, module: Module, rule: Rule, key_paths: AbstractSet[InputPath], depth: int
) -> Iterator[Condition]:
    """The conditions of the helpers that the statements of a rule take for granted."""
    if depth >= _DEEPEST:
        return
    local = bound_names(rule, module.text)
    for body in rule.tree.get("bodies") or []:
        for statement in body["query"]["stmts"]:
            for node, fills in _needed(statement):
                if any("Var" in part and part["Var"]["value"] in local for part in nodes(node)):
                    continue  # a name of the rule's own may hide the helper of that name
                helper = _single(program, module, node, fills=fills)
                if helper is not None:
                    of, definition = helper
                    for one in _closed(program, of, definition, key_paths):
                        yield of, one.text
                    yield from _implied(program, of, definition, key_paths, depth + 1)


def _needed(statement: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """The references without whose value the statement fails; and whether a set must hold one."""
    literal = statement["literal"]
    if statement.get("with_mods"):
        return
    if "SomeIn" in literal:
        yield literal["SomeIn"]["collection"], True
    elif "Expr" in literal:
        yield from ((node, False) for node in _operands(literal["Expr"]["expr"]))


def _operands(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in ("BoolExpr", "ArithExpr"):
        if kind in node:
            yield from _operands(node[kind]["lhs"])
            yield from _operands(node[kind]["rhs"])
            return
    if "AssignExpr" in node:
        yield from _operands(node["AssignExpr"]["rhs"])
    elif "Call" in node:
        yield node["Call"]["fcn"]
    elif "Var" in node or "RefDot" in node or "RefBrack" in node:
        yield node


def _single(
    program: Program, module: Module, node: dict[str, Any], *, fills: bool
) -> tuple[Module, Rule] | None:
    """The one definition behind a reference, if its body has to hold for the reference to."""
    place = program.place_of(module, node)
    if place is None or place.root != "data":
        return None
    paths = program.rules_at(place.steps)
    definitions = program.definitions(next(iter(paths))) if len(paths) == 1 else ()
    if len(definitions) != 1:
        return None
    of, rule = definitions[0]
    bodies = rule.tree.get("bodies") or []
    wanted = {"Compr", "Func", "Set"} if fills else {"Compr", "Func"}
    if of.old_syntax or rule.kind not in wanted or len(bodies) != 1 or bodies[0]["is_else"]:
        return None
    if "Var" not in rule.tree["head"][rule.kind]["refr"]:
        return None  # `h[k] := v` and the like: the whole is there, and empty, without its body
    # A reference to a whole package is not one to a rule of it.
    return (of, rule) if place.steps[: len(of.package) + 1] in paths else None
