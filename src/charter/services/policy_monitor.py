"""Watches over what is in force: failures become alerts, and a spike takes a promotion back.

After a promotion, refusals by policy in the newest window are compared with the window before the
promotion (`core.policy.pipeline.spike`). Refusals by invariants do not count: no policy has a say
in them. A bundle that is in force and cannot be loaded is taken back whoever put it there; one that
is being watched also when its engine fails.

A step takes no input and can be repeated: what is to be done follows from rows alone.

Source: Spec PC-5.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charter.core.audit.event import ActorRef
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import CharterError, UnavailableError
from charter.core.policy.bundle import Bundle
from charter.core.policy.pipeline import ChangeState, Refusals, Tally, spike
from charter.core.policy.pipeline_limits import PipelineLimits
from charter.services.policy_bundles import (
    SECURITY_AND_PLATFORM,
    Kind,
    active_digest,
    previous_good,
    put_in_force,
    row_of,
    tell,
)
from charter.services.policy_point import compile_engine, write_down
from charter.services.policy_records import limits_in_force, move, record
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

MONITOR: Final = ActorRef("system", "policy-monitor")
_REFUSALS: Final = (Effect.DENY.value, Effect.REQUIRE_APPROVAL.value)


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Look once at failures and at the change that is watched."""
    with rt.database.unit_of_work() as tx:
        with contextlib.suppress(UnavailableError):  # then every decision is a refusal
            rt.policy.active(tx)  # so that a process without requests notices a broken bundle
        for trouble in rt.policy.trouble(tx):
            if trouble.own_fault:
                write_down(tx, trouble.digest, "load", trouble.message)
        return _failures(rt, tx) or _watched(rt, tx)


# --- failures ---------------------------------------------------------------------------------
def _failures(rt: Runtime, tx: Tx) -> Mapping[str, Any] | None:
    c = t.policy_failures.c
    row = tx.one(
        sa.select(t.policy_failures)
        .where(c.announced_at.is_(None))
        .order_by(c.at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if row is None:
        return None
    digest, short = row["digest"], row["digest"][:19]
    tx.update(t.policy_failures, c.digest == digest, c.kind == row["kind"], announced_at=tx.now)
    record(tx, "policy.failed", digest, MONITOR, facts={"kind": row["kind"]})
    what = "cannot be loaded" if row["kind"] == "load" else "failed to decide"
    text = f"The policy bundle {short}… {what}: {row['message']}"
    tell(tx, SECURITY_AND_PLATFORM, "policy-failed", text, ("policy", digest))
    if row["kind"] == "load" and digest == active_digest(tx):
        _take_back(rt, tx, f"{text} The last good bundle is in force again.", None)
    return {"failed": digest, "kind": row["kind"]}


def _take_back(rt: Runtime, tx: Tx, why: str, preferred: str | None) -> str | None:
    """Put the last good bundle in force; None when there is none."""
    for digest in dict.fromkeys((preferred, previous_good(tx))):
        if digest is None:
            continue
        try:
            compile_engine(Bundle(row_of(tx, digest)["files"])).engine.close()
        except CharterError as error:
            write_down(tx, digest, "load", error.message)
            continue
        put_in_force(rt, tx, digest, kind=Kind.AUTOMATIC_ROLLBACK, by=MONITOR, why=why)
        return digest
    return None


# --- the change that is watched ---------------------------------------------------------------
def _watched(rt: Runtime, tx: Tx) -> Mapping[str, Any] | None:
    c = t.policy_changes.c
    row = tx.one(
        sa.select(t.policy_changes)
        .where(c.state == ChangeState.MONITORED.value)
        .with_for_update(skip_locked=True)
    )
    if row is None:
        return None
    limits = limits_in_force(rt, tx)
    before, after = figures(tx, row, limits)
    tx.update(t.policy_changes, c.id == row["id"], monitor=_monitor(tx.now, before, after))
    if (why := _reason_to_take_back(tx, row, before, after, limits)) is not None:
        if _take_back(rt, tx, why, row["previous_digest"]) is None:
            return {"change": row["id"], "did": "nothing to go back to", "why": why}
        move(tx, row, ChangeState.ROLLED_BACK, why, by=MONITOR)
        return {"change": row["id"], "did": "rolled back", "why": why}
    if tx.now >= row["promoted_at"] + timedelta(seconds=limits.monitor_seconds):
        move(tx, row, ChangeState.IN_FORCE, "Nothing rose while it was watched.", by=MONITOR)
        return {"change": row["id"], "did": "in force"}
    return None


def _reason_to_take_back(
    tx: Tx, row: Row, before: Refusals, after: Refusals, limits: PipelineLimits
) -> str | None:
    found = spike(before, after, limits)
    if found is not None:
        return found.sentence()
    c = t.policy_failures.c
    failed = tx.one(
        sa.select(c.message).where(c.digest == row["digest"], c.at >= row["promoted_at"]).limit(1)
    )
    return None if failed is None else f"It failed to decide. {failed['message']}"


def figures(tx: Tx, row: Row, limits: PipelineLimits) -> tuple[Refusals, Refusals]:
    """Refusals in the window before the promotion and in the newest one after it."""
    c, window = t.decisions.c, timedelta(seconds=limits.window_seconds)
    promoted: datetime = row["promoted_at"]
    before = refusals(
        tx, c.at >= promoted - window, c.at < promoted, c.bundle_digest != row["digest"]
    )
    since = max(promoted, tx.now - window)
    after = refusals(tx, c.at >= since, c.bundle_digest == row["digest"])
    return before, after


def refusals(tx: Tx, *where: sa.ColumnElement[bool]) -> Refusals:
    """The decisions that match, and how many of them policy refused, whole and by rule."""
    c = t.decisions.c
    counted = sa.select(sa.func.count()).select_from(t.decisions).where(*where)
    decisions = int(tx.conn.execute(counted).scalar_one())
    spoke = (
        sa.func.jsonb_array_elements(sa.cast(c.result, JSONB)["violations"])
        .table_valued(sa.column("value", JSONB))
        .render_derived(name="violation")
    )
    rule = spoke.c.value["rule"].astext
    refusing = (
        sa.select(c.id, c.subject_id, rule.label("rule"))
        .select_from(t.decisions.join(spoke, sa.true()))
        .where(
            *where,
            c.effect.in_(_REFUSALS),
            spoke.c.value["effect"].astext.in_(_REFUSALS),
            rule.not_like("invariant/%"),
        )
        .cte("refusing")
    )
    columns = (
        sa.func.count(sa.distinct(refusing.c.id)).label("n"),
        sa.func.count(sa.distinct(refusing.c.subject_id)).label("subjects"),
    )
    whole = tx.one(sa.select(*columns))
    by_rule = tx.all(sa.select(refusing.c.rule, *columns).group_by(refusing.c.rule))
    return Refusals(
        decisions,
        Tally() if whole is None else Tally(whole["n"], whole["subjects"]),
        {found["rule"]: Tally(found["n"], found["subjects"]) for found in by_rule},
    )


def _monitor(now: datetime, before: Refusals, after: Refusals) -> dict[str, Any]:
    """The figures as they are stored and shown."""

    def shown(found: Refusals) -> dict[str, Any]:
        return {
            "decisions": found.decisions,
            "refused": found.refused.count,
            "subjects": found.refused.subjects,
            "percent": round(found.percent(found.refused), 1),
            "rules": {rule: tally.count for rule, tally in sorted(found.by_rule.items())},
        }

    return {"at": now.isoformat(), "before": shown(before), "after": shown(after)}
