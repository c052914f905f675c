"""Impact analysis: what a candidate policy would change, on recorded decisions and workspaces.

`start` queues a run; the controllers carry it out (`impact_work`) and whoever may try policies
watches it and reads the report. A candidate is any kept bundle, or files that somebody sends: those
are kept apart (`tried_bundles`) and can never be put in force from there.

Source: Spec PC-5, PC-6.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from charter.core.policy.bundle import Bundle
from charter.core.policy.impact import Report
from charter.core.policy.impact_view import Visible, everything
from charter.core.policy.impact_view import view as report_view
from charter.services import paging
from charter.services.access import carry_out, note, simple
from charter.services.decisions import Answer
from charter.services.impact_desk import find_bundle
from charter.services.impact_work import OPEN_STATES, step
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

__all__ = [
    "cancel",
    "create",
    "get",
    "keep_candidate",
    "list_page",
    "report_of_run",
    "start",
    "step",
    "view",
]

DEFAULT_DAYS: Final = 30
_MOST_OPEN: Final = 20  # runs of the whole installation; they share the controllers' time


def keep_candidate(tx: Tx, bundle: Bundle) -> None:
    """Keep the files of a candidate, so that runs can read them; the same again is no change."""
    tx.insert_new(
        t.tried_bundles,
        digest=bundle.digest,
        files={path: bundle.text(path) for path in bundle.files},
        created_at=tx.now,
    )


def start(
    tx: Tx,
    digest: str,
    base_digest: str,
    *,
    requested_by: str,
    days: int = DEFAULT_DAYS,
    change_id: str | None = None,
) -> str:
    """Queue a run of a kept or tried bundle against another; its id.

    It covers the decisions of the last `days` days until now and the workspaces that exist when it
    gets to them.
    """
    run_id = tx.new_id("impact")
    tx.insert(
        t.impact_runs,
        id=run_id,
        change_id=change_id,
        digest=digest,
        base_digest=base_digest,
        requested_by=requested_by,
        since=tx.now - timedelta(days=days),
        until=tx.now,
        state="queued",
        phase="counting",
        report=Report().as_json(),
        created_at=tx.now,
    )
    tx.wake = True
    return run_id


def create(
    rt: Runtime,
    caller: Caller,
    *,
    files: Mapping[str, str] | None = None,
    digest: str | None = None,
    days: int = DEFAULT_DAYS,
) -> dict[str, Any]:
    """Queue a run of these files, or of a kept bundle, against the bundle in force."""
    if (files is None) == (digest is None):
        raise InvalidInputError(
            "An impact analysis takes either files or the digest of a kept bundle.",
            fix="Give one of the two.",
        )

    def act(tx: Tx, answer: Answer) -> str:
        open_runs = sa.select(sa.func.count()).where(t.impact_runs.c.state.in_(OPEN_STATES))
        if int(tx.conn.execute(open_runs).scalar_one()) >= _MOST_OPEN:
            raise ConflictError(
                f"{_MOST_OPEN} impact analyses are waiting or running already.",
                fix="Wait until one has ended, or cancel one: charter policy impact-runs.",
                code="too-many-impact-runs",
            )
        candidate = Bundle(files) if files is not None else find_bundle(tx, str(digest))
        if files is not None:
            keep_candidate(tx, candidate)
        base = rt.policy.active(tx).digest
        run_id = start(tx, candidate.digest, base, requested_by=caller.id, days=days)
        note(
            tx,
            caller,
            "impact.started",
            "impact",
            run_id,
            decision_id=answer.id,
            facts={"digest": candidate.digest, "base": base, "days": days},
        )
        return run_id

    run_id = carry_out(
        rt, lambda _: simple(caller, Permission.POLICY_TRY, ResourceRef("policy")), act
    )
    return get(rt, caller, run_id)


def cancel(rt: Runtime, caller: Caller, run_id: str) -> dict[str, Any]:
    """End a run that goes on; what it has found so far stays."""

    def act(tx: Tx, answer: Answer) -> None:
        row = _row(tx, run_id)
        if row["state"] not in OPEN_STATES:
            raise ConflictError(
                f"This impact analysis has ended: it is {row['state']}.",
                fix="Nothing is left to cancel.",
                code="impact-run-ended",
            )
        c = t.impact_runs.c
        tx.update(
            t.impact_runs,
            c.id == run_id,
            state="cancelled",
            finished_at=tx.now,
            claimed_until=None,
        )
        note(tx, caller, "impact.cancelled", "impact", run_id, decision_id=answer.id)

    carry_out(rt, lambda _: simple(caller, Permission.POLICY_TRY, ResourceRef("policy")), act)
    return get(rt, caller, run_id)


def _row(tx: Tx, run_id: str) -> Row:
    row = tx.one(sa.select(t.impact_runs).where(t.impact_runs.c.id == run_id))
    if row is None:
        raise NotFoundError(
            "There is no such impact analysis.", fix="charter policy impact-runs lists them."
        )
    return row


def _check_reader(caller: Caller, now: datetime) -> None:
    reach = reach_set(caller.subject, Permission.POLICY_TRY, now)
    if not (reach.everything or reach.own):
        raise ForbiddenError(
            "Impact analyses are for those who may try policies.",
            fix="Ask a team lead, a security admin or a platform admin.",
            code="denied",
        )


def visible_to(caller: Caller, now: datetime) -> Visible:
    """Which teams' rows and examples the caller may see: those of decisions they may see."""
    reach = reach_set(caller.subject, Permission.DECISION_VIEW, now)
    if reach.everything:
        return everything
    return lambda team, subject: subject == caller.id or team in reach.teams


def get(rt: Runtime, caller: Caller, run_id: str) -> dict[str, Any]:
    """One run with its report so far."""
    with rt.database.reading() as tx:
        _check_reader(caller, tx.now)
        return view(tx, _row(tx, run_id), visible_to(caller, tx.now))


def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    change: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Runs, newest first, without their reports."""
    with rt.database.reading() as tx:
        _check_reader(caller, tx.now)
        query = sa.select(t.impact_runs)
        if change is not None:
            query = query.where(t.impact_runs.c.change_id == change)
        return paging.newest_first(tx, query, t.impact_runs.c.id, _summary, cursor, limit)


def report_of_run(tx: Tx, run_id: str) -> tuple[str, str | None, Report]:
    """State, error and report of a run, for those who decide by it."""
    row = _row(tx, run_id)
    return row["state"], row["error"], Report.from_json(row["report"])


def _summary(row: Row) -> dict[str, Any]:
    done, total, busy = row["done"], max(row["total"], row["done"]), row["busy_ms"]
    rate = done * 1000 / busy if busy else None
    running = row["state"] in OPEN_STATES
    return {
        **{
            name: row[name]
            for name in (
                "id",
                "change_id",
                "digest",
                "base_digest",
                "requested_by",
                "since",
                "until",
                "state",
                "done",
                "error",
                "created_at",
                "started_at",
                "finished_at",
            )
        },
        "total": total,
        "per_second": None if rate is None else round(rate, 1),
        "eta_seconds": round((total - done) / rate, 1) if running and rate else None,
        "report": None,
        "teams": {},
    }


def view(tx: Tx, row: Row, visible: Visible = everything) -> dict[str, Any]:
    """A run with its report, as faces show it; `teams` gives the names of the teams' ids."""
    report = report_view(Report.from_json(row["report"]), visible)
    keys = {group["key"] for group in report["by"]["team"]}
    names = tx.all(sa.select(t.teams.c.id, t.teams.c.name).where(t.teams.c.id.in_(keys)))
    return {
        **_summary(row),
        "report": report,
        "teams": {name["id"]: name["name"] for name in names},
    }
