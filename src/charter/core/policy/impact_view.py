"""A report as people see it: totals, matrix, groups, rules and examples, largest first.

Who may not see every decision sees whole numbers, and of teams and examples only what lies in
their own reach.

Source: Spec PC-6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from charter.core.policy.impact import (
    DIMENSIONS,
    EFFECTS,
    RULE_COLUMNS,
    UNKNOWN,
    Example,
    Report,
)

_MOST_GROUPS: Final = 200  # of one dimension; the largest changes come first

Visible = Callable[[str | None, str], bool]
"""Whether the reader may see decisions of this team (None: of no team) and this subject."""


def everything(_team: str | None, _subject: str) -> bool:
    """The reach of those who may see every decision."""
    return True


def _empty() -> dict[str, dict[str, int]]:
    return {before: dict.fromkeys(EFFECTS, 0) for before in EFFECTS}


def _moved(matrix: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How many cases became stricter and how many looser."""
    tightened = loosened = total = 0
    for row, before in enumerate(EFFECTS):
        for column, after in enumerate(EFFECTS):
            count = matrix[before][after]
            total += count
            if column > row:
                tightened += count
            elif column < row:
                loosened += count
    return {
        "total": total,
        "flipped": tightened + loosened,
        "tightened": tightened,
        "loosened": loosened,
    }


def _groups(report: Report, dimension: str, visible: Visible) -> list[dict[str, Any]]:
    matrices: dict[str, dict[str, dict[str, int]]] = {}
    for (name, key, before, after), count in report.cells.items():
        if name == dimension:
            matrices.setdefault(key, _empty())[before][after] += count
    unknown = {key: n for (name, key), n in report.unknown.items() if name == dimension}
    for key in unknown:
        matrices.setdefault(key, _empty())
    seen = [key for key in matrices if dimension != "team" or visible(key, "")]
    moved = {key: _moved(matrices[key]) for key in seen}
    seen.sort(key=lambda k: (-moved[k]["flipped"], -unknown.get(k, 0), -moved[k]["total"], k))
    return [
        {"key": key, **moved[key], "unknown": unknown.get(key, 0), "matrix": matrices[key]}
        for key in seen[:_MOST_GROUPS]
    ]


def _rule_rows(report: Report) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, int]] = {}
    for (rule, column), count in report.rules.items():
        rows.setdefault(rule, dict.fromkeys(RULE_COLUMNS, 0))[column] += count
    listed = [{"rule": rule, **columns} for rule, columns in rows.items()]
    return sorted(listed, key=lambda r: (-r["caused"], -r["begins"] - r["ends"], r["rule"]))


def _shown(examples: tuple[Example, ...], visible: Visible) -> list[dict[str, Any]]:
    """The newest of each team first, then the others."""
    allowed = [e for e in examples if visible(e.team, e.subject_id)]
    firsts = {e.team: e for e in reversed(allowed)}
    return [
        example.as_json()
        for example in sorted(allowed, key=lambda e: (firsts[e.team] is not e, allowed.index(e)))
    ]


def view(report: Report, visible: Visible = everything) -> dict[str, Any]:
    """The report as API, command line and portal show it."""
    matrix = _empty()
    for (dimension, _, before, after), count in report.cells.items():
        if dimension == "all":
            matrix[before][after] += count
    unknown = report.unknown.get(("all", ""), 0)
    cells = sorted(
        ((b, a) for b in EFFECTS for a in EFFECTS if b != a and matrix[b][a]),
        key=lambda cell: (-matrix[cell[0]][cell[1]], cell),
    )
    return {
        **_moved(matrix),
        "total": report.total,
        "unchanged": report.known - report.flipped,
        "other_reasons": report.other_reasons,
        "failed": report.failed,
        "matrix": matrix,
        "by": {dimension: _groups(report, dimension, visible) for dimension in DIMENSIONS},
        "rules": _rule_rows(report),
        "examples": [
            {
                "before": before,
                "after": after,
                "count": matrix[before][after],
                "examples": _shown(report.examples.get(f"{before}>{after}", ()), visible),
            }
            for before, after in cells
        ],
        "unknown": {
            "count": unknown,
            "paths": [
                {"path": key, "count": count}
                for (dimension, key), count in sorted(
                    report.unknown.items(), key=lambda item: (-item[1], item[0])
                )
                if dimension == "path"
            ],
            "examples": _shown(report.examples.get(UNKNOWN, ()), visible),
        },
        "cost": [
            {
                "origin": origin,
                **{
                    f"vcpu_{what}" if what != "uncosted" else what: report.vcpu.get(
                        (origin, what), 0
                    )
                    for what in ("refused", "admitted", "uncosted")
                },
            }
            for origin in ("workspace", "decision")
        ],
    }
