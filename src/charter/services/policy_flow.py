"""Takes each policy change one step further: what `core.policy.pipeline` says, carried out.

Level-triggered: a step takes no input, reads what is, and does what is missing. The long work, the
checks in a worker process, happens outside a transaction under a claim that runs out, so a replica
that dies leaves nothing locked and another one takes the work up. What the work found is written
only if the change still is what was looked at: a push, a withdrawal or another bundle in force in
between makes it worthless.

Source: Spec PC-4, PC-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.kernel.errors import CharterError
from charter.core.policy.bundle import Bundle
from charter.core.policy.pipeline import OPEN, ChangeState, Step, Work, applied, next_step
from charter.core.policy.pipeline_limits import PipelineLimits
from charter.services import impact, shadow
from charter.services.policy_bundles import active_digest, ensure_signed, store_bundle
from charter.services.policy_checks import run_checks
from charter.services.policy_records import (
    PIPELINE,
    check_size,
    edits_of,
    facts_of,
    files_of,
    limits_in_force,
    move,
    row_of_change,
)
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_CLAIM: Final = timedelta(minutes=6)  # longer than a worker may take for all checks
_MOST_ATTEMPTS: Final = 3
_MOST_CONFLICTS: Final = 5  # named in the sentence


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Take one change one step further; None when all of them wait."""
    for change_id in _open_changes(rt):
        done = advance(rt, change_id)
        if done is not None:
            return done
    return None


def _open_changes(rt: Runtime) -> list[str]:
    c = t.policy_changes.c
    with rt.database.reading() as tx:
        query = sa.select(c.id).where(
            c.state.in_([state.value for state in OPEN]),
            sa.or_(c.claimed_until.is_(None), c.claimed_until <= tx.now),
        )
        # Those nearest to force first: who has been approved first is staged first.
        return list(tx.conn.execute(query.order_by(c.created_at, c.id)).scalars())


def advance(rt: Runtime, change_id: str) -> Mapping[str, Any] | None:
    """The next step of one change, carried out; None when it waits or somebody has it in hand."""
    with rt.database.unit_of_work() as tx:
        c = t.policy_changes.c
        row = tx.one(
            sa.select(t.policy_changes).where(c.id == change_id).with_for_update(skip_locked=True)
        )
        if row is None or (row["claimed_until"] is not None and row["claimed_until"] > tx.now):
            return None
        limits = limits_in_force(rt, tx)
        what = next_step(facts_of(tx, row, limits), limits)
        if what is None:
            return None
        if what.work is not Work.CHECK:
            return _carry_out(rt, tx, row, what, limits)
        claimed = _claim(tx, row)
    if claimed is None:
        return {"change": change_id, "did": "gave up checking"}
    _check(rt, change_id, claimed)
    return {"change": change_id, "did": "checked"}


def _carry_out(
    rt: Runtime, tx: Tx, row: Row, what: Step, limits: PipelineLimits
) -> Mapping[str, Any] | None:
    if what.to is not None:
        _move(rt, tx, row, what.to, what.reason)
        return {"change": row["id"], "did": what.to.value}
    if what.work is Work.BUILD:
        _build(tx, row, what.reason, limits)
        return {"change": row["id"], "did": "built"}
    if row["impact_id"] is not None:
        return None  # the run is under way
    run_id = impact.start(
        tx,
        row["digest"],
        row["base_digest"],
        requested_by=PIPELINE.id,
        days=limits.impact_days,
        change_id=row["id"],
    )
    tx.update(t.policy_changes, t.policy_changes.c.id == row["id"], impact_id=run_id)
    return {"change": row["id"], "did": "analysis started"}


def _move(rt: Runtime, tx: Tx, row: Row, to: ChangeState, reason: str) -> None:
    if to is ChangeState.STAGED:
        ensure_signed(rt, tx, row["digest"])  # from here on it may decide
        failed = t.policy_failures.c
        tx.conn.execute(sa.delete(t.policy_failures).where(failed.digest == row["digest"]))
    move(tx, row, to, reason)
    if to is ChangeState.STAGED:
        shadow.start(tx, row["digest"], change_id=row["id"])


def _build(tx: Tx, row: Row, reason: str, limits: PipelineLimits) -> None:
    """Apply the edits to the bundle in force; what was found out about the change is void."""
    base = active_digest(tx) or ""
    candidate, conflict = _candidate(tx, row, base, limits)
    if candidate is not None:
        note = f"Candidate of {row['id']}: {row['title']}"
        store_bundle(tx, candidate, loaded_by=PIPELINE.id, note_text=note)
    found: dict[str, Any] = {
        "digest": None if candidate is None else candidate.digest,
        "base_digest": base,
        "conflict": conflict,
        "checks": None,
        "impact_id": None,
        "attempts": 0,
    }
    state = ChangeState(row["state"])
    if state is ChangeState.RECEIVED or conflict is not None:
        tx.update(t.policy_changes, t.policy_changes.c.id == row["id"], **found)
    else:
        move(tx, row, ChangeState.RECEIVED, reason, **found)


def _candidate(
    tx: Tx, row: Row, base: str, limits: PipelineLimits
) -> tuple[Bundle | None, str | None]:
    edits = edits_of(row)
    files, conflicts = applied(files_of(tx, base), edits)
    if conflicts:
        named = ", ".join(conflicts[:_MOST_CONFLICTS])
        return None, (
            f"What is in force has other changes in {named}: bring the change up to date with it"
            " and push again."
        )
    try:
        check_size(edits, limits)
        return Bundle(files), None
    except CharterError as error:
        return None, error.message


# --- checks -----------------------------------------------------------------------------------
def _claim(tx: Tx, row: Row) -> Bundle | None:
    """Claim the change for its checks; None after too many attempts that never ended."""
    attempts = row["attempts"] + 1
    if attempts > _MOST_ATTEMPTS:
        report = {
            "digest": row["digest"],
            "passed": False,
            "summary": f"The checks were begun {_MOST_ATTEMPTS} times and never ended.",
        }
        tx.update(t.policy_changes, t.policy_changes.c.id == row["id"], checks=report)
        return None
    tx.update(
        t.policy_changes,
        t.policy_changes.c.id == row["id"],
        claimed_until=tx.now + _CLAIM,
        attempts=attempts,
    )
    return Bundle(files_of(tx, row["digest"]))


def _check(rt: Runtime, change_id: str, bundle: Bundle) -> None:
    report = run_checks(bundle)
    with rt.database.unit_of_work() as tx:
        row = row_of_change(tx, change_id, lock=True)
        c = t.policy_changes.c
        if row["digest"] != bundle.digest or row["state"] != ChangeState.CHECKING.value:
            tx.update(t.policy_changes, c.id == change_id, claimed_until=None)
            return
        tx.update(t.policy_changes, c.id == change_id, checks=report, claimed_until=None)
        tx.wake = True
