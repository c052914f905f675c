"""Approvals: who waits for whom; and, from the modules beside this one, votes and words.

What a yes does stands in `approval_voting`, what it leads to in `approval_actions`, who is meant by
an approver's word in `approval_entitlement`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.services import approval_records as records
from charter.services import paging
from charter.services.access import carry_out, note
from charter.services.approval_comments import comment
from charter.services.approval_entitlement import call_off
from charter.services.approval_questions import pending, question
from charter.services.approval_rows import left_at
from charter.services.approval_voting import approve, deny
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

__all__ = ["approve", "cancel", "comment", "deny", "get", "list_page"]


# --- reading ----------------------------------------------------------------------------------


def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    state: str | None = None,
    mine: bool = False,
    for_me: bool = False,
    rule: str | None = None,
    team: str | None = None,
    requester: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Approvals that the caller may see: own ones with `mine`, votable ones with `for_me`.

    `rule` is the gate that asks, `team` and `requester` are names or ids; unknown ones match none.
    """
    with rt.database.reading() as tx:
        heard = records.voices_of(tx, caller)
        c = t.approvals.c
        query = sa.select(c.id)
        if for_me:  # whoever may vote may see
            query = query.where(records.votable(tx, caller, heard))
        else:
            query = query.where(records.visible_approvals(tx, caller, heard))
        if mine:
            query = query.where(sa.or_(c.requester_id == caller.id, c.sponsor_id == caller.id))
        query = query.where(*_filters(rule, team, requester), *_in_state(tx, state))
        page = paging.newest_first(tx, query, c.id, dict, cursor, limit)
        ids = [row["id"] for row in page["items"]]
        return {**page, "items": records.views(tx, caller, ids)}


def _filters(
    rule: str | None, team: str | None, requester: str | None
) -> list[sa.ColumnElement[bool]]:
    c, found = t.approvals.c, []
    if rule is not None:
        found.append(c.requirements.contains([{"rule": rule}]))
    for given, columns, table, name in (
        (team, (c.team_id,), t.teams, t.teams.c.name),
        (requester, (c.requester_id, c.sponsor_id), t.people, t.people.c.handle),
    ):
        if given is not None:
            named = sa.select(table.c.id).where(sa.or_(name == given, table.c.id == given))
            found.append(sa.or_(*(column.in_(named) for column in columns)))
    return found


def _in_state(tx: Tx, state: str | None) -> list[sa.ColumnElement[bool]]:
    """The filter for a computed state: what ran out or was left needs no sweep to be so."""
    c = t.approvals.c
    open_, late = c.state == "pending", c.deadline <= tx.now
    match state:
        case None:
            return []
        case "pending":
            return [records.still_pending(tx)]
        case "expired":
            return [sa.or_(c.state == "expired", sa.and_(open_, late, nobody_left_before(tx)))]
        case "cancelled":
            left = sa.and_(open_, sa.not_(nobody_left_before(tx)))
            return [sa.or_(c.state == "cancelled", left)]
        case _:
            return [c.state == state]


def nobody_left_before(tx: Tx) -> sa.ColumnElement[bool]:
    """The filter of requests whose requester was there up to the deadline, or up to now."""
    c, left = t.approvals.c, left_at().element
    return sa.or_(left.is_(None), left > sa.func.least(c.deadline, tx.now))


def get(rt: Runtime, caller: Caller, approval_id: str) -> dict[str, Any]:
    """One approval."""
    with rt.database.reading() as tx:
        records.check_visible(tx, caller, approval_id)
        return records.view(tx, caller, approval_id)


# --- withdrawing and talking ------------------------------------------------------------------
def cancel(
    rt: Runtime, caller: Caller, approval_id: str, reason: str | None = None
) -> dict[str, Any]:
    """The requester takes the request back; whoever was asked reads why."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row, _ = pending(tx, approval_id, "Nothing is left to cancel.")
        tx.update(
            t.approvals,
            t.approvals.c.id == approval_id,
            state="cancelled",
            closed_at=tx.now,
            outcome=reason,
        )
        call_off(tx, [approval_id])
        note(
            tx,
            caller,
            "approval.cancelled",
            "approval",
            approval_id,
            decision_id=answer.id,
            private=None if not reason else {"reason": reason},
        )
        return records.view(tx, caller, row["id"])

    return carry_out(
        rt, lambda tx: question(rt, tx, caller, approval_id, Permission.APPROVAL_CANCEL), act
    )
