"""Emergencies as rows: show them, tell of them, and write down what time has ended.

Nothing waits for the sweep: the end of an emergency and its overdue review are computed whenever
they are looked at. It closes the books and tells people.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.break_glass import Emergency, over_at, review_state, state_of
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.services import lookup
from charter.services.access import missing
from charter.services.approval_requests import notify
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

NOUN: Final = "break-glass"
_CLOCK: Final = ActorRef("system", "break-glass")
_AT_ONCE: Final = 50


def as_emergency(row: Row) -> Emergency:
    """The core's view of a stored emergency."""
    return Emergency(
        id=row["id"],
        person_id=row["person_id"],
        started_at=row["started_at"],
        expires_at=row["expires_at"],
        review_due_at=row["review_due_at"],
        ended_at=row["ended_at"],
        reviewed_at=row["reviewed_at"],
    )


_SHOWN: Final = (
    "id",
    "person_id",
    "role",
    "reason",
    "started_at",
    "expires_at",
    "ended_at",
    "review_due_at",
    "reviewed_at",
    "outcome",
    "findings",
)


def views(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Emergencies for faces, with names and where each stands."""
    people = {row["person_id"] for row in rows} | {row["reviewer_id"] for row in rows}
    names = lookup.subject_names(tx, {person for person in people if person is not None})
    return [
        {
            **{name: row[name] for name in _SHOWN},
            "person": names.get(row["person_id"], row["person_id"]),
            "reviewer": names.get(row["reviewer_id"]),
            "state": state_of(as_emergency(row), tx.now).value,
            "over_at": over_at(as_emergency(row)),
            "review": review_state(as_emergency(row), tx.now).value,
        }
        for row in rows
    ]


def row_of(tx: Tx, emergency_id: str, *, lock: bool = False) -> Row:
    """The row of an emergency that exists."""
    query = sa.select(t.break_glass).where(t.break_glass.c.id == emergency_id)
    row = tx.one(query.with_for_update() if lock else query)
    if row is None:
        raise missing(NOUN)
    return row


def tell(tx: Tx, roles: Iterable[str], message: str, emergency_id: str, key: str = "") -> None:
    """A notice for everybody who holds one of these roles anywhere."""
    b = t.role_bindings.c
    holders = tx.all(
        sa.select(b.person_id)
        .distinct()
        .join(t.people, t.people.c.id == b.person_id)
        .where(
            b.role.in_(list(roles)),
            b.revoked_at.is_(None),
            b.break_glass_id.is_(None),
            sa.or_(b.expires_at.is_(None), b.expires_at > tx.now),
            t.people.c.deactivated_at.is_(None),
        )
        .order_by(b.person_id)
    )
    for holder in holders:
        notify(
            tx,
            holder["person_id"],
            NOUN,
            message,
            resource=(NOUN, emergency_id),
            dedupe_key=f"{key}:{emergency_id}" if key else None,
        )


def tell_over(tx: Tx, reviewers: Iterable[str], row: Row) -> None:
    """Tell reviewers that an emergency is over and waits for them."""
    who = lookup.subject_name(tx, row["person_id"])
    due = f"{row['review_due_at']:%Y-%m-%d %H:%M} UTC"
    tell(
        tx,
        reviewers,
        f"The emergency of {who} is over. Review it until {due}: charter break-glass reviews.",
        row["id"],
        key="break-glass-over",
    )


def close_expired(tx: Tx, *where: sa.ColumnElement[bool]) -> list[Row]:
    """Write down that emergencies have run out; answers those that had."""
    c, b = t.break_glass.c, t.role_bindings.c
    rows = tx.all(
        sa.select(t.break_glass)
        .where(c.ended_at.is_(None), c.expires_at <= tx.now, *where)
        .order_by(c.id)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    for row in rows:
        tx.update(t.break_glass, c.id == row["id"], ended_at=c.expires_at, ended_by="expiry")
        tx.update(
            t.role_bindings,
            b.break_glass_id == row["id"],
            b.revoked_at.is_(None),
            revoked_at=b.expires_at,
        )
        _event(tx, "break-glass.expired", row["id"])
    return list(rows)


def _event(tx: Tx, action: str, emergency_id: str) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=_CLOCK,
            action=action,
            resource_kind=NOUN,
            resource_id=emergency_id,
            outcome=Outcome.DONE,
        )
    )


def sweep(rt: Runtime, tx: Tx) -> int:
    """Close what has run out, and tell of reviews that are due or overdue; how many."""
    limits = rt.policy.active(tx).data.elevation.break_glass
    closed = close_expired(tx)
    for row in closed:
        tell_over(tx, limits.reviewers, row)
    c = t.break_glass.c
    overdue = tx.all(
        sa.select(t.break_glass)
        .where(c.reviewed_at.is_(None), c.told_at.is_(None), c.review_due_at <= tx.now)
        .order_by(c.review_due_at)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    for row in overdue:
        who = lookup.subject_name(tx, row["person_id"])
        message = (
            f"The review of {who}'s emergency is overdue; {who} gets no other until it is done."
        )
        tell(tx, {*limits.reviewers, *limits.alerted}, message, row["id"])
        tx.update(t.break_glass, c.id == row["id"], told_at=tx.now)
        _event(tx, "break-glass.review-overdue", row["id"])
    return len(closed) + len(overdue)
