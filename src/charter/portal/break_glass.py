"""Break-glass: what is in force, taking an emergency role, and the reviews that follow."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.access.break_glass import ReviewOutcome
from charter.core.kernel.errors import CharterError
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import break_glass

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


def _page(visit: Signed, form: Mapping[str, str], error: CharterError | None = None) -> Response:
    asked = visit.asked("show")
    cursor = visit.asked("cursor")["cursor"]
    return visit.page(
        "break_glass.html",
        {
            "page": break_glass.list_page(
                visit.rt, visit.caller, to_review=asked["show"] == "to-review", cursor=cursor
            ),
            "asked": asked,
            "cursor": cursor,
            "offer": break_glass.get_offer(visit.rt, visit.caller),
            "form": form,
            "error": error,
        },
        block=None if error else "table",
        status=200 if error is None else error.status,
    )


@router.get("/elevation/break-glass")
def show_emergencies(visit: Signed) -> Response:
    """Emergencies, and what one could take."""
    return _page(visit, {})


@router.post("/elevation/break-glass")
def start(visit: Signed) -> Response:
    """Take an emergency role."""
    try:
        form = forms.read(forms.EmergencyForm, visit.form)
        break_glass.start(visit.rt, visit.caller, **form.model_dump())
    except CharterError as error:
        return _page(visit, visit.form, error)
    return visit.redirect("/elevation/break-glass", "Your emergency role is in force.")


@router.get("/elevation/break-glass/{emergency_id}")
def show_emergency(visit: Signed, emergency_id: str) -> Response:
    """One emergency with what was done under it, and its review."""
    found = break_glass.get(visit.rt, visit.caller, emergency_id)
    may_review = (
        "break-glass.review" in visit.permissions
        and found["state"] == "ended"
        and found["review"] != "done"
        and found["person_id"] != visit.caller.id
    )
    return visit.page(
        "emergency.html",
        {"e": found, "may_review": may_review, "outcomes": [o.value for o in ReviewOutcome]},
    )


@router.post("/elevation/break-glass/{emergency_id}/end")
def end(visit: Signed, emergency_id: str) -> Response:
    """End it."""
    after = break_glass.end(visit.rt, visit.caller, emergency_id)
    return visit.redirect(f"/elevation/break-glass/{after['id']}", "The emergency is over.")


@router.post("/elevation/break-glass/{emergency_id}/review")
def review(visit: Signed, emergency_id: str) -> Response:
    """Say what it was."""
    form = forms.read(forms.EmergencyReviewForm, visit.form)
    after = break_glass.review(visit.rt, visit.caller, emergency_id, **form.model_dump())
    return visit.redirect(f"/elevation/break-glass/{after['id']}", "The review is kept.")
