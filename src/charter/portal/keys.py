"""The keys that sign agents' credentials: what each is good for, and their rotation."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import keys

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_SHOWN: Final = 12


@router.get("/keys")
def show_keys(visit: Signed) -> Response:
    """The list."""
    return visit.page("keys.html", {"keys": keys.list_keys(visit.rt, visit.caller)}, block="table")


@router.get("/keys/rotate")
def ask_rotate(visit: Signed) -> Response:
    """The page that asks before the keys are replaced."""
    keys.list_keys(visit.rt, visit.caller)
    return visit.page(
        "ask.html",
        {
            "title": "Rotate the signing keys?",
            "text": "Each replica signs with a new key from its next credential on. What the old "
            "keys have signed counts until it runs out, so agents notice nothing.",
            "action": "/keys/rotate",
            "label": "Rotate",
            "kind": "primary",
            "back": "/keys",
            "reason_name": None,
        },
        block="ask",
    )


@router.get("/keys/compromised")
def ask_compromised(visit: Signed) -> Response:
    """The same, for keys that somebody else may have."""
    keys.list_keys(visit.rt, visit.caller)
    return visit.page(
        "ask.html",
        {
            "title": "End everything that these keys have signed?",
            "text": "Each replica makes a new key, and every credential of every agent is dead at "
            "once. Sponsors issue new ones where the work is to go on.",
            "action": "/keys/compromised",
            "label": "End all credentials",
            "kind": "danger",
            "back": "/keys",
            "reason_name": None,
        },
        block="ask",
    )


@router.post("/keys/rotate")
def rotate(visit: Signed) -> Response:
    """Replace them."""
    done = keys.rotate(visit.rt, visit.caller)
    return visit.redirect("/keys", f"{done['key'][:_SHOWN]} signs from now on.")


@router.post("/keys/compromised")
def rotate_compromised(visit: Signed) -> Response:
    """Replace them, and let nothing that they have signed count."""
    done = keys.rotate(visit.rt, visit.caller, compromised=True)
    return visit.redirect("/keys", f"{done['key'][:_SHOWN]} signs; all credentials have ended.")
