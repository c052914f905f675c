"""Executes the effects that services left: at least once, fenced by generation.

The effect's row stays locked while it is carried out, so a replica that dies gives it back at once.
An effect that fails in a way nobody foresaw is put off like any other: it must not stand before
the others for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.log import Log
from charter.services.runtime import Runtime
from charter.services.workspace_effects import Converged, converge
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_log = Log("charter.controllers")
_FIRST_RETRY_SECONDS: Final = 1
_LONGEST_RETRY_SECONDS: Final = 60


def _carry_out(rt: Runtime, tx: Tx, effect: Row) -> Converged:
    savepoint = tx.conn.begin_nested()
    try:
        result = converge(rt, tx, effect["workspace_id"], effect["generation"], effect["attempts"])
    except sa.exc.DBAPIError:
        raise  # the transaction is lost, and the effect is as it was
    except Exception as error:  # noqa: BLE001 — see above
        savepoint.rollback()  # house: allow unit-of-work — a savepoint, not the transaction
        _log.exception("effect failed", workspace=effect["workspace_id"])
        return Converged(done=False, error=repr(error)[:500])
    savepoint.commit()  # house: allow unit-of-work — a savepoint, not the transaction
    return result


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Carry out one due effect."""
    c = t.outbox.c
    with rt.database.unit_of_work() as tx:
        effect = tx.one(
            sa.select(t.outbox)
            .where(c.done_at.is_(None), c.next_attempt_at <= tx.now)
            .order_by(c.next_attempt_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if effect is None:
            return None
        result = _carry_out(rt, tx, effect)
        attempts = effect["attempts"] + 1
        delay = min(_FIRST_RETRY_SECONDS * 2 ** effect["attempts"], _LONGEST_RETRY_SECONDS)
        tx.update(
            t.outbox,
            c.id == effect["id"],
            attempts=attempts,
            last_error=result.error or None,
            done_at=tx.now if result.done else None,
            next_attempt_at=tx.now + timedelta(seconds=0 if result.done else delay),
        )
        return {
            "effect": effect["kind"],
            "workspace": effect["workspace_id"],
            "done": result.done,
            "error": result.error,
        }
