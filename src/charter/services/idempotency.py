"""Creates that may be repeated: the same key gives the same thing, not a second one.

The key's row is written in the transaction that creates. A repetition that arrives meanwhile waits
for that transaction and then finds its result; after a crash nothing was written and the
repetition creates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from charter.core.kernel.canonical import digest
from charter.core.kernel.errors import ConflictError, InvalidInputError
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_LONGEST_KEY = 200


def recall(tx: Tx, subject_id: str, key: str | None, request: object) -> Mapping[str, Any] | None:
    """What this key made before; None when it is new (and now taken) or there is no key.

    Raises ConflictError when the key was used for another request.
    """
    if key is None:
        return None
    if not 1 <= len(key) <= _LONGEST_KEY or not key.isprintable():
        raise InvalidInputError(
            f"An idempotency key has 1 to {_LONGEST_KEY} printable characters.",
            fix="Use a fresh UUID for each thing to create.",
        )
    request_digest = digest(request)
    c = t.idempotency_keys.c
    if tx.insert_new(
        t.idempotency_keys,
        subject_id=subject_id,
        key=key,
        request_digest=request_digest,
        response=None,
        created_at=tx.now,
    ):
        return None
    row = tx.one(sa.select(t.idempotency_keys).where(c.subject_id == subject_id, c.key == key))
    if row is None or row["request_digest"] != request_digest:
        raise ConflictError(
            "This idempotency key was used for a different request.",
            fix="Use a fresh key for each thing to create.",
            code="idempotency-key-reused",
        )
    response: Mapping[str, Any] | None = row["response"]
    return response


def remember(tx: Tx, subject_id: str, key: str | None, response: Mapping[str, Any]) -> None:
    """Keep what the key made."""
    if key is not None:
        c = t.idempotency_keys.c
        tx.update(
            t.idempotency_keys, c.subject_id == subject_id, c.key == key, response=dict(response)
        )


def forget(tx: Tx, subject_id: str, key: str | None) -> None:
    """Free the key again: a refusal made nothing, and what was refused may be asked again."""
    if key is not None:
        c = t.idempotency_keys.c
        tx.conn.execute(
            sa.delete(t.idempotency_keys).where(c.subject_id == subject_id, c.key == key)
        )
