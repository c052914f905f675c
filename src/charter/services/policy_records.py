"""Policy changes as rows: receive them, read their facts, move them, and show them.

What people and controllers do with changes stands in `policy_changes` and `policy_flow`; here is
what both of them need of the database.

Source: Spec PC-4, PC-5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.pipeline import (
    ENDED,
    OPEN,
    SLOT,
    ChangeFacts,
    ChangeState,
    Edit,
    Review,
)
from charter.core.policy.pipeline_limits import PipelineLimits
from charter.services import impact, shadow
from charter.services.access import missing
from charter.services.policy_bundles import SECURITY_AND_PLATFORM, active_digest, row_of, tell
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

PIPELINE: Final = ActorRef("system", "policy-pipeline")
_OPEN_STATES: Final = [state.value for state in OPEN]
_TITLE_CHARACTERS: Final = 200
_DESCRIPTION_CHARACTERS: Final = 10_000

_EVENTS: Final = {
    ChangeState.RECEIVED: "policy.change-received",
    ChangeState.CHECKING: "policy.change-checking",
    ChangeState.ANALYSING: "policy.change-analysing",
    ChangeState.IN_REVIEW: "policy.change-in-review",
    ChangeState.APPROVED: "policy.change-approved",
    ChangeState.STAGED: "policy.change-staged",
    ChangeState.MONITORED: "policy.change-monitored",
    ChangeState.IN_FORCE: "policy.change-in-force",
    ChangeState.REFUSED: "policy.change-refused",
    ChangeState.ROLLED_BACK: "policy.change-rolled-back",
    ChangeState.WITHDRAWN: "policy.change-withdrawn",
    ChangeState.SUPERSEDED: "policy.change-superseded",
}


# --- rows -------------------------------------------------------------------------------------
def row_of_change(tx: Tx, change_id: str, *, lock: bool = False) -> Row:
    """The change; raises `NotFoundError`. With `lock`, nobody else moves it meanwhile."""
    query = sa.select(t.policy_changes).where(t.policy_changes.c.id == change_id)
    row = tx.one(query.with_for_update() if lock else query)
    if row is None:
        raise missing("policy change")
    return row


def edits_json(edits: Sequence[Edit]) -> list[dict[str, str | None]]:
    """Edits as they are stored."""
    return [{"path": e.path, "before": e.before, "after": e.after} for e in edits]


def edits_of(row: Row) -> tuple[Edit, ...]:
    """The edits of a stored change."""
    return tuple(Edit(**stored) for stored in row["edits"])


def check_size(edits: Sequence[Edit], limits: PipelineLimits) -> None:
    """Raise for a change that holds more than a bundle may."""
    size = sum(len((edit.after or "").encode()) for edit in edits)
    if size > limits.largest_bundle_kib * 1024:
        raise InvalidInputError(
            f"The change holds {size // 1024} KiB; a bundle may hold {limits.largest_bundle_kib}.",
            fix="Leave out what is no policy, or raise largest_bundle_kib in data/pipeline.json.",
            code="policy-bundle-too-large",
        )


def receive(
    tx: Tx,
    edits: Sequence[Edit],
    *,
    source: str,
    title: str,
    description: str,
    author: str,
    author_ids: Sequence[str],
    by: ActorRef,
    branch: str | None = None,
    commit: str | None = None,
    decision_id: str | None = None,
) -> str:
    """A new change; its id. An older open one of the same branch is superseded by it."""
    change_id = tx.new_id("change")
    if branch is not None:
        c = t.policy_changes.c
        older = sa.select(t.policy_changes).where(c.branch == branch, c.state.in_(_OPEN_STATES))
        for row in tx.all(older.with_for_update()):
            reason = "A newer push to the same branch took its place."
            move(tx, row, ChangeState.SUPERSEDED, reason, by=by)
    tx.insert(
        t.policy_changes,
        id=change_id,
        source=source,
        branch=branch,
        commit=commit,
        title=title[:_TITLE_CHARACTERS] or "(no title)",
        description=description[:_DESCRIPTION_CHARACTERS],
        author=author[:_TITLE_CHARACTERS],
        author_ids=sorted(set(author_ids)),
        edits=edits_json(edits),
        state=ChangeState.RECEIVED.value,
        reason="It waits for its checks.",
        since=tx.now,
        created_at=tx.now,
    )
    record(
        tx,
        _EVENTS[ChangeState.RECEIVED],
        change_id,
        by,
        facts={"source": source, "files": len(edits), "commit": commit},
        decision_id=decision_id,
        private={"title": title[:_TITLE_CHARACTERS], "author": author[:_TITLE_CHARACTERS]},
    )
    tx.wake = True
    return change_id


def move(
    tx: Tx,
    row: Row,
    to: ChangeState,
    reason: str,
    *,
    by: ActorRef = PIPELINE,
    decision_id: str | None = None,
    **values: object,
) -> None:
    """Take the change to another state, with the sentence that says why; recorded."""
    was = ChangeState(row["state"])
    tx.update(
        t.policy_changes,
        t.policy_changes.c.id == row["id"],
        state=to.value,
        reason=reason,
        since=tx.now,
        claimed_until=None,
        closed_at=tx.now if to in ENDED else None,
        **values,
    )
    if was is ChangeState.STAGED:
        shadow.end(tx, row["id"])
    record(
        tx,
        _EVENTS[to],
        row["id"],
        by,
        facts={"from": was.value, "digest": row["digest"]},
        decision_id=decision_id,
        private={"reason": reason},
    )
    _tell(tx, row, to, reason)
    tx.wake = True


def record(
    tx: Tx,
    action: str,
    change_id: str,
    by: ActorRef,
    *,
    facts: Mapping[str, str | int | bool | None] | None = None,
    decision_id: str | None = None,
    private: Mapping[str, object] | None = None,
) -> None:
    """One event about a change."""
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=by,
            action=action,
            resource_kind="policy-change",
            resource_id=change_id,
            outcome=Outcome.DONE,
            decision_id=decision_id,
            facts=facts or {},
            private=private,
        )
    )


def _tell(tx: Tx, row: Row, to: ChangeState, reason: str) -> None:
    """Notices to those who have to act, and to the authors when it has come to an end."""
    thing = ("policy-change", row["id"])
    if to is ChangeState.IN_REVIEW:
        text = f"A policy change waits for reviews: {row['title']}."
        tell(tx, SECURITY_AND_PLATFORM, "policy-review", text, thing)
    elif to is ChangeState.ROLLED_BACK:
        text = f"The policy change {row['title']} was rolled back. {reason}"
        tell(tx, SECURITY_AND_PLATFORM, "policy-rolled-back", text, thing)
    elif to in {ChangeState.REFUSED, ChangeState.STAGED, ChangeState.IN_FORCE}:
        words = to.value.replace("-", " ")
        text = f"Your policy change {row['title']} is {words}. {reason}"
        for person_id in row["author_ids"]:
            tell_author(tx, person_id, text, thing)


def tell_author(tx: Tx, person_id: str, text: str, thing: tuple[str, str]) -> None:
    """A notice to one author."""
    tx.insert(
        t.notices,
        id=tx.new_id("notice"),
        person_id=person_id,
        kind="policy-change",
        message=text,
        resource_kind=thing[0],
        resource_id=thing[1],
        created_at=tx.now,
    )


# --- facts ------------------------------------------------------------------------------------
def limits_in_force(rt: Runtime, tx: Tx) -> PipelineLimits:
    """What a change has to pass: the limits of the bundle in force, never its own."""
    return rt.policy.active(tx).data.pipeline


def facts_of(tx: Tx, row: Row, limits: PipelineLimits) -> ChangeFacts:
    """The facts that the next step of this change depends on."""
    checks = row["checks"]
    impact_done, impact_failure = _impact(tx, row)
    failure = _stage_failure(tx, row)
    return ChangeFacts(
        state=ChangeState(row["state"]),
        since=row["since"],
        active_digest=active_digest(tx) or "",
        digest=row["digest"],
        base_digest=row["base_digest"],
        conflict=row["conflict"],
        checks_passed=False if failure else None if checks is None else bool(checks["passed"]),
        check_summary=failure or ("" if checks is None else str(checks["summary"])),
        impact_done=impact_done,
        impact_failure=impact_failure,
        reviews=_reviews(tx, row["id"]),
        authors=frozenset(row["author_ids"]),
        slot_holder=slot_holder(tx, row["id"]),
        decisions_made=_decisions_made(tx, row),
        has_test_projects=_has_test_projects(tx, limits),
    )


def _impact(tx: Tx, row: Row) -> tuple[bool | None, str | None]:
    if row["impact_id"] is None:
        return None, None
    state, error, _ = impact.report_of_run(tx, row["impact_id"])
    if state == "done":
        return True, None
    if state in {"failed", "cancelled"}:
        return None, error or "It was cancelled."
    return None, None


def _stage_failure(tx: Tx, row: Row) -> str | None:
    """Why the candidate failed while it decided for test environments."""
    if row["state"] != ChangeState.STAGED.value:
        return None
    c = t.policy_failures.c
    found = tx.one(sa.select(c.message).where(c.digest == row["digest"]).limit(1))
    return None if found is None else f"It failed on the stage. {found['message']}"


def _reviews(tx: Tx, change_id: str) -> tuple[Review, ...]:
    c = t.policy_reviews.c
    rows = tx.all(sa.select(t.policy_reviews).where(c.change_id == change_id).order_by(c.at, c.id))
    return tuple(
        Review(
            reviewer_id=r["reviewer_id"],
            side=r["side"],
            approves=r["verdict"] == "approve",
            digest=r["digest"],
            base_digest=r["base_digest"],
            comment=r["comment"],
        )
        for r in rows
    )


def slot_holder(tx: Tx, change_id: str) -> str | None:
    """Another change that is staged or monitored."""
    c = t.policy_changes.c
    states = [state.value for state in SLOT]
    found = tx.one(sa.select(c.id).where(c.state.in_(states), c.id != change_id))
    return None if found is None else str(found["id"])


def _decisions_made(tx: Tx, row: Row) -> int:
    if row["state"] != ChangeState.STAGED.value:
        return 0
    c = t.decisions.c
    count = sa.select(sa.func.count()).where(c.bundle_digest == row["digest"], c.at >= row["since"])
    return int(tx.conn.execute(count).scalar_one())


def _has_test_projects(tx: Tx, limits: PipelineLimits) -> bool:
    c = t.projects.c
    query = sa.select(c.id).where(c.environment.in_(limits.test_environments)).limit(1)
    return tx.one(query) is not None


def files_of(tx: Tx, digest: str) -> dict[str, str]:
    """The files of a kept bundle."""
    return dict(row_of(tx, digest)["files"])
