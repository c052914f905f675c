"""Load subjects as they stand now: bindings that hold, teams, the sponsor of an agent, its task.

Nothing about a subject is cached between requests. That is what makes a lost role narrow a running
agent at its very next request (Spec ID-7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from charter.core.access.break_glass import ordinary
from charter.core.access.permissions import Permission
from charter.core.access.roles import Binding, CustomRole, Reach, Scope, ScopeKind
from charter.core.access.subjects import Agent, Human
from charter.core.agents.definitions import covers
from charter.core.agents.elevation import Elevation, bounded
from charter.core.agents.tasks import TaskScope, TaskState
from charter.core.agents.tiers import Tier, narrower
from charter.core.kernel.errors import NotFoundError, UnauthenticatedError
from charter.services.runtime import Caller
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_KNOWN: Final = frozenset(permission.value for permission in Permission)


def load_human(tx: Tx, person_id: str) -> Human | None:
    """The person as a subject, or None when there is none; a deactivated one holds no bindings."""
    person = tx.one(sa.select(t.people).where(t.people.c.id == person_id))
    if person is None:
        return None
    active = person["deactivated_at"] is None
    custom = t.custom_roles.c
    bindings = tx.all(
        sa.select(t.role_bindings, custom.permissions)
        .outerjoin(
            t.custom_roles,
            sa.and_(custom.name == t.role_bindings.c.role, custom.retired_at.is_(None)),
        )
        .where(t.role_bindings.c.person_id == person_id, t.role_bindings.c.revoked_at.is_(None))
        .order_by(t.role_bindings.c.id)
    )
    teams = tx.all(
        sa.select(t.team_members.c.team_id).where(t.team_members.c.person_id == person_id)
    )
    return Human(
        id=person["id"],
        handle=person["handle"],
        bindings=tuple(
            Binding(
                b["role"],
                Scope(ScopeKind(b["scope_kind"]), b["scope_id"]),
                b["expires_at"],
                None if b["permissions"] is None else custom_role(b["role"], b["permissions"]),
                b["break_glass_id"],
            )
            for b in bindings
        )
        if active
        else (),
        teams=frozenset(row["team_id"] for row in teams),
        active=active,
    )


def custom_role(name: str, permissions: Mapping[str, str]) -> CustomRole:
    """An organisation's own role as it is stored.

    A permission that this version does not know is left out: it can give nothing.
    """
    return CustomRole(
        name,
        tuple(
            (Permission(permission), Reach(reach))
            for permission, reach in sorted(permissions.items())
            if permission in _KNOWN
        ),
    )


def load_agent(tx: Tx, agent_id: str, credential_id: str | None = None) -> Agent | None:
    """The agent with its sponsor, its task and its definition as they are now."""
    now = t.agent_definition_versions
    row = tx.one(
        sa.select(
            t.agents,
            t.tasks.c.id.label("task_id"),
            t.tasks.c.repositories,
            t.tasks.c.deadline,
            t.tasks.c.state.label("task_state"),
            now.c.tier.label("definition_tier"),
            now.c.repositories.label("definition_repositories"),
            t.agent_definitions.c.implied.label("definition_implied"),
        )
        .join(t.tasks, t.tasks.c.agent_id == t.agents.c.id)
        .join(t.agent_definitions, t.agent_definitions.c.id == t.agents.c.definition_id)
        .join(
            now,
            sa.and_(
                now.c.definition_id == t.agent_definitions.c.id,
                now.c.version == t.agent_definitions.c.version,
            ),
        )
        .where(t.agents.c.id == agent_id)
    )
    if row is None:
        return None
    # A definition that was narrowed since narrows what runs; one that was widened changes nothing.
    tier = narrower(Tier(row["tier"]), Tier(row["definition_tier"]))
    allowed = row["definition_repositories"]
    given = elevations_of(tx, row["id"])
    if not row["definition_implied"]:
        widest = Tier(row["definition_tier"])
        given = tuple(bounded(elevation, widest, allowed) for elevation in given)
    sponsor = load_human(tx, row["sponsor_id"])
    if sponsor is None:  # the foreign key forbids it
        raise NotFoundError("The agent's sponsor does not exist.", fix="Ask an administrator.")
    return Agent(
        id=row["id"],
        sponsor=ordinary(sponsor),  # an emergency is the person's own, never their agents'
        tier=tier,
        task=TaskScope(
            id=row["task_id"],
            repositories=frozenset(r for r in row["repositories"] if covers(allowed, r)),
            tier=tier,
            deadline=row["deadline"],
            state=TaskState(row["task_state"]),
        ),
        team_id=row["team_id"],
        credential_id=credential_id or "none",
        active=row["state"] == "active",
        elevations=given,
        parent=None if row["parent_id"] is None else load_agent(tx, row["parent_id"]),
    )


def elevations_of(tx: Tx, agent_id: str) -> tuple[Elevation, ...]:
    """All that was ever given to the agent beyond its own tier and task."""
    c, g = t.elevations.c, t.grants.c
    # A yes that was good for one request is used up by it at once, and takes nothing back.
    taken_back = sa.case((g.revoked_at > g.created_at, g.revoked_at))
    rows = tx.all(
        sa.select(
            *(column for column in c if column.name != "revoked_at"),
            sa.func.least(c.revoked_at, taken_back).label("revoked_at"),
        )
        .outerjoin(t.grants, g.approval_id == c.approval_id)
        .where(c.agent_id == agent_id)
        .order_by(c.id)
    )
    return tuple(
        Elevation(
            id=row["id"],
            task_id=row["task_id"],
            tier=None if row["tier"] is None else Tier(row["tier"]),
            permissions=frozenset(map(Permission, row["permissions"])),
            repositories=frozenset(row["repositories"]),
            granted_at=row["created_at"],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
        )
        for row in rows
    )


def hold_starter(tx: Tx, caller: Caller) -> None:
    """Make the starting of something and the end of who starts it wait for each other.

    The credential was looked at before this transaction. Without the lock, what an agent or a
    person starts in the moment of their end would be missed by what ends them. The lock is
    exclusive, because shared ones can keep an exclusive one waiting for as long as new ones come.
    """
    if not isinstance(caller.subject, Agent):
        person = tx.one(
            sa.select(t.people.c.deactivated_at)
            .where(t.people.c.id == caller.id)
            .with_for_update(key_share=True)
        )
        if person is None or person["deactivated_at"] is not None:
            raise UnauthenticatedError("This account is deactivated.", fix="Ask an administrator.")
        return
    row = tx.one(
        sa.select(t.agents.c.state)
        .where(t.agents.c.id == caller.id)
        .with_for_update(key_share=True)
    )
    if row is None or row["state"] != "active":
        raise UnauthenticatedError(
            "This agent has been ended.", fix="Its sponsor can start a new agent for the task."
        )
