"""The calendar of reviews: opens what is due by itself, tells who may hold it, and reminds.

Reviews of the policy themselves stand in `governance`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.roles import roles_granting
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.policy import reviews as core
from charter.core.policy.reviews import ReviewKind, Trigger
from charter.services.approval_requests import notify
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

CALENDAR: Final = ActorRef("system", "calendar")


def open_due(rt: Runtime) -> list[str]:
    """Open the scheduled reviews that are due, and remind of the overdue; what was done."""
    with rt.database.unit_of_work() as tx:
        cadence = rt.policy.active(tx).data.reviews
        done: list[str] = []
        c = t.governance_reviews.c
        opened = tx.all(sa.select(c.kind).where(c.closed_at.is_(None), c.trigger == "calendar"))
        due = core.to_open(
            cadence,
            last_held(tx),
            frozenset(ReviewKind(row["kind"]) for row in opened),
            began(tx),
            tx.now,
        )
        for kind, due_at in due:
            id_ = tx.new_id("review")
            if tx.insert_new(
                t.governance_reviews,
                **fresh(id_, kind, Trigger.CALENDAR, tx.now, due_at, CALENDAR.id, None),
            ):
                _record(tx, "review.opened", id_)
                tell(tx, f"A review is due on {due_at:%Y-%m-%d}: {_title(kind)}.", id_, "opened")
                done.append(id_)
        late = tx.all(
            sa.select(c.id, c.kind, c.due_at).where(c.closed_at.is_(None), c.due_at < tx.now)
        )
        done += [
            row["id"]
            for row in late
            if tell(
                tx,
                f"A review has been due since {row['due_at']:%Y-%m-%d} and is not closed: "
                f"{_title(row['kind'])}.",
                row["id"],
                "overdue",
            )
        ]
        return done


def fresh(
    id_: str,
    kind: ReviewKind,
    trigger: Trigger,
    now: datetime,
    due_at: datetime,
    by: str,
    reason: str | None,
) -> dict[str, object]:
    """The row of a review that was just opened."""
    return {
        "id": id_,
        "kind": kind.value,
        "trigger": trigger.value,
        "reason": reason,
        "opened_by": by,
        "opened_at": now,
        "due_at": due_at,
        "committee": [],
        "minutes": "",
        "findings": [],
    }


def _record(tx: Tx, action: str, id_: str) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=CALENDAR,
            action=action,
            resource_kind="review",
            resource_id=id_,
            outcome=Outcome.DONE,
        )
    )


def tell(tx: Tx, message: str, review_id: str, why: str) -> bool:
    """A notice for everybody who may hold reviews, once for each reason; whether it is new."""
    b = t.role_bindings.c
    roles = [role.value for role in roles_granting(Permission.GOVERNANCE_MANAGE)]
    people = tx.all(
        sa.select(b.person_id)
        .join(t.people, t.people.c.id == b.person_id)
        .where(
            b.role.in_(roles),
            t.people.c.deactivated_at.is_(None),
            sa.or_(b.expires_at.is_(None), b.expires_at > tx.now),
        )
        .distinct()
        .order_by(b.person_id)
    )
    told = [
        notify(
            tx,
            row["person_id"],
            f"review-{why}",
            message,
            resource=("review", review_id),
            dedupe_key=f"review-{why}:{review_id}",
        )
        for row in people
    ]
    return any(told)


def _title(kind: str) -> str:
    return {
        ReviewKind.EFFECTIVENESS.value: "effectiveness of the policies",
        ReviewKind.FULL.value: "the yearly look at all policies",
        ReviewKind.AD_HOC.value: "policies after an event",
    }[kind]


def began(tx: Tx) -> datetime:
    """When the first bundle was kept: the beginning of the calendar."""
    row = tx.one(sa.select(sa.func.min(t.bundles.c.created_at).label("at")))
    return tx.now if row is None or row["at"] is None else row["at"]


def last_held(tx: Tx) -> dict[ReviewKind, datetime]:
    """When the last scheduled review of each kind was held."""
    c = t.governance_reviews.c
    rows = tx.all(
        sa.select(c.kind, sa.func.max(c.held_at).label("at"))
        .where(c.held_at.is_not(None), c.trigger == "calendar")
        .group_by(c.kind)
    )
    return {ReviewKind(row["kind"]): row["at"] for row in rows}
