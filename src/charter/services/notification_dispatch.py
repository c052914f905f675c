"""From notices to messages: who gets a mail now, who in the digest, and which channels carry it.

A service writes a notice in the transaction of what it tells of. That is all it does: the notice is
the promise. Here each notice is looked at once, and a row of the outbox (`deliveries`) is left for
every way on which it has to leave. Approvers get a link of their own with it. What has the same
dedupe key is left once, whoever looks, and however often.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charter.core.notifications.delivery import DeliveryState
from charter.core.notifications.kinds import When, asks_for_vote, kind_of, next_digest, when_of
from charter.core.notifications.text import usable_address
from charter.services import approval_links
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_AT_ONCE: Final = 200


def dispatch(rt: Runtime) -> int:
    """Look at some new notices; how many there were."""
    with rt.database.unit_of_work() as tx:
        c = t.notices.c
        notices = tx.all(
            sa.select(t.notices)
            .where(c.dispatched_at.is_(None))
            .order_by(c.id)
            .limit(_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        if notices:
            _leave(rt, tx, notices)
            tx.update(t.notices, c.id.in_([n["id"] for n in notices]), dispatched_at=tx.now)
        return len(notices)


def _leave(rt: Runtime, tx: Tx, notices: Sequence[Row]) -> None:
    asked = _open_requests(tx, notices)
    rows = list(_by_mail(rt, tx, notices, asked)) if rt.settings.smtp_host else []
    rows += _into_channels(tx, notices)
    tx.insert_all(t.approval_links, [link for _, link in rows if link is not None])
    if rows:
        statement = insert(t.deliveries).values([row for row, _ in rows])
        tx.conn.execute(statement.on_conflict_do_nothing())


def _open_requests(tx: Tx, notices: Iterable[Row]) -> dict[str, Row]:
    """The approval requests that these notices are about and that still wait."""
    ids = {n["resource_id"] for n in notices if n["resource_kind"] == "approval"}
    c = t.approvals.c
    found = tx.all(sa.select(t.approvals).where(c.id.in_(ids), c.state == "pending"))
    return {row["id"]: row for row in found}


Left = tuple[dict[str, Any], dict[str, Any] | None]
"""A row of the outbox, and the link that goes with it."""


def _by_mail(
    rt: Runtime, tx: Tx, notices: Sequence[Row], asked: Mapping[str, Row]
) -> Iterator[Left]:
    people = _people(tx, {n["person_id"] for n in notices})
    chosen = _chosen(tx, people)
    for notice in notices:
        person = people.get(notice["person_id"])
        when = when_of(notice["kind"], chosen.get(notice["person_id"], {}))
        if person is None or when is When.OFF:
            continue
        row = _row(tx, notice, "mail", f"mail:{notice['id']}")
        row["person_id"] = person["id"]
        request = asked.get(notice["resource_id"] or "")
        if when is When.DIGEST:
            row |= {"digest": True, "next_attempt_at": next_digest(tx.now, _zone(person))}
            yield row, None
        elif request is not None and request["deadline"] > tx.now and asks_for_vote(notice["kind"]):
            link = approval_links.new_row(
                rt, tx, request["id"], person["id"], person["email"], request["deadline"]
            )
            yield {**row, "link_id": link["id"]}, link
        else:
            yield row, None


def _people(tx: Tx, ids: set[str]) -> dict[str, Row]:
    """Those of these who are active and have a usable address."""
    c = t.people.c
    rows = tx.all(sa.select(t.people).where(c.id.in_(ids), c.deactivated_at.is_(None)))
    return {row["id"]: row for row in rows if usable_address(row["email"])}


def _chosen(tx: Tx, ids: Iterable[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    c = t.notification_preferences.c
    for row in tx.all(sa.select(t.notification_preferences).where(c.person_id.in_(list(ids)))):
        found.setdefault(row["person_id"], {})[row["kind"]] = row["when"]
    return found


def _zone(person: Row) -> tzinfo:
    try:
        return ZoneInfo(person["time_zone"])
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _row(tx: Tx, notice: Row, via: str, dedupe_key: str) -> dict[str, Any]:
    return {
        "id": tx.new_id("delivery"),
        "via": via,
        "channel_id": None,
        "person_id": None,
        "notice_id": notice["id"],
        "link_id": None,
        "kind": notice["kind"],
        "message": notice["message"],
        "resource_kind": notice["resource_kind"],
        "resource_id": notice["resource_id"],
        "dedupe_key": dedupe_key,
        "digest": False,
        "created_at": tx.now,
        "next_attempt_at": tx.now,
        "state": DeliveryState.WAITING.value,
    }


# --- channels ---------------------------------------------------------------------------------
def _into_channels(tx: Tx, notices: Sequence[Row]) -> list[Left]:
    """One message for a channel, however many people were told of the same thing."""
    shared = [n for n in notices if kind_of(n["kind"]).shared and n["resource_id"] is not None]
    if not shared:
        return []
    c = t.notification_channels.c
    channels = tx.all(sa.select(t.notification_channels).where(c.removed_at.is_(None)))
    teams = _teams(tx, shared) if channels else {}
    found: dict[str, Left] = {}
    for notice in shared:
        for channel in channels:
            team = teams.get(notice["resource_id"])
            if channel["team_id"] not in (None, team):
                continue
            if kind_of(notice["kind"]).name not in channel["kinds"]:
                continue
            # Notices of one transaction have one time: they tell of one event.
            key = ":".join(
                (
                    channel["id"],
                    notice["kind"],
                    notice["resource_id"],
                    notice["created_at"].isoformat(),
                )
            )
            if key not in found:
                row = _row(tx, notice, channel["kind"], key)
                found[key] = ({**row, "channel_id": channel["id"]}, None)
    return list(found.values())


def _teams(tx: Tx, notices: Iterable[Row]) -> dict[str, str]:
    """The team that each thing belongs to, where it belongs to one."""
    found: dict[str, str] = {}
    for kind, table in (("approval", t.approvals), ("workspace", t.workspaces)):
        ids = {n["resource_id"] for n in notices if n["resource_kind"] == kind}
        if ids:
            rows = tx.all(sa.select(table.c.id, table.c.team_id).where(table.c.id.in_(ids)))
            found |= {row["id"]: row["team_id"] for row in rows if row["team_id"] is not None}
    return found
