"""Carrying out impact runs: page after page of decisions and workspaces, in worker processes.

A run is a row with a cursor and a report. `step` claims one run for a minute, goes on from its
cursor for a few seconds and writes cursor and report in one statement, at least every second; so a
crash costs a second of work and counts nothing twice. Between pages no transaction is open. A
claim that was lost (the run was cancelled, or somebody else went on after the minute) makes that
statement match nothing, and what was computed is dropped.

The candidate is nobody's reviewed code yet: it is loaded and evaluated in a `PolicyWorker`. When
that overruns its limits the run fails with a sentence that names the decision and, where it can be
told, the file; nothing else is touched.

Source: Spec PC-5, PC-6.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.rego.worker import WorkerFailedError
from charter.core.access.permissions import Permission
from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.errors import CharterError, NotFoundError
from charter.core.policy.impact import Report, merged
from charter.core.resources.amounts import Amount
from charter.services import quotas
from charter.services.decisions import facts_of
from charter.services.impact_desk import Desk, Question, find_bundle, named, question_of
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_agent, load_human
from charter.services.workspace_questions import question_about
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

OPEN_STATES: Final = ("queued", "running")
_CLAIM: Final = timedelta(seconds=60)
_SLICE_SECONDS: Final = 10.0  # then other runs get their turn
_SAVE_SECONDS: Final = 1.0
_PAGE: Final = 250
_WORKSPACES_PAGE: Final = 50  # each is a dozen small queries


# --- pages ----------------------------------------------------------------------------------
def _decisions_page(tx: Tx, run: Progress) -> list[Question]:
    c = t.decisions.c
    query = sa.select(t.decisions).where(c.at >= run.since, c.at < run.until)
    if run.cursor_at is not None:
        query = query.where(
            sa.tuple_(c.at, c.id) < sa.tuple_(sa.literal(run.cursor_at), sa.literal(run.cursor_id))
        )
    rows = tx.all(query.order_by(c.at.desc(), c.id.desc()).limit(_PAGE))
    return [question_of(row, run.base_digest) for row in rows]


def _workspaces_page(rt: Runtime, tx: Tx, run: Progress) -> list[Question]:
    c = t.workspaces.c
    rows = tx.all(
        sa.select(t.workspaces)
        .where(c.deleted_at.is_(None), c.id > (run.cursor_id or ""))
        .order_by(c.id)
        .limit(_WORKSPACES_PAGE)
    )
    return [_start_question(rt, tx, row) for row in rows]


def _start_question(rt: Runtime, tx: Tx, row: Row) -> Question:
    """May its owner start it (again) now? How its owner would be signed in is not known."""
    agent = row["owner_kind"] == "agent"
    subject = load_agent(tx, row["owner_id"]) if agent else load_human(tx, row["owner_id"])
    if subject is None:  # the foreign keys forbid it
        raise NotFoundError("The owner of a workspace does not exist.", fix="Ask an administrator.")
    running = row["desired"] == "running" and row["observed"] != "failed"
    facts = facts_of(
        tx,
        question_about(
            rt,
            tx,
            Caller(subject, via="impact", credential_id="none", networks="not-asked"),
            row,
            Permission.WORKSPACE_START,
            quota=(
                quotas.lines(tx, quotas.reserved_scopes(tx, row["id"]), lock=False),
                Amount() if running else quotas.missing_amount(tx, row),
            ),
        ),
    )
    for unknown in ("via", "mfa", "has_passkey"):
        facts["document"]["subject"].pop(unknown, None)
    return Question(
        origin="workspace",
        id=row["id"],
        at=tx.now,
        subject_kind=row["owner_kind"],
        subject_id=row["owner_id"],
        team=row["team_id"],
        action=Permission.WORKSPACE_START.value,
        resource_kind="workspace",
        resource_id=row["id"],
        facts=canonical_json(facts),
        before=None,
    )


# --- progress -------------------------------------------------------------------------------
@dataclass(slots=True)
class Progress:
    """Where a claimed run stands; `saved_done` and `token` are what its row holds."""

    id: str
    digest: str
    base_digest: str
    since: datetime
    until: datetime
    token: datetime
    phase: str
    cursor_at: datetime | None
    cursor_id: str | None
    done: int
    busy_ms: int
    report: Report = field(default_factory=Report)

    def take(self, questions: Sequence[Question], part: Report, page: int) -> None:
        """Count a page; a page that is not full is the last one of its phase."""
        self.report = merged(self.report, part)
        self.done += len(questions)
        if len(questions) < page:
            self.phase = {"workspaces": "decisions", "decisions": "finished"}[self.phase]
            self.cursor_at = self.cursor_id = None
        else:
            self.cursor_at, self.cursor_id = questions[-1].at, questions[-1].id


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Go on with one run for a few seconds; None when there is none."""
    run = _claim(rt)
    if run is None:
        return None
    try:
        with rt.database.reading() as tx:
            candidate, base = find_bundle(tx, run.digest), find_bundle(tx, run.base_digest)
        with Desk(candidate, base) as desk:
            _go_on(rt, run, desk)
    except CharterError as error:
        if error.code.startswith("database-"):
            raise
        _fail(rt, run, _sentence(error))
    return {"run": run.id, "phase": run.phase, "done": run.done}


def _claim(rt: Runtime) -> Progress | None:
    """The open run that has had the least of our time."""
    c = t.impact_runs.c
    with rt.database.unit_of_work() as tx:
        row = tx.one(
            sa.select(t.impact_runs)
            .where(
                c.state.in_(OPEN_STATES),
                sa.or_(c.claimed_until.is_(None), c.claimed_until <= tx.now),
            )
            .order_by(c.busy_ms, c.created_at, c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if row is None:
            return None
        values: dict[str, Any] = {"state": "running", "claimed_until": tx.now + _CLAIM}
        phase = row["phase"]
        if phase == "counting":
            phase = "workspaces"
            values |= {"phase": phase, "started_at": tx.now, "total": _count(tx, row)}
        tx.update(t.impact_runs, c.id == row["id"], **values)
        return Progress(
            **{name: row[name] for name in ("id", "digest", "base_digest", "since", "until")},
            **{name: row[name] for name in ("cursor_at", "cursor_id", "done", "busy_ms")},
            token=values["claimed_until"],
            phase=phase,
            report=Report.from_json(row["report"]),
        )


def _count(tx: Tx, run: Row) -> int:
    d, w = t.decisions.c, t.workspaces.c
    decisions = sa.select(sa.func.count()).where(d.at >= run["since"], d.at < run["until"])
    workspaces = sa.select(sa.func.count()).where(w.deleted_at.is_(None))
    return sum(int(tx.conn.execute(query).scalar_one()) for query in (decisions, workspaces))


def _go_on(rt: Runtime, run: Progress, desk: Desk) -> None:
    began = saved = time.monotonic()
    while run.phase != "finished":
        with rt.database.reading() as tx:
            if run.phase == "workspaces":
                questions, page = _workspaces_page(rt, tx, run), _WORKSPACES_PAGE
            else:
                questions, page = _decisions_page(tx, run), _PAGE
        try:
            part = desk.report(questions)
        except WorkerFailedError as error:
            raise named(error, desk.bundles, questions) from error
        run.take(questions, part, page)
        now = time.monotonic()
        over = now - began >= _SLICE_SECONDS or run.phase == "finished"
        if over or now - saved >= _SAVE_SECONDS:
            run.busy_ms += int((now - saved) * 1000)
            saved = now
            if not _save(rt, run, release=over) or over:
                return


def _save(rt: Runtime, run: Progress, *, release: bool) -> bool:
    """Write cursor and report together; False when the claim was lost."""
    c = t.impact_runs.c
    finished = run.phase == "finished"
    with rt.database.unit_of_work() as tx:
        until = None if release else tx.now + _CLAIM
        kept = tx.update(
            t.impact_runs,
            c.id == run.id,
            c.state == "running",
            c.claimed_until == run.token,
            **{name: getattr(run, name) for name in ("phase", "cursor_at", "cursor_id", "done")},
            busy_ms=run.busy_ms,
            report=run.report.as_json(),
            claimed_until=until,
            **({"state": "done", "finished_at": tx.now} if finished else {}),
        )
        if until is not None:
            run.token = until
    return kept == 1


def _fail(rt: Runtime, run: Progress, error: str) -> None:
    c = t.impact_runs.c
    with rt.database.unit_of_work() as tx:
        tx.update(
            t.impact_runs,
            c.id == run.id,
            c.state == "running",
            c.claimed_until == run.token,
            state="failed",
            error=error,
            finished_at=tx.now,
            claimed_until=None,
        )


def _sentence(error: CharterError) -> str:
    return f"{error.message} {error.fix}".strip()
