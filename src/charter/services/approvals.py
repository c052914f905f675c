"""Approvals: who waits for whom, votes, and carrying out what was approved.

The last yes writes the grant and carries the pending request out, in one transaction: the request
is decided anew, with the grant among its facts, because roles, quotas and policies may have changed
since it was made. If it can no longer be carried out, the approval stands and says why not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import voting_roles
from charter.core.access.subjects import Human
from charter.core.approvals.request import (
    ApprovalRequest,
    ApprovalState,
    Verdict,
    grant_for,
)
from charter.core.approvals.request import state as state_of
from charter.core.audit.event import Outcome
from charter.core.kernel.errors import CharterError, ConflictError, ForbiddenError
from charter.services import agents, approval_requests, paging, workspaces
from charter.services import approval_records as records
from charter.services.access import carry_out, missing, note
from charter.services.decisions import Answer, Question
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_agent, load_human
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

# --- reading ----------------------------------------------------------------------------------


def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    state: str | None = None,
    mine: bool = False,
    for_me: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Approvals that the caller may see: own ones with `mine`, votable ones with `for_me`."""
    with rt.database.reading() as tx:
        c = t.approvals.c
        query = sa.select(c.id).where(records.visible_approvals(tx, caller))
        if mine:
            query = query.where(sa.or_(c.requester_id == caller.id, c.sponsor_id == caller.id))
        if state == "pending" or for_me:
            query = query.where(c.state == "pending", c.deadline > tx.now)
        elif state == "expired":
            query = query.where(
                sa.or_(c.state == "expired", sa.and_(c.state == "pending", c.deadline <= tx.now))
            )
        elif state is not None:
            query = query.where(c.state == state)
        if for_me:
            query = query.where(records.votable(tx, caller))
        page = paging.newest_first(tx, query, c.id, dict, cursor, limit)
        ids = [row["id"] for row in page["items"]]
        return {**page, "items": records.views(tx, caller, ids)}


def get(rt: Runtime, caller: Caller, approval_id: str) -> dict[str, Any]:
    """One approval."""
    with rt.database.reading() as tx:
        records.check_visible(tx, caller, approval_id)
        return records.view(tx, caller, approval_id)


# --- voting -----------------------------------------------------------------------------------
Along = Callable[[Tx], None] | None
"""What is done with a vote and stands or falls with it: using up the link that carried it."""


def approve(
    rt: Runtime,
    caller: Caller,
    approval_id: str,
    comment: str | None = None,
    *,
    along: Along = None,
) -> dict[str, Any]:
    """Say yes. The last yes that is needed carries the request out."""
    return _vote(rt, caller, approval_id, Verdict.APPROVE, comment, along)


def deny(
    rt: Runtime,
    caller: Caller,
    approval_id: str,
    comment: str | None = None,
    *,
    along: Along = None,
) -> dict[str, Any]:
    """Say no. One no settles the request."""
    return _vote(rt, caller, approval_id, Verdict.DENY, comment, along)


def _ref(row: Row) -> ResourceRef:
    return ResourceRef(
        "approval",
        id=row["id"],
        requester_id=row["requester_id"],
        sponsor_id=row["sponsor_id"] if row["requester_kind"] == "agent" else None,
        team_id=row["team_id"],
        project_id=row["project_id"],
    )


def _question(
    rt: Runtime, tx: Tx, caller: Caller, approval_id: str, action: Permission
) -> Question:
    found = approval_requests.load(tx, approval_id, lock=True)
    if found is None:
        raise missing("approval")
    row, request = found
    # Whoever waited for the lock comes after whoever held it, whatever the time was on arrival:
    # a vote that counted as earlier would be blind to the no or the cancellation before it.
    tx.now = max((rt.now(), *(vote.at for vote in request.votes)))
    return Question(
        caller=caller,
        action=action,
        resource=_ref(row),
        resource_facts={
            "spec": {
                "action": row["action"],
                "requester": row["requester_id"],
                "requester_kind": row["requester_kind"],
                "roles": sorted({role for r in row["requirements"] for role in r["roles"]}),
                "rules": sorted({r["rule"] for r in row["requirements"]}),
            }
        },
        context={},
    )


def _vote(
    rt: Runtime,
    caller: Caller,
    approval_id: str,
    verdict: Verdict,
    comment: str | None,
    along: Along,
) -> dict[str, Any]:
    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        found = approval_requests.load(tx, approval_id, lock=True)
        if found is None or not isinstance(caller.subject, Human):
            raise missing("approval")
        row, request = found
        _refuse_settled(row)
        refusal = records.why_not_vote(caller, request, tx)
        if refusal is not None:
            if refusal.rule == "invariant/approval-settled":
                raise ConflictError(refusal.message, fix=refusal.fix, code="approval-settled")
            raise ForbiddenError(
                refusal.message, fix=refusal.fix, code=refusal.rule.removeprefix("invariant/")
            )
        if along is not None:
            along(tx)
        tx.insert(
            t.approval_votes,
            approval_id=approval_id,
            approver_id=caller.id,
            roles=sorted(voting_roles(caller.subject, records.place_of(request), tx.now)),
            verdict=verdict.value,
            comment=comment,
            at=tx.now,
        )
        note(
            tx,
            caller,
            f"approval.{'approved' if verdict is Verdict.APPROVE else 'denied'}",
            "approval",
            approval_id,
            decision_id=answer.id,
            private=None if not comment else {"comment": comment},
        )
        _settle(rt, tx, row)
        return records.view(tx, caller, approval_id)

    return carry_out(
        rt, lambda tx: _question(rt, tx, caller, approval_id, Permission.APPROVAL_VOTE), act
    )


def _refuse_settled(row: Row) -> None:
    """Raise when the request was closed: what the row says stands, whatever a clock says."""
    if row["state"] != ApprovalState.PENDING:
        raise ConflictError(
            f"The request is already settled: it is {row['state']}.",
            fix="Nothing is left to decide; a new request can be made if it is still needed.",
            code="approval-settled",
        )


def _settle(rt: Runtime, tx: Tx, row: Row) -> None:
    """After a vote: close the request when it is settled, and carry it out on a yes."""
    found = approval_requests.load(tx, row["id"])
    if found is None:
        raise missing("approval")
    _, request = found
    # A vote counts from its own moment on, so it is judged as of that moment.
    state = state_of(request, tx.now)
    if state is ApprovalState.PENDING:
        return
    outcome, result_id = None, None
    if state is ApprovalState.APPROVED:
        outcome, result_id = _carry_out(rt, tx, row, request)
    tx.update(
        t.approvals,
        t.approvals.c.id == row["id"],
        state=state.value,
        closed_at=tx.now,
        outcome=outcome,
        result_id=result_id,
    )
    verb = {"approved": "approved", "denied": "denied"}[state.value]
    approval_requests.notify(
        tx,
        row["sponsor_id"],
        "approval-settled",
        f"Your request was {verb}: {row['summary']}. {outcome or ''}".strip(),
        resource=("approval", row["id"]),
    )


def _carry_out(rt: Runtime, tx: Tx, row: Row, request: ApprovalRequest) -> tuple[str, str | None]:
    """Write the grant and do what was asked for; what came of it, and the id of what was made."""
    grant = grant_for(request, tx.now, grant_id=tx.new_id("grant"))
    tx.insert(
        t.grants,
        id=grant.id,
        approval_id=row["id"],
        subject_id=grant.subject_id,
        action=grant.action,
        resource_digest=grant.resource_digest,
        rules=sorted(grant.rules),
        created_at=grant.granted_at,
        expires_at=grant.expires_at,
    )
    subject = (
        load_agent(tx, row["requester_id"])
        if row["requester_kind"] == "agent"
        else load_human(tx, row["requester_id"])
    )
    if subject is None:
        return "The requester is gone.", None
    requester = Caller(subject, "approval", row["id"])
    savepoint = tx.conn.begin_nested()
    try:
        outcome, result_id = _execute(rt, tx, requester, row["pending"])
    except CharterError as error:
        savepoint.rollback()  # house: allow unit-of-work — undoes the attempt, keeps the approval
        outcome, result_id = f"It could not be carried out: {error.message} {error.fix}", None
    else:
        savepoint.commit()  # house: allow unit-of-work — a savepoint, not the transaction
    if grant.single_use:  # good for this one attempt, whatever came of it
        tx.update(t.grants, t.grants.c.id == grant.id, revoked_at=tx.now)
    note(
        tx,
        requester,
        "approval.carried-out",
        "approval",
        row["id"],
        outcome=Outcome.DONE if result_id else Outcome.FAILED,
        facts={"grant": grant.id, "result": result_id},
    )
    return outcome, result_id


def _execute(
    rt: Runtime, tx: Tx, requester: Caller, pending: dict[str, Any]
) -> tuple[str, str | None]:
    result: str | None
    match pending["action"]:
        case "workspace.create":
            answer, result = workspaces.create_in(
                rt, tx, requester, WorkspaceRequest(**pending["request"])
            )
            done = "The workspace is being started."
        case "workspace.start":
            answer, result = workspaces.start_in(rt, tx, requester, pending["workspace_id"])
            done = "The workspace is being started."
        case "agent.create":
            answer, result = agents.create_in(rt, tx, requester, pending["request"])
            done = "The agent exists; its sponsor takes its credential: charter agent credential."
        case _:
            return f"Nobody knows how to carry out {pending['action']!r}.", None
    if result is None:
        return f"It could not be carried out: {answer.decision.explain()}", None
    return done, result


def cancel(rt: Runtime, caller: Caller, approval_id: str) -> dict[str, Any]:
    """The requester takes the request back."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        found = approval_requests.load(tx, approval_id, lock=True)
        if found is None:
            raise missing("approval")
        row, request = found
        _refuse_settled(row)
        current = state_of(request, tx.now)
        if current is not ApprovalState.PENDING:
            raise ConflictError(
                f"The request is already settled: it is {current}.",
                fix="Nothing is left to cancel.",
                code="approval-settled",
            )
        tx.update(t.approvals, t.approvals.c.id == approval_id, state="cancelled", closed_at=tx.now)
        note(tx, caller, "approval.cancelled", "approval", approval_id, decision_id=answer.id)
        return records.view(tx, caller, approval_id)

    return carry_out(
        rt, lambda tx: _question(rt, tx, caller, approval_id, Permission.APPROVAL_CANCEL), act
    )
