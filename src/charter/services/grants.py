"""Grants: who holds which yes, until when; and taking it back.

A grant is made by the last vote on a request (`approval_voting`). It ends by itself, and that is
computed when it is looked at. Asking for the same again stands in `grant_renewal`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.approvals.grants import GrantState
from charter.core.kernel.errors import (
    ConflictError,
)
from charter.services import approval_requests, paging
from charter.services.access import carry_out, note
from charter.services.decisions import Answer
from charter.services.grant_records import (
    grant_rows,
    holder_of,
    locked,
    question,
    state_now,
    view,
    views,
    visible_grants,
    visible_row,
)
from charter.services.grant_renewal import Renewal, renew
from charter.services.lifecycle import recheck_granted
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

__all__ = ["Renewal", "get", "list_page", "renew", "revoke"]


# --- reading ----------------------------------------------------------------------------------
def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    mine: bool = False,
    holds: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Grants that the caller may see, newest first; `mine` own ones and those of own agents.

    With `holds`, those that neither ran out nor were used or taken back. One whose task or whose
    holder's role has ended is still listed, with that as its state.
    """
    with rt.database.reading() as tx:
        c, a = t.grants.c, t.approvals.c
        query = grant_rows().where(visible_grants(tx, caller))
        if mine:
            query = query.where(sa.or_(c.subject_id == caller.id, a.sponsor_id == caller.id))
        if holds:
            query = query.where(c.revoked_at.is_(None), c.used_at.is_(None), c.expires_at > tx.now)
        found: list[Row] = []

        def keep(row: Row) -> dict[str, Any]:
            found.append(row)
            return {"id": row["id"]}

        page = paging.newest_first(tx, query, c.id, keep, cursor, limit)
        return {**page, "items": views(tx, caller, found[: len(page["items"])])}


def get(rt: Runtime, caller: Caller, grant_id: str) -> dict[str, Any]:
    """One grant."""
    with rt.database.reading() as tx:
        return view(tx, caller, visible_row(tx, caller, grant_id))


# --- changing ---------------------------------------------------------------------------------
def revoke(rt: Runtime, caller: Caller, grant_id: str, reason: str | None = None) -> dict[str, Any]:
    """End a grant now: its holder, whoever gave it, or whoever may see to the team's grants.

    What runs by it is looked at at once.
    """

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = locked(tx, grant_id)
        state = state_now(tx, row, holder_of(tx, row))
        if state in (GrantState.REVOKED, GrantState.EXPIRED, GrantState.USED):
            raise ConflictError(
                f"The grant has ended already: it is {state}.",
                fix="Nothing is left to take back.",
                code="grant-ended",
            )
        tx.update(
            t.grants,
            t.grants.c.id == grant_id,
            revoked_at=tx.now,
            revoked_by=caller.id,
            revoke_reason=reason,
        )
        recheck_granted(tx, row["subject_id"])
        note(
            tx,
            caller,
            "grant.revoked",
            "grant",
            grant_id,
            decision_id=answer.id,
            private=None if not reason else {"reason": reason},
        )
        if row["sponsor_id"] != caller.id:
            approval_requests.notify(
                tx,
                row["sponsor_id"],
                "grant-revoked",
                f"A grant was taken back: {row['summary']}. {reason or ''}".strip(),
                resource=("grant", grant_id),
            )
        return view(tx, caller, locked(tx, grant_id))

    return carry_out(rt, lambda tx: question(tx, caller, grant_id, Permission.GRANT_REVOKE), act)
