"""Executes the effects that services left: at least once, fenced by generation.

The effect's row stays locked while it is carried out, so a replica that dies gives it back at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.services.runtime import Runtime
from charter.services.workspace_effects import converge
from charter.store import tables as t

_FIRST_RETRY_SECONDS: Final = 1
_LONGEST_RETRY_SECONDS: Final = 60


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
        result = converge(rt, tx, effect["workspace_id"], effect["generation"], effect["attempts"])
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
