"""Rego source as lines of coloured text, with the lines of one rule marked.

A policy page shows the rule as it stands in the bundle. The colouring knows comments, strings and
keywords and nothing else; it can be wrong about a corner of the language without changing a
character of the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape

_LONGEST_VALUE: Final = 160  # characters of a value beside the source
_CONTEXT_LINES: Final = 6  # above and below a rule: its comment, and where it stands
_TOKEN: Final = re.compile(
    r"""(?P<c>\#.*$)
      | (?P<s>"(?:[^"\\]|\\.)*"|`[^`]*`)
      | (?P<k>\b(?:package|import|as|default|contains|if|in|every|some|not|else|with)\b
             |\b(?:true|false|null)\b)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of source: its number, its text with markup, and whether the rule stands in it."""

    number: int
    text: Markup
    marked: bool


def coloured(text: str) -> Markup:
    """One line with its comments, strings and keywords in spans; everything is escaped."""
    out = Markup()
    position = 0
    for match in _TOKEN.finditer(text):
        out += escape(text[position : match.start()])
        out += Markup('<span class="t-{}">{}</span>').format(match.lastgroup, match.group())
        position = match.end()
    return out + escape(text[position:])


def rule_end(lines: list[str], first: int) -> int:
    """The last line (from 1) of the rule that begins at line `first`: where its braces close."""
    depth = 0
    for number in range(first, len(lines) + 1):
        bare = _TOKEN.sub(
            lambda m: "" if m.lastgroup in {"c", "s"} else m.group(), lines[number - 1]
        )
        depth += sum(bare.count(c) for c in "{[(") - sum(bare.count(c) for c in "}])")
        following = lines[number].lstrip() if number < len(lines) else ""
        if depth <= 0 and not (number == first and following.startswith("{")):
            return number
    return len(lines)


def listing(text: str, first: int) -> Iterator[Line]:
    """The whole source, with the rule that begins at line `first` marked."""
    lines = text.splitlines()
    last = rule_end(lines, first) if 1 <= first <= len(lines) else 0
    for number, line in enumerate(lines, start=1):
        yield Line(number, coloured(line), first <= number <= last)


def excerpt(text: str, first: int) -> tuple[Line, ...]:
    """The rule that begins at line `first`, with a few lines around it."""
    lines = tuple(listing(text, first))
    marked = [line.number for line in lines if line.marked]
    if not marked:
        return lines
    return lines[max(marked[0] - 1 - _CONTEXT_LINES, 0) : marked[-1] + _CONTEXT_LINES]


@dataclass(frozen=True, slots=True)
class TracedLine:
    """A line of a traced rule.

    `held` is None where no statement stands; `values` are names with what they were.
    """

    line: Line
    held: bool | None
    values: tuple[tuple[str, str], ...]


def traced(text: str, first: int, statements: Sequence[Mapping[str, Any]]) -> list[TracedLine]:
    """A rule's source, the values that each of its statements saw under its last line."""
    found: list[TracedLine] = []
    spans = [(s["line"], s["line"] + s["text"].count("\n"), s) for s in statements]
    for number, line in enumerate(text.splitlines(), start=first):
        held = next((s["held"] for start, end, s in spans if start <= number <= end), None)
        seen = [value for _, end, s in spans if end == number for value in s["values"]]
        found.append(
            TracedLine(Line(number, coloured(line), marked=False), held, tuple(map(_seen, seen)))
        )
    return found


def _seen(value: Mapping[str, Any]) -> tuple[str, str]:
    """A value's name (the fact it stands for, where it is known) and the value as text."""
    name = str(value["path"] or " ".join(value["text"].split()))
    if value.get("undefined"):
        return name, "no value"
    shown = json.dumps(value["value"], ensure_ascii=False)
    return name, shown if len(shown) <= _LONGEST_VALUE else shown[:_LONGEST_VALUE] + " …"


def near_sides(near: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Both sides of a comparison by the facts they stand for; a constant says itself."""
    paths = {v["text"]: v["path"] for s in near["statements"] for v in s["values"] if v["path"]}
    sides = [(near[f"{side}_text"], str(near[side])) for side in ("left", "right")]
    return [(paths.get(text, text), value) for text, value in sides if text != value]
