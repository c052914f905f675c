"""The geometry of the portal's charts: numbers in, rectangles out.

Charts are SVG drawn on the server, so that they need no script, obey the content security policy
(no inline style) and look the same in an exported page. Each stands beside its numbers in words;
the drawing is never the only place where a figure is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 1000  # user units; the drawing stretches to the width that the page gives it
_GAP: Final = 4  # between two segments
_LEAST: Final = 6  # a segment that stands for something is never too thin to be seen
_NEARLY_FULL: Final = 0.9
_FILLING_UP: Final = 0.7


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a bar: what it stands for and where it lies."""

    name: str
    count: int
    x: float
    width: float


def stacked_bar(counts: Mapping[str, int], order: Sequence[str]) -> tuple[Segment, ...]:
    """The parts of a bar that shows how `counts` divide their sum; zero counts have no part."""
    present = [(name, counts.get(name, 0)) for name in order if counts.get(name, 0) > 0]
    total = sum(count for _, count in present)
    room = WIDTH - _GAP * (len(present) - 1)
    widths = [max(count / total * room, _LEAST) for _, count in present]
    scale = room / sum(widths) if widths else 1.0
    segments: list[Segment] = []
    x = 0.0
    for (name, count), width in zip(present, widths, strict=True):
        segments.append(Segment(name, count, round(x, 1), round(width * scale, 1)))
        x += width * scale + _GAP
    return tuple(segments)


@dataclass(frozen=True, slots=True)
class Meter:
    """How full something is: `width` in user units, `level` as one of the page's tones."""

    width: float
    level: str


def meter(used: int, limit: int) -> Meter:
    """The meter of `used` out of `limit`; something without room counts as full once used."""
    share = used / limit if limit > 0 else float(used > 0)
    level = "bad" if share >= _NEARLY_FULL else "warn" if share >= _FILLING_UP else "ok"
    return Meter(round(min(max(share, 0.0), 1.0) * WIDTH, 1), level)
