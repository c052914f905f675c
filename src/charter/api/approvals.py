"""Approvals: the inbox and the votes."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import approval_waiting, approvals

Name = Annotated[str | None, Query(max_length=200)]
router = APIRouter(tags=["approvals"], responses=PROBLEMS)

State = Annotated[Literal["pending", "approved", "denied", "expired", "cancelled"] | None, Query()]


@router.get("/approvals")
def list_approvals(
    rt: RuntimeDep,
    caller: CallerDep,
    state: State = None,
    mine: bool = False,
    for_me: bool = False,
    rule: Name = None,
    team: Name = None,
    requester: Name = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.ApprovalOut]:
    """Requests that you may see; `mine=true` your own, `for_me=true` those you can vote on now."""
    return s.Page[s.ApprovalOut].model_validate(
        approvals.list_page(
            rt,
            caller,
            state=state,
            mine=mine,
            for_me=for_me,
            rule=rule,
            team=team,
            requester=requester,
            cursor=cursor,
            limit=limit,
        )
    )


@router.get("/approvals/waiting")
def waiting(
    rt: RuntimeDep, caller: CallerDep, days: Annotated[int, Query(ge=1, le=366)] = 30
) -> s.WaitingOut:
    """Where approvals wait, and how long decisions of the last days took, by gate and approver."""
    return s.WaitingOut.model_validate(approval_waiting.waiting(rt, caller, days=days))


@router.get("/approvals/{approval}")
def get(rt: RuntimeDep, caller: CallerDep, approval: s.Reference) -> s.ApprovalOut:
    """One request."""
    return s.ApprovalOut.model_validate(approvals.get(rt, caller, approval))


@router.post("/approvals/{approval}/approve")
def approve(
    rt: RuntimeDep, caller: CallerDep, approval: s.Reference, body: s.VoteIn | None = None
) -> s.ApprovalOut:
    """Say yes; the last yes that is needed carries the request out."""
    comment = None if body is None else body.comment
    return s.ApprovalOut.model_validate(approvals.approve(rt, caller, approval, comment))


@router.post("/approvals/{approval}/deny")
def deny(
    rt: RuntimeDep, caller: CallerDep, approval: s.Reference, body: s.VoteIn | None = None
) -> s.ApprovalOut:
    """Say no; that settles it."""
    comment = None if body is None else body.comment
    return s.ApprovalOut.model_validate(approvals.deny(rt, caller, approval, comment))


@router.post("/approvals/{approval}/cancel")
def cancel(
    rt: RuntimeDep, caller: CallerDep, approval: s.Reference, body: s.CancelIn | None = None
) -> s.ApprovalOut:
    """Take your own request back."""
    reason = None if body is None else body.reason
    return s.ApprovalOut.model_validate(approvals.cancel(rt, caller, approval, reason))


@router.post("/approvals/{approval}/comments", status_code=201)
def comment(
    rt: RuntimeDep, caller: CallerDep, approval: s.Reference, body: s.CommentIn
) -> s.ApprovalOut:
    """Say something to those who are asked, or to the requester, while it is open."""
    return s.ApprovalOut.model_validate(approvals.comment(rt, caller, approval, body.text))
