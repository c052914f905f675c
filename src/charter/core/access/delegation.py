"""The delegation bound: an agent is never more than the person it works for.

What an agent may do at this moment is the intersection of four sets: the role of agents, its tier,
its task, and what its sponsor may do *now*. An agent that works for another agent is bound by that
one as well, and a credential that was issued for less gives less. Nothing is copied when the agent
is created, so a sponsor who loses a role narrows every running agent with the next request, and a
sponsor who leaves stops them.

The tier that counts is the narrower of the agent's and the task's: an agent that has earned trust
still does a read-only task read-only. An elevation that a team lead gave for the task widens the
tier or the repositories while it holds; role and sponsor bound it as before.

Source: Spec ID-7, AP-4.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from charter.core.access.permissions import Permission
from charter.core.access.reach import human_reaches
from charter.core.access.refusal import refuse
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import ROLE_PERMISSIONS, RoleName, Scope, permissions_of
from charter.core.access.subjects import Agent
from charter.core.agents.elevation import (
    Elevation,
    in_force,
    raised_permissions,
    raised_tier,
)
from charter.core.agents.tasks import task_open
from charter.core.agents.tiers import Tier, narrower
from charter.core.kernel.decision import Violation


def base_tier(agent: Agent) -> Tier:
    """The tier without any elevation: the narrower of the agent's own and its task's."""
    return agent.tier if agent.task is None else narrower(agent.tier, agent.task.tier)


def elevations_of(agent: Agent, now: datetime) -> tuple[Elevation, ...]:
    """The agent's elevations that hold."""
    return in_force(agent.elevations, agent.task, now)


def effective_tier(agent: Agent, now: datetime) -> Tier:
    """The tier that counts at `now`, elevations included, and no wider than the parent's."""
    tier = raised_tier(base_tier(agent), elevations_of(agent, now))
    return tier if agent.parent is None else narrower(tier, effective_tier(agent.parent, now))


def tier_permissions(agent: Agent, now: datetime) -> frozenset[Permission]:
    """What the tier gives at `now`, with single permissions that were given beside it."""
    return raised_permissions(base_tier(agent), elevations_of(agent, now))


def effective_permissions(
    agent: Agent, chain: Iterable[Scope], now: datetime
) -> frozenset[Permission]:
    """Agent role ∩ tier ∩ task ∩ what the sponsor holds now, at the end of the scope chain.

    And what the credential was narrowed to, and what the agent that it works for may do now.
    """
    if not agent.active or not agent.sponsor.active:
        return frozenset()
    if agent.task is None or not task_open(agent.task, now):
        return frozenset()
    path = tuple(chain)
    held = (
        ROLE_PERMISSIONS[RoleName.AGENT]
        & tier_permissions(agent, now)
        & permissions_of(agent.sponsor.bindings, path, now)
    )
    if agent.scope is not None:
        held &= agent.scope
    return held if agent.parent is None else held & effective_permissions(agent.parent, path, now)


def delegation_bound(
    agent: Agent, permission: Permission, chain: Iterable[Scope], now: datetime
) -> Violation | None:
    """Why the sponsor cannot lend `permission` to the agent; None when they can."""
    sponsor, path = agent.sponsor, tuple(chain)
    if not sponsor.active:
        return refuse(
            "delegation-bound",
            f"The agent's sponsor {sponsor.handle} is deactivated, so the agent may do nothing.",
            "Hand the task to a sponsor who is active; the agent itself cannot continue.",
            source="Spec ID-7",
        )
    if permission not in permissions_of(sponsor.bindings, path, now):
        return refuse(
            "delegation-bound",
            f"The agent acts for {sponsor.handle}, who does not hold {permission} here; "
            "an agent never exceeds its sponsor.",
            f"Give {sponsor.handle} a role with {permission} in this scope, "
            "or let a sponsor who holds it take the task.",
            source="Spec ID-7",
        )
    parent = agent.parent
    if parent is not None and permission not in effective_permissions(parent, path, now):
        return refuse(
            "delegation-bound",
            f"The agent works for another agent, which may not do {permission} here now; "
            "it is never more than that one.",
            "Let the sponsor start an agent of its own for this.",
            source="Spec ID-7",
        )
    return None


def delegation_reach(
    agent: Agent, permission: Permission, resource: ResourceRef, now: datetime
) -> Violation | None:
    """Like `delegation_bound`, for one resource: the sponsor must also reach as far as it.

    What the agent owns counts as the sponsor's own here, because the sponsor answers for it.
    """
    sponsor = agent.sponsor
    missing = delegation_bound(agent, permission, _everywhere(agent, resource), now)
    if missing is not None:
        return missing
    if human_reaches(sponsor, permission, seen_by_sponsor(agent, resource), now):
        return None
    return refuse(
        "delegation-bound",
        f"The agent acts for {sponsor.handle}, whose {permission} does not carry as far as "
        f"this {resource.kind}; an agent never exceeds its sponsor.",
        "Let a sponsor take the task who may do this themselves, or work within the sponsor's "
        "teams and projects.",
        source="Spec ID-7",
    )


def seen_by_sponsor(agent: Agent, resource: ResourceRef) -> ResourceRef:
    """The resource with the sponsor answering for what is the agent's, its task or itself."""
    own = agent.id in (resource.owner_id, resource.requester_id, resource.id)
    if own or (agent.task is not None and resource.id == agent.task.id):
        return replace(resource, sponsor_id=agent.sponsor.id)
    return resource


def _everywhere(agent: Agent, resource: ResourceRef) -> Iterable[Scope]:
    """The chain to hold the sponsor's permissions against; a collection is asked everywhere."""
    if resource.is_collection:
        return {scope.scope for scope in agent.sponsor.bindings} | set(resource.chain)
    return resource.chain
