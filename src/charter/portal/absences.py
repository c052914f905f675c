"""Away: who votes in my stead, and for whom I do."""

from __future__ import annotations

from datetime import date, datetime, time

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import absences

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/approvals/away")
def show_absences(visit: Signed) -> Response:
    """Who stands in for whom."""
    return visit.page("away.html", {"found": absences.list_mine(visit.rt, visit.caller)})


def _begins(visit: Signed, day: date) -> datetime:
    """The first moment of a day where the visitor lives."""
    return datetime.combine(day, time.min, absences.get_zone(visit.rt, visit.caller))


@router.post("/approvals/away")
def enter(visit: Signed) -> Response:
    """Name a delegate."""
    form = forms.read(forms.AbsenceForm, visit.form)
    made = absences.enter(
        visit.rt,
        visit.caller,
        delegate=form.delegate,
        starts_at=None if form.starts_on is None else _begins(visit, form.starts_on),
        ends_at=_begins(visit, form.ends_on),
        reason=form.reason,
    )
    return visit.redirect("/approvals/away", f"{made['delegate']} answers for you.")


@router.post("/approvals/away/{absence_id}/end")
def end(visit: Signed, absence_id: str) -> Response:
    """End it now."""
    absences.end(visit.rt, visit.caller, absence_id)
    return visit.redirect("/approvals/away", "Votes are each one's own again.")
