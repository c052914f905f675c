"""Definitions: what kind of agent this is, before anybody runs it.

A definition says what an agent is for, which team answers for it, in which repositories it may
work, how wide its tier may be, how long one run may last, and who may run it. An *instance* is one
run of it, for one task of one sponsor, with an identity that no other run ever has. An instance is
never wider than its definition, and the definition is never wider for one person than that person
is (`core/access/delegation.py`).

A change makes a new version; instances remember the version they began with. What counts for a
running instance is the narrower of both: a definition that is narrowed today narrows today, and one
that is widened widens only what starts afterwards.

Repositories are patterns: `*` stands for any part of one path segment, `**` at the end for
everything below.

Source: Spec ID-6, AG-1, AG-6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from charter.core.access.refusal import refuse
from charter.core.agents.tiers import Tier
from charter.core.kernel.decision import Violation

EVERYBODY: Final = "everybody"
TEAM: Final = "team"  # the members of the team that answers for the definition
_SOURCE: Final = "Spec ID-6"


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a definition. `run_by` holds `team`, `everybody`, `team:ID`, `person:ID`."""

    id: str
    version: int
    name: str
    team_id: str
    repositories: tuple[str, ...]
    tier: Tier
    max_session_seconds: int | None
    run_by: frozenset[str]
    retired: bool = False


def covers(patterns: Iterable[str], repository: str) -> bool:
    """Whether one of the patterns allows this repository.

    A name with an empty, `.` or `..` segment is never covered: who reads it may end elsewhere.
    """
    segments = repository.split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        return False
    return any(_matches(pattern.split("/"), segments) for pattern in patterns)


def _matches(pattern: Sequence[str], segments: Sequence[str]) -> bool:
    below = pattern[-1] == "**"
    head = pattern[:-1] if below else pattern
    if len(segments) <= len(head) if below else len(segments) != len(head):
        return False
    return all(_segment(p, s) for p, s in zip(head, segments, strict=False))


def _segment(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern` with something for each `*`.

    Each part is looked for as early as it can be, so that no pattern takes more than the product of
    the two lengths.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    last = rest.pop()
    if not (text.startswith(first) and text.endswith(last)) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in rest:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def may_run(definition: Definition, person_id: str, teams: frozenset[str]) -> bool:
    """Whether this person may run it, as far as the definition itself says."""
    run_by = definition.run_by
    return (
        EVERYBODY in run_by
        or f"person:{person_id}" in run_by
        or (TEAM in run_by and definition.team_id in teams)
        or any(f"team:{team}" in run_by for team in teams)
    )


def instance_bound(
    definition: Definition,
    *,
    person_id: str,
    teams: frozenset[str],
    tier: Tier,
    repositories: Iterable[str],
    seconds: int,
) -> tuple[Violation, ...]:
    """Everything in which an instance that is asked for would be wider than its definition."""
    return tuple(
        _wider(
            definition,
            runs=may_run(definition, person_id, teams),
            tier=tier,
            repositories=repositories,
            seconds=seconds,
        )
    )


def _wider(
    definition: Definition, *, runs: bool, tier: Tier, repositories: Iterable[str], seconds: int
) -> Iterator[Violation]:
    name = definition.name
    if definition.retired:
        yield refuse(
            "definition-retired",
            f"The definition {name} is retired; nothing new runs of it.",
            "Run another definition: charter agent definitions shows them.",
            source=_SOURCE,
        )
    if not runs:
        yield refuse(
            "definition-runners",
            f"You are not among those who may run {name}.",
            f"Ask the team that answers for {name} to let you or your team run it.",
            source=_SOURCE,
        )
    if tier.rank > definition.tier.rank:
        yield refuse(
            "definition-tier",
            f"{name} runs in the {definition.tier} tier at most, and {tier} was asked for.",
            f"Ask for {definition.tier}, or have the definition changed by its team.",
            source="Spec AG-1",
        )
    outside = sorted(r for r in repositories if not covers(definition.repositories, r))
    if outside:
        yield refuse(
            "definition-repositories",
            f"{name} may not work in {', '.join(outside)}.",
            f"Choose among {', '.join(definition.repositories) or 'none'}, "
            "or have the definition changed by its team.",
            source=_SOURCE,
        )
    longest = definition.max_session_seconds
    if longest is not None and seconds > longest:
        yield refuse(
            "definition-session",
            f"A run of {name} lasts {longest // 60} minutes at most.",
            f"Ask for {longest // 60} minutes or fewer.",
            source=_SOURCE,
        )
