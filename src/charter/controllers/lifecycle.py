"""Looks at workspaces whose time to be looked at has come: warns, stops, deletes.

Before it judges, it asks the provider what was seen of use, so that a workspace that is used
through a command that has run for hours is not taken for idle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from charter.core.lifecycle.states import Desired
from charter.services.lifecycle import check, note_activity
from charter.services.runtime import Runtime
from charter.store import tables as t


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Look at one due workspace."""
    c = t.workspaces.c
    with rt.database.unit_of_work() as tx:
        row = tx.one(
            sa.select(t.workspaces)
            .where(c.next_check_at <= tx.now)
            .order_by(c.next_check_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if row is None:
            return None
        if row["desired"] == Desired.RUNNING:
            note_activity(tx, row, rt.provider.observe(row["id"]))
            fresh = tx.one(sa.select(t.workspaces).where(c.id == row["id"]))
            row = row if fresh is None else fresh
        transition = check(rt, tx, row)
        return {
            "workspace": row["id"],
            "did": transition.kind.value,
            "reason": transition.reason_code,
        }
