"""What a change of policy would do: decisions made again under a candidate, counted and compared.

A *case* is one question with two answers: the one under the bundle in force (the base) and the one
under the candidate. A `Report` counts cases: the flip matrix (what each effect before became
after), the same by team, subject kind, action and origin, which rules begin or end to speak and
which of them caused the flips, a few examples of each flip, and the vCPUs behind them.

What cannot be known is said to be unknown. A candidate may read a fact that an older record does
not hold; its answer would then rest on an absence that nobody ever stated. Such a case is counted
with the missing paths and stands in no matrix, neither as a flip nor as unchanged.

Reports are a commutative monoid: `Report()` is the neutral element, `merged` is associative and
commutative, and a report of many cases is the merge of the reports of its parts. So a run can be
cut into chunks, continue after a crash and be computed by several processes.

Source: Spec PC-5, PC-6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from charter.core.kernel.decision import Effect
from charter.core.policy.decide import UNAVAILABLE_RULE
from charter.core.policy.paths import ANY, InputPath, missing_paths

EFFECTS: Final = tuple(effect.value for effect in Effect)
DIMENSIONS: Final = ("origin", "team", "subject_kind", "action")
RULE_COLUMNS: Final = ("caused", "begins", "ends", "would_begin", "would_end")
UNKNOWN: Final = "unknown"
NO_TEAM: Final = "(none)"

_NEWEST: Final = 4  # examples of one cell: these, whatever their team …
_TEAMS: Final = 8  # … and the newest of each of these many teams
_PLACING: Final = frozenset({"workspace.create", "workspace.start", "workspace.resize"})
_RANK: Final = {effect: rank for rank, effect in enumerate(EFFECTS)}
_GOES_ON: Final = frozenset({Effect.ALLOW.value, Effect.WARN.value})

RECORDED_WHEN_GIVEN: Final = (
    ("context", "justification"),
    ("resource", "labels", "*"),
    ("resource", "spec", "network", "egressAllowlist"),
    ("request", "object", "metadata", "labels", "*"),
    ("request", "object", "spec", "network", "egressAllowlist"),
)
"""Facts that every record holds wherever they exist: their absence says that there are none. It is
knowledge, and not what an older record lacks."""

OF_THE_OTHER_KIND: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "human": (
        ("context", "task"),
        ("resource", "spec", "tier"),
        ("subject", "sponsor"),
        ("subject", "sponsor_roles"),
        ("subject", "task"),
        ("subject", "tier"),
    ),
    "agent": (("subject", "handle"), ("subject", "mfa"), ("subject", "via")),
    "system": (
        ("context", "task"),
        ("subject", "handle"),
        ("subject", "mfa"),
        ("subject", "sponsor"),
        ("subject", "task"),
        ("subject", "tier"),
    ),
}
"""Facts that a subject of this kind never has, so that nothing is unknown about them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question with its answers; `before` and `after` are `Decision.as_json` documents.

    `origin` is `decision` (recorded) or `workspace` (asked today about one that exists). `missing`
    are the paths that the candidate reads and the facts lack; `after` says nothing then. `vcpu` is
    what the question is about, where it places something.
    """

    origin: str
    id: str
    at: str
    subject_kind: str
    subject_id: str
    team: str | None
    action: str
    resource_kind: str
    resource_id: str | None
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    missing: tuple[str, ...] = ()
    vcpu: int | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A case in a line, for people; `rules` are those that caused the flip."""

    origin: str
    id: str
    at: str
    subject_kind: str
    subject_id: str
    team: str | None
    action: str
    resource_kind: str
    resource_id: str | None
    rules: tuple[str, ...]
    message: str

    @property
    def order(self) -> tuple[str, str, str]:
        """Later is greater; no two examples are equal in it."""
        return (self.at, self.origin, self.id)

    def as_json(self) -> dict[str, Any]:
        """The stored and transmitted form."""
        return {
            f.name: list(self.rules) if f.name == "rules" else getattr(self, f.name)
            for f in fields(self)
        }


def _example_from_json(stored: Mapping[str, Any]) -> Example:
    return Example(**{**stored, "rules": tuple(stored["rules"])})


Cell = tuple[str, str, str, str]
"""Dimension, key, effect before, effect after. The whole has the dimension `all` and no key."""


@dataclass(frozen=True, slots=True)
class Report:
    """Counts of cases; build one with `report_of`, add two with `merged`.

    `cells` counts known cases. `rules` counts by rule and column (RULE_COLUMNS). `unknown` counts
    by dimension and key, with `path` as one more dimension. `vcpu` sums by origin and by
    `refused`, `admitted` and `uncosted` (cases that flipped without a known size). `examples` go
    by `before>after`.
    """

    cells: Mapping[Cell, int] = field(default_factory=dict)
    rules: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unknown: Mapping[tuple[str, str], int] = field(default_factory=dict)
    vcpu: Mapping[tuple[str, str], int] = field(default_factory=dict)
    other_reasons: int = 0
    failed: int = 0
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The stored form, in an order that depends on the content only."""
        return {
            "cells": [[*key, count] for key, count in sorted(self.cells.items())],
            "rules": [[*key, count] for key, count in sorted(self.rules.items())],
            "unknown": [[*key, count] for key, count in sorted(self.unknown.items())],
            "vcpu": [[*key, count] for key, count in sorted(self.vcpu.items())],
            "other_reasons": self.other_reasons,
            "failed": self.failed,
            "examples": {
                cell: [example.as_json() for example in found]
                for cell, found in sorted(self.examples.items())
            },
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Report:
        """The report that `as_json` wrote; an empty object is the empty report."""
        return cls(
            cells={(d, k, b, a): n for d, k, b, a, n in stored.get("cells", ())},
            rules={(rule, column): n for rule, column, n in stored.get("rules", ())},
            unknown={(dimension, key): n for dimension, key, n in stored.get("unknown", ())},
            vcpu={(origin, what): n for origin, what, n in stored.get("vcpu", ())},
            other_reasons=stored.get("other_reasons", 0),
            failed=stored.get("failed", 0),
            examples={
                cell: tuple(map(_example_from_json, found))
                for cell, found in stored.get("examples", {}).items()
            },
        )

    @property
    def total(self) -> int:
        """All cases, known and unknown."""
        return self.known + self.unknown.get(("all", ""), 0)

    @property
    def known(self) -> int:
        """The cases of the matrix."""
        return sum(n for (dimension, *_), n in self.cells.items() if dimension == "all")

    @property
    def flipped(self) -> int:
        """The known cases whose effect changes."""
        return sum(n for (d, _, b, a), n in self.cells.items() if d == "all" and b != a)


def _kept(examples: Iterable[Example]) -> tuple[Example, ...]:
    """The examples of one cell that are kept: the newest, and the newest of some teams.

    Both choices are maxima of an order, so choosing from choices is choosing from the whole.
    """
    ordered = sorted(set(examples), key=lambda example: example.order, reverse=True)
    newest_of: dict[str | None, Example] = {}
    for example in ordered:
        newest_of.setdefault(example.team, example)
    chosen = {*ordered[:_NEWEST], *list(newest_of.values())[:_TEAMS]}
    return tuple(example for example in ordered if example in chosen)


def _sum(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}


def merged(one: Report, other: Report) -> Report:
    """The report of the cases of both."""
    return Report(
        cells=_sum(one.cells, other.cells),
        rules=_sum(one.rules, other.rules),
        unknown=_sum(one.unknown, other.unknown),
        vcpu=_sum(one.vcpu, other.vcpu),
        other_reasons=one.other_reasons + other.other_reasons,
        failed=one.failed + other.failed,
        examples={
            cell: _kept((*one.examples.get(cell, ()), *other.examples.get(cell, ())))
            for cell in {**one.examples, **other.examples}
        },
    )


def _rules(result: Mapping[str, Any], part: str = "violations") -> frozenset[str]:
    return frozenset(violation["rule"] for violation in result[part])


def _decisive(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [v for v in result["violations"] if v["effect"] == result["effect"]]


def causes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The violations that make the effect differ; none when it does not.

    A stronger effect comes from what now speaks with it. A weaker one comes from what spoke with
    the old effect: all of it has fallen silent or speaks more softly.
    """
    if before["effect"] == after["effect"]:
        return ()
    stronger = _RANK[after["effect"]] > _RANK[before["effect"]]
    return tuple(_decisive(after if stronger else before))


def _keys(case: Case) -> Iterator[tuple[str, str]]:
    yield "all", ""
    yield "origin", case.origin
    yield "team", case.team or NO_TEAM
    yield "subject_kind", case.subject_kind
    yield "action", case.action


def _example(case: Case, reasons: Iterable[Mapping[str, Any]], message: str = "") -> Example:
    found = list(reasons)
    return Example(
        origin=case.origin,
        id=case.id,
        at=case.at,
        subject_kind=case.subject_kind,
        subject_id=case.subject_id,
        team=case.team,
        action=case.action,
        resource_kind=case.resource_kind,
        resource_id=case.resource_id,
        rules=tuple(sorted({reason["rule"] for reason in found})),
        message=message or next((reason["message"] for reason in found), ""),
    )


def _count_rules(counts: Counter[tuple[str, str]], case: Case) -> None:
    old, new = _rules(case.before), _rules(case.after)
    if old != new:
        counts.update((rule, "begins") for rule in new - old)
        counts.update((rule, "ends") for rule in old - new)
    old, new = _rules(case.before, "shadow"), _rules(case.after, "shadow")
    if old != new:
        counts.update((rule, "would_begin") for rule in new - old)
        counts.update((rule, "would_end") for rule in old - new)


def _cost(case: Case) -> tuple[str, int] | None:
    """What the flip means in vCPUs, where it decides whether something runs at all."""
    before, after = (result["effect"] in _GOES_ON for result in (case.before, case.after))
    if before == after or case.action not in _PLACING:
        return None
    if case.vcpu is None:
        return "uncosted", 1
    return ("refused" if before else "admitted"), case.vcpu


def report_of(cases: Iterable[Case]) -> Report:
    """The report of these cases."""
    cells: Counter[Cell] = Counter()
    rules: Counter[tuple[str, str]] = Counter()
    unknown: Counter[tuple[str, str]] = Counter()
    vcpu: Counter[tuple[str, str]] = Counter()
    examples: dict[str, list[Example]] = {}
    other_reasons = failed = 0
    for case in cases:
        if case.missing:
            unknown.update((*_keys(case), *(("path", path) for path in case.missing)))
            lacks = f"The record holds no {', '.join(case.missing)}."
            examples.setdefault(UNKNOWN, []).append(_example(case, (), lacks))
            continue
        before, after = case.before["effect"], case.after["effect"]
        cells.update((dimension, key, before, after) for dimension, key in _keys(case))
        if case.before == case.after:
            continue
        _count_rules(rules, case)
        failed += any(v["rule"] == UNAVAILABLE_RULE for v in case.after["violations"])
        if before == after:
            other_reasons += 1
            continue
        reasons = causes(case.before, case.after)
        rules.update((rule, "caused") for rule in {reason["rule"] for reason in reasons})
        examples.setdefault(f"{before}>{after}", []).append(_example(case, reasons))
        cost = _cost(case)
        if cost is not None:
            vcpu[(case.origin, cost[0])] += cost[1]
    return Report(
        cells=dict(cells),
        rules=dict(rules),
        unknown=dict(unknown),
        vcpu=dict(vcpu),
        other_reasons=other_reasons,
        failed=failed,
        examples={cell: _kept(found) for cell, found in examples.items()},
    )


# --- what a record lacks --------------------------------------------------------------------
def _covered(path: InputPath, prefix: InputPath) -> bool:
    return len(path) >= len(prefix) and all(
        step in (ANY, part) for part, step in zip(path, prefix, strict=False)
    )


def lacking(document: Mapping[str, object], paths: Iterable[InputPath]) -> tuple[str, ...]:
    """Those of `paths` that are unknown for this document, as `input.a.b`."""
    subject = document.get("subject")
    kind = subject.get("kind") if isinstance(subject, Mapping) else None
    known = (*RECORDED_WHEN_GIVEN, *OF_THE_OTHER_KIND.get(str(kind), ()))
    unknown = missing_paths(
        document, (p for p in paths if not any(_covered(p, prefix) for prefix in known))
    )
    return tuple(sorted(".".join(("input", *path)) for path in unknown))
