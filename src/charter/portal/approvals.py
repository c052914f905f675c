"""Approvals: the inbox, and one request with why it needs a yes, by whom, and the vote."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.core.kernel.units import show_seconds
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import approval_waiting, approvals, decisions

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/approvals")
def show_approvals(visit: Signed) -> Response:
    """The inbox: what waits for me, what I asked for, or all that I may see."""
    asked = visit.asked("show", "state", "rule", "team", "requester")
    cursor = visit.asked("cursor")["cursor"]
    show = asked["show"] or "for-me"
    page = approvals.list_page(
        visit.rt,
        visit.caller,
        state=asked["state"],
        mine=show == "mine",
        for_me=show == "for-me",
        rule=asked["rule"],
        team=asked["team"],
        requester=asked["requester"],
        cursor=cursor,
    )
    around: dict[str, Any] = {"choices": {"rules": [], "teams": []}, "standing_in": []}
    if not visit.partial:  # the table alone needs none of it
        found = approval_waiting.list_choices(visit.rt, visit.caller)
        around = {
            "standing_in": found["standing_in"],
            "choices": {
                "rules": _choices("Any", found["rules"], asked["rule"]),
                "teams": _choices("Any", found["teams"], asked["team"]),
            },
        }
    return visit.page(
        "approvals.html",
        {"page": page, "asked": asked, "cursor": cursor, **around},
        block="table",
    )


def _choices(first: str, names: list[str], chosen: str | None) -> list[tuple[str, str]]:
    """The choices of a filter, with the one that was made even where nothing is left of it."""
    return [
        ("", first),
        *((name, name) for name in sorted({*names, *([chosen] if chosen else [])})),
    ]


@router.get("/approvals/waiting")
def show_waiting(visit: Signed) -> Response:
    """Where approvals wait, and how long decisions took."""
    asked = visit.asked("days")
    days = int(asked["days"]) if asked["days"] in ("7", "30", "90", "365") else 30
    return visit.page(
        "waiting.html",
        {
            "w": approval_waiting.waiting(visit.rt, visit.caller, days=days),
            "asked": asked,
            "took": lambda seconds: "" if seconds is None else show_seconds(seconds),
        },
        block="table",
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
    values = {
        "a": a,
        "decision": _decision(visit, a["decision_id"]),
        "cancellable": a["requester_id"] == visit.caller.id,
        "timedelta": timedelta,
    }
    if visit.partial:  # the pane beside the inbox
        return visit.page("approval_pane.html", values, block="pane")
    page = visit.page("approval.html", values)
    page.headers["Vary"] = "HX-Request"
    return page


def _after(visit: Signed, approval_id: str) -> str:
    """Where a vote leads: to the request, or back to the inbox that it was given from."""
    return "/approvals" if visit.form.get("back") == "inbox" else f"/approvals/{approval_id}"


@router.post("/approvals/{approval_id}/approve")
def approve(visit: Signed, approval_id: str) -> Response:
    """Say yes."""
    comment = forms.read(forms.VoteForm, visit.form).comment
    after = approvals.approve(visit.rt, visit.caller, approval_id, comment)
    return visit.redirect(_after(visit, after["id"]), "Your approval was recorded.")


@router.post("/approvals/{approval_id}/deny")
def deny(visit: Signed, approval_id: str) -> Response:
    """Say no."""
    comment = forms.read(forms.VoteForm, visit.form).comment
    after = approvals.deny(visit.rt, visit.caller, approval_id, comment)
    return visit.redirect(_after(visit, after["id"]), "Your denial was recorded.")


@router.post("/approvals/{approval_id}/cancel")
def cancel(visit: Signed, approval_id: str) -> Response:
    """Withdraw one's own request."""
    reason = forms.read(forms.WithdrawForm, visit.form).reason
    after = approvals.cancel(visit.rt, visit.caller, approval_id, reason)
    return visit.redirect(f"/approvals/{after['id']}", "The request was withdrawn.")


@router.post("/approvals/{approval_id}/comments")
def comment(visit: Signed, approval_id: str) -> Response:
    """A word to the others."""
    text = forms.read(forms.CommentForm, visit.form).text
    after = approvals.comment(visit.rt, visit.caller, approval_id, text)
    return visit.redirect(f"/approvals/{after['id']}", "Your comment was added.")
