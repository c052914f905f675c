"""Votes, and carrying out what was approved.

The last yes writes the grant and carries the pending request out, in one transaction: the request
is decided anew, with the grant among its facts, because roles, quotas and policies may have changed
since it was made. If it can no longer be carried out, the approval stands and says why not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from charter.core.access.permissions import Permission
from charter.core.approvals.request import (
    ApprovalRequest,
    ApprovalState,
    Verdict,
    asked,
    grant_for,
)
from charter.core.approvals.request import state as state_of
from charter.core.audit.event import Outcome
from charter.core.kernel.errors import CharterError, ConflictError, ForbiddenError
from charter.services import approval_records as records
from charter.services import approval_requests
from charter.services.access import carry_out, missing, note
from charter.services.approval_actions import execute
from charter.services.approval_entitlement import (
    Voice,
    address,
    call_off,
    own_voice,
    words_of,
)
from charter.services.approval_questions import locked, question, refuse_settled
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_agent, load_human
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

Along = Callable[[Tx], None] | None
"""What is done with a vote and stands or falls with it, such as using up the link it came by."""


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


def _vote(
    rt: Runtime,
    caller: Caller,
    approval_id: str,
    verdict: Verdict,
    comment: str | None,
    along: Along,
) -> dict[str, Any]:
    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row, request = locked(tx, approval_id)
        refuse_settled(row)
        voice = _voice(tx, caller, request)
        if along is not None:
            along(tx)
        _mark_lost(tx, request)
        tx.insert(
            t.approval_votes,
            approval_id=approval_id,
            approver_id=caller.id,
            roles=sorted(words_of(voice, request, tx.now) & asked(request, tx.now)),
            verdict=verdict.value,
            comment=comment,
            at=tx.now,
            counts_as=voice.human.id,
        )
        note(
            tx,
            caller,
            f"approval.{'approved' if verdict is Verdict.APPROVE else 'denied'}",
            "approval",
            approval_id,
            decision_id=answer.id,
            facts={} if voice.for_id is None else {"for": voice.for_id},
            private=None if not comment else {"comment": comment},
        )
        _settle(rt, tx, row)
        return records.view(tx, caller, approval_id)

    return carry_out(
        rt, lambda tx: question(rt, tx, caller, approval_id, Permission.APPROVAL_VOTE), act
    )


def _voice(tx: Tx, caller: Caller, request: ApprovalRequest) -> Voice:
    """The voice that the vote is given with; raises why there is none."""
    refusal, voice = records.voice_for(caller, request, tx, records.voices_of(tx, caller))
    if refusal is None and voice is not None:
        return voice
    if refusal is None:
        raise missing("approval")
    if refusal.rule == "invariant/approval-settled":
        raise ConflictError(refusal.message, fix=refusal.fix, code="approval-settled")
    raise ForbiddenError(
        refusal.message, fix=refusal.fix, code=refusal.rule.removeprefix("invariant/")
    )


def _mark_lost(tx: Tx, request: ApprovalRequest) -> None:
    """Write down which earlier votes no longer are what they were: a vote comes, so they count now.

    What is lost by then stays lost, so that the outcome never depends on who looked in between.
    """
    for vote in request.votes:
        if vote.lost_at is not None:
            continue
        giver, voter = load_human(tx, vote.counts_as), load_human(tx, vote.approver_id)
        held: frozenset[str] = frozenset()
        if giver is not None and voter is not None and voter.active:
            held = words_of(own_voice(tx, giver), request, tx.now)
        lost = vote.approver_roles - held
        if lost:
            c = t.approval_votes.c
            tx.update(
                t.approval_votes,
                c.approval_id == request.id,
                c.approver_id == vote.approver_id,
                lost_roles=sorted(lost),
                lost_at=tx.now,
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
        approval_requests.tell_addressed(tx, row, request, address(tx, request))
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
    call_off(tx, [row["id"]])
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
        task_id=grant.task_id,
        single_use=grant.single_use,
    )
    subject = (
        load_agent(tx, row["requester_id"])
        if row["requester_kind"] == "agent"
        else load_human(tx, row["requester_id"])
    )
    if subject is None:
        return "The requester is gone.", None
    requester = Caller(subject, "approval", row["id"], networks="not-asked")
    savepoint = tx.conn.begin_nested()
    try:
        outcome, result_id = execute(rt, tx, requester, row["pending"], grant)
    except CharterError as error:
        savepoint.rollback()  # house: allow unit-of-work — undoes the attempt, keeps the approval
        outcome, result_id = f"It could not be carried out: {error.message} {error.fix}", None
    else:
        savepoint.commit()  # house: allow unit-of-work — a savepoint, not the transaction
    if grant.single_use:  # good for this one attempt, whatever came of it
        tx.update(t.grants, t.grants.c.id == grant.id, revoked_at=tx.now, used_at=tx.now)
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
