"""Policy changes as people see them: in a list, and whole on a page.

Source: Spec PC-5.
"""

from __future__ import annotations

import difflib
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.policy.pipeline import (
    OPEN,
    ChangeFacts,
    ChangeState,
    counting,
    missing_sides,
    not_promotable,
)
from charter.core.policy.pipeline_limits import PipelineLimits
from charter.services.policy_records import edits_of, facts_of, limits_in_force
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_MOST_DIFF_LINES: Final = 2_000  # a page shows no more; the bundles themselves are kept


def summary(row: Row) -> dict[str, Any]:
    """A change in a list."""
    names = (
        "id",
        "source",
        "branch",
        "commit",
        "title",
        "author",
        "state",
        "reason",
        "since",
        "created_at",
        "digest",
        "base_digest",
    )
    return {**{name: row[name] for name in names}, "files": len(row["edits"])}


def view(rt: Runtime, tx: Tx, row: Row) -> dict[str, Any]:
    """A change with everything that its page shows."""
    limits = limits_in_force(rt, tx)
    facts = facts_of(tx, row, limits)
    is_open = facts.state in OPEN
    return {
        **summary(row),
        "description": row["description"],
        "author_ids": list(row["author_ids"]),
        "changed": _changed(row),
        "diff": _diff(row),
        "checks": row["checks"],
        "impact_id": row["impact_id"],
        "reviews": _review_views(tx, row, facts),
        "missing_reviews": list(missing_sides(facts, limits)) if is_open else [],
        "waits_for": facts.slot_holder if facts.state is ChangeState.APPROVED else None,
        "not_promotable": not_promotable(facts, limits, tx.now) if is_open else None,
        "stage": _stage(row, facts, limits),
        "promoted_at": row["promoted_at"],
        "previous_digest": row["previous_digest"],
        "monitor": row["monitor"],
        "monitored_until": None
        if row["promoted_at"] is None
        else row["promoted_at"] + timedelta(seconds=limits.monitor_seconds),
        "closed_at": row["closed_at"],
        "active": facts.active_digest == row["digest"],
    }


def _stage(row: Row, facts: ChangeFacts, limits: PipelineLimits) -> dict[str, Any] | None:
    if facts.state is not ChangeState.STAGED:
        return None
    return {
        "since": row["since"],
        "until": row["since"] + timedelta(seconds=limits.staging_seconds),
        "environments": list(limits.test_environments),
        "decisions_made": facts.decisions_made,
        "decisions_needed": limits.staging_decisions_needed if facts.has_test_projects else 0,
    }


def _changed(row: Row) -> list[dict[str, str]]:
    return [
        {
            "path": edit.path,
            "kind": "added"
            if edit.before is None
            else "deleted"
            if edit.after is None
            else "changed",
        }
        for edit in edits_of(row)
    ]


def _diff(row: Row) -> str:
    lines: list[str] = []
    for edit in edits_of(row):
        lines += difflib.unified_diff(
            (edit.before or "").splitlines(),
            (edit.after or "").splitlines(),
            "/dev/null" if edit.before is None else f"a/{edit.path}",
            "/dev/null" if edit.after is None else f"b/{edit.path}",
            lineterm="",
        )
    if len(lines) > _MOST_DIFF_LINES:
        left = len(lines) - _MOST_DIFF_LINES
        lines = [*lines[:_MOST_DIFF_LINES], f"… and {left} more lines"]
    return "\n".join(lines)


def _review_views(tx: Tx, row: Row, facts: ChangeFacts) -> list[dict[str, Any]]:
    c = t.policy_reviews.c
    query = (
        sa.select(t.policy_reviews, t.people.c.handle)
        .join(t.people, t.people.c.id == c.reviewer_id)
        .where(c.change_id == row["id"])
        .order_by(c.at, c.id)
    )
    standing = counting(facts)
    names = ("id", "reviewer_id", "handle", "side", "verdict", "comment", "impact_id", "at")
    return [
        {
            **{name: found[name] for name in names},
            # Of another candidate or base, or taken back by a later word of the same person.
            "counts": any(
                (r.reviewer_id, r.side, r.approves, r.digest, r.base_digest)
                == (
                    found["reviewer_id"],
                    found["side"],
                    found["verdict"] == "approve",
                    found["digest"],
                    found["base_digest"],
                )
                for r in standing
            ),
        }
        for found in tx.all(query)
    ]
