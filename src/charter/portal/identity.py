"""Signing in and out, and the choice of light or dark.

A one-time link opens a page with a button; only the button uses the link up, so that a program
that previews links (mail scanners, chat) does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from charter.core.access.sign_in_attempt import own_path
from charter.core.kernel.errors import CharterError
from charter.portal.confirm import passkey_place
from charter.portal.render import render
from charter.portal.visit import (
    THEME_COOKIE,
    THEMES,
    PortalRoute,
    Signed,
    address_of,
    check_same_site,
    forget_session,
    form_of,
    shared,
    visit_of,
)
from charter.services import identity, provider_sessions, single_sign_on
from charter.services.runtime import Runtime

# Routes that need no session; the same-site check stands in for the token that it would hold.
open_router = APIRouter(route_class=PortalRoute)
router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_YEAR_SECONDS: Final = 365 * 86_400
_LONGEST_LINK: Final = 500
# A path of this portal and nothing that a browser could read as another host (`//…`, `/\\…`).
_OWN_PATH: Final = re.compile(r"^/(?!/)[A-Za-z0-9._/@-]*$")


def door(request: Request, link: str | None, error: CharterError | None = None) -> Response:
    """The sign-in page: every way in, and why the last one did not lead there."""
    rt: Runtime = request.state.portal_runtime
    left = request.query_params.get("signed-out")
    values = {
        **shared(request, None),
        "link": link,
        "error": error,
        "next": own_path(request.query_params.get("next")),
        "ways": single_sign_on.ways(rt),
        "passkeys": passkey_place(request, rt),
        "still_at": None if left is None else provider_sessions.sign_out_link(rt, left),
    }
    page = render("sign_in.html", values)
    return HTMLResponse(page) if error is None else HTMLResponse(page, error.status, error.headers)


def keep_session(response: Response, rt: Runtime, session: Mapping[str, Any]) -> None:
    """Give the browser the cookie of a session that was just opened."""
    response.set_cookie(
        rt.settings.session_cookie,
        session["secret"],
        max_age=int((session["expires_at"] - rt.now()).total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=rt.settings.url.startswith("https:"),
    )


@open_router.get("/sign-in")
def sign_in_page(request: Request) -> Response:
    """The page with the button, or how to get a link."""
    text = request.query_params.get("link", "")[:_LONGEST_LINK]
    return door(request, text.rsplit("link=", 1)[-1].strip() or None)


@open_router.post("/sign-in", dependencies=[Depends(check_same_site)])
def sign_in(request: Request, form: Annotated[Mapping[str, str], Depends(form_of)]) -> Response:
    """Use the link up and open a session."""
    rt: Runtime = request.state.portal_runtime
    try:
        session = identity.exchange_link(
            rt,
            form.get("link", "")[:_LONGEST_LINK],
            address_of(request),
            request.headers.get("user-agent"),
        )
    except CharterError as error:
        return door(request, None, error)
    response = RedirectResponse(own_path(form.get("next")), 303)
    keep_session(response, rt, session)
    return response


@router.post("/sign-out")
def sign_out(visit: Signed) -> Response:
    """End the session."""
    provider = provider_sessions.provider_of_session(visit.rt, visit.caller.credential_id)
    identity.end_session(visit.rt, visit.caller)
    response = visit.redirect("/sign-in" if provider is None else f"/sign-in?signed-out={provider}")
    forget_session(response, visit.rt)
    return response


@router.post("/theme")
def theme(visit: Signed) -> Response:
    """Keep the choice of light or dark in a cookie; anything else means: as the system has it."""
    back = visit.form.get("back", "/")
    response = visit.redirect(back if _OWN_PATH.match(back) else "/")
    chosen = visit.form.get("theme", "")
    if chosen in THEMES:
        response.set_cookie(
            THEME_COOKIE,
            chosen,
            max_age=_YEAR_SECONDS,
            path="/",
            httponly=True,
            samesite="lax",
            secure=visit.rt.settings.url.startswith("https:"),
        )
    else:
        response.delete_cookie(THEME_COOKIE, path="/")
    return response
