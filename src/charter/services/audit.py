"""The audit trail for those who may look: search, state, proofs, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.audit.event import Outcome
from charter.core.kernel.errors import ForbiddenError
from charter.services import audit_sealing, lookup, paging
from charter.services.access import missing, note, require
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_LONGEST_INDEX: Final = 18  # digits; more would not fit the column


def _check_may_view(tx: Tx, caller: Caller) -> None:
    if not reach_set(caller.subject, Permission.AUDIT_VIEW, tx.now).everything:
        raise ForbiddenError(
            "The audit trail is open to security admins and platform admins.",
            fix="Ask one of them, or look at your own decisions: charter decision list.",
            code="denied",
        )


def _view(tx: Tx, index: int | None, leaf: bytes, private: str | None) -> dict[str, Any]:
    event = json.loads(leaf)
    actor = event["actor"]
    name = actor["id"]
    if actor["kind"] in {"human", "agent", "system"}:
        name = lookup.subject_name(tx, actor["id"])
    return {
        "index": index,
        "id": event["id"],
        "at": event["at"],
        "actor_kind": actor["kind"],
        "actor_id": actor["id"],
        "actor": name,
        "action": event["action"],
        "resource_kind": event["resource"]["kind"],
        "resource_id": event["resource"]["id"],
        "outcome": event["outcome"],
        "decision_id": event["decision_id"],
        "reason_codes": event["reason_codes"],
        "facts": event["facts"],
        "private": None if private is None else json.loads(private),
    }


def events_page(
    rt: Runtime,
    caller: Caller,
    *,
    actor: str | None = None,
    action: str | None = None,
    resource: str | None = None,
    outcome: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Sealed events, newest first. Actor and resource are found by id."""
    limit = paging.checked_limit(limit)
    with rt.database.reading() as tx:
        _check_may_view(tx, caller)
        c = t.audit_log.c
        query = sa.select(c.index, c.leaf, t.audit_private.c.payload).join(
            t.audit_private, t.audit_private.c.event_id == c.event_id, isouter=True
        )
        for column, value in ((c.actor, actor), (c.resource, resource)):
            if value is not None:
                query = query.where(column == value)
        if action is not None:
            query = query.where(c.action.startswith(action, autoescape=True))
        if outcome is not None:
            query = query.where(c.outcome == outcome)
        if cursor is not None:
            known = cursor.isdecimal() and len(cursor) <= _LONGEST_INDEX
            query = query.where(c.index < (int(cursor) if known else 0))
        rows: list[Row] = list(tx.all(query.order_by(c.index.desc()).limit(limit + 1)))
        items = [_view(tx, r["index"], bytes(r["leaf"]), r["payload"]) for r in rows[:limit]]
        more = str(items[-1]["index"]) if len(rows) > limit else None
        return {"items": items, "next": more}


def state(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """How far the trail is sealed."""
    with rt.database.reading() as tx:
        _check_may_view(tx, caller)
        return _state(rt, tx)


def _state(rt: Runtime, tx: Tx) -> dict[str, Any]:
    status = audit_sealing.status(tx.conn)
    return {
        "size": status.size,
        "pending": status.lag,
        "root": status.root.hex() if status.note is not None else None,
        "checkpoint": status.note,
        "sealed_at": status.at,
        "verifier_key": audit_sealing.verifier_key(rt.keys.audit).text(),
    }


def state_if_visible(rt: Runtime, tx: Tx, caller: Caller) -> dict[str, Any] | None:
    """The state for those who may see it, None for the others."""
    if not reach_set(caller.subject, Permission.AUDIT_VIEW, tx.now).everything:
        return None
    return _state(rt, tx)


def proof(rt: Runtime, caller: Caller, event_id: str) -> str:
    """The inclusion proof of one event, as a text file that verifies offline."""
    with rt.database.reading() as tx:
        _check_may_view(tx, caller)
        row = tx.one(sa.select(t.audit_log.c.index).where(t.audit_log.c.event_id == event_id))
        if row is None:
            raise missing("audit event")
        return audit_sealing.proof(tx.conn, row["index"])


def export_to(rt: Runtime, caller: Caller, path: Path) -> audit_sealing.ExportSummary:
    """Write the whole sealed trail to `path` (a folder, or a `.zip`), for an offline verifier."""
    require(rt, caller, Permission.AUDIT_EXPORT, ResourceRef("audit"))
    seal_now(rt)
    with rt.database.reading() as tx:
        key = audit_sealing.verifier_key(rt.keys.audit)
        summary = audit_sealing.export(tx.conn, path, key)
    with rt.database.unit_of_work() as tx:
        note(
            tx,
            caller,
            "audit.exported",
            "audit",
            "trail",
            outcome=Outcome.DONE,
            facts={"first": summary.first, "size": summary.size},
        )
    return summary


def seal_now(rt: Runtime) -> audit_sealing.SealStatus:
    """Seal everything that is committed by now."""
    while True:
        with rt.database.unit_of_work() as tx:
            status = audit_sealing.seal(tx.conn, rt.keys.audit, now=tx.now, wait=True)
        if not status.lag:
            return status
