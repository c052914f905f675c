"""Apply what time does to workspaces: warnings, stops, deletions.

The pure core says what is due (`core.lifecycle.transition`); this service gives it the facts,
writes its answer, and stores when to look again. It takes no input besides the workspace: it reads
what is, so running it twice, late, or on two replicas comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from charter.adapters.workspaces.port import Observation, SandboxState
from charter.core.agents.elevation import tier_until
from charter.core.agents.tasks import TaskState
from charter.core.agents.tiers import Tier
from charter.core.approvals.grants import Grant, run_ends_at
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
from charter.services.subjects import elevations_of
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
        approved_until=approved_until(tx, row),
    )


def approved_until(tx: Tx, row: Row) -> datetime | None:
    """When the approvals end by which this workspace runs; None when it runs by none that ends."""
    ends = [] if row["approved_digest"] is None else [run_ends_at(_grants_behind(tx, row))]
    if row["tier"] not in (None, Tier.READ_ONLY):  # the narrowest is wider than no agent
        ends.append(_elevated_until(tx, row))
    return min((end for end in ends if end is not None), default=None)


def _elevated_until(tx: Tx, row: Row) -> datetime | None:
    """When an agent's workspace becomes wider than the agent; None for one of its own tier."""
    agent = tx.one(sa.select(t.agents.c.tier).where(t.agents.c.id == row["agent_id"]))
    if agent is None or Tier(row["tier"]).rank <= Tier(agent["tier"]).rank:
        return None
    # What nothing gives any more has been too wide for as long as it runs.
    given = tier_until(elevations_of(tx, row["agent_id"]), Tier(row["tier"]))
    return given or row["started_at"]


def _grants_behind(tx: Tx, row: Row) -> Iterator[Grant]:
    """What was granted to the owner for exactly this workspace, with the rules that have an end.

    Rules whose yes was good for the one request alone are left out, and where one of them makes a
    grant used up at once, each other rule ends after its own span.
    """
    c, a = t.grants.c, t.approvals.c
    for found in tx.all(
        sa.select(t.grants, a.requirements)
        .join(t.approvals, a.id == c.approval_id)
        .where(c.subject_id == row["owner_id"], c.resource_digest == row["approved_digest"])
        .order_by(c.id)
    ):
        spans = {r["rule"]: r["grant_seconds"] for r in found["requirements"]}
        lasting = {rule: seconds for rule, seconds in spans.items() if seconds is not None}
        used_up = len(lasting) < len(spans)
        for rule, seconds in lasting.items():
            own_end = found["created_at"] + timedelta(seconds=seconds)
            yield Grant(
                id=found["id"],
                request_id=found["approval_id"],
                subject_id=found["subject_id"],
                action=found["action"],
                resource_digest=found["resource_digest"],
                rules=frozenset({rule}),
                granted_at=found["created_at"],
                expires_at=own_end if used_up else found["expires_at"],
                revoked_at=None if used_up else found["revoked_at"],
            )


def recheck_granted(tx: Tx, subject_id: str) -> None:
    """Look anew at what somebody runs by approvals: one of them has ended before its time."""
    c = t.workspaces.c
    tx.update(
        t.workspaces,
        c.owner_id == subject_id,
        c.deleted_at.is_(None),
        sa.or_(c.approved_digest.is_not(None), c.agent_id.is_not(None)),
        next_check_at=tx.now,
    )
    tx.wake = True


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
