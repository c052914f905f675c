"""Sending what the outbox holds: at least once, each message by one replica at a time.

The row stays locked while its message is handed over, so that two replicas never send the same one
and a replica that dies gives it back at once. If it dies between the handing over and the commit,
the message is sent again, with the same Message-ID or `webhook-id`, by which receivers know it.

Whether the message is still true is looked at just before it leaves: nobody is asked for a vote on
a request that was settled meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from charter.adapters.notify import mail, webhook
from charter.core.access.addresses import parse_networks
from charter.core.kernel.errors import CharterError
from charter.core.notifications.delivery import Attempt, DeliveryState, Outcome, after
from charter.core.notifications.kinds import kind_of
from charter.core.notifications.targets import TargetError, read_target
from charter.core.notifications.text import letter, usable_address
from charter.core.notifications.webhooks import chat_body, event_body, signature
from charter.log import Log
from charter.services import notification_secrets as secrets
from charter.services.notification_texts import Told, section_of, subject_of, told
from charter.services.policy_bundles import tell
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_log = Log("charter.notifications")
_MOST_IN_DIGEST: Final = 50
_UNREACHABLE_SECONDS: Final = 30
OPERATORS: Final = ("platform-admin",)


def send_one(rt: Runtime) -> Mapping[str, Any] | None:
    """Send one due message; None when nothing is due."""
    with rt.database.unit_of_work() as tx:
        row = _claim(tx)
        if row is None:
            return None
        rows = _digest(tx, row) if row["digest"] else [row]
        attempt = _attempt(rt, tx, rows)
        _settle(rt, tx, rows, attempt)
        return {"delivery": row["id"], "via": row["via"], "outcome": attempt.outcome.value}


def _claim(tx: Tx) -> Row | None:
    c = t.deliveries.c
    return tx.one(
        sa.select(t.deliveries)
        .where(c.state == DeliveryState.WAITING.value, c.next_attempt_at <= tx.now)
        .order_by(c.next_attempt_at, c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def _digest(tx: Tx, first: Row) -> list[Row]:
    """Everything that waits for the same digest of the same person; one mail for all of it."""
    c = t.deliveries.c
    rest = tx.all(
        sa.select(t.deliveries)
        .where(
            c.state == DeliveryState.WAITING.value,
            c.digest,
            c.person_id == first["person_id"],
            c.next_attempt_at <= tx.now,
            c.id != first["id"],
        )
        .order_by(c.id)
        .limit(_MOST_IN_DIGEST - 1)
        .with_for_update(skip_locked=True)
    )
    return sorted([first, *rest], key=lambda row: row["id"])


def _attempt(rt: Runtime, tx: Tx, rows: list[Row]) -> Attempt:
    savepoint = tx.conn.begin_nested()
    try:
        first = rows[0]
        attempt = _mail(rt, tx, rows) if first["via"] == "mail" else _post(rt, tx, first)
    except sa.exc.DBAPIError:
        raise  # the transaction is lost, and the message is as it was
    except CharterError as error:
        savepoint.rollback()  # house: allow unit-of-work — a savepoint, not the transaction
        return Attempt(Outcome.RETRY, f"{error.message} {error.fix}")
    except Exception as error:  # noqa: BLE001 — one message must not stand before all others
        savepoint.rollback()  # house: allow unit-of-work — a savepoint, not the transaction
        _log.exception("message failed", delivery=rows[0]["id"])
        return Attempt(Outcome.RETRY, f"It could not be written: {type(error).__name__}.")
    savepoint.commit()  # house: allow unit-of-work — a savepoint, not the transaction
    return attempt


def _settle(rt: Runtime, tx: Tx, rows: list[Row], attempt: Attempt) -> None:
    c = t.deliveries.c
    most = rt.settings.notification_attempts
    now = max(tx.now, rt.now())  # sending took its time
    for row in rows:
        following = after(attempt, row["attempts"] + 1, most, now)
        settled = following.state is not DeliveryState.WAITING
        tx.update(
            t.deliveries,
            c.id == row["id"],
            attempts=row["attempts"] + 1,
            state=following.state.value,
            reason=attempt.reason[:500] or None,
            next_attempt_at=following.at,
            settled_at=now if settled else None,
        )
        if following.state is DeliveryState.DEAD:
            _alert(tx, row, attempt.reason)
    if attempt.outcome is Outcome.UNREACHABLE:
        _put_off(tx, rows[0])


def _put_off(tx: Tx, row: Row) -> None:
    """Others for the same receiver wait a little: each would wait for the same silence."""
    c = t.deliveries.c
    due = (
        sa.select(c.id)
        .where(
            c.state == DeliveryState.WAITING.value,
            c.next_attempt_at <= tx.now,
            c.via == row["via"],
            c.channel_id.is_not_distinct_from(row["channel_id"]),
        )
        .with_for_update(skip_locked=True)
    )
    tx.update(
        t.deliveries,
        c.id.in_(due),
        next_attempt_at=tx.now + timedelta(seconds=_UNREACHABLE_SECONDS),
    )


def _alert(tx: Tx, row: Row, reason: str) -> None:
    """Operators learn of a dead message, once a day for each way out."""
    day = f"{tx.now:%Y-%m-%d}"
    tell(
        tx,
        OPERATORS,
        "delivery-dead",
        f"A message could not be delivered by {row['via']}: {reason} "
        "See charter notification deliveries --state dead.",
        ("delivery", row["id"]),
        dedupe_key=f"delivery-dead:{row['channel_id'] or row['via']}:{day}",
    )


# --- mail -------------------------------------------------------------------------------------
def server_of(rt: Runtime) -> mail.Server | None:
    """The mail server that the settings name."""
    s = rt.settings
    if s.smtp_host is None:
        return None
    return mail.Server(
        s.smtp_host, s.smtp_port, s.smtp_security, s.smtp_user, s.smtp_password_file, s.smtp_ca_file
    )


def _mail(rt: Runtime, tx: Tx, rows: list[Row]) -> Attempt:
    server = server_of(rt)
    if server is None:
        return Attempt(Outcome.SKIPPED, "No mail server is set any more.")
    first = rows[0]
    person = tx.one(sa.select(t.people).where(t.people.c.id == first["person_id"]))
    if person is None or person["deactivated_at"] is not None:
        return Attempt(Outcome.SKIPPED, "The person's account is off.")
    to = usable_address(person["email"])
    if to is None:
        return Attempt(Outcome.SKIPPED, "The person has no usable address.")
    said = [told(rt, tx, row, person["id"]) for row in rows]
    kept = [each for each in said if each.over is None]
    if not kept:
        return Attempt(Outcome.SKIPPED, said[0].over or "")
    home = rt.settings.url
    contents = letter(
        subject_of(kept),
        [section_of(each) for each in kept],
        [
            f"Charter, {rt.settings.organisation}. This mail was sent to {person['handle']}.",
            f"What is sent to you, and when: {home}/account/notifications",
        ],
    )
    return mail.send(server, mail.compose(_envelope(rt, tx, first, to), contents))


def _envelope(rt: Runtime, tx: Tx, row: Row, to: str) -> mail.Envelope:
    domain = rt.settings.mail_from.rsplit("@", 1)[-1]
    message_id = f"{row['id']}@{domain}"
    thread = message_id
    if row["resource_id"] is not None and not row["digest"]:
        c = t.deliveries.c
        same = sa.select(sa.func.min(c.id).label("id")).where(
            c.person_id == row["person_id"], c.resource_id == row["resource_id"], c.via == "mail"
        )
        earliest = tx.one(same.where(sa.not_(c.digest)))
        if earliest is not None and earliest["id"] is not None:
            thread = f"{earliest['id']}@{domain}"
    return mail.Envelope(
        sender=rt.settings.mail_from,
        sender_name=f"Charter {rt.settings.organisation}",
        to=to,
        message_id=message_id,
        thread_id=thread,
        list_id=f"charter.{urlsplit(rt.settings.url).hostname or domain}",
        settings_url=f"{rt.settings.url}/account/notifications",
        at=row["created_at"],
    )


# --- webhooks ---------------------------------------------------------------------------------
def reach_of(rt: Runtime) -> webhook.Reach:
    """Where webhooks may go."""
    s = rt.settings
    networks = parse_networks(s.webhook_private_networks)
    return webhook.Reach(networks, s.webhook_loopback_http, s.webhook_ca_file)


def _post(rt: Runtime, tx: Tx, row: Row) -> Attempt:
    c = t.notification_channels.c
    channel = tx.one(sa.select(t.notification_channels).where(c.id == row["channel_id"]))
    if channel is None or channel["removed_at"] is not None:
        return Attempt(Outcome.SKIPPED, "The channel was removed.")
    try:
        target = read_target(
            _opened(rt, channel, "url") or "", loopback_http=rt.settings.webhook_loopback_http
        )
    except TargetError as error:
        return Attempt(Outcome.REFUSED, str(error))
    said = told(rt, tx, row, None)
    if said.over is not None:
        return Attempt(Outcome.SKIPPED, said.over)
    at = max(tx.now, rt.now())
    document = _chat(said) if row["via"] == "slack" else _event(rt, row, said)
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Charter"}
    secret = _opened(rt, channel, "secret")
    if row["via"] == "webhook" and secret is not None:
        headers |= {
            "webhook-id": row["id"],
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signature(secret, row["id"], at, body),
        }
    return webhook.post(target, reach_of(rt), headers, body)


def _opened(rt: Runtime, channel: Row, what: str) -> str | None:
    """The channel's address or secret."""
    if channel[f"{what}_file"] is not None:
        return secrets.from_file(rt, channel[f"{what}_file"])
    sealed = channel[f"{what}_sealed"]
    return None if sealed is None else secrets.unseal(rt, bytes(sealed), f"{channel['id']} {what}")


def _chat(said: Told) -> dict[str, Any]:
    return chat_body(said.title, [said.message], said.facts, said.url, "Open in Charter")


def _event(rt: Runtime, row: Row, said: Told) -> dict[str, Any]:
    resource = None
    if row["resource_kind"] is not None and row["resource_id"] is not None:
        resource = (row["resource_kind"], row["resource_id"])
    return event_body(
        delivery_id=row["id"],
        kind=row["kind"],
        at=row["created_at"],
        organisation=rt.settings.organisation,
        message=said.message,
        url=said.url,
        resource=resource,
        facts={"title": kind_of(row["kind"]).title, "facts": dict(said.facts)},
    )
