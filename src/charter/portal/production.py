"""Production just in time: accesses, the form to ask for one, and the token, shown once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import production

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


def _page(
    visit: Signed, form: Mapping[str, str], error: CharterError | None = None, **more: Any
) -> Response:
    asked = visit.asked("mine")
    cursor = visit.asked("cursor")["cursor"]
    return visit.page(
        "production.html",
        {
            "page": production.list_page(
                visit.rt, visit.caller, mine=asked["mine"] == "yes", cursor=cursor
            ),
            "asked": asked,
            "cursor": cursor,
            "projects": production.list_projects(visit.rt, visit.caller),
            "form": form,
            "error": error,
            "taken": None,
            **more,
        },
        block=None if error or more else "table",
        status=200 if error is None else error.status,
    )


@router.get("/elevation")
def show_accesses(visit: Signed) -> Response:
    """The accesses, and the form."""
    return _page(visit, {})


@router.post("/elevation/production")
def request_access(visit: Signed) -> Response:
    """Ask for one."""
    try:
        form = forms.read(forms.ProductionForm, visit.form)
        outcome = production.request(visit.rt, visit.caller, **form.model_dump())
    except CharterError as error:
        return _page(visit, visit.form, error)
    if outcome["approval"] is not None:
        return visit.redirect(
            f"/approvals/{outcome['approval']['id']}", "Sent to the security team."
        )
    return visit.redirect("/elevation", "You may take the token.")


@router.post("/elevation/production/{access_id}/token")
def take_token(visit: Signed, access_id: str) -> Response:
    """Take the token; the answer itself shows it, and it is kept nowhere."""
    taken = production.take_token(visit.rt, visit.caller, access_id)
    return _page(visit, {}, taken=taken)


@router.post("/elevation/production/{access_id}/revoke")
def revoke_access(visit: Signed, access_id: str) -> Response:
    """End one."""
    production.revoke(visit.rt, visit.caller, access_id)
    return visit.redirect("/elevation", "The access is over.")
