"""Questions about a rule's statements, written in Rego: the rule's own package answers them.

Rego tells whether a rule holds and nothing more. To see why, its statements are asked step by step
in rules of another module of the same package, where imports and helpers mean what they mean to the
rule itself. For each body of a rule there are three kinds of questions:

* *fired*: each solution of the whole body, with what the rule says and the values that its
  statements saw;
* *step N*: each solution of the statements before N, whether N holds there, and what N saw;
* *near N*: both sides of a numeric comparison N where all other statements hold.

A value is asked for in a comprehension of its own, so that an undefined one is an empty list and
hides nothing. Only what is certain to be bound is asked for: a question that the engine could not
answer would silence the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.rego.origins import Origins, show
from charter.adapters.rego.syntax import Module, Rule, nodes

NUMERIC: Final = {"Lt": "<", "Le": "<=", "Gt": ">", "Ge": ">="}
_CONSTANTS: Final = frozenset({"String", "RawString", "Number", "Bool", "Null"})
_CLOSED: Final = frozenset({"ArrayCompr", "SetCompr", "ObjectCompr", "Every"})
"""What has local names of its own; nothing inside can be asked for from outside."""
_REFERENCES: Final = frozenset({"Var", "RefDot", "RefBrack"})
_MOST_SHOWN: Final = 8  # values of one statement; a statement with more is unreadable anyway


@dataclass(frozen=True, slots=True)
class Shown:
    """A part of a statement whose value is asked for.

    `path` is the fact or setting that it stands for, `at` the place of the helper that it is.
    """

    text: str
    path: str | None
    at: str | None


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `compares` is (sign, left, right) of a numeric comparison."""

    line: int
    text: str
    shown: tuple[Shown, ...]
    compares: tuple[str, str, str] | None
    modifiers: str
    declares: bool


@dataclass(frozen=True, slots=True)
class Body:
    """One body of a speaking rule; `id` is what it says it is, as far as the text tells."""

    module: Module
    rule: Rule
    id: str
    line: int
    head: str
    statements: tuple[Statement, ...]


class _Text:
    """Parts of a module's text. The library's spans leave out quotation marks, and some braces."""

    def __init__(self, module: Module) -> None:
        self._bytes = module.text.encode()

    def span(self, tree: object) -> tuple[int, int]:
        start, end = len(self._bytes), 0
        for node in nodes(tree):
            span = node.get("span")
            if isinstance(span, dict):
                start, end = min(start, span["start"]), max(end, span["end"])
            for kind in ("String", "RawString"):
                if kind in node:
                    quoted = node[kind]["span"]
                    start, end = min(start, quoted["start"] - 1), max(end, quoted["end"] + 1)
            if "Object" in node and node["Object"]["fields"]:
                first = min(self.span(field[1])[0] for field in node["Object"]["fields"])
                start = min(start, max(0, self._bytes.rfind(b"{", 0, first)))
        return start, end

    def of(self, tree: object) -> str:
        start, end = self.span(tree)
        return self._bytes[start:end].decode()

    def between(self, start: int, end: int) -> str:
        return self._bytes[start:end].decode()


def _variables(tree: object, *, indexes: bool = False) -> set[str]:
    """The names in an expression that have to mean something: no functions.

    A name that is nothing but an index takes every value; it counts with `indexes` only.
    """
    found: set[str] = set()
    stack: list[object] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            if "Var" in node:
                found.add(str(node["Var"]["value"]))
            elif "Call" in node:
                stack.extend(node["Call"]["params"])
            elif "RefBrack" in node:
                index = node["RefBrack"]["index"]
                stack.append(node["RefBrack"]["refr"])
                if indexes or "Var" not in index:
                    stack.append(index)
            elif not _CLOSED & node.keys():
                stack.extend(node.values())
    return found


def _closed(tree: object) -> bool:
    return any(_CLOSED & node.keys() for node in nodes(tree))


def _references(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The outermost references of an expression, in the order of the text."""
    if _REFERENCES & node.keys():
        yield node
    elif "Call" in node:
        for parameter in node["Call"]["params"]:
            yield from _references(parameter)
    elif not _CLOSED & node.keys():
        for part in node.values():
            yield from _parts(part)


def _parts(part: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(part, dict):
        yield from _references(part)
    elif isinstance(part, list):
        for item in part:
            yield from _parts(item)


def _operands(literal: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The expressions that a statement compares, looks into or takes apart."""
    for kind, part in (("SomeIn", "collection"), ("Every", "domain")):
        if kind in literal:
            return [literal[kind][part]]
    expression = (literal.get("Expr") or literal.get("NotExpr") or {}).get("expr", {})
    (kind, node), *_ = expression.items() or [("", {})]
    parts = {
        "BoolExpr": ("lhs", "rhs"),
        "BinExpr": ("lhs", "rhs"),
        "ArithExpr": ("lhs", "rhs"),
        "AssignExpr": ("rhs",),
        "Membership": ("value", "collection"),
    }.get(kind)
    if parts is not None:
        return [node[part] for part in parts]
    if kind == "Call":
        return list(node["params"])
    return [expression] if expression else []


class Reader:
    """Reads the speaking rules of a bundle's modules as bodies of statements."""

    def __init__(self, modules: tuple[Module, ...]) -> None:
        self._origins = Origins(modules)

    def bodies(self, module: Module) -> list[Body]:
        """Every body of every speaking rule of `module`."""
        text = _Text(module)
        return [
            self._body(module, rule, body, text)
            for rule in module.rules
            if rule.speaks and rule.kind == "Set"
            for body in rule.tree.get("bodies") or [None]
        ]

    def _body(
        self, module: Module, rule: Rule, body: Mapping[str, Any] | None, text: _Text
    ) -> Body:
        key = rule.tree["head"]["Set"]["key"]
        statements: list[Statement] = []
        known: dict[str, tuple[str, ...] | None] = {}
        bound: set[str] = set()
        stmts = [] if body is None else body["query"]["stmts"]
        for statement in stmts:
            statements.append(self._statement(module, statement, text, known, bound))
            self._origins.bind(module, statement, known)
            bound |= _variables(statement["literal"], indexes=True)
        return Body(
            module=module,
            rule=rule,
            id=_said_id(key) or (rule.id if "id" in rule.metadata.get("custom", {}) else ""),
            line=rule.line if body is None else min(rule.line, int(body["span"]["line"])),
            head=text.of(key),
            statements=tuple(statements),
        )

    def _statement(
        self,
        module: Module,
        statement: Mapping[str, Any],
        text: _Text,
        known: Mapping[str, tuple[str, ...] | None],
        bound: set[str],
    ) -> Statement:
        literal = statement["literal"]
        start, end = text.span(statement)
        inner = text.span(literal)
        modifiers = text.between(inner[1], end) if statement.get("with_mods") else ""
        comparison = literal.get("Expr", {}).get("expr", {}).get("BoolExpr")
        shown: dict[str, Shown] = {}
        for operand in _operands(literal):
            for node in (operand, *_references(operand)):
                told = self._shown(module, node, text, known, bound)
                if told is not None and len(shown) < _MOST_SHOWN:
                    shown.setdefault(told.text, told)
        return Statement(
            line=int(statement["span"]["line"]),
            text=text.between(start, end),
            shown=tuple(shown.values()),
            compares=None
            if comparison is None or comparison["op"] not in NUMERIC
            else (
                NUMERIC[comparison["op"]],
                text.of(comparison["lhs"]),
                text.of(comparison["rhs"]),
            ),
            modifiers=modifiers,
            declares="SomeVars" in literal,
        )

    def _shown(
        self,
        module: Module,
        node: Mapping[str, Any],
        text: _Text,
        known: Mapping[str, tuple[str, ...] | None],
        bound: set[str],
    ) -> Shown | None:
        if _CONSTANTS & node.keys() or not _variables(node) or _closed(node):
            return None
        for name in _variables(node):
            if not (
                name in {"input", "data"}
                or name in bound
                or self._origins.is_rule(module, name)
                or self._origins.imported(module, name) is not None
            ):
                return None
        path = self._origins.path(module, node, known)
        return Shown(
            text=text.of(node),
            path=None if path is None else show(path),
            at=self._origins.defined_at(module, node, known) if path is None else None,
        )


def _said_id(key: Mapping[str, Any]) -> str:
    """The id that a rule's head gives to what it says, where it is written as a constant."""
    for field in key.get("Object", {}).get("fields", ()):
        name, value = field[1], field[2]
        if name.get("String", {}).get("value") == "id" and "String" in value:
            return str(value["String"]["value"])
    return ""


# --- the questions ------------------------------------------------------------------------------
def _head_lines(module: Module) -> list[str]:
    """The package and the imports, as they stand in the module."""
    return [line for line in module.text.split("\n") if line.startswith(("package ", "import "))]


def _values(statement: Statement, prefix: str) -> list[str]:
    return [
        f'"{prefix}{number}": [charter_v | charter_v := {shown.text}{statement.modifiers}]'
        for number, shown in enumerate(statement.shown)
    ]


def _comprehension(fields: list[str], statements: list[str]) -> str:
    body = "\n\t".join(statements) or "true"
    return f"[{{{', '.join(fields)}}} |\n\t{body}\n]"


def questions(body: Body, number: int, *, values: bool = True) -> dict[str, str]:
    """The questions about one body: rule name → its definition. `values=False` asks for less."""
    texts = [statement.text for statement in body.statements]
    said = ['"said": ' + body.head]
    every = [
        field
        for index, statement in enumerate(body.statements)
        for field in (_values(statement, f"v{index}_") if values else [])
    ]
    found = {f"charter_fired_{number}": _comprehension(said + every, texts)}
    for index, statement in enumerate(body.statements):
        if statement.declares:
            continue
        holds = [f'"held": count([1 | {statement.text}])']
        asked = _values(statement, "v") if values else []
        found[f"charter_step_{number}_{index}"] = _comprehension(holds + asked, texts[:index])
        if statement.compares is not None and values:
            _, left, right = statement.compares
            sides = [
                f'"left": {left}{statement.modifiers}',
                f'"right": {right}{statement.modifiers}',
            ]
            if not statement.modifiers:
                found[f"charter_near_{number}_{index}"] = _comprehension(
                    sides, texts[:index] + texts[index + 1 :]
                )
    return found


def module_text(module: Module, asked: Mapping[str, str]) -> str:
    """The module that asks: the same package, the same imports, one rule for each question."""
    rules = [f"{name} := {text}" for name, text in asked.items()]
    return "\n".join([*_head_lines(module), "", *rules, ""])
