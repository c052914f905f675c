"""Being away: who answers in somebody's stead, from when until when.

What a delegate may do is decided at each vote (`approval_entitlement`); here the naming is written
down, and taken back. Policy's limits and the roles that it keeps apart are kept with the naming.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.resource import ResourceRef
from charter.core.approvals.delegation import Absence, lent, why_not_named
from charter.core.kernel.errors import ConflictError, ForbiddenError, InvalidInputError
from charter.services import lookup
from charter.services.access import carry_out, missing, note, simple
from charter.services.approval_entitlement import as_absence
from charter.services.approval_requests import notify
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_human
from charter.services.tokens import own_account
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_ONE_AT_A_TIME: Final = 4_172_301  # an advisory lock: two namings at once could close a circle
_MOST_SHOWN: Final = 200


def list_mine(rt: Runtime, caller: Caller, *, past: bool = False) -> list[dict[str, Any]]:
    """Absences of the caller, and those in which they answer for somebody; with `past` all."""
    with rt.database.reading() as tx:
        c = t.absences.c
        query = sa.select(t.absences).where(
            sa.or_(c.person_id == caller.id, c.delegate_id == caller.id)
        )
        if not past:
            query = query.where(c.revoked_at.is_(None), c.ends_at > tx.now)
        rows = tx.all(query.order_by(c.starts_at.desc(), c.id.desc()).limit(_MOST_SHOWN))
        return [_view(tx, caller, row) for row in rows]


def _view(tx: Tx, caller: Caller, row: Row) -> dict[str, Any]:
    names = lookup.subject_names(tx, {row["person_id"], row["delegate_id"]})
    if row["revoked_at"] is not None:
        state = "ended"
    elif row["ends_at"] <= tx.now:
        state = "over"
    else:
        state = "now" if row["starts_at"] <= tx.now else "planned"
    return {
        **{name: row[name] for name in _SHOWN},
        "person": names.get(row["person_id"], row["person_id"]),
        "delegate": names.get(row["delegate_id"], row["delegate_id"]),
        "state": state,
        "mine": row["person_id"] == caller.person.id,
    }


_SHOWN: Final = (
    "id",
    "person_id",
    "delegate_id",
    "starts_at",
    "ends_at",
    "reason",
    "created_at",
    "revoked_at",
)


def get_zone(rt: Runtime, caller: Caller) -> ZoneInfo:
    """The caller's time zone, in which their days begin and end."""
    with rt.database.reading() as tx:
        row = lookup.person(tx, caller.person.id)
        return ZoneInfo(row["time_zone"])


def enter(
    rt: Runtime,
    caller: Caller,
    *,
    delegate: str,
    ends_at: datetime,
    starts_at: datetime | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """Name who votes in the caller's stead until `ends_at`, from `starts_at` or now on."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        tx.conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
        data = rt.policy.active(tx).data
        other = lookup.person(tx, delegate)
        wanted = Absence(
            id=tx.new_id("absence"),
            person_id=caller.id,
            delegate_id=other["id"],
            starts_at=max(starts_at or tx.now, tx.now),
            ends_at=ends_at,
            max_depth=data.approvals.delegation.max_depth,
        )
        others = [as_absence(row) for row in _ahead(tx)]
        refusal = why_not_named(wanted, others, tx.now, data.approvals.delegation)
        if refusal is not None:
            raise refusal
        _check_delegate(tx, caller, other["id"], data.role_conflicts)
        tx.insert(
            t.absences,
            id=wanted.id,
            person_id=wanted.person_id,
            delegate_id=wanted.delegate_id,
            starts_at=wanted.starts_at,
            ends_at=wanted.ends_at,
            reason=reason,
            max_depth=wanted.max_depth,
            kept_apart=[sorted(conflict.roles) for conflict in data.role_conflicts],
            created_at=tx.now,
        )
        note(
            tx,
            caller,
            "absence.entered",
            "absence",
            wanted.id,
            decision_id=answer.id,
            facts={"delegate": wanted.delegate_id},
            private=None if not reason else {"reason": reason},
        )
        notify(
            tx,
            wanted.delegate_id,
            "absence",
            f"You answer approvals for {caller.person.handle} from"
            f" {wanted.starts_at:%Y-%m-%d %H:%M} until {wanted.ends_at:%Y-%m-%d %H:%M} UTC.",
            resource=("absence", wanted.id),
        )
        return _view(tx, caller, _row(tx, wanted.id))

    return carry_out(
        rt,
        lambda tx: simple(
            caller, Permission.ABSENCE_MANAGE, own_account(caller, "absence", tx.now)
        ),
        act,
    )


def _check_delegate(tx: Tx, caller: Caller, delegate_id: str, listed: Any) -> None:
    """Raise when this person could not answer anything in the caller's stead."""
    chosen = load_human(tx, delegate_id)
    if chosen is None or not chosen.active or not any(b.live(tx.now) for b in chosen.bindings):
        raise InvalidInputError(
            "Whoever stands in for somebody is here and holds a role.",
            fix="Name somebody who is active.",
            code="delegate-not-able",
        )
    person = caller.person
    held = [b for b in person.bindings if b.live(tx.now) and b.break_glass is None]
    if held and not lent(held, chosen, tx.now, listed):
        raise ForbiddenError(
            f"None of your roles may meet with those of {chosen.handle}, so nothing could be lent.",
            fix="Name somebody whose roles do not conflict with yours (separation of duties).",
            code="delegate-conflicts",
        )


def _ahead(tx: Tx) -> Any:
    """All absences that have not ended."""
    c = t.absences.c
    return tx.all(sa.select(t.absences).where(c.revoked_at.is_(None), c.ends_at > tx.now))


def _row(tx: Tx, absence_id: str) -> Row:
    row = tx.one(sa.select(t.absences).where(t.absences.c.id == absence_id).with_for_update())
    if row is None:
        raise missing("absence")
    return row


def end(rt: Runtime, caller: Caller, absence_id: str) -> dict[str, Any]:
    """End it now: the one who is back, or the delegate who would rather not."""

    def resource(tx: Tx) -> ResourceRef:
        row = _row(tx, absence_id)
        return replace(
            own_account(caller, "absence", tx.now),
            id=row["id"],
            owner_id=row["person_id"],
            requester_id=row["delegate_id"],
        )

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = _row(tx, absence_id)
        if row["revoked_at"] is not None or row["ends_at"] <= tx.now:
            raise ConflictError(
                "It has ended already.", fix="Nothing is left to end.", code="absence-ended"
            )
        tx.update(
            t.absences, t.absences.c.id == absence_id, revoked_at=tx.now, revoked_by=caller.id
        )
        note(tx, caller, "absence.ended", "absence", absence_id, decision_id=answer.id)
        other = row["delegate_id"] if caller.id == row["person_id"] else row["person_id"]
        notify(
            tx,
            other,
            "absence",
            f"{caller.person.handle} ended the standing in: votes are each one's own again.",
            resource=("absence", absence_id),
        )
        return _view(tx, caller, _row(tx, absence_id))

    return carry_out(rt, lambda tx: simple(caller, Permission.ABSENCE_MANAGE, resource(tx)), act)
