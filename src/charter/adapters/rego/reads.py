"""What rules read: the paths below `input`, directly and through the helpers that they use.

Three parts of Charter need to know this. The linter compares the paths with the schema of the
decision document, so that `input.resurce` is a mistake and not a silence. Impact analysis says
which facts of a new rule are missing in old records. The index (`index`) finds the rules that
cannot speak for a given action.

Reading a path includes reading everything below it. The analysis follows names given by `:=`,
`some … in`, `object.get`, imports and helper rules. Where it cannot follow, it reports more than is
read, never less: whatever reaches a function of the policy counts as read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from charter.adapters.rego.names import bound_names
from charter.adapters.rego.places import Found, Place, StatementReads
from charter.adapters.rego.syntax import (
    Module,
    Rule,
    nodes,
    reference,
    slice_of,
    source_of,
    span_of,
)
from charter.core.policy.paths import ANY, EVERYTHING, InputPath

Names = dict[str, Place | None]


class _Walk:
    """One walk through a part of a module's tree."""

    def __init__(self, program: Program, module: Module, names: Names) -> None:
        self._program = program
        self._module = module
        self.names = names
        self.found = Found()

    def record(self, place: Place | None, line: int) -> None:
        """Note that what lies at `place` is read."""
        if place is None:
            return
        if place.root == "input":
            self.found.inputs.append((place.steps, line))
            return
        rules = self._program.rules_at(place.steps)
        self.found.rules |= rules
        if not rules:
            self.found.data.add(place.steps)

    def visit(self, node: object) -> None:
        """Read whatever the node is."""
        if isinstance(node, list):
            for item in node:
                self.visit(item)
        elif isinstance(node, dict):
            self.record(self.place(node), _line(node))

    def place(self, node: dict[str, Any]) -> Place | None:
        """Where the node leads, if it is a reference; anything else is read, and leads nowhere."""
        for kind, follow in _FOLLOW.items():
            if kind in node:
                return follow(self, node)
        for value in node.values():
            self.visit(value)
        return None

    def of_dot(self, node: dict[str, Any]) -> Place | None:
        base = self.place(node["RefDot"]["refr"])
        return self._resolved(base, str(node["RefDot"]["field"][1]))

    def of_bracket(self, node: dict[str, Any]) -> Place | None:
        base, index = self.place(node["RefBrack"]["refr"]), node["RefBrack"]["index"]
        if "String" in index:
            return self._resolved(base, str(index["String"]["value"]))
        self.visit(index)
        return self._resolved(base, ANY)

    def of_declared(self, node: dict[str, Any]) -> None:
        for span in node["SomeVars"]["vars"]:
            self.names.setdefault(slice_of(self._module.text, span), None)

    def of_variable(self, node: dict[str, Any]) -> Place | None:
        name = str(node["Var"]["value"])
        if name == "input":
            return Place("input", ())
        if name == "data":
            return Place("data", ())
        own = (*self._module.package, name)
        if name in self.names:
            # Outside of the scope that gives the name, it is the rule or the import of this name.
            self.found.rules |= self._program.rules_at(own)
            self.record(self._program.imported(self._module, name), _line(node))
            return self.names[name]
        if self._program.rules_at(own):
            return self._program.alias(Place("data", own))
        target = self._program.imported(self._module, name)
        if target is not None:
            return target
        if name != "_":
            self.found.open_names = True
        return None

    def _resolved(self, base: Place | None, step: str) -> Place | None:
        return None if base is None else self._program.alias(base.below(step))

    def of_call(self, node: dict[str, Any]) -> Place | None:
        call = node["Call"]
        name = ".".join(reference(call["fcn"]) or ())
        if name == "object.get" and len(call["params"]) == 3:  # noqa: PLR2004 — its signature
            return self._object_get(*call["params"])
        # `object.get` and the like are no references to a variable named `object`.
        head = name.partition(".")[0] if name else ""
        known = head in {"data", "input"} or head in self.names
        known = known or self._program.imported(self._module, head) is not None
        if name and (known or self._program.rules_at((*self._module.package, name))):
            self.record(self.place(call["fcn"]), _line(call["fcn"]))
        self.visit(call["params"])
        return None

    def _object_get(
        self, base: dict[str, Any], key: dict[str, Any], default: dict[str, Any]
    ) -> Place | None:
        self.found.defaults = True
        place = self.place(base)
        self.visit(default)
        keys = key["Array"]["items"] if "Array" in key else [key]
        steps = [str(k["String"]["value"]) if "String" in k else ANY for k in keys]
        for k in keys:
            if "String" not in k:
                self.visit(k)
        for step in steps:
            place = self._resolved(place, step)
        return place

    def of_assign(self, node: dict[str, Any]) -> None:
        assign = node["AssignExpr"]
        value = self.place(assign["rhs"])
        self.record(value, _line(assign["rhs"]))
        left = assign["lhs"]
        name = str(left["Var"]["value"]) if "Var" in left else None
        free = name is not None and name not in self.names
        if assign["op"] == "ColEq" or (free and name not in {"input", "data"}):
            if name is not None and not self._program.rules_at((*self._module.package, name)):
                self.names[name] = value
            else:
                self.bind(left, None)
        else:
            self.visit(left)

    def bind(self, pattern: object, place: Place | None) -> None:
        """Give every variable of a pattern the place (or none)."""
        for node in nodes(pattern):
            if "Var" in node:
                self.names[str(node["Var"]["value"])] = place

    def of_some(self, node: dict[str, Any]) -> None:
        some = node["SomeIn"]
        collection = self.place(some["collection"])
        self.record(collection, _line(some["collection"]))
        element = None if collection is None else collection.below(ANY)
        if some["key"] is not None:
            self.bind(some["key"], None)
        simple = "Var" in some["value"]
        self.bind(some["value"], element if simple else None)

    def of_every(self, node: dict[str, Any]) -> None:
        every = node["Every"]
        domain = self.place(every["domain"])
        self.record(domain, _line(every["domain"]))
        element = None if domain is None else domain.below(ANY)
        if every["key"] is not None:
            self.names[slice_of(self._module.text, every["key"])] = None
        self.names[slice_of(self._module.text, every["value"])] = element
        self.visit(every["query"])

    def of_replaced(self, node: dict[str, Any]) -> None:
        """Under `with`, what is read is no longer what the document says: all of it may matter."""
        if node["with_mods"]:
            self.found.inputs.append((EVERYTHING, _line(node)))
            for modifier in node["with_mods"]:
                self.visit(modifier["as"])
        for name, part in node.items():
            if name != "with_mods":
                self.visit(part)


# What leads somewhere or gives a name; `with` comes before the statement that it changes.
_FOLLOW: Final[Mapping[str, Callable[[_Walk, dict[str, Any]], Place | None]]] = {
    "Var": _Walk.of_variable,
    "RefDot": _Walk.of_dot,
    "RefBrack": _Walk.of_bracket,
    "Call": _Walk.of_call,
    "with_mods": _Walk.of_replaced,
    "AssignExpr": _Walk.of_assign,
    "SomeIn": _Walk.of_some,
    "Every": _Walk.of_every,
    "SomeVars": _Walk.of_declared,
}


def _line(node: dict[str, Any]) -> int:
    """The line of an expression; of one that spans several, that of its last step."""
    for part in (node, *node.values()):
        if isinstance(part, dict) and "span" in part:
            return int(part["span"]["line"])
    return 0


class Program:
    """All modules of a policy, to look names up in."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self.modules = tuple(modules)
        self._rules: dict[tuple[str, ...], list[tuple[Module, Rule]]] = {}
        self._prefixes: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for module in self.modules:
            for rule in module.rules:
                # `m["k"] := 1` belongs to the rule `m`.
                path = rule.path[: len(module.package) + 1]
                self._rules.setdefault(path, []).append((module, rule))
                for length in range(len(path)):
                    self._prefixes.setdefault(path[:length], set()).add(path)
        self._imports = {
            module.file: dict(zip(module.aliases, module.imports, strict=True))
            for module in self.modules
        }
        self._found: dict[tuple[str, ...], Found] = {}
        self._reads: dict[tuple[str, ...], frozenset[InputPath]] = {}
        self._aliases: dict[tuple[str, ...], Place | None] = {}
        self._exact: set[tuple[str, ...]] = set()

    def rules_at(self, steps: tuple[str, ...]) -> set[tuple[str, ...]]:
        """The rules that a reference below `data` reads: one, or all of a package."""
        for length in range(len(steps), 0, -1):
            if steps[:length] in self._rules:
                return {steps[:length]}
        plain = steps[: steps.index(ANY)] if ANY in steps else steps
        return set(self._prefixes.get(plain, ()))

    def imported(self, module: Module, name: str) -> Place | None:
        """Where an imported name leads."""
        target = self._imports[module.file].get(name)
        if target is None:
            return None
        root, *steps = target.split(".")
        if root == "input":
            return Place("input", tuple(steps))
        return self.alias(Place("data", tuple(steps))) if root == "data" else None

    def alias(self, place: Place) -> Place:
        """`place`, or where the rule leads that is only another name for a reference."""
        if place.root == "input":
            return place
        for length in range(len(place.steps), 0, -1):
            path = place.steps[:length]
            if path in self._rules:
                target = self._alias_of(path)
                return place if target is None else target.below(*place.steps[length:])
        return place

    def _alias_of(self, path: tuple[str, ...]) -> Place | None:
        if path not in self._aliases:
            self._aliases[path] = None  # a name that leads to itself leads nowhere
            definitions = self._rules[path]
            if len(definitions) == 1:
                module, rule = definitions[0]
                head = rule.tree.get("head", {}).get("Compr", {})
                if not rule.tree.get("bodies") and "Var" in head.get("refr", {}):
                    walk = _Walk(self, module, {})
                    target = walk.place((head.get("assign") or {}).get("value") or {})
                    if not walk.found.inputs and not walk.found.rules:
                        self._aliases[path] = target
                        if target is not None and not walk.found.defaults:
                            self._exact.add(path)
        return self._aliases[path]

    def found(self, path: tuple[str, ...]) -> Found:
        """What the rule at `path` reads itself, over all its definitions."""
        if path not in self._found:
            total = Found()
            for module, rule in self._rules.get(path, ()):
                one = rule_found(self, module, rule)
                total.inputs += one.inputs
                total.data |= one.data
                total.rules |= one.rules
            self._found[path] = total
        return self._found[path]

    def reads(self, path: tuple[str, ...]) -> frozenset[InputPath]:
        """The input paths that the rule at `path` reads, itself and through its helpers."""
        if path not in self._reads:
            self._reads[path] = self._through(self.found(path))
        return self._reads[path]

    def _through(self, found: Found) -> frozenset[InputPath]:
        inputs = {steps for steps, _ in found.inputs}
        for path in self.reached(found.rules):
            inputs |= {steps for steps, _ in self.found(path).inputs}
        return frozenset(inputs)

    def reached(self, paths: Iterable[tuple[str, ...]]) -> frozenset[tuple[str, ...]]:
        """These rules, and all that they read through others."""
        seen: set[tuple[str, ...]] = set()
        waiting = list(paths)
        while waiting:
            path = waiting.pop()
            if path not in seen:
                seen.add(path)
                waiting += self.found(path).rules
        return frozenset(seen)

    def other_name(self, path: tuple[str, ...]) -> Place | None:
        """Where the rule at `path` leads, if it is nothing but another name for a reference."""
        target = self._alias_of(path) if path in self._rules else None
        return target if target and path in self._exact and ANY not in target.steps else None

    def definitions(self, path: tuple[str, ...]) -> Sequence[tuple[Module, Rule]]:
        """The definitions of the rule at `path`, each with its module."""
        return self._rules.get(path, ())

    def place_of(self, module: Module, node: dict[str, Any]) -> Place | None:
        """Where a reference in `module` leads, if that can be said."""
        return _Walk(self, module, {}).place(node)

    def uses(self) -> frozenset[tuple[str, ...]]:
        """The rules that some other rule refers to."""
        return frozenset(used for path in self._rules for used in self.found(path).rules)

    def rule_reads(self, module: Module, rule: Rule) -> frozenset[InputPath]:
        """The input paths that this one definition reads, itself and through its helpers."""
        return self._through(rule_found(self, module, rule))

    def statements(self, module: Module, rule: Rule) -> tuple[StatementReads, ...]:
        """The statements of a rule with a single body, in order; nothing for any other rule."""
        bodies = rule.tree.get("bodies") or []
        if len(bodies) != 1:
            return ()
        local = bound_names(rule, module.text) - {"_"}
        result = []
        for statement in bodies[0]["query"]["stmts"]:
            walk = _Walk(self, module, {})
            walk.visit(statement)
            gives = bool(walk.names)
            uses = any("Var" in n and n["Var"]["value"] in local for n in nodes(statement))
            result.append(
                StatementReads(
                    text=source_of(module.text, statement),
                    line=int(statement["span"]["line"]),
                    span=span_of(statement),
                    inputs=self._through(walk.found),
                    closed=not (walk.found.open_names or gives or uses),
                )
            )
        return tuple(result)


def rule_found(program: Program, module: Module, rule: Rule) -> Found:
    """What one definition reads itself."""
    walk = _Walk(program, module, {})
    tree = rule.tree
    head = next(iter(tree["head"].values())) if "head" in tree else tree
    walk.bind(head.get("args", []), None)
    bodies = tree.get("bodies") or []
    for _ in range(2):  # a name may be used above the line that gives it
        walk.found = Found()
        for body in bodies:
            walk.visit(body["query"]["stmts"])
            walk.visit((body.get("assign") or {}).get("value"))
        for part in ("key", "value"):
            walk.visit(head.get(part))
        walk.visit((head.get("assign") or {}).get("value"))
    return walk.found


def reads_of(modules: Sequence[Module]) -> dict[tuple[str, ...], frozenset[InputPath]]:
    """The input paths that each rule of these modules reads, itself and through its helpers."""
    program = Program(modules)
    return {
        path: program.reads(path)
        for path in {rule.path[: len(m.package) + 1] for m in modules for rule in m.rules}
    }


def input_references(
    module: Module, modules: Sequence[Module] | None = None
) -> list[tuple[InputPath, int]]:
    """Every input path that a module itself names, with its line, in order.

    `modules` are all modules of the policy, for the helpers that the module uses.
    """
    program = Program(modules or (module,))
    found = [place for rule in module.rules for place in rule_found(program, module, rule).inputs]
    return sorted(set(found), key=lambda place: (place[1], place[0]))
