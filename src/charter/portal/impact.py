"""Impact analyses: what a candidate policy would change, as a matrix, by group and by example."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import impact

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/policies/impact/{run_id}")
def show_impact(visit: Signed, run_id: str) -> Response:
    """One analysis; while it runs, the page follows it."""
    run = impact.get(visit.rt, visit.caller, run_id)
    return visit.page(
        "impact.html",
        {"run": run, "running": run["state"] in ("queued", "running")},
        block="progress",
    )
