"""Ending sessions, and confirming in one that it is still you (step-up)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from charter.core.access.sign_in_attempt import own_path
from charter.core.kernel.errors import CharterError
from charter.portal import confirm
from charter.portal.identity import keep_session
from charter.portal.render import render
from charter.portal.visit import PortalRoute, Signed, Visit, shared, visit_of
from charter.services import passkey_sign_in, sessions

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_LONGEST_LINK: Final = 500


@router.post("/account/sessions/{session}/end")
def end_session(visit: Signed, session: str) -> Response:
    """End one session."""
    sessions.end(visit.rt, visit.caller, session)
    return visit.redirect("/account#sessions", "The session is ended.")


@router.post("/account/sessions/end-others")
def end_others(visit: Signed) -> Response:
    """End all sessions but this one."""
    ended = sessions.end_others(visit.rt, visit.caller)
    return visit.redirect("/account#sessions", f"Sessions ended: {ended}.")


# --- step-up ----------------------------------------------------------------------------------
@router.get("/account/confirm")
def ask(visit: Signed) -> Response:
    """The page that asks for a fresh proof, and leads back."""
    next_path = own_path(visit.request.query_params.get("next", "/account"))
    return _page(visit, next_path, None)


@router.post("/account/confirm/options")
def options(visit: Signed) -> Response:
    """What the browser needs to show one of the person's own passkeys."""
    return JSONResponse(passkey_sign_in.begin_step_up(visit.rt, visit.caller))


@router.post("/account/confirm/passkey")
def by_passkey(visit: Signed) -> Response:
    """Take the passkey's answer."""
    return _renewed(
        visit,
        lambda: passkey_sign_in.step_up(visit.rt, visit.caller, visit.form.get("credential", "")),
    )


@router.post("/account/confirm/link")
def by_link(visit: Signed) -> Response:
    """Take a fresh one-time link of the same person."""
    link = visit.form.get("link", "")[:_LONGEST_LINK]
    return _renewed(visit, lambda: sessions.step_up_by_link(visit.rt, visit.caller, link))


def _page(
    visit: Visit, next_path: str, held: confirm.Held | None, error: CharterError | None = None
) -> Response:
    values = confirm.values(visit.request, visit.rt, visit.caller, next_path, held)
    return visit.page(
        "confirm.html", {**values, "error": error}, status=200 if error is None else error.status
    )


def _renewed(visit: Visit, prove: Callable[[], dict[str, Any]]) -> Response:
    """Back to what the person was doing, with the renewed session; or the page and why not."""
    next_path = own_path(visit.form.get("next", "/"))
    held = confirm.read_held(visit.form.get("held", ""))
    try:
        session = prove()
    except CharterError as error:
        return _page(visit, next_path, held, error)
    response: Response = RedirectResponse(next_path, 303)
    if held is not None:
        values = {
            **shared(visit.request, visit),
            "csrf_token": session["csrf_token"],
            "action": held.action,
            "fields": held.fields,
            "next": next_path,
        }
        response = HTMLResponse(render("confirmed.html", values))
    keep_session(response, visit.rt, session)
    return response
