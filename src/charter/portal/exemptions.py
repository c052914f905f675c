"""Exemptions: who is left out of which rule, on whose word, until when, and how often used."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import exemptions

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/policies/exemptions")
def show_exemptions(visit: Signed) -> Response:
    """The list."""
    asked = visit.asked("q", "state")
    every = exemptions.list_all(visit.rt, visit.caller)
    wanted = (asked["q"] or "").lower()
    shown = [
        each
        for each in every
        if asked["state"] in (None, each["state"])
        and wanted
        in " ".join(
            (each["rule"], each["owner"], each["reason"], *(s["name"] for s in each["scope"]))
        ).lower()
    ]
    return visit.page(
        "exemptions.html",
        {"exemptions": shown, "count": len(every), "asked": asked},
        block="table",
    )
