"""How often each rule spoke, counted from the decisions: a controller's work, read by pages.

A quarter's decisions are far too many to read for one page, and counting inside the decision would
make all of them wait for one row. So `count_some` reads what was decided since it last looked and
adds it to one row a day, rule, effect and kind. It stays a little behind on purpose: a decision
whose transaction is still open has an older id than its commit.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charter.core.kernel.canonical import canonical_json
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

BATCH: Final = 2000
_BEHIND: Final = timedelta(seconds=90)  # longer than any statement of a unit of work may take

SPOKE: Final = "spoke"
DRY_RUN: Final = "dry-run"
EXEMPTED: Final = "exempted"

Key = tuple[Any, str, str, str, str]


def count_some(rt: Runtime) -> int:
    """Count the next decisions; how many there were. Nothing while another replica counts."""
    with rt.database.unit_of_work() as tx:
        tx.conn.execute(
            insert(t.rule_usage_position).values(decision_id="").on_conflict_do_nothing()
        )
        place = tx.one(
            sa.select(t.rule_usage_position.c.decision_id).with_for_update(skip_locked=True)
        )
        if place is None:
            return 0
        c = t.decisions.c
        rows = tx.all(
            sa.select(c.id, c.at, c.result)
            .where(c.id > place["decision_id"], c.at < tx.now - _BEHIND)
            .order_by(c.id)
            .limit(BATCH)
        )
        if not rows:
            return 0
        _add(tx, rows)
        tx.update(t.rule_usage_position, sa.true(), decision_id=rows[-1]["id"])
        return len(rows)


def _add(tx: Tx, rows: Any) -> None:
    counts: Counter[Key] = Counter()
    last: dict[Key, Row] = {}
    for row in rows:
        for rule, effect, said, exemption in said_in(json.loads(row["result"])):
            key = (row["at"].date(), rule, effect, said, exemption)
            counts[key] += 1
            last[key] = row
    if not counts:
        return
    statement = insert(t.rule_usage).values(
        [
            {
                "day": key[0],
                "rule": key[1],
                "effect": key[2],
                "said": key[3],
                "exemption": key[4],
                "count": count,
                "last_at": last[key]["at"],
                "last_decision_id": last[key]["id"],
            }
            for key, count in sorted(counts.items())
        ]
    )
    tx.conn.execute(
        statement.on_conflict_do_update(
            index_elements=["day", "rule", "effect", "said", "exemption"],
            set_={
                "count": t.rule_usage.c.count + statement.excluded.count,
                "last_at": statement.excluded.last_at,
                "last_decision_id": statement.excluded.last_decision_id,
            },
        )
    )


def said_in(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(rule, effect, how it counted, exemption) of every rule that spoke in a stored result."""
    for reason in result.get("violations", ()):
        yield reason["rule"], reason["effect"], SPOKE, ""
    for reason in result.get("shadow", ()):
        exempted = reason.get("mode") != "dry-run"
        which = reason.get("exemption")
        yield (
            reason["rule"],
            reason["effect"],
            EXEMPTED if exempted else DRY_RUN,
            canonical_json(which) if exempted and which is not None else "",
        )


def totals(
    tx: Tx, since: datetime, until: datetime, *, rule: str | None = None
) -> list[dict[str, Any]]:
    """Counts of [since, until] by rule, effect and how they counted, most first; whole days."""
    c = t.rule_usage.c
    query = (
        sa.select(
            c.rule,
            c.effect,
            c.said,
            sa.func.sum(c.count).label("count"),
            sa.func.max(c.last_at).label("last_at"),
        )
        .where(c.day >= since.date(), c.day <= until.date())
        .group_by(c.rule, c.effect, c.said)
        .order_by(sa.func.sum(c.count).desc(), c.rule)
    )
    if rule is not None:
        query = query.where(c.rule == rule)
    return [{**row, "count": int(row["count"])} for row in tx.all(query)]
