"""One way to page: by the id of the last row seen, newest first.

Ids begin with their time, so a page is an index range; a row that arrives meanwhile never shifts
the following page, as a numbered offset would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

from charter.core.kernel.errors import InvalidInputError
from charter.store.unit_of_work import Row, Tx

LARGEST_PAGE: Final = 200


def newest_first(
    tx: Tx,
    query: sa.Select[Any],
    key: sa.ColumnElement[str],
    view: Callable[[Row], dict[str, Any]],
    cursor: str | None,
    limit: int,
) -> dict[str, Any]:
    """`{"items": […], "next": cursor|None}` for the page after `cursor`."""
    limit = checked_limit(limit)
    if cursor is not None:
        query = query.where(key < cursor)
    rows = tx.all(query.order_by(key.desc()).limit(limit + 1))
    items = [view(row) for row in rows[:limit]]
    return {"items": items, "next": items[-1]["id"] if len(rows) > limit else None}


def checked_limit(limit: int) -> int:
    """`limit`, if a page may have that many rows."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise InvalidInputError(
            f"A page has 1 to {LARGEST_PAGE} rows, not {limit}.",
            fix="Ask for less and follow `next`.",
        )
    return limit
