"""How long approvals wait, by gate and by approver: where work gets stuck.

Everything follows from stored times: when a request was made, to whom it was put since when, who
voted when, and how it was settled. Percentiles are PostgreSQL's (`percentile_cont`). What counts is
what the caller may see: a team lead measures the team.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charter.core.kernel.errors import InvalidInputError
from charter.services import approval_records as records
from charter.services import lookup
from charter.services.approval_entitlement import names_behind
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

LONGEST_DAYS: Final = 366
_DECIDED: Final = ("approved", "denied")


def waiting(rt: Runtime, caller: Caller, *, days: int = 30) -> dict[str, Any]:
    """What waits now, and how long decisions of the last `days` took; seconds throughout."""
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidInputError(
            f"The span is 1 to {LONGEST_DAYS} days, not {days}.", fix="Choose another one."
        )
    with rt.database.reading() as tx:
        heard = records.voices_of(tx, caller)
        seen = records.visible_approvals(tx, caller, heard)
        since = tx.now - timedelta(days=days)
        return {
            "days": days,
            "since": since,
            "gates": [_gate(row) for row in tx.all(_by_gate(tx, seen, since))],
            "approvers": _approvers(tx, seen, since),
            "people": _people(tx, seen, since),
        }


def _seconds(later: Any, earlier: Any) -> sa.ColumnElement[Any]:
    return sa.func.extract("epoch", later - earlier)


def _percentiles(value: Any, where: Any) -> tuple[sa.Label[Any], sa.Label[Any]]:
    def one(share: float) -> sa.ColumnElement[Any]:
        return sa.func.percentile_cont(share).within_group(value).filter(where)

    return one(0.5).label("median_seconds"), one(0.9).label("p90_seconds")


def _count(where: Any) -> sa.ColumnElement[Any]:
    return sa.func.count().filter(where)


def _by_gate(tx: Tx, seen: Any, since: Any) -> sa.Select[Any]:
    c = t.approvals.c
    needed = sa.func.jsonb_array_elements(c.requirements).table_valued(
        sa.column("value", JSONB), name="needed"
    )
    gates = (
        sa.select(needed.c.value["rule"].astext.label("rule"))
        .distinct()
        .select_from(needed)
        .lateral("gates")
    )
    open_ = records.still_pending(tx)
    decided = sa.and_(c.state.in_(_DECIDED), c.closed_at >= since)
    late = sa.and_(c.state == "pending", c.deadline <= tx.now)
    expired = sa.and_(sa.or_(c.state == "expired", late), c.deadline >= since)
    recent = sa.or_(open_, decided, expired)
    return (
        sa.select(
            gates.c.rule,
            _count(open_).label("open"),
            sa.func.min(c.created_at).filter(open_).label("oldest_at"),
            _count(decided).label("decided"),
            *_percentiles(_seconds(c.closed_at, c.created_at), decided),
            sa.func.sum(c.reminders).label("reminders"),
            _count(c.escalated_at.is_not(None)).label("escalated"),
            _count(expired).label("expired"),
        )
        .select_from(t.approvals.join(gates, sa.true()))
        .where(seen, recent)
        .group_by(gates.c.rule)
        .order_by(_count(open_).desc(), gates.c.rule)
    )


def _gate(row: Row) -> dict[str, Any]:
    ended = row["decided"] + row["expired"]
    return {
        **_rounded(row),
        "reminders": int(row["reminders"]),
        "expired_share": round(row["expired"] / ended, 3) if ended else None,
    }


def _rounded(row: Row) -> dict[str, Any]:
    return {
        **row,
        **{
            name: None if row[name] is None else round(float(row[name]))
            for name in ("median_seconds", "p90_seconds")
        },
    }


def _approvers(tx: Tx, seen: Any, since: Any) -> list[dict[str, Any]]:
    """By the word that requests are put to: from then until the vote of somebody who is meant."""
    c, a, v = t.approvals.c, t.approval_addressees.c, t.approval_votes.c
    first = (
        sa.select(sa.func.min(v.at).label("at"))
        .where(v.approval_id == c.id, a.addressee == sa.any_(v.roles))
        .lateral("first_vote")
    )
    open_ = sa.and_(records.still_pending(tx), first.c.at.is_(None))
    decided = first.c.at >= since
    rows = tx.all(
        sa.select(
            a.addressee,
            _count(open_).label("open"),
            sa.func.min(a.since).filter(open_).label("oldest_at"),
            _count(decided).label("decided"),
            *_percentiles(_seconds(first.c.at, a.since), decided),
        )
        .select_from(
            t.approvals.join(t.approval_addressees, a.approval_id == c.id).join(first, sa.true())
        )
        .where(seen, a.since <= tx.now, sa.or_(c.state == "pending", c.closed_at >= since))
        .group_by(a.addressee)
        .having(sa.or_(_count(open_) > 0, _count(decided) > 0))
        .order_by(_count(open_).desc(), a.addressee)
    )
    shown = names_behind(tx, [row["addressee"] for row in rows])
    return [{**_rounded(row), "approver": shown[row["addressee"]]} for row in rows]


def _people(tx: Tx, seen: Any, since: Any) -> list[dict[str, Any]]:
    """By who voted: from the moment at which the request was put to them."""
    c, a, v = t.approvals.c, t.approval_addressees.c, t.approval_votes.c
    put = (
        sa.select(sa.func.min(a.since).label("at"))
        .where(a.approval_id == v.approval_id, a.addressee == sa.any_(v.roles))
        .lateral("put")
    )
    took = _seconds(v.at, sa.func.coalesce(put.c.at, c.created_at))
    rows = tx.all(
        sa.select(
            v.approver_id,
            sa.func.count().label("decided"),
            _count(v.counts_as != v.approver_id).label("in_stead"),
            *_percentiles(took, sa.true()),
        )
        .select_from(t.approval_votes.join(t.approvals, c.id == v.approval_id).join(put, sa.true()))
        .where(seen, v.at >= since)
        .group_by(v.approver_id)
        .order_by(sa.func.count().desc(), v.approver_id)
    )
    names = lookup.subject_names(tx, [row["approver_id"] for row in rows])
    return [
        {**_rounded(row), "person": names.get(row["approver_id"], row["approver_id"])}
        for row in rows
    ]


def list_choices(rt: Runtime, caller: Caller) -> dict[str, list[str]]:
    """At which gates and in which teams something is open that the caller may see.

    With the handles of those for whom the caller answers; for the filters of an inbox.
    """
    c = t.approvals.c
    with rt.database.reading() as tx:
        heard = records.voices_of(tx, caller)
        seen = sa.and_(records.visible_approvals(tx, caller, heard), records.still_pending(tx))
        needed = sa.func.jsonb_array_elements(c.requirements).table_valued(
            sa.column("value", JSONB), name="needed"
        )
        rule = needed.c.value["rule"].astext.label("rule")
        rules = tx.all(
            sa.select(rule).select_from(t.approvals.join(needed, sa.true())).where(seen).distinct()
        )
        used = sa.select(c.team_id).where(seen).distinct()
        teams = tx.all(sa.select(t.teams.c.name).where(t.teams.c.id.in_(used)))
        return {
            "rules": sorted(row["rule"] for row in rules),
            "teams": sorted(row["name"] for row in teams),
            "standing_in": [v.human.handle for v in heard if v.for_id is not None],
        }
