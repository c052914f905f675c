"""Who may do what: one question taken apart, and the matrix of roles and actions."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.access.permissions import Permission
from charter.core.kernel.errors import CharterError
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import access_views, networks

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/access")
def show_access(visit: Signed) -> Response:
    """The matrix, and the answer to the question above it."""
    asked = visit.asked("subject", "action", "resource", "team")
    answer = problem = None
    if asked["action"]:
        aim = access_views.Aim(asked["resource"], asked["team"])
        try:
            answer = access_views.why(
                visit.rt,
                visit.caller,
                subject=asked["subject"] or "me",
                action=asked["action"],
                aim=aim,
            )
        except CharterError as error:
            problem = error
    return visit.page(
        "access.html",
        {
            "asked": asked,
            "answer": answer,
            "problem": problem,
            "networks": networks.view(visit.rt, visit.caller),
            "matrix": access_views.matrix(visit.rt, visit.caller),
            "actions": [("", "Choose an action"), *((p.value, p.value) for p in Permission)],
        },
        block="answer",
    )
