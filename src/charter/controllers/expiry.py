"""Writes down what has run out: approvals past their deadline, tasks past theirs.

Nothing waits for this: every reader computes expiry from the clock. The sweep closes the books,
tells people, ends what hangs on a task, and reminds approvers of what still waits for them, once in
each span that the policy sets (`data/approvals.json`, `reminder_seconds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.agents.tasks import TaskEvent, TaskState
from charter.core.approvals.request import outstanding
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.services import agent_records
from charter.services.approval_requests import approvers, load_all, notify
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_AT_ONCE: Final = 200
_REMINDED_AT_ONCE: Final = 2000
SWEEPER: Final = ActorRef("system", "expiry")


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Close some of what has run out, or remind of some of what waits."""
    with rt.database.unit_of_work() as tx:
        return _approvals(tx) or _task(tx) or _remind(rt, tx)


def _approvals(tx: Tx) -> Mapping[str, Any] | None:
    c = t.approvals.c
    rows = tx.all(
        sa.select(t.approvals)
        .where(c.state == "pending", c.deadline <= tx.now)
        .order_by(c.deadline)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    if not rows:
        return None
    tx.update(
        t.approvals,
        c.id.in_([row["id"] for row in rows]),
        state="expired",
        closed_at=c.deadline,
    )
    for row in rows:
        notify(
            tx,
            row["sponsor_id"],
            "approval-settled",
            f"Nobody decided in time: {row['summary']}. Ask again if it is still needed.",
            resource=("approval", row["id"]),
            dedupe_key=f"expired:{row['id']}",
        )
    tx.audit(*(_event(tx, "approval.expired", "approval", row["id"]) for row in rows))
    return {"expired": "approvals", "count": len(rows)}


def _remind(rt: Runtime, tx: Tx) -> Mapping[str, Any] | None:
    """Tell approvers again of what they were told a while ago: one notice for each person."""
    c = t.approvals.c
    ids = [
        row["id"]
        for row in tx.all(
            sa.select(c.id)
            .where(c.state == "pending", c.remind_at <= tx.now, c.deadline > tx.now)
            .order_by(c.remind_at)
            .limit(_REMINDED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
    ]
    if not ids:
        return None
    waiting: dict[str, list[Row]] = {}
    holders: dict[tuple[Any, ...], list[str]] = {}
    for row, request in load_all(tx, ids):
        roles = frozenset(
            role for needed, _ in outstanding(request, tx.now) for role in needed.roles
        )
        place = (row["team_id"], row["project_id"])
        key = (roles, *place, row["sponsor_id"])
        if key not in holders:
            holders[key] = approvers(tx, roles, *place, but=row["sponsor_id"])
        heard = {vote.approver_id for vote in request.votes}
        for person in holders[key]:
            if person not in heard:
                waiting.setdefault(person, []).append(row)
    for person, rows in waiting.items():
        first = min(rows, key=lambda row: row["deadline"])
        ends = f"{first['deadline']:%Y-%m-%d %H:%M} UTC"
        notify(
            tx,
            person,
            "approval",
            f"An approval still waits for you, until {ends}: {first['summary']}."
            if len(rows) == 1
            else f"{len(rows)} approvals still wait for you, the first of them until {ends}:"
            f" {first['summary']}.",
            resource=("approval", first["id"]),
        )
    again = timedelta(seconds=rt.policy.active(tx).data.approvals.reminder_seconds)
    tx.update(t.approvals, c.id.in_(ids), remind_at=tx.now + again)
    return {"reminded": "approvals", "count": len(ids)}


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
    tx.audit(_event(tx, "agent.timed-out", "agent", row["id"]))
    return {"expired": "task", "id": row["id"]}


def _event(tx: Tx, action: str, kind: str, id_: str) -> AuditEvent:
    return AuditEvent(
        id=tx.new_id("event"),
        at=tx.now,
        actor=SWEEPER,
        action=action,
        resource_kind=kind,
        resource_id=id_,
        outcome=Outcome.DONE,
    )
