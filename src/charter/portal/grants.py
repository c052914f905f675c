"""Grants: mine or all that I may see; renewing them and taking them back."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import grants

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/approvals/grants")
def show_grants(visit: Signed) -> Response:
    """What approvals gave, until when."""
    asked = visit.asked("show", "ended")
    cursor = visit.asked("cursor")["cursor"]
    page = grants.list_page(
        visit.rt,
        visit.caller,
        mine=(asked["show"] or "mine") == "mine",
        holds=asked["ended"] is None,
        cursor=cursor,
    )
    return visit.page(
        "grants.html", {"page": page, "asked": asked, "cursor": cursor}, block="table"
    )


@router.get("/approvals/grants/{grant_id}/renew")
def ask_renew(visit: Signed, grant_id: str) -> Response:
    """What a renewal carries."""
    found = grants.get(visit.rt, visit.caller, grant_id)
    return visit.page("grant_ask.html", {"g": found, "verb": "renew"}, block="dialog")


@router.get("/approvals/grants/{grant_id}/revoke")
def ask_revoke(visit: Signed, grant_id: str) -> Response:
    """Why it is taken back."""
    found = grants.get(visit.rt, visit.caller, grant_id)
    return visit.page("grant_ask.html", {"g": found, "verb": "revoke"}, block="dialog")


@router.post("/approvals/grants/{grant_id}/renew")
def renew(visit: Signed, grant_id: str) -> Response:
    """Ask for the same again."""
    form = forms.read(forms.StartForm, visit.form)
    wanted = grants.Renewal(form.justification, form.ticket, forms.seconds(form.duration_hours))
    made = grants.renew(visit.rt, visit.caller, grant_id, wanted)
    return visit.redirect(f"/approvals/{made['id']}", "Asked again. You are told the result.")


@router.post("/approvals/grants/{grant_id}/revoke")
def revoke(visit: Signed, grant_id: str) -> Response:
    """End it now."""
    reason = forms.read(forms.WithdrawForm, visit.form).reason
    grants.revoke(visit.rt, visit.caller, grant_id, reason)
    return visit.redirect("/approvals/grants", "The grant has ended.")
