"""Decisions: every question that was put to policy, its answer, its reasons and its facts."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import decisions, explain

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/decisions")
def show_decisions(visit: Signed) -> Response:
    """The list."""
    asked = visit.asked("action", "subject", "resource", "effect")
    cursor = visit.asked("cursor")["cursor"]
    page = decisions.list_page(
        visit.rt,
        visit.caller,
        action=asked["action"],
        subject=asked["subject"],
        resource=asked["resource"],
        effect=asked["effect"],
        cursor=cursor,
    )
    return visit.page(
        "decisions.html", {"page": page, "asked": asked, "cursor": cursor}, block="table"
    )


@router.get("/decisions/{decision_id}")
def show_decision(visit: Signed, decision_id: str) -> Response:
    """One decision with its facts; htmx then asks for its explanation, which takes longer."""
    return visit.page("decision.html", {"d": decisions.get(visit.rt, visit.caller, decision_id)})


@router.get("/decisions/{decision_id}/explanation")
def show_explanation(visit: Signed, decision_id: str) -> Response:
    """Why it came out so: rule by rule with values, near misses, and a way around."""
    return visit.page(
        "explanation.html",
        {"e": explain.explain(visit.rt, visit.caller, decision_id)},
        block="explanation",
    )
