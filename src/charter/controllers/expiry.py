"""Writes down what has run out: approvals past their deadline, tasks past theirs.

Nothing waits for this: every reader computes expiry and escalation from the clock. The sweep closes
the books, tells people (further approvers, once a request has come to them; holders of grants that
end soon), ends what hangs on a task, and reminds approvers of what still waits for them, once in
each span that the policy sets (`data/approvals.json`, `reminder_seconds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.agents.tasks import TaskEvent, TaskState
from charter.core.approvals.request import ApprovalRequest, course
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.services import agent_records, attempts
from charter.services.approval_entitlement import approvers, call_off
from charter.services.approval_requests import load_all, notice, notify, tell_addressed
from charter.services.approval_rows import left_at, nobody_left
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_AT_ONCE: Final = 200
_REMINDED_AT_ONCE: Final = 2000
_SOON: Final = timedelta(days=1)  # before its end, the holder of a longer grant is told
SWEEPER: Final = ActorRef("system", "expiry")


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Close some of what has run out, or remind of some of what waits."""
    with rt.database.unit_of_work() as tx:
        return (
            _approvals(tx)
            or _left(tx)
            or _escalate(tx)
            or _task(tx)
            or _remind(rt, tx)
            or _warn(tx)
            or _forget(tx)
        )


def _forget(tx: Tx) -> Mapping[str, Any] | None:
    """Drop counts of failed attempts that mean nothing any more."""
    count = attempts.forget(tx, _AT_ONCE)
    return {"forgot": "attempts", "count": count} if count else None


def _approvals(tx: Tx) -> Mapping[str, Any] | None:
    c = t.approvals.c
    rows = tx.all(
        sa.select(t.approvals)
        .where(c.state == "pending", c.deadline <= tx.now, nobody_left(c.deadline))
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
    told = [
        notice(
            tx,
            row["sponsor_id"],
            "approval-settled",
            f"Nobody decided in time: {row['summary']}. Ask again if it is still needed.",
            ("approval", row["id"]),
            f"expired:{row['id']}",
        )
        for row in rows
    ]
    tx.insert_all_new(t.notices, told)
    call_off(tx, [row["id"] for row in rows])
    tx.audit(*(_event(tx, "approval.expired", "approval", row["id"]) for row in rows))
    return {"expired": "approvals", "count": len(rows)}


def _left(tx: Tx) -> Mapping[str, Any] | None:
    """Close what was asked for by somebody who is there no more."""
    c = t.approvals.c
    gone = tx.all(
        sa.select(t.approvals, left_at())
        .where(c.state == "pending", sa.not_(nobody_left(tx.now)))
        .order_by(c.deadline)
        .limit(_AT_ONCE)
        .with_for_update(of=t.approvals, skip_locked=True)
    )
    for each in gone:
        tx.update(
            t.approvals,
            c.id == each["id"],
            state="cancelled",
            closed_at=each["left_at"],
            outcome="Whoever asked for it has left.",
        )
    if not gone:
        return None
    call_off(tx, [row["id"] for row in gone])
    tx.audit(*(_event(tx, "approval.cancelled", "approval", row["id"]) for row in gone))
    return {"cancelled": "approvals", "count": len(gone)}


def _escalate(tx: Tx) -> Mapping[str, Any] | None:
    """Tell those to whom a request has come because nobody answered it in time."""
    c, a = t.approvals.c, t.approval_addressees.c
    due = tx.all(
        sa.select(a.approval_id, a.addressee)
        .join(t.approvals, c.id == a.approval_id)
        .where(a.told_at.is_(None), a.since <= tx.now, c.state == "pending", c.deadline > tx.now)
        .order_by(a.since)
        .limit(_AT_ONCE)
        .with_for_update(of=t.approvals, skip_locked=True)
    )
    words: dict[str, set[str]] = {}
    for put in due:
        words.setdefault(put["approval_id"], set()).add(put["addressee"])
    if not words:
        return None
    for row, request in load_all(tx, list(words)):
        why = "Nobody has answered in time, so an approval comes to you"
        tell_addressed(tx, row, request, frozenset(words[row["id"]]), why=why)
        notify(
            tx,
            row["sponsor_id"],
            "approval-escalated",
            f"Nobody has answered yet, so others were asked as well: {row['summary']}.",
            resource=("approval", row["id"]),
        )
    tx.update(t.approvals, c.id.in_(words), escalated_at=tx.now)
    tx.update(
        t.approval_addressees,
        a.approval_id.in_(words),
        a.told_at.is_(None),
        a.since <= tx.now,
        told_at=tx.now,
    )
    tx.audit(*(_event(tx, "approval.escalated", "approval", id_) for id_ in sorted(words)))
    return {"escalated": "approvals", "count": len(words)}


def _warn(tx: Tx) -> Mapping[str, Any] | None:
    """Tell people of grants of theirs that end soon, while they can still renew them."""
    c = t.grants.c
    life = c.expires_at - c.created_at
    rows = tx.all(
        sa.select(t.grants, t.approvals.c.summary, t.approvals.c.sponsor_id)
        .join(t.approvals, t.approvals.c.id == c.approval_id)
        .where(
            c.warned_at.is_(None),
            c.revoked_at.is_(None),
            c.expires_at > tx.now,
            c.expires_at <= tx.now + _SOON,
            life > _SOON,
        )
        .order_by(c.expires_at)
        .limit(_AT_ONCE)
        .with_for_update(of=t.grants, skip_locked=True)
    )
    for row in rows:
        notify(
            tx,
            row["sponsor_id"],
            "grant-ends",
            f"A grant of yours ends at {row['expires_at']:%Y-%m-%d %H:%M} UTC: {row['summary']}."
            " Renew it before, if it is still needed.",
            resource=("grant", row["id"]),
        )
    if not rows:
        return None
    tx.update(t.grants, c.id.in_([row["id"] for row in rows]), warned_at=tx.now)
    return {"warned": "grants", "count": len(rows)}


def _remind(rt: Runtime, tx: Tx) -> Mapping[str, Any] | None:
    """Tell approvers again of what they were told a while ago: one notice for each person."""
    c = t.approvals.c
    ids = [
        row["id"]
        for row in tx.all(
            sa.select(c.id)
            .where(
                c.state == "pending",
                c.remind_at <= tx.now,
                c.deadline > tx.now,
                nobody_left(tx.now),
            )
            .order_by(c.remind_at)
            .limit(_REMINDED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
    ]
    if not ids:
        return None
    waiting: dict[str, list[Row]] = {}
    holders: dict[tuple[Any, ...], list[str]] = {}
    settings = rt.policy.active(tx).data.approvals
    again: dict[int, list[str]] = {}
    for row, request in load_all(tx, ids):
        roles = asked_of(request, tx)
        again.setdefault(settings.reminder_of(r.rule for r in request.requirements), []).append(
            row["id"]
        )
        place = (row["team_id"], row["project_id"])
        key = (roles, *place, row["sponsor_id"])
        if key not in holders:
            holders[key] = approvers(tx, roles, *place, but=row["sponsor_id"])
        heard = {who for vote in request.votes for who in (vote.approver_id, vote.counts_as)}
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
    for seconds, same in again.items():
        tx.update(
            t.approvals,
            c.id.in_(same),
            remind_at=tx.now + timedelta(seconds=seconds),
            reminders=c.reminders + 1,
        )
    return {"reminded": "approvals", "count": len(ids)}


def asked_of(request: ApprovalRequest, tx: Tx) -> frozenset[str]:
    """Who is asked now by what still lacks answers."""
    standings = course(request, tx.now).standings
    return frozenset().union(*(s.asked for s in standings if s.people_missing))


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
