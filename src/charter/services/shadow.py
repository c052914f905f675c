"""Shadowing: a staged candidate decides again what was really decided, and nobody acts on it.

While a change is staged, every decision is put to its candidate a moment after it was made, from
the stored facts and in a worker process. Only what differs is kept, the newest of it, with counters
and the same report that impact analysis gives. Whatever the candidate does there (answer wrongly,
fail, never end) happens after the live answer was given, and cannot touch it.

A decision becomes visible when its transaction commits, which may be later than another one that
began after it. So the cursor stays behind the present by more than a transaction waits for a lock.

Source: Spec PC-5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.rego.worker import WorkerFailedError
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.errors import CharterError, ForbiddenError
from charter.core.policy.impact import Case, Report, causes, merged, report_of
from charter.core.policy.impact_view import Visible, everything
from charter.core.policy.impact_view import view as report_view
from charter.services import paging
from charter.services.impact import visible_to
from charter.services.impact_desk import Desk, Question, find_bundle, named, question_of
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

MOST_KEPT: Final = 500  # differing results of one run; the report counts all of them
_BEHIND: Final = timedelta(seconds=20)  # transactions wait for a lock for 15 at most
_CLAIM: Final = timedelta(seconds=120)
_PAGE: Final = 250
_SHOWN: Final = 50


# --- what the pipeline calls ------------------------------------------------------------------
def start(tx: Tx, digest: str, *, change_id: str | None = None) -> str:
    """Shadow with this bundle from now on; the id of the run."""
    run_id = tx.new_id("impact")
    tx.insert(
        t.shadow_runs,
        id=run_id,
        change_id=change_id,
        digest=digest,
        state="active",
        cursor_at=tx.now,
        cursor_id="",
        report=Report().as_json(),
        started_at=tx.now,
    )
    return run_id


def end(tx: Tx, change_id: str) -> None:
    """The change is no longer staged; what its shadow found stays."""
    c = t.shadow_runs.c
    tx.update(
        t.shadow_runs,
        c.change_id == change_id,
        c.ended_at.is_(None),
        state=sa.case((c.state == "active", "ended"), else_=c.state),
        ended_at=tx.now,
        claimed_until=None,
    )


def of_change(tx: Tx, change_id: str, visible: Visible = everything) -> dict[str, Any] | None:
    """The newest shadow of a change, as faces show it; None when it was never staged."""
    c = t.shadow_runs.c
    query = sa.select(t.shadow_runs).where(c.change_id == change_id).order_by(c.id.desc()).limit(1)
    row = tx.one(query)
    return None if row is None else _view(tx, row, visible)


# --- what the controller calls ----------------------------------------------------------------
@dataclass(slots=True)
class KeptDesk:
    """The workers of the last page, for the next one; starting them takes longer than a page."""

    desk: Desk | None = None

    def of(self, rt: Runtime, run: Row) -> Desk:
        """Workers with the run's candidate and the bundle in force."""
        with rt.database.reading() as tx:
            base = rt.policy.active(tx).bundle
            held = self.desk
            if held is not None and [b.digest for b in held.bundles] == [
                run["digest"],
                base.digest,
            ]:
                return held
            candidate = find_bundle(tx, run["digest"])
        self.close()
        self.desk = Desk(candidate, base)
        return self.desk

    def close(self) -> None:
        """End the workers."""
        if self.desk is not None:
            self.desk.close()
        self.desk = None


@dataclass(slots=True)
class _Page:
    """One page of a run: what is new, and what came of it."""

    questions: list[Question] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)

    @property
    def differing(self) -> list[Case]:
        return [case for case in self.cases if not case.missing and case.before != case.after]


def step(rt: Runtime, kept: KeptDesk) -> Mapping[str, Any] | None:
    """Put one page of new decisions to one staged candidate; None when there was none."""
    claimed = _claim(rt)
    if claimed is None:
        kept.close()
        return None
    run, token = claimed
    page = _Page(_new_decisions(rt, run))
    if not page.questions:
        _release(rt, run, token)
        return None
    try:
        desk = kept.of(rt, run)
        try:
            page.cases = desk.cases(page.questions)
        except WorkerFailedError as error:
            raise named(error, desk.bundles, page.questions) from error
    except CharterError as error:
        kept.close()
        if error.code.startswith("database-"):
            raise
        _fail(rt, run, token, f"{error.message} {error.fix}".strip())
        return {"run": run["id"], "failed": error.message}
    _save(rt, run, token, page)
    return {"run": run["id"], "seen": len(page.questions), "differing": len(page.differing)}


def _claim(rt: Runtime) -> tuple[Row, datetime] | None:
    """The active run that is furthest behind, held for two minutes."""
    c = t.shadow_runs.c
    with rt.database.unit_of_work() as tx:
        row = tx.one(
            sa.select(t.shadow_runs)
            .where(
                c.state == "active", sa.or_(c.claimed_until.is_(None), c.claimed_until <= tx.now)
            )
            .order_by(c.cursor_at, c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if row is None:
            return None
        token = tx.now + _CLAIM
        tx.update(t.shadow_runs, c.id == row["id"], claimed_until=token)
        return row, token


def _new_decisions(rt: Runtime, run: Row) -> list[Question]:
    c = t.decisions.c
    with rt.database.reading() as tx:
        rows = tx.all(
            sa.select(t.decisions)
            .where(
                sa.tuple_(c.at, c.id)
                > sa.tuple_(sa.literal(run["cursor_at"]), sa.literal(run["cursor_id"])),
                c.at <= tx.now - _BEHIND,
            )
            .order_by(c.at, c.id)
            .limit(_PAGE)
        )
    # The live answer is what counts, whichever bundle gave it.
    return [question_of(row, row["bundle_digest"]) for row in rows]


def _write(tx: Tx, run: Row, token: datetime, **values: object) -> bool:
    """Write to the run if its claim still holds."""
    c = t.shadow_runs.c
    held = (c.id == run["id"], c.state == "active", c.claimed_until == token)
    return tx.update(t.shadow_runs, *held, claimed_until=None, **values) == 1


def _release(rt: Runtime, run: Row, token: datetime) -> None:
    with rt.database.unit_of_work() as tx:
        _write(tx, run, token)


def _fail(rt: Runtime, run: Row, token: datetime, error: str) -> None:
    with rt.database.unit_of_work() as tx:
        _write(tx, run, token, state="failed", error=error)


def _save(rt: Runtime, run: Row, token: datetime, page: _Page) -> None:
    last = page.questions[-1]
    part = report_of(page.cases)
    with rt.database.unit_of_work() as tx:
        kept = _write(
            tx,
            run,
            token,
            cursor_at=last.at,
            cursor_id=last.id,
            seen=run["seen"] + len(page.questions),
            differing=run["differing"] + len(page.differing),
            failed=run["failed"] + part.failed,
            report=merged(Report.from_json(run["report"]), part).as_json(),
        )
        if kept:
            _keep(tx, run["id"], page.differing)


def _keep(tx: Tx, run_id: str, cases: Sequence[Case]) -> None:
    """Keep these results, and of all that the run has kept the newest."""
    d = t.shadow_differences.c
    for case in cases:
        reasons = causes(case.before, case.after) or tuple(case.after["violations"])
        tx.insert(
            t.shadow_differences,
            run_id=run_id,
            decision_id=case.id,
            at=datetime.fromisoformat(case.at),
            before=case.before["effect"],
            after=case.after["effect"],
            rules=sorted({reason["rule"] for reason in reasons}),
            result=canonical_json(case.after),
        )
    newest = (
        sa.select(d.decision_id)
        .where(d.run_id == run_id)
        .order_by(d.at.desc(), d.decision_id.desc())
        .limit(MOST_KEPT)
    )
    if cases:
        tx.conn.execute(
            sa.delete(t.shadow_differences).where(
                d.run_id == run_id, d.decision_id.not_in(newest.scalar_subquery())
            )
        )


# --- what faces call --------------------------------------------------------------------------
def list_page(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Shadow runs, newest first, with what they have found."""
    with rt.database.reading() as tx:
        reach = reach_set(caller.subject, Permission.POLICY_TRY, tx.now)
        if not (reach.everything or reach.own):
            raise ForbiddenError(
                "What candidates answer is for those who may try policies.",
                fix="Ask a team lead, a security admin or a platform admin.",
                code="denied",
            )
        visible = visible_to(caller, tx.now)
        return paging.newest_first(
            tx,
            sa.select(t.shadow_runs),
            t.shadow_runs.c.id,
            lambda row: _view(tx, row, visible),
            cursor,
            limit,
        )


def _view(tx: Tx, row: Row, visible: Visible) -> dict[str, Any]:
    d, c = t.shadow_differences.c, t.decisions.c
    differences = tx.all(
        sa.select(
            d.decision_id, d.at, d.before, d.after, d.rules, c.action, c.team_id, c.subject_id
        )
        .join(t.decisions, c.id == d.decision_id)
        .where(d.run_id == row["id"])
        .order_by(d.at.desc(), d.decision_id.desc())
        .limit(_SHOWN)
    )
    names = (
        "id",
        "change_id",
        "digest",
        "state",
        "seen",
        "differing",
        "failed",
        "error",
        "started_at",
        "ended_at",
    )
    return {
        **{name: row[name] for name in names},
        "report": report_view(Report.from_json(row["report"]), visible),
        "differences": [
            dict(found) for found in differences if visible(found["team_id"], found["subject_id"])
        ],
    }
