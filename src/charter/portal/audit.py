"""The audit explorer: the trail, its seal, and how anybody verifies it without this server."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import audit

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/audit")
def show_audit(visit: Signed) -> Response:
    """Sealed events, newest first."""
    asked = visit.asked("actor", "action", "resource", "outcome")
    cursor = visit.asked("cursor")["cursor"]
    page = audit.events_page(
        visit.rt,
        visit.caller,
        actor=asked["actor"],
        action=asked["action"],
        resource=asked["resource"],
        outcome=asked["outcome"],
        cursor=cursor,
    )
    return visit.page(
        "audit.html",
        {
            "page": page,
            "state": audit.state(visit.rt, visit.caller),
            "asked": asked,
            "cursor": cursor,
        },
        block="table",
    )
