"""The Rego profile: the part of the language in which this engine and OPA say the same.

Rego has one name and several engines. Where they read a text differently, a policy means one thing
in the test and another in the cluster. The profile leaves those places out. Each function below
finds one of them and says so in a sentence; none guesses what was meant. A module without findings
here means the same everywhere (`tools/third_party.py` holds that claim against a real OPA).

The central case is `not`. In classic Rego `not f(input.x)` fails when `input.x` is missing, because
the argument is evaluated before the negation; in this engine, and in today's OPA with `import
future.keywords.not`, it holds. Without the import only those negations are in the profile whose
operands cannot be missing.

Source: ADR 013; measured in the conformance runs that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from charter.adapters.rego.builtins import ARITY, DEPRECATED
from charter.adapters.rego.findings import Finding, Severity
from charter.adapters.rego.names import Unknown, name_findings
from charter.adapters.rego.syntax import NONDETERMINISTIC, Module, nodes, reference, slice_of

NEGATION_IMPORT: Final = "future.keywords.not"
_EXACT: Final = 1 << 53
_KEYWORDS: Final = frozenset(
    {"as", "contains", "default", "else", "every", "false", "if", "import", "in", "not"}
    | {"null", "package", "some", "true", "with"}
)
_SCALARS: Final = ("String", "RawString", "Number", "Bool", "Null")
_COMPREHENSIONS: Final = ("SetCompr", "ArrayCompr", "ObjectCompr")
_MAY_BE_SILENT: Final = frozenset({"max", "min", "walk", "intersection"})
"""Functions without an answer for some arguments; others answer, or fail loudly."""
_TEMPLATE: Final = re.compile(r'(#[^\n]*|"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(\$["`])')
Found = Iterator[tuple[str, int, str]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a rule of the profile needs to know beyond its module.

    `functions` maps a function's full name to its number of arguments; `certain` names the rules
    of each package that always have a value; `packages` are all packages and what is above them.
    """

    functions: dict[tuple[str, ...], int]
    certain: dict[tuple[str, ...], frozenset[str]]
    names: dict[tuple[str, ...], frozenset[str]]
    packages: frozenset[tuple[str, ...]]


def surroundings(modules: Iterable[Module]) -> Surroundings:
    """What the modules define for one another."""
    functions: dict[tuple[str, ...], int] = {}
    certain: dict[tuple[str, ...], set[str]] = {}
    names: dict[tuple[str, ...], set[str]] = {}
    packages: set[tuple[str, ...]] = set()
    for module in modules:
        packages.update(module.package[:n] for n in range(len(module.package) + 1))
        for rule in module.rules:
            own = rule.path[len(module.package)]
            names.setdefault(module.package, set()).add(own)
            if rule.kind == "Func":
                functions[rule.path] = len(rule.tree["head"]["Func"]["args"])
            elif rule.kind in {"Default", "Set"} or _is_constant(rule.tree):
                certain.setdefault(module.package, set()).add(own)
    return Surroundings(
        functions=functions,
        certain={package: frozenset(found) for package, found in certain.items()},
        names={package: frozenset(found) for package, found in names.items()},
        packages=frozenset(packages),
    )


def _is_constant(tree: dict[str, Any]) -> bool:
    """Whether a rule without a condition gives a value that is written out."""
    assigned = tree.get("head", {}).get("Compr", {}).get("assign")
    if tree.get("bodies") or not assigned:
        return False
    return not any(
        key in node for node in nodes(assigned["value"]) for key in ("Var", "Call", "RefDot")
    )


def parts(node: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of an expression and what it holds."""
    kind, body = next(iter(node.items()))
    return str(kind), body if isinstance(body, dict) else {"value": body}


def line_of(tree: object) -> int:
    """The first line of a part of the syntax tree."""
    return min(
        (n["span"]["line"] for n in nodes(tree) if isinstance(n.get("span"), dict)), default=0
    )


class _Certain:
    """Whether an expression has a value whatever the input holds."""

    def __init__(self, module: Module, around: Surroundings) -> None:
        self._own = around.names.get(module.package, frozenset()) | frozenset(module.aliases)
        self._doubtful = self._own - around.certain.get(module.package, frozenset())

    def has_value(self, node: dict[str, Any]) -> bool:
        kind, body = parts(node)
        if kind in _SCALARS or kind in _COMPREHENSIONS:
            return True
        if kind == "Var":
            return body["value"] not in self._doubtful
        if kind in {"Array", "Set"}:
            return all(map(self.has_value, body["items"]))
        if kind == "Object":
            return all(self.has_value(part) for _, *pair in body["fields"] for part in pair)
        if kind in {"ArithExpr", "BinExpr"}:
            return self.has_value(body["lhs"]) and self.has_value(body["rhs"])
        # A reference may be undefined, and so may a function of the policy.
        answers = kind == "Call" and self._answers(reference(body["fcn"]))
        return answers and all(self.has_value(argument) for argument in body["params"])

    def _answers(self, name: tuple[str, ...] | None) -> bool:
        """Whether a function of Rego itself answers whenever its arguments have a value."""
        dotted = ".".join(name or ())
        return (
            dotted in ARITY
            and dotted not in _MAY_BE_SILENT
            and dotted.partition(".")[0] not in self._own
        )

    def is_plain(self, node: dict[str, Any]) -> bool:
        """A reference whose steps are certain: with it missing, both readings negate alike."""
        kind, body = parts(node)
        if kind == "Var":
            return True
        if kind == "RefDot":
            return self.is_plain(body["refr"])
        if kind == "RefBrack":
            return self.is_plain(body["refr"]) and self.has_value(body["index"])
        return False

    def negates_alike(self, node: dict[str, Any]) -> bool:
        kind, body = parts(node)
        if self.is_plain(node) or self.has_value(node):
            return True
        if kind == "Call":
            return all(self.has_value(argument) for argument in body["params"])
        if kind in {"BoolExpr", "AssignExpr"} and body["op"] == "Eq":
            return all(
                self.is_plain(side) or self.has_value(side) for side in (body["lhs"], body["rhs"])
            )
        if kind in {"BoolExpr", "ArithExpr", "BinExpr"}:
            return self.has_value(body["lhs"]) and self.has_value(body["rhs"])
        if kind == "Membership":
            sides = (body["key"], body["value"], body["collection"])
            return all(self.has_value(side) for side in sides if side is not None)
        return False


def _negations(module: Module, around: Surroundings) -> Found:
    certain = _Certain(module, around)
    imported = NEGATION_IMPORT in module.imports
    doubtful = False
    for node in _trees(module):
        literal = node.get("literal")
        if not isinstance(literal, dict) or "NotExpr" not in literal:
            continue
        negation = literal["NotExpr"]
        line, text = line_of(negation), slice_of(module.text, negation["span"])
        if "Set" in negation["expr"] or text.partition("not")[2].lstrip().startswith("{"):
            yield "not-body", line, f"{_brief(text)} negates a body."
            continue
        alike = certain.negates_alike(negation["expr"]) and all(
            certain.has_value(modifier["as"]) for modifier in node.get("with_mods", ())
        )
        if not imported and not alike:
            doubtful = True
            yield (
                "ambiguous-not",
                line,
                f"engines differ about '{_brief(text)}' when a value in it is missing.",
            )
    if module.negations and not imported and not doubtful:
        yield "not-import", module.negations[0], f"'not' is used without import {NEGATION_IMPORT}."


def _brief(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else flat[:57] + "…"  # noqa: PLR2004 — a line of a report


def _trees(module: Module) -> Iterator[dict[str, Any]]:
    for rule in module.rules:
        yield from rule.nodes


def _functions(module: Module, around: Surroundings) -> Found:
    own = around.names.get(module.package, frozenset()) | frozenset(module.aliases)
    for node in _trees(module):
        call = node.get("Call")
        if not isinstance(call, dict) or (name := reference(call["fcn"])) is None:
            continue
        dotted, line, given = ".".join(name), line_of(call["fcn"]), len(call["params"])
        if _after(module.text, call["fcn"])[:1].isspace():
            yield "call-across-space", line, f"there is a space between '{dotted}' and its bracket."
        wanted: int | None
        if name[0] in own or name[0] == "data":
            full = name[1:] if name[0] == "data" else _full(module, name)
            wanted = around.functions.get(full)
        elif dotted in NONDETERMINISTIC:
            yield "not-replayable", line, f"the answer of {dotted} depends on more than the input."
            continue
        elif dotted in DEPRECATED:
            yield (
                "deprecated-function",
                line,
                f"{dotted} is no longer part of Rego; write {DEPRECATED[dotted]}.",
            )
            continue
        else:
            wanted = ARITY.get(dotted)
        if wanted is None or wanted == given:
            continue
        if given == wanted + 1:
            yield (
                "output-argument",
                line,
                f"{dotted} takes {wanted} argument(s); the last is one more.",
            )
        else:
            yield (
                "wrong-arity",
                line,
                f"{dotted} takes {wanted} argument(s), and {given} are given.",
            )


def _full(module: Module, name: tuple[str, ...]) -> tuple[str, ...]:
    """The full name of a function that is called by its own or an imported name."""
    for path, alias in zip(module.imports, module.aliases, strict=True):
        if alias == name[0] and path.startswith("data."):
            return (*path.split(".")[1:], *name[1:])
    return (*module.package, *name)


def _after(text: str, node: dict[str, Any]) -> str:
    """What follows a node in the source, a few characters of it."""
    end = int(parts(node)[1]["span"]["end"])
    return text.encode()[end : end + 8].decode(errors="replace")


def _keywords(module: Module, _: Surroundings) -> Found:
    for node in _trees(module):
        field = (
            node.get("RefDot", {}).get("field") if isinstance(node.get("RefDot"), dict) else None
        )
        if field and field[1] in _KEYWORDS:
            yield "keyword-in-reference", int(field[0]["line"]), f"'.{field[1]}' is a keyword."


def _packages(module: Module, around: Surroundings) -> Found:
    inner: set[int] = set()  # what is only the beginning of a longer reference
    for node in _trees(module):
        step = node.get("RefDot") or node.get("RefBrack")
        if isinstance(step, dict) and "String" in step.get("index", {"String": None}):
            inner.add(id(step["refr"]))
        if isinstance(node.get("Call"), dict):
            inner.add(id(node["Call"]["fcn"]))
        inner.update(id(modifier["refr"]) for modifier in node.get("with_mods") or ())
    for node in _trees(module):
        if id(node) in inner or not {"Var", "RefDot", "RefBrack"} & set(node):
            continue
        name = reference(node)
        if name is None:
            continue
        full = name[1:] if name[0] == "data" else _full(module, name)
        if full in around.packages and (name[0] == "data" or name[0] in module.aliases):
            written = ".".join(("data", *full))
            yield "whole-package", line_of(node), f"{written} is a whole package, taken as a value."


def _bodies(module: Module, _: Surroundings) -> Found:
    for rule in module.rules:
        bodies = [b for b in rule.tree.get("bodies", ()) if not b.get("is_else")]
        if len(bodies) > 1:
            yield (
                "chained-bodies",
                rule.line,
                f"'{rule.name}' has {len(bodies)} bodies behind one head.",
            )


def _numbers(module: Module, _: Surroundings) -> Found:
    for node in _trees(module):
        number = node.get("Number")
        if not isinstance(number, dict):
            continue
        value = number.get("value")
        if isinstance(value, (int, float)) and abs(value) > _EXACT:
            yield "large-integer", int(number["span"]["line"]), f"{value} is larger than 2^53."


PROFILE: Final[tuple[Callable[[Module, Surroundings], Found], ...]] = (
    _negations,
    _functions,
    _keywords,
    _packages,
    _bodies,
    _numbers,
)
"""One function for each place in which engines differ."""


def template_findings(file: str, text: str) -> tuple[Finding, ...]:
    """Templates, which the engine's parser refuses with a text that helps nobody."""
    return tuple(
        Finding(
            "string-interpolation",
            file,
            text.count("\n", 0, found.start()) + 1,
            'a text of the form $"…" is outside the profile.',
        )
        for found in _TEMPLATE.finditer(text)
        if found[2]
    )


@lru_cache(maxsize=1)  # a check asks twice about the same modules
def _profile(modules: tuple[Module, ...]) -> tuple[Finding, ...]:
    around = surroundings(modules)
    return tuple(
        Finding(rule, module.file, line, message)
        for module in modules
        for find in PROFILE
        for rule, line, message in find(module, around)
    )


def misread(modules: tuple[Module, ...]) -> list[Finding]:
    """The places that engines read differently: a module with one of them is never loaded.

    Names that mean nothing and clocks are found by the loader itself.
    """
    return [
        finding
        for finding in _profile(modules)
        if finding.severity is Severity.ERROR and finding.rule != "not-replayable"
    ]


def profile_findings(modules: tuple[Module, ...]) -> list[Finding]:
    """Every place outside the profile, names that mean nothing included."""
    return [
        *_profile(modules),
        *(_unknown(unknown) for unknown in name_findings(modules) if not _known_gone(unknown)),
    ]


def _unknown(unknown: Unknown) -> Finding:
    if unknown.called:
        message = f"'{unknown.name}' is a function that this engine does not have."
        return Finding("unknown-function", unknown.file, unknown.line, message)
    message = f"'{unknown.name}' is defined nowhere."
    return Finding("undefined-name", unknown.file, unknown.line, message)


def _known_gone(unknown: Unknown) -> bool:
    """Whether another rule of the profile speaks of that name, and says more."""
    return unknown.called and unknown.name in DEPRECATED
