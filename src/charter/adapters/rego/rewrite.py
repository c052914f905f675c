"""A policy as the engine reads it fastest: same rules, same lines, other names.

Three things cost the engine more than they look. Naming one rule of an imported package through the
import makes it evaluate the whole package. A rule that only gives another name to a reference costs
ten times the reference. And each step of a reference into the data is compared with the name of
every module. So imports and such names are written out in full, and single values of the data are
written in their place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from charter.adapters.rego.names import bound_names
from charter.adapters.rego.places import StatementReads
from charter.adapters.rego.reads import Program
from charter.adapters.rego.syntax import Module, Rule, reference, span_of


@dataclass(frozen=True, slots=True)
class Constants:
    """The data of a bundle, for single values to be written where rules name them."""

    data: Mapping[str, Any]

    @classmethod
    def of(cls, program: Program, data: Mapping[str, Any]) -> Constants:
        """All of `data`; nothing when a rule evaluates another under other data (`with`)."""
        replaced = any(
            (reference(modifier["refr"]) or ("data",))[0] != "input"
            for module in program.modules
            for rule in module.rules
            for node in rule.nodes
            for modifier in node.get("with_mods") or ()
        )
        return cls({} if replaced else data)

    def text(self, program: Program, path: tuple[str, ...]) -> str | None:
        """The value at `data.<path>` as the policy would write it, if it is a single one."""
        if not path or program.rules_at(path):
            return None
        value: Any = self.data
        for step in path:
            if not isinstance(value, dict) or step not in value:
                return None
            value = value[step]
        if not (isinstance(value, bool | str) or (isinstance(value, int | float) and value >= 0)):
            return None
        text = json.dumps(value)
        return text if len(text) <= _LONGEST and text.isascii() and "\\" not in text else None


_NONE: Final = Constants({})
_LONGEST: Final = 200  # characters of a value; a line of policy may not grow without bounds

_Change = tuple[int, int, bytes]
_TRUE: Final = b"true"


def ready(
    program: Program,
    module: Module,
    without: AbstractSet[int] = frozenset(),
    settled: Mapping[int, tuple[StatementReads, ...]] = MappingProxyType({}),
    constants: Constants = _NONE,
) -> Module:
    """The module as the engine gets it; every line stays where it was.

    Names are written out, and the `constants`. `without` holds the identities of rules to leave
    out, `settled` the statements of rules that are known to hold.
    """
    text = module.text.encode()
    changes: list[_Change] = []
    for rule in module.rules:
        if id(rule) in without:
            changes.append(_blank(text, span_of(rule.tree)))
            continue
        spans = (one.span for one in settled.get(id(rule), ()))
        done = [span for span in spans if span[1] - span[0] >= len(_TRUE)]
        changes += [_blank(text, span, _TRUE) for span in done]
        changes += [
            change
            for change in _written_out(program, module, rule, constants)
            if not any(start <= change[0] < end for start, end in done)
        ]
    for start, end, new in sorted(set(changes), reverse=True):
        text = text[:start] + new + text[end:]
    return replace(module, text=text.decode())


def _blank(text: bytes, span: tuple[int, int], word: bytes = b"") -> _Change:
    start, end = span
    rest = text[start + len(word) : end]
    return start, end, word + bytes(b if b == ord("\n") else ord(" ") for b in rest)


def _written_out(
    program: Program, module: Module, rule: Rule, constants: Constants
) -> Iterator[_Change]:
    """Names in full, names that stand for a reference as that reference, values as they are."""
    own = bound_names(rule, module.text)
    imports = {
        alias: tuple(target.split("."))
        for alias, target in zip(module.aliases, module.imports, strict=True)
        if target.startswith("data.") and alias not in own
    }
    imports["data"] = ("data",)
    seen: set[int] = set()
    negated: set[int] = set()  # the engine knows the minus of a number and of nothing else
    for node in rule.nodes:  # each before its parts
        if "UnaryExpr" in node:
            negated.add(id(node["UnaryExpr"]["expr"]))
        path = reference(node)
        if path is None or path[0] not in imports or "data" in own:
            continue
        start, end = span_of(node)
        if start in seen:
            continue
        steps = (*imports[path[0]], *path[1:])[1:]
        target = program.other_name(steps)
        value = None if id(node) in negated else constants.text(program, steps)
        if value is not None:
            seen.add(start)
            yield start, end, value.encode()
        elif target is not None:
            seen.add(start)
            below = "".join(f"[{json.dumps(step)}]" for step in target.steps)
            yield start, end, (target.root + below).encode()
        elif "Var" in node and path != ("data",):
            yield start, end, ".".join(imports[path[0]]).encode()
