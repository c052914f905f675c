"""Deciding the same questions under two bundles, each in a worker process of its own.

The candidate is nobody's reviewed code yet, and the base is evaluated beside it, so that the two
answers differ by nothing but the bundle. When a worker overruns its limits, `named` finds out which
decision and, where it can be told, which file of the candidate does it.

Source: Spec PC-6.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

import sqlalchemy as sa

from charter.adapters.rego.worker import FAILURE_MARK, PolicyWorker, WorkerFailedError, WorkerLimits
from charter.core.kernel.canonical import rfc3339
from charter.core.kernel.errors import CharterError, NotFoundError
from charter.core.policy.bundle import Bundle
from charter.core.policy.impact import Case, Report, lacking, report_of
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

LIMITS: Final = WorkerLimits(memory_mib=1024, task_cpu_seconds=20, task_seconds=30)
"""For a page of decisions, which takes a worker a fraction of a second."""

CULPRIT_LIMITS: Final = WorkerLimits(memory_mib=1024, task_cpu_seconds=3, task_seconds=5)
_MOST_SUSPECTS: Final = 8  # files that are tried one by one after a failure
_UNREADABLE: Final = "(facts that can be read)"


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to decide under both bundles; `before` is the stored result where base made it."""

    origin: str
    id: str
    at: datetime
    subject_kind: str
    subject_id: str
    team: str | None
    action: str
    resource_kind: str
    resource_id: str | None
    facts: str
    before: str | None


def question_of(row: Row, base_digest: str) -> Question:
    """A recorded decision as a question; its own answer counts where the base gave it."""
    return Question(
        origin="decision",
        id=row["id"],
        at=row["at"],
        subject_kind=row["subject_kind"],
        subject_id=row["subject_id"],
        team=row["team_id"],
        action=row["action"],
        resource_kind=row["resource_kind"],
        resource_id=row["resource_id"],
        facts=row["facts"],
        before=row["result"] if row["bundle_digest"] == base_digest else None,
    )


class Desk:
    """The workers of one slice: one that holds the candidate, one that holds the base."""

    def __init__(self, candidate: Bundle, base: Bundle) -> None:
        self.bundles = (candidate, base)
        self._paths: dict[tuple[str, str], tuple[tuple[str, ...], ...]] = {}
        self.candidate = PolicyWorker(LIMITS)
        try:
            self.base = PolicyWorker(LIMITS)
            self.candidate.load(candidate)
            self.base.load(base)
        except BaseException:
            self.close()
            raise

    def new_paths(self, action: str, subject_kind: str) -> tuple[tuple[str, ...], ...]:
        """What the candidate's rules read about such a request and the base's do not."""
        key = (action, subject_kind)
        if key not in self._paths:
            new, old = (
                {tuple(path) for path in worker.call("reads", list(key))}
                for worker in (self.candidate, self.base)
            )
            whole = {path for path in old if path}  # reading a part of what was read is not new
            self._paths[key] = tuple(
                sorted(p for p in new - old if not any(p[: len(w)] == w for w in whole))
            )
        return self._paths[key]

    def decide(self, questions: Sequence[Question]) -> list[tuple[str, str]]:
        """Result before and after, as canonical JSON, of each question."""
        # Many documents differ in nothing but their moment; some do not even in that.
        texts = list(dict.fromkeys(q.facts for q in questions))
        asked = list(dict.fromkeys(q.facts for q in questions if q.before is None))
        self.candidate.begin_decide(texts)
        before = dict(zip(asked, self.base.decide(asked), strict=True)) if asked else {}
        after = dict(zip(texts, self.candidate.finish_decide(), strict=True))
        return [
            (before[q.facts] if q.before is None else q.before, after[q.facts]) for q in questions
        ]

    def cases(self, questions: Sequence[Question]) -> list[Case]:
        """The questions with both answers."""
        return [
            self._case(question, before, after)
            for question, (before, after) in zip(questions, self.decide(questions), strict=True)
        ]

    def report(self, questions: Sequence[Question]) -> Report:
        """The report of these questions."""
        return report_of(self.cases(questions))

    def _case(self, question: Question, before: str, after: str) -> Case:
        readable = not (before.startswith(FAILURE_MARK) or after.startswith(FAILURE_MARK))
        missing: tuple[str, ...] = () if readable else (_UNREADABLE,)
        vcpu = None
        paths = self.new_paths(question.action, question.subject_kind) if readable else ()
        if paths or before != after:
            document = json.loads(question.facts)["document"] if readable else {}
            missing = missing or lacking(document, paths)
            vcpu = _vcpu(document)
        old = json.loads(before)
        return Case(
            origin=question.origin,
            id=question.id,
            at=rfc3339(question.at),
            subject_kind=question.subject_kind,
            subject_id=question.subject_id,
            team=question.team,
            action=question.action,
            resource_kind=question.resource_kind,
            resource_id=question.resource_id,
            before=old,
            after=old if before == after else json.loads(after),
            missing=missing,
            vcpu=vcpu,
        )

    def close(self) -> None:
        """End both workers."""
        for name in ("candidate", "base"):
            worker: PolicyWorker | None = getattr(self, name, None)
            if worker is not None:
                worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _vcpu(document: Mapping[str, Any]) -> int | None:
    found: Any = document
    for step in ("resource", "spec", "resources", "cpu"):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, int) else None


def find_bundle(tx: Tx, digest: str) -> Bundle:
    """A bundle that was in force, or one that was only tried; raises `NotFoundError`."""
    for table in (t.bundles, t.tried_bundles):
        row = tx.one(sa.select(table.c.files).where(table.c.digest == digest))
        if row is not None:
            return Bundle(row["files"])
    raise NotFoundError(
        f"There is no bundle {digest}.",
        fix="charter policy bundles lists those that are kept; or give a folder.",
        code="no-such-bundle",
    )


# --- failures ---------------------------------------------------------------------------------
def named(
    error: WorkerFailedError, bundles: tuple[Bundle, Bundle], questions: Sequence[Question]
) -> CharterError:
    """The failure with the first decision that causes it and the file that does, if they show."""
    candidate, base = bundles
    at = _first_failing(candidate, questions)
    if at is None:
        return error
    changed = [m for m in candidate.modules if base.files.get(m) != candidate.files[m]]
    guilty = None
    for module in changed[:_MOST_SUSPECTS]:
        suspect = base.with_files({module: candidate.files[module]})
        if _first_failing(suspect, [at]) is not None:
            guilty = module
            break
    named = "The candidate" if guilty is None else f"{guilty} of the candidate"
    return WorkerFailedError(
        f"{named} cannot decide {at.origin} {at.id} ({at.action}). {error.message}", fix=error.fix
    )


def _first_failing(bundle: Bundle, questions: Sequence[Question]) -> Question | None:
    with PolicyWorker(CULPRIT_LIMITS) as worker:
        try:
            worker.load(bundle)
        except CharterError:
            return None
        for question in questions:
            try:
                worker.decide([question.facts])
            except WorkerFailedError:
                return question
    return None
