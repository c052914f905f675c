"""What a name in a rule stands for: `facts.cpu` is `input.request.object.spec.resources.cpu`.

Rules read the request through helpers that name each fact once. Whoever asks why a rule spoke wants
to see the fact itself. Here a reference is followed, in the syntax trees alone, through imports,
local names (`host := …`, `some line in …`) and helpers that only stand for another reference
(`cpu := object.get(spec, ["resources", "cpu"], 0)`), until it begins with `input` or `data`.

A helper that computes something is not followed: what it gives is its own, and only the place where
it is defined can be told. Nothing is guessed: where two definitions disagree, there is no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from charter.adapters.rego.syntax import Module, Rule

ANY: Final = "*"
"""Stands in a path for an element that is not known from the text alone."""

Path = tuple[str, ...]
Locals = Mapping[str, Path | None]
_ROOTS: Final = ("input", "data")
_DEEPEST: Final = 24  # helpers behind helpers; a loop of names ends here


def show(path: Path) -> str:
    """`("input", "a", "*", "b-c")` as `input.a[*]["b-c"]`."""
    text = path[0]
    for part in path[1:]:
        if part == ANY or part.isdigit():
            text += f"[{part}]"
        elif part.isidentifier():
            text += f".{part}"
        else:
            text += f'["{part}"]'
    return text


def _constant(node: Mapping[str, Any]) -> str | None:
    for kind in ("String", "RawString", "Number"):
        if kind in node:
            return str(node[kind]["value"])
    return None


class Origins:
    """Follows the references of one bundle's modules."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self._rules: dict[Path, list[tuple[Module, Rule]]] = {}
        for module in modules:
            for rule in module.rules:
                self._rules.setdefault(rule.path, []).append((module, rule))

    def is_rule(self, module: Module, name: str) -> bool:
        """Whether `name` alone means a rule of the module's package."""
        return (*module.package, name) in self._rules

    def imported(self, module: Module, name: str) -> Path | None:
        """What `name` was imported as."""
        for target, alias in zip(module.imports, module.aliases, strict=True):
            parts = tuple(target.split("."))
            if alias == name and parts[0] in _ROOTS:
                return parts
        return None

    def defined_at(self, module: Module, node: Mapping[str, Any], known: Locals) -> str | None:
        """Where the helper stands that `node` refers to; None when it is no helper."""
        path = self._written(module, node, known, 0)
        if path is None or path[0] != "data":
            return None
        found = self._rules.get(path[1:])
        return None if not found else f"{found[0][1].file}:{found[0][1].line}"

    def path(self, module: Module, node: Mapping[str, Any], known: Locals) -> Path | None:
        """The path below `input` or `data` that `node` stands for, or None."""
        found = self._follow(module, node, known, 0)
        if found is None or (found[0] == "data" and found[1:] in self._rules):
            return None
        return found

    def bind(
        self, module: Module, statement: Mapping[str, Any], known: dict[str, Path | None]
    ) -> None:
        """Add to `known` what a statement's new local names stand for."""
        literal = statement["literal"]
        if "SomeIn" in literal:
            some = literal["SomeIn"]
            base = self._follow(module, some["collection"], known, 0)
            if some.get("key") is not None and "Var" in some["key"]:
                known[some["key"]["Var"]["value"]] = None
            if "Var" in some["value"]:
                known[some["value"]["Var"]["value"]] = None if base is None else (*base, ANY)
            return
        assign = literal.get("Expr", {}).get("expr", {}).get("AssignExpr")
        if assign is not None and "Var" in assign["lhs"] and not statement.get("with_mods"):
            name = assign["lhs"]["Var"]["value"]
            if assign["op"] == "ColEq" or (name not in known and not self.is_rule(module, name)):
                known[name] = self._follow(module, assign["rhs"], known, 0)

    # -- following ---------------------------------------------------------------------------
    def _follow(
        self, module: Module, node: Mapping[str, Any], known: Locals, depth: int
    ) -> Path | None:
        path = self._written(module, node, known, depth)
        if path is None or path[0] != "data":
            return path
        for length in range(len(path), 1, -1):  # `data.p.spec.size`: a helper, then fields of it
            found = self._rules.get(path[1:length])
            if found is not None:
                stands_for = self._helper(found, depth + 1)
                if stands_for is None:
                    return path if length == len(path) else None
                return (*stands_for, *path[length:])
        return path

    def _written(
        self, module: Module, node: Mapping[str, Any], known: Locals, depth: int
    ) -> Path | None:
        """The path as it is written, its head resolved and helpers within it followed."""
        if depth > _DEEPEST:
            return None
        if "Var" in node:
            return self._head(module, str(node["Var"]["value"]), known)
        if "RefDot" in node:
            base = self._follow_base(module, node["RefDot"]["refr"], known, depth)
            return None if base is None else (*base, str(node["RefDot"]["field"][1]))
        if "RefBrack" in node:
            base = self._follow_base(module, node["RefBrack"]["refr"], known, depth)
            index = _constant(node["RefBrack"]["index"])
            return None if base is None else (*base, ANY if index is None else index)
        if "Call" in node:
            return self._object_get(module, node["Call"], known, depth)
        return None

    def _follow_base(
        self, module: Module, node: Mapping[str, Any], known: Locals, depth: int
    ) -> Path | None:
        base = self._follow(module, node, known, depth + 1)
        # A helper that computes: its fields are its own.
        return None if base is not None and base[0] == "data" and self._computes(base) else base

    def _computes(self, path: Path) -> bool:
        return path[1:] in self._rules

    def _head(self, module: Module, name: str, known: Locals) -> Path | None:
        if name in known:
            return known[name]
        if name in _ROOTS:
            return (name,)
        if self.is_rule(module, name):
            return ("data", *module.package, name)
        return self.imported(module, name)

    def _object_get(
        self, module: Module, call: Mapping[str, Any], known: Locals, depth: int
    ) -> Path | None:
        """`object.get(base, "key" or ["a", "b"], default)` reads base.key or base.a.b."""
        name = call["fcn"].get("RefDot", {})
        if name.get("field", [None, ""])[1] != "get" or len(call["params"]) < 2:  # noqa: PLR2004
            return None
        if name["refr"].get("Var", {}).get("value") != "object":
            return None
        base = self._follow_base(module, call["params"][0], known, depth)
        key = call["params"][1]
        parts = (
            [_constant(key)]
            if "Array" not in key
            else [_constant(item) for item in key["Array"]["items"]]
        )
        if base is None or not all(part is not None for part in parts):
            return None
        return (*base, *(str(part) for part in parts))

    def _helper(self, found: list[tuple[Module, Rule]], depth: int) -> Path | None:
        """What a helper stands for: the one reference that its one definition is."""
        if len(found) != 1:
            return None
        module, rule = found[0]
        assign = rule.tree.get("head", {}).get("Compr", {}).get("assign")
        if rule.kind != "Compr" or assign is None:
            return None
        bodies = rule.tree.get("bodies") or []
        known: dict[str, Path | None] = {}
        if bodies:  # `x := found if { found := …; is_array(found) } else := []`
            for statement in bodies[0]["query"]["stmts"]:
                self.bind(module, statement, known)
        return self._follow(module, assign["value"], known, depth)
