"""Compares what should run with what runs, and leaves an effect wherever they differ.

A sandbox that ended by itself is started again when a person or a policy still wants it to run; one
that runs and should not (its stop was lost, its row is gone) is stopped. What is not in the
database is an orphan, left by a crash between the two worlds: it is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.workspaces.port import Observation, SandboxState
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.lifecycle.states import Desired, WorkspaceState
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

RECONCILER: Final = ActorRef("system", "reconciler")


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """One pass over everything."""
    seen = {found.workspace_id: found for found in rt.provider.observe_all()}
    mended = 0
    with rt.database.unit_of_work() as tx:
        c = t.workspaces.c
        busy = sa.select(t.outbox.c.workspace_id).where(t.outbox.c.done_at.is_(None))
        rows = tx.all(
            sa.select(t.workspaces)
            .where(c.deleted_at.is_(None), c.id.not_in(busy))
            .order_by(c.id)
            .with_for_update(skip_locked=True)
        )
        for row in rows:
            # What was seen may be older than the row, which is locked now: look again.
            if _differs(row, seen.get(row["id"])) and _differs(row, rt.provider.observe(row["id"])):
                _mend(tx, row)
                mended += 1
        known = set(tx.conn.execute(sa.select(c.id).where(c.id.in_(list(seen)))).scalars())
        gone = set(
            tx.conn.execute(
                sa.select(c.id).where(c.id.in_(list(seen)), c.deleted_at.is_not(None))
            ).scalars()
        )
    orphans = sorted((set(seen) - known) | gone)
    for workspace_id in orphans:
        rt.provider.delete(workspace_id, seen[workspace_id].generation)
    return {"seen": len(seen), "mended": mended, "orphans": len(orphans)}


def _differs(row: Row, found: Observation | None) -> bool:
    runs = found is not None and found.state is SandboxState.RUNNING
    settled = row["observed_generation"] == row["generation"]
    if not settled:  # decided, and no effect is left that would do it
        return True
    if row["desired"] == Desired.RUNNING:
        return not runs
    return runs


def _mend(tx: Tx, row: Row) -> None:
    """Decide the same again under a new generation, so that nothing older can interfere."""
    generation = int(row["generation"]) + 1
    tx.update(
        t.workspaces,
        t.workspaces.c.id == row["id"],
        generation=generation,
        observed=WorkspaceState.PENDING.value
        if row["desired"] == Desired.RUNNING
        else row["observed"],
        state_reason="The sandbox was not as it should be; bringing it back.",
    )
    tx.effect("converge", row["id"], generation)
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=RECONCILER,
            action="workspace.drift-mended",
            resource_kind="workspace",
            resource_id=row["id"],
            outcome=Outcome.DONE,
            facts={"desired": row["desired"], "observed": row["observed"]},
        )
    )
