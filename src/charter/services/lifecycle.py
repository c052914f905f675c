"""Apply what time does to workspaces: warnings, stops, deletions.

The pure core says what is due (`core.lifecycle.transition`); this service gives it the facts,
writes its answer, and stores when to look again. It takes no input besides the workspace: it reads
what is, so running it twice, late, or on two replicas comes to the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from charter.adapters.workspaces.port import Observation, SandboxState
from charter.core.agents.tasks import TaskState
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.canonical import rfc3339
from charter.core.lifecycle.states import Desired, WorkspaceState
from charter.core.lifecycle.transition import (
    LifecycleFacts,
    Transition,
    TransitionKind,
    next_transition,
)
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

SYSTEM: Final = ActorRef("system", "lifecycle")


def facts_of_workspace(rt: Runtime, tx: Tx, row: Row) -> LifecycleFacts:
    """The workspace as the lifecycle rules see it, with the limits of the active policy."""
    data = rt.policy.active(tx).data
    task = None
    if row["task_id"] is not None:
        task = tx.one(
            sa.select(t.tasks.c.state, t.tasks.c.deadline, t.agents.c.state.label("agent_state"))
            .join(t.agents, t.agents.c.id == t.tasks.c.agent_id)
            .where(t.tasks.c.id == row["task_id"])
        )
    return LifecycleFacts(
        workspace_id=row["id"],
        owner_kind=row["owner_kind"],
        desired=Desired(row["desired"]),
        observed=WorkspaceState(row["observed"]),
        limits=data.lifecycle[row["owner_kind"]],
        started_at=row["started_at"],
        last_activity_at=row["last_activity_at"],
        warned_for=row["warned_for"],
        extended_until=row["extended_until"],
        extensions_used=row["extensions"],
        stopped_at=row["stopped_at"],
        task_open=None if task is None else task["state"] == TaskState.OPEN,
        task_deadline=None if task is None else task["deadline"],
        # What a killed agent leaves behind is evidence: it is stopped, never cleaned up.
        legal_hold=task is not None and task["agent_state"] == "killed",
    )


def note_activity(tx: Tx, row: Row, seen: Observation) -> datetime | None:
    """Take over what the provider saw of use; returns the activity time that now counts.

    Only commands count. Looking at a workspace is not use, and a program that burns CPU for
    nobody must not keep itself alive.
    """
    usage = seen.usage
    latest: datetime | None = row["last_activity_at"]
    if seen.state is not SandboxState.RUNNING or usage is None:
        return latest
    found = tx.now if usage.running_commands > 0 else usage.last_command_at
    if found is None or (latest is not None and found <= latest):
        return latest
    tx.update(
        t.workspaces,
        t.workspaces.c.id == row["id"],
        last_activity_at=found,
        last_activity_signal="command",
    )
    return found


def check(rt: Runtime, tx: Tx, row: Row) -> Transition:
    """Do what is due for this (locked) workspace and store when to look again."""
    facts = facts_of_workspace(rt, tx, row)
    transition = next_transition(facts, tx.now)
    match transition.kind:
        case TransitionKind.WARN:
            _warn(tx, row, transition)
        case TransitionKind.STOP:
            _end(tx, row, transition, Desired.STOPPED)
            return transition
        case TransitionKind.DELETE:
            _end(tx, row, transition, Desired.DELETED)
            return transition
        case TransitionKind.NONE:
            pass
    tx.update(t.workspaces, t.workspaces.c.id == row["id"], next_check_at=transition.next_check_at)
    return transition


def _warn(tx: Tx, row: Row, transition: Transition) -> None:
    if transition.deadline is None:
        raise AssertionError("a warning announces a deadline")
    tx.update(t.workspaces, t.workspaces.c.id == row["id"], warned_for=transition.deadline)
    tx.insert_new(
        t.notices,
        id=tx.new_id("notice"),
        person_id=row["sponsor_id"],
        kind="lifecycle-warning",
        message=f"{row['name']}: {transition.message} "
        f"Keep it: charter workspace extend {row['name']}.",
        resource_kind="workspace",
        resource_id=row["id"],
        dedupe_key=f"warn:{row['id']}:{rfc3339(transition.deadline)}",
        created_at=tx.now,
    )
    _record(tx, row, "workspace.warned", transition)


def _end(tx: Tx, row: Row, transition: Transition, desired: Desired) -> None:
    generation = int(row["generation"]) + 1
    tx.update(
        t.workspaces,
        t.workspaces.c.id == row["id"],
        desired=desired.value,
        generation=generation,
        state_reason=transition.message,
        stopped_by="policy",
        next_check_at=transition.next_check_at,
    )
    tx.effect("converge", row["id"], generation)
    tx.insert_new(
        t.notices,
        id=tx.new_id("notice"),
        person_id=row["sponsor_id"],
        kind="lifecycle-end",
        message=f"{row['name']}: {transition.message}",
        resource_kind="workspace",
        resource_id=row["id"],
        dedupe_key=f"end:{row['id']}:{generation}",
        created_at=tx.now,
    )
    verb = "stopped" if desired is Desired.STOPPED else "deleted"
    _record(tx, row, f"workspace.{verb}", transition)


def _record(tx: Tx, row: Row, action: str, transition: Transition) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=SYSTEM,
            action=action,
            resource_kind="workspace",
            resource_id=row["id"],
            outcome=Outcome.DONE,
            reason_codes=(f"lifecycle/{transition.reason_code}",),
        )
    )


def recheck_all(tx: Tx) -> None:
    """Look at every live workspace anew: the limits may have changed."""
    tx.update(
        t.workspaces,
        t.workspaces.c.deleted_at.is_(None),
        t.workspaces.c.desired == Desired.RUNNING.value,
        next_check_at=tx.now,
    )


def recheck_agent(tx: Tx, agent_id: str, after: timedelta = timedelta(0)) -> None:
    """Look at the agent's workspaces anew: its task has ended or moved."""
    tx.update(
        t.workspaces,
        t.workspaces.c.agent_id == agent_id,
        t.workspaces.c.deleted_at.is_(None),
        next_check_at=tx.now + after,
    )
    tx.wake = True
