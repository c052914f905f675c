"""Reading Rego modules: which syntax they are written in, what they define and what they call.

The engine gives a module's syntax tree as JSON. From it this module takes what Charter needs to
know before a bundle may decide anything: which rules *speak* (`deny`, `warn`,
`require_approval`, `obligation`), which functions are called, where `not` is used, and the
`# METADATA` comment that stands above a rule.

Two syntaxes are accepted. Today's Rego says `deny contains x if { … }`; Rego before version 1 said
`deny[x] { … }`. Each file is tried as today's first; a file that only the older grammar accepts is
loaded as such, with a notice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import yaml

from charter.adapters.rego.library import Engine
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import Bundle

SPEAKING: Final = ("deny", "warn", "require_approval", "obligation")
"""Names of the rules that the aggregator collects, from every package."""

NONDETERMINISTIC: Final = {
    "http.send": 1,
    "net.lookup_ip_addr": 1,
    "opa.runtime": 0,
    "rand.intn": 2,
    "time.now_ns": 0,
    "uuid.rfc4122": 1,
}
"""Functions whose answer depends on more than the input, with their number of arguments.

A decision that used one could not be replayed, and `http.send` would carry facts out of the house.
"""

_COLUMNS: Final = 4096  # the default of 1,024 refuses long lines with a misleading text
_FILE_BYTES: Final = 1 << 20
_LINES: Final = 20_000
_SMALL: Final = 1 << 15  # characters of a module that is kept; its tree takes fifty times as much
_MOST_KEPT: Final = 200  # the shipped bundle with its tests has seventy
# The library's parser tries a bracket as several things, each anew inside the next one, so its time
# doubles with every level: 16 levels take seconds, 100 would never end, with Python's lock held.
# A file's weight is the sum of 2^depth over the brackets that are deeper than people write (eight
# levels in the shipped bundle); the heaviest one takes a fifth of a second.
_COMMON_DEPTH: Final = 8
_HEAVIEST: Final = 1 << 13
_DEEPEST: Final = 64
_BRACKETS: Final = re.compile(r'(#[^\n]*|"(?:[^"\\\n]|\\.)*"|`[^`]*`)|([\[({])|([\])}])')
# libyaml is ten times faster where it is there.
_YAML: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LOCATION: Final = re.compile(r"-->\s*(\S+?):(\d+):(\d+)")
_REASON: Final = re.compile(r"^error: (.+)$", re.MULTILINE)
_UNDEFINED: Final = re.compile(r"use of undefined variable `([^`]+)` is unsafe")
_NO_FUNCTION: Final = re.compile(r"could not find function `?([\w.]+)`?")


class PolicyRefusedError(InvalidInputError):
    """The bundle cannot decide anything; `details["problems"]` has one sentence for each reason."""

    code = "policy-refused"

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "The policy bundle was refused: " + " ".join(problems),
            fix="Correct the named places; the bundle in force stays in force meanwhile.",
            details={"problems": list(problems)},
        )


@dataclass(frozen=True, eq=False)
class Rule:
    """One rule of a module. `path` is its name below `data`, `kind` Set, Compr, Func or Default.

    Modules are kept and shared between bundles (`parse`), so nobody changes a tree.
    """

    name: str
    path: tuple[str, ...]
    kind: str
    file: str
    line: int
    end_line: int
    metadata: dict[str, Any]
    tree: dict[str, Any]

    @cached_property
    def nodes(self) -> tuple[dict[str, Any], ...]:
        """Every object in its tree, each before its parts; a dozen readers go through them."""
        return tuple(nodes(self.tree))

    @property
    def speaks(self) -> bool:
        """Whether the aggregator has to listen to it."""
        return self.name in SPEAKING

    @property
    def default_id(self) -> str:
        """The id of what it says when it gives none: `<package>/<name>`."""
        return ".".join(self.path[:-1]) + "/" + self.path[-1]

    @property
    def id(self) -> str:
        """The id that its metadata declares, else the default one."""
        declared = self.metadata.get("custom", {}).get("id")
        return declared if isinstance(declared, str) else self.default_id


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed file; `old_syntax` means Rego before version 1."""

    file: str
    text: str
    old_syntax: bool
    package: tuple[str, ...]
    imports: tuple[str, ...]
    aliases: tuple[str, ...]
    rules: tuple[Rule, ...]
    calls: tuple[tuple[str, int], ...]
    negations: tuple[int, ...]


def explain_error(error: BaseException, *, show_reason: bool) -> str:
    """The library's error as one clause: place, and the reason where it may be shown.

    While loading, the text speaks of the policy's source. While evaluating it may quote the input,
    so `show_reason` must then be false and only the place is told.
    """
    text = str(error)
    place = _LOCATION.search(text)
    where = f"{place[1]}:{place[2]}" if place else "the bundle"
    if not show_reason:
        return f"the rule at {where} failed" if place else "the engine failed"
    if helper := _UNDEFINED.search(text):
        return (
            f"{where} uses '{helper[1]}', which is defined nowhere. Define a rule named "
            f"'{helper[1]}' in the same package"
        )
    if function := _NO_FUNCTION.search(text):
        return f"{where} calls '{function[1]}', which this engine does not have"
    reason = _REASON.search(text)
    return f"{where}: {reason[1] if reason else 'the module cannot be read'}"


def _reached(error: BaseException) -> tuple[int, int]:
    """How far a parser came: the grammar that came further is the one that was meant."""
    place = _LOCATION.search(str(error))
    return (int(place[2]), int(place[3])) if place else (0, 0)


def guarded(error: BaseException) -> None:
    """Raise `error` again when it is a request to stop rather than a failure of the engine.

    The library's panics derive from BaseException, so callers have to catch that.
    """
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        raise error


def reference(node: dict[str, Any]) -> tuple[str, ...] | None:
    """`a.b["c"]` as ("a", "b", "c"); None for anything that is not a plain reference."""
    if "Var" in node:
        return (str(node["Var"]["value"]),)
    if "RefDot" in node:
        head = reference(node["RefDot"]["refr"])
        return None if head is None else (*head, str(node["RefDot"]["field"][1]))
    if "RefBrack" in node:
        head = reference(node["RefBrack"]["refr"])
        index = node["RefBrack"]["index"]
        if head is None or "String" not in index:
            return None
        return (*head, str(index["String"]["value"]))
    return None


def nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Every object in the tree, each before its parts."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _first_line(tree: object) -> int:
    return min(
        (n["span"]["line"] for n in nodes(tree) if isinstance(n.get("span"), dict)), default=0
    )


def _last_line(tree: dict[str, Any], text: str) -> int:
    return text.encode()[: tree["span"]["end"]].count(b"\n") + 1


def slice_of(text: str, span: dict[str, Any]) -> str:
    """The part of `text` at `span`; the library counts bytes."""
    return text.encode()[span["start"] : span["end"]].decode()


def span_of(tree: dict[str, Any]) -> tuple[int, int]:
    """Where a part of the tree stands in the text, in bytes.

    The library leaves the quotes of a string out of its place, and so out of the place of whatever
    begins or ends with one.
    """
    span = tree["span"] if "span" in tree else next(iter(tree.values()))["span"]
    start, end = span["start"], span["end"]
    for node in nodes(tree):
        text = node.get("String") or node.get("RawString")
        if isinstance(text, dict):
            start = min(start, text["span"]["start"] - 1)
            end = max(end, text["span"]["end"] + 1)
    return start, end


def source_of(text: str, tree: dict[str, Any]) -> str:
    """The source of a part of the tree."""
    start, end = span_of(tree)
    return slice_of(text, {"start": start, "end": end})


def _metadata(text: str, file: str) -> dict[int, dict[str, Any]]:
    """The METADATA blocks of `text`, by the line that follows each."""
    found: dict[int, dict[str, Any]] = {}
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        if lines[number].strip() != "# METADATA":
            number += 1
            continue
        start = number + 1
        number = start
        while number < len(lines) and lines[number].startswith("#"):
            number += 1
        block = "\n".join(line[1:].removeprefix(" ") for line in lines[start:number])
        try:
            content = yaml.load(block, Loader=_YAML)  # noqa: S506 — a safe loader
        except yaml.YAMLError as error:
            raise PolicyRefusedError(
                [f"{file}:{start}: the METADATA comment is not YAML."]
            ) from error
        if not isinstance(content, dict) or not isinstance(content.get("custom", {}), dict):
            raise PolicyRefusedError([f"{file}:{start}: the METADATA comment is not an object."])
        found[number + 1] = content
    return found


def _rule(
    node: dict[str, Any], package: tuple[str, ...], file: str, text: str, notes: dict[int, Any]
) -> Rule | None:
    if "Default" in node:
        kind, head, tree = "Default", node["Default"]["refr"], node["Default"]
    else:
        tree = node["Spec"]
        (kind, body), *_ = tree["head"].items()
        head = body["refr"]
    name = reference(head)
    if name is None:
        while "RefBrack" in head:
            head = head["RefBrack"]["refr"]
        name = reference(head)
    if name is None:
        return None
    line = int(tree["span"]["line"])
    return Rule(
        name=name[-1],
        path=(*package, *name),
        kind=kind,
        file=file,
        line=line,
        end_line=_last_line(tree, text),
        metadata=notes.get(line, {}),
        tree=tree,
    )


def _refuse_nests(file: str, text: str) -> None:
    """Raise for brackets nested so deep that reading them would hold up the whole process."""
    depth = weight = 0
    for found in _BRACKETS.finditer(text):
        _, opens, closes = found.groups()
        if opens:
            depth += 1
            weight += 1 << min(depth, _DEEPEST) if depth > _COMMON_DEPTH else 0
            if weight > _HEAVIEST:
                line = text.count("\n", 0, found.start()) + 1
                raise PolicyRefusedError([f"{file}:{line}: brackets are nested too deeply."])
        elif closes:
            depth = max(0, depth - 1)


def parse(file: str, text: str) -> Module:
    """The module in `text`; raises `PolicyRefusedError` when neither syntax can read it.

    Two bundles have most of their modules in common, so the small ones read last are kept.
    """
    return _parse_once(file, text) if len(text) <= _SMALL else _parse(file, text)


def _parse(file: str, text: str) -> Module:
    _refuse_nests(file, text)
    engine, old_syntax = Engine(), False
    engine.set_policy_length_config(max_col=_COLUMNS, max_file_bytes=_FILE_BYTES, max_lines=_LINES)
    try:
        engine.add_policy(file, text)
    except BaseException as error:  # noqa: BLE001  (panics derive from it)
        guarded(error)
        engine, old_syntax = Engine(), True
        engine.set_policy_length_config(
            max_col=_COLUMNS, max_file_bytes=_FILE_BYTES, max_lines=_LINES
        )
        engine.set_rego_v0(True)
        try:
            engine.add_policy(file, text)
        except BaseException as second:  # noqa: BLE001
            guarded(second)
            # Kept in no name: a frame that holds its own failure lives until some other thread
            # collects it, and with it the engine, which must end on this one.
            reason = explain_error(max((error, second), key=_reached), show_reason=True)
            raise PolicyRefusedError([f"{reason}."]) from None
    tree = json.loads(engine.get_ast_as_json())[0]["ast"]
    package = reference(tree["package"]["refr"]) or ()
    notes = _metadata(text, file)
    rules = tuple(
        rule
        for node in tree["rules"]
        if (rule := _rule(node, package, file, text, notes)) is not None
    )
    calls: list[tuple[str, int]] = []
    negations: list[int] = []
    for node in nodes(tree["rules"]):
        if "Call" in node and (name := reference(node["Call"]["fcn"])):
            calls.append((".".join(name), _first_line(node["Call"]["fcn"])))
        if "NotExpr" in node:
            negations.append(_first_line(node["NotExpr"]))
    imports: list[str] = []
    aliases: list[str] = []
    for node in tree["imports"]:
        if name := reference(node["refr"]):
            imports.append(".".join(name))
            aliases.append(slice_of(text, node["as"]) if node.get("as") else name[-1])
    return Module(
        file=file,
        text=text,
        old_syntax=old_syntax,
        package=package,
        imports=tuple(imports),
        aliases=tuple(aliases),
        rules=rules,
        calls=tuple(calls),
        negations=tuple(sorted(negations)),
    )


_parse_once = lru_cache(maxsize=_MOST_KEPT)(_parse)


def add(engine: Engine, module: Module) -> None:
    """Load `module` into `engine` in the syntax it was written in."""
    engine.set_policy_length_config(max_col=_COLUMNS, max_file_bytes=_FILE_BYTES, max_lines=_LINES)
    engine.set_rego_v0(module.old_syntax)
    engine.add_policy(module.file, module.text)


def modules_of(bundle: Bundle, *, tests: bool = False) -> tuple[Module, ...]:
    """The bundle's modules, those of the tests on demand; raises with every unreadable file."""
    problems: list[str] = []
    found: list[Module] = []
    for path in (*bundle.modules, *(bundle.test_modules if tests else ())):
        try:
            found.append(parse(path, bundle.text(path)))
        except PolicyRefusedError as error:
            problems.extend(str(p) for p in error.details["problems"])  # type: ignore[attr-defined]
    if problems:
        raise PolicyRefusedError(problems)
    return tuple(found)
