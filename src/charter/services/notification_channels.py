"""Channels: chats and programs that get the news of a team or of the organisation.

A channel is added by whoever answers for its place: a team lead for the team, a platform admin for
the organisation. Its address and its secret come in once and are never shown again: they are kept
sealed, or as the names of files that an operator put on the server.

Source: Spec AP-7.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from charter.core.notifications.kinds import SHARED
from charter.core.notifications.targets import TargetError, read_target
from charter.core.notifications.webhooks import new_secret
from charter.services import lookup
from charter.services import notification_secrets as secrets
from charter.services.access import carry_out, missing, note, simple
from charter.services.approval_requests import notify
from charter.services.decisions import Answer, Question
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

KINDS: Final = ("slack", "webhook")
_NOUN: Final = "notification-channel"
_SECRET_BYTES: Final = 32
_SHOWN: Final = ("id", "kind", "name", "team_id", "kinds", "shown", "created_by", "created_at")


def _view(tx: Tx, row: Row) -> dict[str, Any]:
    c = t.deliveries.c
    last = tx.one(
        sa.select(c.state, c.reason, c.settled_at, c.attempts)
        .where(c.channel_id == row["id"])
        .order_by(c.id.desc())
        .limit(1)
    )
    team = None if row["team_id"] is None else lookup.team(tx, row["team_id"])["name"]
    return {
        **{name: row[name] for name in _SHOWN},
        "team": team,
        "signed": row["secret_sealed"] is not None or row["secret_file"] is not None,
        "last_state": None if last is None else last["state"],
        "last_reason": None if last is None else last["reason"],
    }


def find(tx: Tx, ref: str) -> Row:
    """The channel with this id or name; one that was removed is not there."""
    c = t.notification_channels.c
    query = sa.select(t.notification_channels).where(sa.or_(c.id == ref, c.name == ref))
    row = tx.one(query.where(c.removed_at.is_(None)))
    if row is None:
        raise missing(_NOUN)
    return row


def check_may_view(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    """The filter over channels of what the caller may see; raises when that is nothing."""
    reach = reach_set(caller.subject, Permission.NOTIFICATION_VIEW, tx.now)
    c = t.notification_channels.c
    if reach.everything:
        return sa.true()
    if not reach.teams:
        raise ForbiddenError(
            "Looking at channels and deliveries takes the right to view them.",
            fix="Ask a team lead or a platform admin.",
            code="denied",
        )
    return c.team_id.in_(reach.teams)


def list_channels(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """The channels that the caller may see."""
    with rt.database.reading() as tx:
        c = t.notification_channels.c
        seen = check_may_view(tx, caller)
        query = sa.select(t.notification_channels).where(c.removed_at.is_(None), seen)
        return [_view(tx, row) for row in tx.all(query.order_by(c.name))]


def _manage(caller: Caller, channel_id: str | None, team_id: str | None) -> Question:
    """In the organisation's place nobody owns anything, so only reach over everything counts."""
    return simple(
        caller,
        Permission.NOTIFICATION_MANAGE,
        ResourceRef(_NOUN, id=channel_id, team_id=team_id),
    )


def add_channel(
    rt: Runtime,
    caller: Caller,
    *,
    kind: str,
    name: str,
    team: str | None = None,
    kinds: list[str] | None = None,
    url: str | None = None,
    url_file: str | None = None,
    secret: str | None = None,
    secret_file: str | None = None,
) -> dict[str, Any]:
    """A new channel. A webhook without a secret gets one, which the answer shows this once."""
    chosen = _checked_kinds(kinds)
    if (url is None) == (url_file is None) or (secret is not None and secret_file is not None):
        raise InvalidInputError(
            "A channel takes one address and at most one secret.",
            fix="Give either the address or the name of its file; the same for the secret.",
            code="channel-address",
        )

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        shown = _checked_address(rt, url, url_file)
        if secret_file is not None:
            secrets.check_file(rt, secret_file)
        channel_id = tx.new_id(_NOUN)
        made = secret
        if kind == "webhook" and secret is None and secret_file is None:
            made = new_secret(rt.randomness(_SECRET_BYTES))
        team_id = None if team is None else str(lookup.team(tx, team)["id"])
        row = {
            "id": channel_id,
            "kind": kind,
            "name": name,
            "team_id": team_id,
            "kinds": chosen,
            "url_sealed": None if url is None else secrets.seal(rt, url, f"{channel_id} url"),
            "url_file": url_file,
            "shown": shown,
            "secret_sealed": None
            if made is None
            else secrets.seal(rt, made, f"{channel_id} secret"),
            "secret_file": secret_file,
            "created_by": caller.id,
            "created_at": tx.now,
        }
        if not tx.insert_new(t.notification_channels, **row):
            raise ConflictError(
                f"There is, or was, a channel {name} already.",
                fix="Choose another name.",
                code="name-taken",
            )
        note(
            tx,
            caller,
            "notification-channel.added",
            _NOUN,
            channel_id,
            decision_id=answer.id,
            facts={"kind": kind, "team": team_id or "organisation"},
            private={"name": name, "address": shown},
        )
        generated = made if made is not None and secret is None else None
        return {**_view(tx, find(tx, channel_id)), "secret": generated}

    def question(tx: Tx) -> Question:
        return _manage(caller, None, None if team is None else lookup.team(tx, team)["id"])

    return carry_out(rt, question, act)


def _checked_kinds(kinds: list[str] | None) -> list[str]:
    chosen = list(dict.fromkeys(kinds or SHARED))
    unknown = [kind for kind in chosen if kind not in SHARED]
    if unknown:
        raise InvalidInputError(
            f"A channel carries no {unknown[0]!r}: it is personal, or there is no such kind.",
            fix=f"Choose among {', '.join(SHARED)}.",
            code="channel-kind",
        )
    return chosen


def _checked_address(rt: Runtime, url: str | None, url_file: str | None) -> str:
    """What may be shown of the address, which is checked; where it goes is checked on sending."""
    if url_file is not None:
        secrets.check_file(rt, url_file)
    text = url if url_file is None else secrets.from_file(rt, url_file)
    try:
        target = read_target(text or "", loopback_http=rt.settings.webhook_loopback_http)
    except TargetError as error:
        raise InvalidInputError(
            str(error),
            fix="Give the https address that the receiver names for incoming webhooks.",
            code="channel-address",
        ) from error
    return target.shown


def remove_channel(rt: Runtime, caller: Caller, ref: str) -> None:
    """End a channel; its secrets are forgotten, what waits for it is not sent."""

    def act(tx: Tx, answer: Answer) -> None:
        row = find(tx, ref)
        tx.update(
            t.notification_channels,
            t.notification_channels.c.id == row["id"],
            removed_at=tx.now,
            url_sealed=None,
            secret_sealed=None,
        )
        note(tx, caller, "notification-channel.removed", _NOUN, row["id"], decision_id=answer.id)

    carry_out(rt, lambda tx: _about(tx, caller, ref), act)


def _about(tx: Tx, caller: Caller, ref: str) -> Question:
    try:
        row = find(tx, ref)
    except NotFoundError:  # see `access.or_unknown`
        return _manage(caller, "unknown", None)
    return _manage(caller, row["id"], row["team_id"])


def test_channel(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """Leave a test message for the channel; its delivery says what came of it."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = find(tx, ref)
        delivery_id = tx.new_id("delivery")
        text = f"A test message from Charter to the channel {row['name']}."
        notice_id = own_notice(tx, caller, text)
        tx.insert(
            t.deliveries,
            id=delivery_id,
            via=row["kind"],
            channel_id=row["id"],
            notice_id=notice_id,
            kind="notification-test",
            message=text,
            dedupe_key=f"test:{delivery_id}",
            digest=False,
            created_at=tx.now,
            next_attempt_at=tx.now,
            state="waiting",
        )
        tx.wake = True
        note(tx, caller, "notification-channel.tested", _NOUN, row["id"], decision_id=answer.id)
        return {"delivery": delivery_id, "channel": row["name"]}

    return carry_out(rt, lambda tx: _about(tx, caller, ref), act)


def own_notice(tx: Tx, caller: Caller, text: str) -> str:
    """A notice for the caller that goes no further; its id."""
    key = tx.new_id("notice")
    notify(tx, caller.id, "notification-test", text, dedupe_key=key)
    c = t.notices.c
    row = tx.one(sa.select(c.id).where(c.person_id == caller.id, c.dedupe_key == key))
    if row is None:
        raise AssertionError("the notice was just written")
    tx.update(t.notices, c.id == row["id"], dispatched_at=tx.now, read_at=tx.now)
    return str(row["id"])
