"""Agents as rows: find them, show them, say who may see them, and close what hangs on a task."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from charter.core.access.delegation import effective_permissions, effective_tier
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.roles import scope_chain
from charter.core.access.subjects import Agent
from charter.core.agents.tasks import (
    TaskEvent,
    TaskState,
    next_task_state,
    task_open,
    task_state,
)
from charter.services.access import missing
from charter.services.lifecycle import recheck_agent
from charter.services.runtime import Caller
from charter.services.subjects import load_agent
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


def row_of(tx: Tx, agent_id: str, *, lock: bool = False) -> Row:
    """The agent with its task and sponsor's handle."""
    query = (
        sa.select(
            t.agents,
            t.tasks.c.id.label("task_id"),
            t.tasks.c.title.label("task"),
            t.tasks.c.state.label("task_state"),
            t.tasks.c.repositories,
            t.tasks.c.deadline,
            t.people.c.handle.label("sponsor"),
            t.agent_definitions.c.name.label("definition"),
            t.agent_definitions.c.implied.label("definition_implied"),
        )
        .join(t.tasks, t.tasks.c.agent_id == t.agents.c.id)
        .join(t.people, t.people.c.id == t.agents.c.sponsor_id)
        .join(t.agent_definitions, t.agent_definitions.c.id == t.agents.c.definition_id)
        .where(t.agents.c.id == agent_id)
    )
    row = tx.one(query.with_for_update(of=t.agents) if lock else query)
    if row is None:
        raise missing("agent")
    return row


def find(tx: Tx, caller: Caller, ref: str) -> str:
    """The id that an id, a visible agent's name, or an agent's own `self` means."""
    if ref == "self" and isinstance(caller.subject, Agent):
        return caller.id
    c = t.agents.c
    rows = tx.all(
        sa.select(c.id)
        .where(sa.or_(c.id == ref, sa.and_(c.name == ref, visible_agents(tx, caller))))
        .order_by((c.id == ref).desc(), (c.state == "active").desc(), c.id.desc())
        .limit(1)
    )
    if not rows:
        raise missing("agent")
    return str(rows[0]["id"])


def ref_of(row: Row) -> ResourceRef:
    """The agent as access rules see it: owned by its sponsor."""
    return ResourceRef(
        "agent",
        id=row["id"],
        owner_id=row["sponsor_id"],
        owner_kind="human",
        team_id=row["team_id"],
        project_id=row["project_id"],
    )


def visible_agents(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    """The filter that gives exactly the agents which the caller may see."""
    c = t.agents.c
    reach = reach_set(caller.subject, Permission.AGENT_VIEW, tx.now)
    if reach.everything:
        return sa.true()
    return sa.or_(
        c.sponsor_id == caller.id,
        c.id == caller.id,
        c.team_id.in_(reach.teams),
        c.project_id.in_(reach.projects),
    )


def view(tx: Tx, row: Row) -> dict[str, Any]:
    """The agent for faces, with what it may do at this moment."""
    agent = load_agent(tx, row["id"])
    count = tx.one(
        sa.select(sa.func.count().label("n")).where(
            t.workspaces.c.agent_id == row["id"], t.workspaces.c.deleted_at.is_(None)
        )
    )
    permissions = (
        []
        if agent is None
        else sorted(
            effective_permissions(agent, scope_chain(row["team_id"], row["project_id"]), tx.now)
        )
    )
    names = (
        "id",
        "name",
        "definition_id",
        "definition_version",
        "parent_id",
        "sponsor_id",
        "sponsor",
        "team_id",
        "project_id",
        "tier",
        "state",
        "task_id",
        "task",
        "repositories",
        "deadline",
        "created_at",
        "ended_at",
        "end_reason",
    )
    state = row["task_state"]
    if agent is not None and agent.task is not None:
        state = task_state(agent.task, tx.now).value
    return {
        **{name: row[name] for name in names},
        "definition": None if row["definition_implied"] else row["definition"],
        "task_state": state,
        "workspaces": 0 if count is None else count["n"],
        "effective_tier": row["tier"] if agent is None else effective_tier(agent, tx.now).value,
        "elevations": elevation_views(tx, row, ended=state != TaskState.OPEN.value),
        "permissions": permissions,
    }


def elevation_views(tx: Tx, agent: Row, *, ended: bool) -> list[dict[str, Any]]:
    """What the agent was given beyond its own tier and task, newest first."""
    c = t.elevations.c
    rows = tx.all(sa.select(t.elevations).where(c.agent_id == agent["id"]).order_by(c.id.desc()))
    return [elevation_view(row, tx.now, ended=ended) for row in rows]


def elevation_view(row: Row, now: datetime, *, ended: bool = False) -> dict[str, Any]:
    """One of them; those of an ended task have ended with it."""
    shown = ("id", "tier", "permissions", "repositories", "approval_id", "created_at", "expires_at")
    over = ended or now >= row["expires_at"]
    state = "revoked" if row["revoked_at"] is not None else "ended" if over else "active"
    return {**{name: row[name] for name in shown}, "state": state}


def close(tx: Tx, row: Row, event: TaskEvent, reason: str, *, state: str) -> None:
    """End an agent's task, credentials and grants, and have its workspaces looked at."""
    agent = load_agent(tx, row["id"])
    if agent is None or agent.task is None:
        raise missing("agent")
    current = task_state(agent.task, tx.now)
    if not (state == "killed" and current is not TaskState.OPEN):
        closed = next_task_state(agent.task, event, tx.now)
        tx.update(
            t.tasks,
            t.tasks.c.id == agent.task.id,
            t.tasks.c.closed_at.is_(None),
            state=closed.value,
            closed_at=tx.now,
        )
    tx.update(
        t.agents,
        t.agents.c.id == row["id"],
        t.agents.c.state == "active",
        state=state,
        ended_at=tx.now,
        end_reason=reason,
    )
    credentials, grants = t.agent_credentials, t.grants
    tx.update(
        credentials,
        credentials.c.agent_id == row["id"],
        credentials.c.revoked_at.is_(None),
        revoked_at=tx.now,
    )
    tx.update(
        grants, grants.c.subject_id == row["id"], grants.c.revoked_at.is_(None), revoked_at=tx.now
    )
    recheck_agent(tx, row["id"])
    _close_sub_agents(tx, row["id"], state)


def _close_sub_agents(tx: Tx, agent_id: str, state: str) -> None:
    """Whoever works for an agent that has ended has ended too."""
    c = t.agents.c
    for child in tx.all(
        sa.select(c.id).where(c.parent_id == agent_id, c.state == "active").order_by(c.id)
    ):
        row = row_of(tx, child["id"], lock=True)
        agent = load_agent(tx, row["id"])
        running = agent is not None and agent.task is not None and task_open(agent.task, tx.now)
        event = TaskEvent.CANCEL if running else TaskEvent.TIME_OUT
        close(tx, row, event, "The agent that it worked for has ended.", state=state)


def descendants(tx: Tx, agent_id: str) -> list[str]:
    """The agents that work for this one, and for those, whatever has become of them."""
    c = t.agents.c
    below = sa.select(c.id).where(c.parent_id == agent_id).cte("below", recursive=True)
    deeper = sa.select(c.id).join(below, c.parent_id == below.c.id)
    return [row["id"] for row in tx.all(sa.select(below.union(deeper).c.id))]
