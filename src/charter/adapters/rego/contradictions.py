"""Conditions that cannot hold together: what makes a rule that never fires.

Only what can be read off the statements of one body is found: a constant that is false, a
comparison of constants that fails, and comparisons of one value with constants that exclude one
another. A value is a variable of the rule or a reference without dynamic steps; in one evaluation
of a body such a term stands for one value. What is not understood is left alone.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from charter.adapters.rego.syntax import Module, nodes, reference

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "Eq": operator.eq,
    "Ne": operator.ne,
    "Lt": operator.lt,
    "Le": operator.le,
    "Gt": operator.gt,
    "Ge": operator.ge,
}
_MIRROR: Final = {"Lt": "Gt", "Le": "Ge", "Gt": "Lt", "Ge": "Le", "Eq": "Eq", "Ne": "Ne"}
_NOTHING: Final = object()


@dataclass(slots=True)
class _Known:
    """What the statements so far say about one value."""

    allowed: set[str] | None = None
    excluded: set[str] = field(default_factory=set)
    lowest: tuple[float, bool] = (float("-inf"), False)
    highest: tuple[float, bool] = (float("inf"), False)

    def narrow(self, values: Iterable[object]) -> None:
        written = {json.dumps(value) for value in values}
        self.allowed = written if self.allowed is None else self.allowed & written

    def bound(self, op: str, limit: float) -> None:
        if op in {"Gt", "Ge"}:
            self.lowest = max(self.lowest, (limit, op == "Gt"))
        else:
            self.highest = min(self.highest, (limit, op == "Le"))

    @property
    def impossible(self) -> bool:
        low, high = self.lowest, self.highest
        if low[0] > high[0] or (low[0] == high[0] and (low[1] or not high[1])):
            return True
        if self.allowed is None:
            return False
        return not any(self._fits(json.loads(value)) for value in self.allowed - self.excluded)

    def _fits(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return True
        low, high = self.lowest, self.highest
        above = value > low[0] if low[1] else value >= low[0]
        below = value <= high[0] if high[1] else value < high[0]
        return above and below


def constant(node: dict[str, Any]) -> object:
    """The value of an expression that is written out; `_NOTHING` for any other."""
    kind, body = next(iter(node.items()))
    if kind in {"String", "RawString", "Number", "Bool"}:
        return body["value"]
    return None if kind == "Null" else _NOTHING


def constants(node: dict[str, Any]) -> list[object] | None:
    """The values of a set or array that is written out."""
    kind, body = next(iter(node.items()))
    if kind not in {"Set", "Array"}:
        return None
    values = [constant(item) for item in body["items"]]
    return None if _NOTHING in values else values


def is_constant(value: object) -> bool:
    """Whether `constant` found one."""
    return value is not _NOTHING


def expression(statement: dict[str, Any]) -> dict[str, Any] | None:
    """The plain expression of a statement; None for negations, `some`, `every` and `with`."""
    if statement.get("with_mods"):
        return None
    found = statement["literal"].get("Expr", {}).get("expr")
    return found if isinstance(found, dict) else None


def _comparison(node: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
    for kind in ("BoolExpr", "AssignExpr"):
        if kind in node:
            body = node[kind]
            return ("Eq" if body["op"] == "ColEq" else str(body["op"])), body["lhs"], body["rhs"]
    return None


def _false(node: dict[str, Any]) -> bool:
    if constant(node) is False:
        return True
    found = _comparison(node)
    if found is None or found[0] not in _COMPARE:
        return False
    left, right = constant(found[1]), constant(found[2])
    if not is_constant(left) or not is_constant(right):
        return False
    if found[0] in {"Eq", "Ne"}:
        alike = json.dumps(left) == json.dumps(right)
        return alike is (found[0] == "Ne")
    if type(left) is not type(right):
        return False
    return not _COMPARE[found[0]](left, right)


def _facts(node: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str, list[Any]]]:
    """`term OP constants` as the statement says it."""
    if "Membership" in node and node["Membership"]["key"] is None:
        term, listed = (
            reference(node["Membership"]["value"]),
            constants(node["Membership"]["collection"]),
        )
        if term is not None and listed is not None:
            yield term, "Eq", listed
    found = _comparison(node)
    if found is None or found[0] not in _COMPARE:
        return
    op, left, right = found
    for one, other, sign in ((left, right, op), (right, left, _MIRROR[op])):
        term, value = reference(one), constant(other)
        if term is not None and term != ("_",) and is_constant(value):
            yield term, sign, [value]


def never_holds(statements: list[dict[str, Any]]) -> tuple[int, str] | None:
    """Line and reason of the first statement with which the body cannot hold any more."""
    known: dict[tuple[str, ...], _Known] = {}
    for statement in statements:
        node = expression(statement)
        if node is None:
            continue
        line = int(statement["span"]["line"])
        if _false(node):
            return line, "this statement is never true"
        for term, op, values in _facts(node):
            facts = known.setdefault(term, _Known())
            if op == "Eq":
                facts.narrow(values)
            elif op == "Ne":
                facts.excluded.add(json.dumps(values[0]))
            elif isinstance(values[0], (int, float)) and not isinstance(values[0], bool):
                facts.bound(op, values[0])
            if facts.impossible:
                return (
                    line,
                    f"no value of {'.'.join(term)} passes this and the statements before it",
                )
    return None


def bodies(tree: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The statements of each body of a rule, those of `else` included."""
    for body in tree.get("bodies") or ():
        yield body["query"]["stmts"]


def action_names(
    module: Module, statements: list[dict[str, Any]]
) -> Iterator[tuple[int, set[str]]]:
    """Where a body asks for actions by name: the line, and the names of which one must be it."""
    spelled: set[tuple[str, ...]] = {("input", "action", "name")}
    for path, alias in zip(module.imports, module.aliases, strict=True):
        if path == "data.charter.facts":
            spelled.add((alias, "action"))
        if path == "input.action":
            spelled.add((alias, "name"))
    for statement in statements:
        node = expression(statement)
        if node is None:
            continue
        for term, op, values in _facts(node):
            if term in spelled and op == "Eq":
                yield int(statement["span"]["line"]), {v for v in values if isinstance(v, str)}


def local_names(tree: object) -> Iterator[tuple[str, int]]:
    """Variables that `:=` brings into a rule, with their lines."""
    for node in nodes(tree):
        assignment = node.get("AssignExpr")
        if isinstance(assignment, dict) and assignment["op"] == "ColEq":
            for inner in nodes(assignment["lhs"]):
                if "Var" in inner:
                    yield str(inner["Var"]["value"]), int(inner["Var"]["span"]["line"])
