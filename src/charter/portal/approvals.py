"""Approvals: the inbox, and one request with why it needs a yes, by whom, and the vote."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import approvals, decisions

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/approvals")
def show_approvals(visit: Signed) -> Response:
    """The inbox: what waits for me, what I asked for, or all that I may see."""
    asked = visit.asked("show", "state")
    cursor = visit.asked("cursor")["cursor"]
    show = asked["show"] or "for-me"
    page = approvals.list_page(
        visit.rt,
        visit.caller,
        state=asked["state"],
        mine=show == "mine",
        for_me=show == "for-me",
        cursor=cursor,
    )
    return visit.page(
        "approvals.html", {"page": page, "asked": asked, "cursor": cursor}, block="table"
    )


def _decision(visit: Signed, decision_id: str) -> dict[str, Any] | None:
    try:
        return decisions.get(visit.rt, visit.caller, decision_id)
    except CharterError:  # who may vote may still not be among those who may read the decision
        return None


@router.get("/approvals/{approval_id}")
def show_approval(visit: Signed, approval_id: str) -> Response:
    """One request."""
    a = approvals.get(visit.rt, visit.caller, approval_id)
    return visit.page(
        "approval.html",
        {
            "a": a,
            "decision": _decision(visit, a["decision_id"]),
            "cancellable": a["requester_id"] == visit.caller.id,
        },
    )


@router.post("/approvals/{approval_id}/approve")
def approve(visit: Signed, approval_id: str) -> Response:
    """Say yes."""
    comment = forms.read(forms.VoteForm, visit.form).comment
    after = approvals.approve(visit.rt, visit.caller, approval_id, comment)
    return visit.redirect(f"/approvals/{after['id']}", "Your approval was recorded.")


@router.post("/approvals/{approval_id}/deny")
def deny(visit: Signed, approval_id: str) -> Response:
    """Say no."""
    comment = forms.read(forms.VoteForm, visit.form).comment
    after = approvals.deny(visit.rt, visit.caller, approval_id, comment)
    return visit.redirect(f"/approvals/{after['id']}", "Your denial was recorded.")


@router.post("/approvals/{approval_id}/cancel")
def cancel(visit: Signed, approval_id: str) -> Response:
    """Withdraw one's own request."""
    after = approvals.cancel(visit.rt, visit.caller, approval_id)
    return visit.redirect(f"/approvals/{after['id']}", "The request was withdrawn.")
