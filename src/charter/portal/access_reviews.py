"""Access reviews: the campaigns, what waits for me, keep or revoke."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import InvalidInputError
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import access_campaigns, access_evidence, access_reviews

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_LONGEST = 500


@router.get("/access/reviews")
def show_campaigns(visit: Signed) -> Response:
    """Every campaign that concerns the visitor, and what nobody uses."""
    cursor = visit.asked("cursor")["cursor"]
    return visit.page(
        "access_reviews.html",
        {
            "page": access_reviews.list_campaigns(visit.rt, visit.caller, cursor=cursor),
            "cursor": cursor,
            "unused": access_evidence.list_unused(visit.rt, visit.caller),
        },
    )


def _text(visit: Signed, name: str) -> str:
    text = visit.form.get(name, "").strip()
    if len(text) > _LONGEST:
        raise InvalidInputError(f"The {name} is too long.", fix=f"Use {_LONGEST} characters.")
    return text


@router.post("/access/reviews")
def open_campaign(visit: Signed) -> Response:
    """Open one outside the calendar."""
    reason = _text(visit, "reason")
    if not reason:
        raise InvalidInputError("A campaign says why it is opened.", fix="Give a reason.")
    id_ = access_campaigns.open_by(visit.rt, visit.caller, reason=reason)
    return visit.redirect(f"/access/reviews/{id_}", "The campaign is open.")


@router.get("/access/reviews/{campaign}")
def show_campaign(visit: Signed, campaign: str) -> Response:
    """What it asks about: what waits for the visitor, or all that they may see."""
    asked = visit.asked("show", "state")
    cursor = visit.asked("cursor")["cursor"]
    found = access_reviews.get_campaign(visit.rt, visit.caller, campaign)
    show = asked["show"] or ("for-me" if found["state"] == "open" else "all")
    state = asked["state"]
    if state not in (None, "waiting", "keep", "revoke", "lapsed", "gone"):
        state = None
    page: dict[str, Any] = access_reviews.list_items(
        visit.rt,
        visit.caller,
        found["id"],
        state=state,
        for_me=show == "for-me",
        unused_only=show == "unused",
        cursor=cursor,
    )
    return visit.page(
        "access_review.html",
        {
            "campaign": found,
            "page": page,
            "asked": {**asked, "show": show},
            "cursor": cursor,
        },
        block="table",
    )


@router.post("/access/reviews/{campaign}/items/{item}")
def answer(visit: Signed, campaign: str, item: str) -> Response:
    """Keep it, or take it away."""
    verdict = visit.form.get("answer", "")
    if verdict not in ("keep", "revoke"):
        raise InvalidInputError("An answer is keep or revoke.", fix="Choose one of the buttons.")
    made = access_reviews.answer(
        visit.rt, visit.caller, item, verdict, _text(visit, "comment") or None
    )
    done = "kept" if verdict == "keep" else "taken away"
    return visit.redirect(f"/access/reviews/{campaign}", f"{made['what']} is {done}.")


@router.get("/access/reviews/{campaign}/evidence.csv")
def evidence(visit: Signed, campaign: str) -> Response:
    """Every item with its answer, as a file; that it was taken is on record."""
    found = access_evidence.export(visit.rt, visit.caller, campaign)
    name = f"access-review-{found['campaign']['name']}.csv"
    return Response(
        found["csv"],
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
