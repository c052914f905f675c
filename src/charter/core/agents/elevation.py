"""Elevation: more room for one agent, for one task, for a while.

An agent that meets something outside its tier or its repositories asks for it, and a team lead says
yes for this task alone. What it gets is a wider tier, single permissions, or more repositories. An
elevation widens two of the four sets whose intersection an agent may do (its tier and its task) and
touches neither of the others: it never gives more than the role of agents holds, so nothing about
production, votes or policies, and never more than the sponsor holds at that moment. The definition
that the agent is a run of bounds it too; the one that is implied for a single run does not.

It ends with the task, by its own expiry, or by being revoked, whichever comes first. Whether it
holds is computed each time that the agent is looked at; nothing has to be cleaned up for it to end.

Source: Spec AP-4, ID-7, ID-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from charter.core.access.permissions import Permission
from charter.core.agents.definitions import covers
from charter.core.agents.tasks import TaskScope, task_open
from charter.core.agents.tiers import TIER_PERMISSIONS, Tier


@dataclass(frozen=True, slots=True)
class Elevation:
    """What was given to one agent for one task; `tier` is None where its tier stays."""

    id: str
    task_id: str
    tier: Tier | None
    permissions: frozenset[Permission]
    repositories: frozenset[str]
    granted_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None


def holds(elevation: Elevation, task: TaskScope | None, now: datetime) -> bool:
    """Whether it widens anything at `now`: for its own task, while that is open, and in time."""
    if task is None or task.id != elevation.task_id or not task_open(task, now):
        return False
    if elevation.revoked_at is not None and now >= elevation.revoked_at:
        return False
    return elevation.granted_at <= now < elevation.expires_at


def in_force(
    elevations: Iterable[Elevation], task: TaskScope | None, now: datetime
) -> tuple[Elevation, ...]:
    """Those of them that hold."""
    return tuple(each for each in elevations if holds(each, task, now))


def raised_tier(base: Tier, held: Iterable[Elevation]) -> Tier:
    """The widest of the agent's own tier and those that were given to it."""
    return max((base, *(e.tier for e in held if e.tier is not None)), key=lambda tier: tier.rank)


def raised_permissions(base: Tier, held: Iterable[Elevation]) -> frozenset[Permission]:
    """What the tier allows with what was given beside it; the role and the sponsor still bound."""
    held = tuple(held)
    return TIER_PERMISSIONS[raised_tier(base, held)].union(*(e.permissions for e in held))


def raised_repositories(task: TaskScope, held: Iterable[Elevation]) -> frozenset[str]:
    """The repositories of the task with those that were given for it."""
    return task.repositories.union(*(e.repositories for e in held))


def tier_until(elevations: Iterable[Elevation], tier: Tier) -> datetime | None:
    """Until when one of them gives at least `tier`; None when none ever did."""
    ends = [
        min(e.expires_at, e.revoked_at or e.expires_at)
        for e in elevations
        if e.tier is not None and e.tier.rank >= tier.rank
    ]
    return max(ends, default=None)


def bounded(elevation: Elevation, tier: Tier, repositories: Sequence[str]) -> Elevation:
    """What is left of an elevation within a definition of this tier and these patterns."""
    wider = elevation.tier is not None and elevation.tier.rank > tier.rank
    return replace(
        elevation,
        tier=tier if wider else elevation.tier,
        permissions=elevation.permissions & TIER_PERMISSIONS[tier],
        repositories=frozenset(r for r in elevation.repositories if covers(repositories, r)),
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    tier: Tier | None = None
    permissions: frozenset[Permission] = frozenset()
    repositories: frozenset[str] = frozenset()


def pointless(wanted: Wanted, base: Tier, task: TaskScope, held: Iterable[Elevation]) -> bool:
    """Whether the agent has all of it already."""
    held = tuple(held)
    return (
        (wanted.tier is None or wanted.tier.rank <= raised_tier(base, held).rank)
        and wanted.permissions <= raised_permissions(base, held)
        and wanted.repositories <= raised_repositories(task, held)
    )


def beyond(wanted: Wanted, tier: Tier, repositories: Sequence[str]) -> tuple[str, ...]:
    """What of it a definition of this tier and these patterns does not allow, in words."""
    return (
        *([f"the {wanted.tier} tier"] if wanted.tier and wanted.tier.rank > tier.rank else []),
        *sorted(wanted.permissions - TIER_PERMISSIONS[tier]),
        *sorted(r for r in wanted.repositories if not covers(repositories, r)),
    )


def never_given(
    wanted: Wanted, role: AbstractSet[Permission], sponsor: AbstractSet[Permission]
) -> tuple[tuple[Permission, ...], tuple[Permission, ...]]:
    """The permissions asked for that no agent may have, and those that the sponsor cannot lend."""
    return (
        tuple(sorted(wanted.permissions - role)),
        tuple(sorted((wanted.permissions & role) - sponsor)),
    )
