"""The first page: counts, what waits for you, decisions, quotas, notices, the seal of the trail."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import approvals, overview

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/")
def show_overview(visit: Signed) -> Response:
    """The overview."""
    rt, caller = visit.rt, visit.caller
    me = overview.me(rt, caller)
    votes = "approval.vote" in visit.permissions
    inbox = approvals.list_page(rt, caller, for_me=True, limit=10)["items"] if votes else []
    teams = {team["id"]: team["name"] for team in me["teams"]}
    return visit.page(
        "overview.html",
        {
            "o": overview.overview(rt, caller),
            "inbox": inbox,
            "notices": overview.notices(rt, caller, limit=5)["items"],
            "teams": list(teams.values()),
            "roles": sorted(
                role["role"]
                if role["scope_kind"] == "organisation"
                else f"{role['role']} ({teams.get(role['scope_id'], role['scope_kind'])})"
                for role in me["roles"]
            ),
        },
    )


@router.post("/notices/{notice_id}/read")
def read_notice(visit: Signed, notice_id: str) -> Response:
    """Mark a notice as read."""
    overview.read_notice(visit.rt, visit.caller, notice_id)
    return visit.redirect("/")
