"""Plain text for people: safe, short, and the same everywhere.

What the CLI prints was partly written by others: an agent's file names, a rule's message, a
workspace's failure. A terminal obeys control characters, so every such text passes `printable`,
which shows them instead of sending them.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any, Final

from charter.core.kernel.units import show_mib, show_seconds

# Cc: control characters; Cf: format characters, among them those that reverse the reading order
# and can make one text look like another; Cs: half characters, which cannot be encoded.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs"})
_COLOURS: Final = {"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2"}
_EFFECTS: Final = {
    "allow": ("allowed", "green"),
    "warn": ("allowed, with a warning", "yellow"),
    "require_approval": ("approval required", "yellow"),
    "deny": ("denied", "red"),
}


def printable(value: object) -> str:
    """`value` as text that cannot steer a terminal; line breaks and tabs stay."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        c
        if c in "\n\t" or unicodedata.category(c) not in _HIDDEN
        else c.encode("unicode_escape").decode()
        for c in text
    )


def one_line(value: object) -> str:
    """`printable` without line breaks, for a cell of a table."""
    return " ".join(printable(value).split())


def coloured(text: str, colour: str, stream: IO[str] | None = None) -> str:
    """`text` in a colour when the stream (standard output) is a terminal that wants colours."""
    stream = sys.stdout if stream is None else stream
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def when(value: object) -> str:
    """A time of the API in this machine's zone, to the second; `-` when there is none."""
    if not value:
        return "-"
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return one_line(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def span(seconds: object) -> str:
    """A number of seconds for people: `3 h 20 min`; `-` when there is none."""
    return show_seconds(int(seconds)) if isinstance(seconds, int | float) else "-"


def amounts(holder: Mapping[str, Any]) -> str:
    """The amounts of a size or a workspace: `2 vCPU, 4 GiB memory, 20 GiB disk`."""
    parts = [
        f"{holder['vcpu']} vCPU",
        f"{show_mib(int(holder['memory_mib']))} memory",
        f"{show_mib(int(holder['disk_mib']))} disk",
    ]
    if holder.get("gpu"):
        parts.append(f"{holder['gpu']} GPU")
    return ", ".join(parts)


def amount(dimension: str, value: object) -> str:
    """One amount in the unit that its dimension's name carries."""
    if dimension.endswith("_mib") and isinstance(value, int):
        return show_mib(value)
    return one_line(value)


def dimension_word(dimension: str) -> str:
    """A quota's dimension for people: its amounts carry their unit themselves."""
    return one_line(dimension.removesuffix("_mib"))


def yes_no(value: object) -> str:
    """`yes` or `no`."""
    return "yes" if value else "no"


def joined(values: Iterable[object], empty: str = "-") -> str:
    """Values with commas between them."""
    return ", ".join(one_line(v) for v in values) or empty


def counted(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def effect_name(effect: object) -> str:
    """An effect in a person's words."""
    return _EFFECTS.get(str(effect), (one_line(effect), ""))[0]


def effect_word(effect: object, stream: IO[str] | None = None) -> str:
    """The same, coloured where the stream wants colours."""
    colour = _EFFECTS.get(str(effect), ("", "bold"))[1]
    return coloured(effect_name(effect), colour, stream)


def pair_lines(rows: Sequence[tuple[str, object]], indent: str = "") -> list[str]:
    """Labels and values, one a line; what is None or empty is left out."""
    shown = [(label, printable(value)) for label, value in rows if value not in (None, "")]
    width = max((len(label) for label, _ in shown), default=0) + 2
    lines = []
    for label, value in shown:
        first, *rest = value.split("\n")
        lines.append(f"{indent}{label + ':':<{width}}{first}")
        lines += [f"{indent}{'':<{width}}{line}" for line in rest]
    return lines


def pairs(rows: Sequence[tuple[str, object]]) -> None:
    """Print `pair_lines`."""
    say(*pair_lines(rows))


def say(*lines: str) -> None:
    """Lines of an answer, on standard output."""
    for line in lines:
        sys.stdout.write(f"{line}\n")


def remark(*lines: str) -> None:
    """Lines beside the answer: on standard error, so that the answer stays clean."""
    for line in lines:
        sys.stderr.write(f"{line}\n")
