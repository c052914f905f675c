"""Quota lines in the database: made from policy data, locked in order, changed under a guard.

The order of locking is the sorted order of the scope keys, everywhere; the `CHECK` constraint of
the table stands behind the pure decision, so that a wrong decision could still not oversell.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charter.core.kernel.errors import ConflictError
from charter.core.resources.amounts import DIMENSIONS, Amount
from charter.core.resources.quotas import QuotaLine
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

__all__ = [
    "QuotaLine",
    "book",
    "ensure",
    "lines",
    "missing_amount",
    "release",
    "reserved_scopes",
]


def _default(rt: Runtime, tx: Tx, scope: str) -> Amount:
    return rt.policy.active(tx).data.quotas[scope.split(":", 1)[0]]


def ensure(rt: Runtime, tx: Tx, scopes: Sequence[str]) -> None:
    """Make the lines that do not exist yet, with the limits of the active policy."""
    known = {
        row["scope"]
        for row in tx.all(sa.select(t.quotas.c.scope).where(t.quotas.c.scope.in_(scopes)))
    }
    for scope in sorted(set(scopes) - known):
        quota = _default(rt, tx, scope)
        tx.conn.execute(
            insert(t.quotas)
            .values(
                scope=scope,
                **{f"{d}_limit": quota.of(d) for d in DIMENSIONS},
            )
            .on_conflict_do_nothing()
        )


def lines(tx: Tx, scopes: Sequence[str], *, lock: bool = False) -> tuple[QuotaLine, ...]:
    """The lines of `scopes` in the order of locking; `lock` holds them until the commit."""
    query = sa.select(t.quotas).where(t.quotas.c.scope.in_(scopes)).order_by(t.quotas.c.scope)
    if lock:
        query = query.with_for_update()
    rows = tx.all(query)
    raised = raised_by(tx, scopes)
    return tuple(_line(tx, row, raised.get(row["scope"], Amount())) for row in rows)


def raised_by(tx: Tx, scopes: Sequence[str]) -> dict[str, Amount]:
    """What overrides add to the limits of these scopes now; those that ended add nothing."""
    c = t.quota_overrides.c
    rows = tx.all(
        sa.select(c.scope, c.dimension, sa.func.sum(c.amount).label("amount"))
        .where(
            c.scope.in_(scopes),
            c.created_at <= tx.now,
            c.expires_at > tx.now,
            c.revoked_at.is_(None),
        )
        .group_by(c.scope, c.dimension)
    )
    raised: dict[str, Amount] = {}
    for row in rows:
        more = Amount(**{row["dimension"]: int(row["amount"])})
        raised[row["scope"]] = raised.get(row["scope"], Amount()) + more
    return raised


def _line(tx: Tx, row: Row, raised: Amount) -> QuotaLine:
    return QuotaLine(
        scope=row["scope"],
        limit=Amount(**{d: row[f"{d}_limit"] for d in DIMENSIONS}) + raised,
        raised=raised,
        used=Amount(**{d: row[f"{d}_used"] for d in DIMENSIONS}),
        label=_label(tx, row["scope"]),
    )


_NAMES = {
    "user": (t.people, "handle"),
    "team": (t.teams, "name"),
    "project": (t.projects, "name"),
    "agent": (t.agents, "name"),
}


def _label(tx: Tx, scope: str) -> str:
    kind, _, id_ = scope.partition(":")
    table, column = _NAMES[kind]
    row = tx.one(sa.select(table.c[column]).where(table.c.id == id_))
    return f"{kind} {row[column]}" if row is not None else ""


def book(tx: Tx, workspace_id: str, held: Sequence[QuotaLine], amount: Amount) -> None:
    """Take `amount` from each line for the workspace; the lines must be locked and must give."""
    for line in held:
        changed = tx.conn.execute(
            sa.update(t.quotas)
            .where(
                t.quotas.c.scope == line.scope,
                *(
                    t.quotas.c[f"{d}_used"] + amount.of(d) <= line.limit.of(d)
                    for d in DIMENSIONS
                    if amount.of(d)
                ),
            )
            .values({f"{d}_used": t.quotas.c[f"{d}_used"] + amount.of(d) for d in DIMENSIONS})
        ).rowcount
        if changed != 1:
            raise ConflictError(
                "The quota was used up meanwhile.", fix="Try again.", code="quota-raced"
            )
        added = insert(t.reservations).values(
            workspace_id=workspace_id, scope=line.scope, **amount.as_json()
        )
        tx.conn.execute(
            added.on_conflict_do_update(
                index_elements=["workspace_id", "scope"],
                set_={d: t.reservations.c[d] + added.excluded[d] for d in DIMENSIONS},
            )
        )


_WHILE_RUNNING = ("vcpu", "memory_mib", "gpu")  # what a stopped workspace does not hold


def release(tx: Tx, workspace_id: str, *, stopped_only: bool = False) -> None:
    """Give back what the workspace holds; a merely stopped one keeps its disk and its place.

    Doing it twice gives back once, because what is given back is what the reservation still says.
    """
    scopes = sa.select(t.reservations.c.scope).where(t.reservations.c.workspace_id == workspace_id)
    tx.all(
        sa.select(t.quotas.c.scope)
        .where(t.quotas.c.scope.in_(scopes))
        .order_by(t.quotas.c.scope)
        .with_for_update()
    )
    freed = _WHILE_RUNNING if stopped_only else DIMENSIONS
    held = tx.all(
        sa.select(t.reservations)
        .where(t.reservations.c.workspace_id == workspace_id)
        .order_by(t.reservations.c.scope)
        .with_for_update()
    )
    for row in held:
        tx.update(
            t.quotas,
            t.quotas.c.scope == row["scope"],
            **{f"{d}_used": t.quotas.c[f"{d}_used"] - row[d] for d in freed},
        )
    mine = t.reservations.c.workspace_id == workspace_id
    if stopped_only:
        tx.update(t.reservations, mine, **dict.fromkeys(_WHILE_RUNNING, 0))
    else:
        tx.conn.execute(sa.delete(t.reservations).where(mine))


def reserved_scopes(tx: Tx, workspace_id: str) -> list[str]:
    """The scopes in which the workspace counts, in the order of locking."""
    rows = tx.all(
        sa.select(t.reservations.c.scope).where(t.reservations.c.workspace_id == workspace_id)
    )
    return sorted(row["scope"] for row in rows)


def missing_amount(tx: Tx, row: Row) -> Amount:
    """What a stopped workspace gave back and needs again to run."""
    held = tx.one(
        sa.select(t.reservations)
        .where(t.reservations.c.workspace_id == row["id"])
        .order_by(t.reservations.c.scope)
        .limit(1)
    )
    full = Amount(row["vcpu"], row["memory_mib"], row["disk_mib"], row["gpu"], 1)
    return full if held is None else full - Amount(**{d: held[d] for d in DIMENSIONS})
