"""Notifications for those who get them and for those who run them.

A person chooses for each kind of notice whether it comes by mail at once, in a daily digest, or
not at all; what protects their account always comes. An operator sees every message with its state,
why it failed and what to do, and can have it tried again.

Source: Spec AP-7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.roles import ORGANISATION, ScopeKind
from charter.core.kernel.errors import ConflictError, ForbiddenError, InvalidInputError
from charter.core.notifications.delivery import DeliveryState
from charter.core.notifications.kinds import CHOOSABLE, When, when_of
from charter.core.notifications.text import usable_address
from charter.services import paging
from charter.services.access import carry_out, missing, note, or_unknown, simple
from charter.services.decisions import Answer, Question
from charter.services.notification_channels import check_may_view, own_notice
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_NOUN: Final = "notification"


# --- what a person wants ----------------------------------------------------------------------
def get_preferences(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """Where mails for the caller go, and when each kind comes; agents get none."""
    if caller.is_agent:
        raise ForbiddenError(
            "Agents get no mails, and do not see their sponsor's.",
            fix="The sponsor looks at their own.",
            code="people-only",
        )
    with rt.database.reading() as tx:
        return _preferences(rt, tx, caller)


def _preferences(rt: Runtime, tx: Tx, caller: Caller) -> dict[str, Any]:
    person = tx.one(sa.select(t.people).where(t.people.c.id == caller.person.id))
    if person is None:
        raise missing("person")
    c = t.notification_preferences.c
    rows = tx.all(sa.select(c.kind, c.when).where(c.person_id == caller.person.id))
    chosen = {row["kind"]: row["when"] for row in rows}
    return {
        "address": usable_address(person["email"]),
        "mail": rt.settings.smtp_host is not None,
        "time_zone": person["time_zone"],
        "kinds": [
            {
                "kind": kind.name,
                "title": kind.title,
                "when": when_of(kind.name, chosen).value,
                "fixed": kind.fixed,
            }
            for kind in CHOOSABLE
        ],
    }


def set_preferences(rt: Runtime, caller: Caller, wanted: Mapping[str, str]) -> dict[str, Any]:
    """Choose for these kinds when they come."""
    known = {kind.name: kind for kind in CHOOSABLE}
    for name, when in wanted.items():
        if name not in known or when not in tuple(When):
            raise InvalidInputError(
                f"There is no choice {when!r} for {name!r}.",
                fix=f"Kinds are {', '.join(known)}; choices are {', '.join(When)}.",
                code="preference-unknown",
            )
        if known[name].fixed and when != When.AT_ONCE:
            raise ConflictError(
                f"{known[name].title}: this always comes at once, because it protects you.",
                fix="Leave it out.",
                code="preference-fixed",
            )

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        c = t.notification_preferences.c
        tx.conn.execute(
            sa.delete(t.notification_preferences).where(
                c.person_id == caller.id, c.kind.in_(wanted)
            )
        )
        tx.insert_all(
            t.notification_preferences,
            [{"person_id": caller.id, "kind": k, "when": w} for k, w in wanted.items()],
        )
        note(tx, caller, "notification.preferred", "person", caller.id, decision_id=answer.id)
        return _preferences(rt, tx, caller)

    return carry_out(rt, lambda tx: _own(tx, caller), act)


def _own(tx: Tx, caller: Caller) -> Question:
    """About the caller's own mails, placed where they hold a role, as their tokens are."""
    scopes = [b.scope for b in caller.person.bindings if b.live(tx.now)]
    place = scopes[0] if scopes and ORGANISATION not in scopes else ORGANISATION
    return simple(
        caller,
        Permission.NOTIFICATION_MANAGE,
        ResourceRef(
            _NOUN,
            owner_id=caller.id,
            owner_kind="human",
            team_id=place.id if place.kind is ScopeKind.TEAM else None,
            project_id=place.id if place.kind is ScopeKind.PROJECT else None,
        ),
    )


def test_mail(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """Leave a test mail to the caller; its delivery says what came of it."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        about = _preferences(rt, tx, caller)
        if about["address"] is None or not about["mail"]:
            raise ConflictError(
                "No mail can be sent to you: "
                + ("you have no address." if about["mail"] else "no mail server is set."),
                fix="An administrator sets the address of a person, and CHARTER_SMTP_HOST.",
                code="no-mail",
            )
        text = "A test mail from Charter: mails reach you."
        notice_id, delivery_id = own_notice(tx, caller, text), tx.new_id("delivery")
        tx.insert(
            t.deliveries,
            id=delivery_id,
            via="mail",
            person_id=caller.id,
            notice_id=notice_id,
            kind="notification-test",
            message=text,
            dedupe_key=f"test:{delivery_id}",
            digest=False,
            created_at=tx.now,
            next_attempt_at=tx.now,
            state=DeliveryState.WAITING.value,
        )
        tx.wake = True
        note(tx, caller, "notification.tested", "person", caller.id, decision_id=answer.id)
        return {"delivery": delivery_id, "channel": "mail"}

    return carry_out(rt, lambda tx: _own(tx, caller), act)


# --- what an operator sees --------------------------------------------------------------------
_SHOWN: Final = (
    "id",
    "via",
    "kind",
    "state",
    "attempts",
    "reason",
    "created_at",
    "next_attempt_at",
    "settled_at",
    "resource_kind",
    "resource_id",
    "digest",
)
_FIXES: Final = {
    "mail": "Look at the mail server and the CHARTER_SMTP_… settings (charter doctor tries them), "
    "then: charter notification retry {id}",
    "slack": "Look whether the chat still takes messages at this address, then: "
    "charter notification retry {id}",
    "webhook": "Look at the receiver, then: charter notification retry {id}",
}


def list_deliveries(
    rt: Runtime,
    caller: Caller,
    *,
    state: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Messages, newest first: all of them, or those into the channels of the caller's teams."""
    with rt.database.reading() as tx:
        d, query = t.deliveries.c, _listed()
        seen = check_may_view(tx, caller)
        if not reach_set(caller.subject, Permission.NOTIFICATION_VIEW, tx.now).everything:
            query = query.where(seen)
        if state is not None:
            query = query.where(d.state == state)
        return paging.newest_first(tx, query, d.id, _delivery, cursor, limit)


def _delivery(row: Row) -> dict[str, Any]:
    waits = row["state"] == DeliveryState.WAITING.value and row["attempts"] > 0
    troubled = waits or row["state"] == DeliveryState.DEAD.value
    return {
        **{name: row[name] for name in _SHOWN},
        "to": row["channel"] or row["handle"],
        "fix": _FIXES[row["via"]].format(id=row["id"]) if troubled else None,
    }


def retry(rt: Runtime, caller: Caller, delivery_id: str) -> dict[str, Any]:
    """Try a message again, at once and from the beginning."""

    def question(tx: Tx) -> Question:
        def find() -> ResourceRef:
            team_id = _found(tx, delivery_id)["team_id"]
            return ResourceRef("delivery", id=delivery_id, team_id=team_id)

        return simple(caller, Permission.NOTIFICATION_MANAGE, or_unknown(find, "delivery"))

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        c = t.deliveries.c
        changed = tx.update(
            t.deliveries,
            c.id == delivery_id,
            c.state.in_([DeliveryState.DEAD.value, DeliveryState.WAITING.value]),
            state=DeliveryState.WAITING.value,
            attempts=0,
            next_attempt_at=tx.now,
            settled_at=None,
        )
        if not changed:
            raise ConflictError(
                "This message was delivered, or is about something that is over.",
                fix="Nothing is left to be sent.",
                code="delivery-settled",
            )
        tx.wake = True
        note(tx, caller, "delivery.retried", "delivery", delivery_id, decision_id=answer.id)
        return _delivery(_found(tx, delivery_id))

    return carry_out(rt, question, act)


def _listed() -> sa.Select[Any]:
    d, c = t.deliveries.c, t.notification_channels.c
    return (
        sa.select(t.deliveries, t.people.c.handle, c.name.label("channel"), c.team_id)
        .outerjoin(t.people, t.people.c.id == d.person_id)
        .outerjoin(t.notification_channels, c.id == d.channel_id)
    )


def _found(tx: Tx, delivery_id: str) -> Row:
    row = tx.one(_listed().where(t.deliveries.c.id == delivery_id))
    if row is None:
        raise missing("delivery")
    return row
