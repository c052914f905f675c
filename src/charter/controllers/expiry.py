"""Writes down what has run out: approvals past their deadline, tasks past theirs.

Nothing waits for this: every reader computes expiry from the clock. The sweep closes the books,
tells people, and ends what hangs on a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from charter.core.agents.tasks import TaskEvent, TaskState
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.services import agent_records
from charter.services.approval_requests import notify
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

SWEEPER: Final = ActorRef("system", "expiry")


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Close one thing that has run out."""
    with rt.database.unit_of_work() as tx:
        return _approval(tx) or _task(tx)


def _approval(tx: Tx) -> Mapping[str, Any] | None:
    c = t.approvals.c
    row = tx.one(
        sa.select(t.approvals)
        .where(c.state == "pending", c.deadline <= tx.now)
        .order_by(c.deadline)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if row is None:
        return None
    tx.update(t.approvals, c.id == row["id"], state="expired", closed_at=row["deadline"])
    notify(
        tx,
        row["sponsor_id"],
        "approval-settled",
        f"Nobody decided in time: {row['summary']}. Ask again if it is still needed.",
        resource=("approval", row["id"]),
        dedupe_key=f"expired:{row['id']}",
    )
    _record(tx, "approval.expired", "approval", row["id"])
    return {"expired": "approval", "id": row["id"]}


def _task(tx: Tx) -> Mapping[str, Any] | None:
    c = t.tasks.c
    row = tx.one(
        sa.select(t.agents.c.id)
        .join(t.tasks, c.agent_id == t.agents.c.id)
        .where(c.state == TaskState.OPEN.value, c.deadline <= tx.now)
        .order_by(c.deadline)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if row is None:
        return None
    agent_records.close(
        tx,
        agent_records.row_of(tx, row["id"]),
        TaskEvent.TIME_OUT,
        "The task's deadline passed.",
        state="ended",
    )
    _record(tx, "agent.timed-out", "agent", row["id"])
    return {"expired": "task", "id": row["id"]}


def _record(tx: Tx, action: str, kind: str, id_: str) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=SWEEPER,
            action=action,
            resource_kind=kind,
            resource_id=id_,
            outcome=Outcome.DONE,
        )
    )
