"""Rewriting policies of Rego before version 1 into today's syntax, comments and layout kept.

`deny[msg] { … }` becomes `deny contains msg if { … }`, `f(x) = y { … }` becomes
`f(x) := y if { … }`, and the imports that today's language has built in make room for
`import rego.v1`. Where `not` is used, `import future.keywords.not` is added, which writes down how
this engine has read it all along.

The text is changed at the places that the syntax tree names and nowhere else. What comes out is
read again, and its conditions must be those of the original, statement for statement; otherwise
nothing is converted. `compare` runs a bundle's tests before and after.

Source: Spec PC-1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.rego.assemble import assemble
from charter.adapters.rego.profile import NEGATION_IMPORT, misread
from charter.adapters.rego.syntax import Module, PolicyRefusedError, nodes, parse
from charter.adapters.rego.testing import run_tests
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import Bundle

_FUTURE: Final = re.compile(
    rb"^import[ \t]+(?:future\.keywords(?!\.not)(?:\.\w+)?|rego\.v1)[ \t]*(#[^\n]*)?(?:\n|\Z)",
    re.MULTILINE,
)
_NOT: Final = re.compile(rb"^import[ \t]+future\.keywords\.not\b", re.MULTILINE)
_PACKAGE: Final = re.compile(rb"^package[ \t]+[^\n]*\n?", re.MULTILINE)
_PLACES: Final = frozenset({"span", "eidx", "sidx", "qidx"})
_RENAMED: Final = {"re_match": "regex.match"}


@dataclass(frozen=True, slots=True)
class Conversion:
    """One file, converted. `remarks` are lines at which a reader should look once."""

    file: str
    before: str
    after: str
    remarks: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether there was anything to convert."""
        return self.before != self.after


Edit = tuple[int, int, bytes]


class _Text:
    """A module's source in bytes, as the syntax tree counts."""

    def __init__(self, module: Module) -> None:
        self.source = module.text.encode()

    def find(self, sign: bytes, start: int, end: int) -> int:
        """Where `sign` stands between two places; -1 for nowhere."""
        return self.source.find(sign, start, end)

    def says(self, word: bytes, place: int) -> bool:
        """Whether the word before `place` is this one."""
        return (
            re.search(rb"\b" + word + rb"\s*\Z", self.source[max(0, place - 40) : place])
            is not None
        )


def _span(node: Mapping[str, Any]) -> Mapping[str, Any]:
    found = node["span"] if "span" in node else next(iter(node.values()))["span"]
    return found if isinstance(found, dict) else {}


def _rule_edits(text: _Text, tree: dict[str, Any]) -> Iterator[Edit]:
    if "Default" in tree:
        return
    if "head" not in tree:  # a default rule
        yield from _sign(text, tree.get("op"), _span(tree["refr"])["end"], _span(tree["value"]))
        return
    (kind, head), *_ = tree["head"].items()
    bodies = tree.get("bodies") or []
    head_edits = list(_head_edits(text, kind, head))
    yield from head_edits
    if kind == "Func" and not bodies and head.get("assign") is None:
        yield head["span"]["end"], head["span"]["end"], b" if true"
    start, end = head["span"]["start"], head["span"]["end"]
    again = _applied(text.source[start:end], [(s - start, e - start, n) for s, e, n in head_edits])
    for number, body in enumerate(bodies):
        assign = body.get("assign")
        if assign is not None and body["is_else"]:
            yield from _sign(text, assign["op"], assign["span"]["start"], _span(assign["value"]))
        place = body["query"]["span"]["start"]
        if body["is_else"]:  # its place is that of the word `else`
            place = text.find(
                b"{", (assign or {"span": {"end": place}})["span"]["end"], body["span"]["end"]
            )
        opens = text.source[place : place + 1] == b"{" and body["query"]["stmts"]
        if number and not body["is_else"]:
            before = len(text.source[:place].rstrip())
            yield before, place, b"\n\n" + again + b" if "
        elif opens and not text.says(b"if", place):
            yield place, place, b"if "


def _head_edits(text: _Text, kind: str, head: dict[str, Any]) -> Iterator[Edit]:
    if kind == "Set":
        after, end = _span(head["refr"])["end"], head["span"]["end"]
        opens, closes = text.find(b"[", after, end), text.source.rfind(b"]", after, end)
        if opens >= 0 and not text.source[after:opens].strip():
            yield after, opens + 1, b" contains "
            yield closes, closes + 1, b""
    elif head.get("assign") is not None:
        assign = head["assign"]
        yield from _sign(text, assign["op"], assign["span"]["start"], _span(assign["value"]))


def _sign(text: _Text, op: object, start: int, value: Mapping[str, Any]) -> Iterator[Edit]:
    """`=` in a head becomes `:=`."""
    place = text.find(b"=", start, value["start"])
    if op == "Eq" and place >= 0:
        yield place, place + 1, b":="


def _renames(tree: object) -> Iterator[Edit]:
    for node in nodes(tree):
        call = node.get("Call")
        function = call["fcn"].get("Var") if isinstance(call, dict) else None
        if function and function["value"] in _RENAMED:
            span = function["span"]
            yield span["start"], span["end"], _RENAMED[function["value"]].encode()


def _applied(source: bytes, edits: list[Edit]) -> bytes:
    for start, end, new in sorted(edits, key=lambda edit: (edit[0], edit[1]), reverse=True):
        source = source[:start] + new + source[end:]
    return source


def _imports(source: bytes, *, negates: bool) -> bytes:
    """The imports in one place: where the old ones stood, or below the package."""
    wanted = b"import rego.v1\n"
    if negates and not _NOT.search(source):
        wanted += b"import " + NEGATION_IMPORT.encode() + b"\n"
    found = _FUTURE.search(source)
    if found is not None:
        rest = _FUTURE.sub(b"", source[found.end() :])
        return source[: found.start()] + wanted + rest
    package = _PACKAGE.search(source)
    if package is None:
        return source
    head = source[: package.end()].rstrip(b"\n") + b"\n\n"
    rest = source[package.end() :]
    return head + wanted + (rest if rest.startswith(b"\n") or not rest.strip() else b"\n" + rest)


def _bare(tree: Any) -> Any:
    """A part of the syntax tree without its places."""
    if isinstance(tree, dict):
        if "Call" in tree:
            name = tree["Call"]["fcn"].get("Var", {}).get("value")
            if name in _RENAMED:
                return {"Call": [_RENAMED[name], _bare(tree["Call"]["params"])]}
            dotted = _dotted(tree["Call"]["fcn"])
            if dotted in _RENAMED.values():
                return {"Call": [dotted, _bare(tree["Call"]["params"])]}
        return {key: _bare(part) for key, part in tree.items() if key not in _PLACES}
    if isinstance(tree, list):
        if tree and isinstance(tree[0], dict) and {"start", "end"} <= set(tree[0]):
            tree = tree[1:]
        return [_bare(part) for part in tree]
    return tree


def _dotted(node: dict[str, Any]) -> str:
    if "RefDot" in node and "Var" in node["RefDot"]["refr"]:
        return f"{node['RefDot']['refr']['Var']['value']}.{node['RefDot']['field'][1]}"
    return ""


def _meaning(module: Module) -> list[Any]:
    """What the module's rules say, in order: names, what they give, and their conditions."""
    found: list[Any] = []
    for rule in module.rules:
        head = next(iter(rule.tree["head"].values())) if "head" in rule.tree else rule.tree
        given = (head.get("assign") or {}).get("value") or head.get("value")
        says = [rule.kind, rule.path, _bare(head.get("key")), _bare(given), _bare(head.get("args"))]
        says[0] = "Set" if rule.kind == "Set" else "Value"
        chains: list[list[Any]] = [[]]
        for body in rule.tree.get("bodies") or ():
            value = (body.get("assign") or {}).get("value")
            condition = [_bare(value), _bare(body["query"]["stmts"])]
            if not body["is_else"] and chains[-1]:
                chains.append([])
            chains[-1].append(condition)
        found.extend([*says, chain] for chain in chains)
    return found


def convert(file: str, text: str) -> Conversion:
    """`text` in today's syntax; raises `PolicyRefusedError` when that cannot be done safely."""
    module = parse(file, text)
    source = _Text(module)
    edits = list(_renames([rule.tree for rule in module.rules]))
    if module.old_syntax:
        for rule in module.rules:
            edits += _rule_edits(source, rule.tree)
    needs_not = bool(module.negations) and NEGATION_IMPORT not in module.imports
    if module.old_syntax or needs_not or edits:
        changed = _imports(_applied(source.source, edits), negates=bool(module.negations)).decode()
    else:
        changed = text
    try:
        again = parse(file, changed)
    except PolicyRefusedError as error:
        raise PolicyRefusedError([f"{file}: it cannot be converted: {error.message}"]) from error
    if again.old_syntax or not _same(_meaning(module), _meaning(again)):
        raise PolicyRefusedError(
            [f"{file}: it cannot be converted without changing what it says; convert it by hand."]
        )
    remarks = tuple(
        f"{finding.place}: {finding.message} From now on it holds then, in every engine."
        for finding in misread((module,))
        if finding.rule == "ambiguous-not"
    )
    return Conversion(file, text, changed, remarks)


def _same(before: list[Any], after: list[Any]) -> bool:
    """Whether the rules agree; a function without a body now says `if true`."""
    if len(before) != len(after):
        return False
    for one, other in zip(before, after, strict=True):
        if one[:-1] != other[:-1]:
            return False
        added = one[-1] == [] and str(other[-1]).count("'Bool'") == 1
        if one[-1] != other[-1] and not added:
            return False
    return True


def convert_bundle(bundle: Bundle) -> tuple[Conversion, ...]:
    """Every module of the bundle that needed it; raises with every file that resists."""
    problems: list[str] = []
    found: list[Conversion] = []
    for path in (*bundle.modules, *bundle.test_modules):
        try:
            one = convert(path, bundle.text(path))
        except PolicyRefusedError as error:
            listed = error.details.get("problems")
            problems += [str(p) for p in listed] if isinstance(listed, list) else [error.message]
        else:
            found.append(one)
    if problems:
        raise PolicyRefusedError(problems)
    return tuple(one for one in found if one.changed)


def compare(bundle: Bundle, conversions: tuple[Conversion, ...]) -> tuple[int, tuple[str, ...]]:
    """How many tests were run before and after, and the names of those that differ.

    (0, ()) for a bundle without tests, or one that could not decide before.
    """
    converted = bundle.with_files({one.file: one.after for one in conversions})
    try:
        before = run_tests(bundle, assembly=assemble(bundle, tests=True, strict=False))
    except InvalidInputError:
        return 0, ()
    after = {test.name: test.passed for test in run_tests(converted).tests}
    differing = tuple(t.name for t in before.tests if after.get(t.name) is not t.passed)
    return len(before.tests), differing
