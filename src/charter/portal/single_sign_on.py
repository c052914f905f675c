"""Signing in with an OpenID provider: the way there, the way back, and the provider's own word.

The way there and back is made of plain links and redirects: a form that led to another site would
be stopped by the portal's policy on forms. What ties the two together is a cookie of this browser
that lives for minutes. `…/start?next=/path&fresh=1` is for any page that wants a proof of identity
now: the provider then asks again, whoever it remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from charter.core.kernel.errors import CharterError, InvalidInputError, UnauthenticatedError
from charter.portal.identity import door, keep_session
from charter.portal.visit import PortalRoute, address_of, form_of, session_cookie
from charter.services import identity, provider_sessions, single_sign_on
from charter.services.runtime import Runtime

open_router = APIRouter(route_class=PortalRoute)

_LONGEST_LOGOUT_TOKEN: Final = 16_384


def _cookie_name(rt: Runtime) -> str:
    """With `__Host-` no other site of the same domain can plant one in this browser."""
    return "__Host-charter_sign_in" if rt.settings.url.startswith("https:") else "charter_sign_in"


@open_router.get("/sign-in/oidc/{provider}/start")
def start(request: Request, provider: str) -> Response:
    """Send the browser to the provider."""
    rt: Runtime = request.state.portal_runtime
    fresh = request.query_params.get("fresh") == "1"
    try:
        beginning = single_sign_on.set_out(
            rt,
            provider,
            next_path=request.query_params.get("next"),
            fresh=fresh,
            person_id=_signed_in(request) if fresh else None,
        )
    except CharterError as error:
        return door(request, None, error)
    response = RedirectResponse(beginning.url, 303)
    response.set_cookie(
        _cookie_name(rt),
        beginning.cookie,
        max_age=beginning.seconds,
        path="/",
        httponly=True,
        samesite="lax",  # it must come back with the provider's redirect
        secure=rt.settings.url.startswith("https:"),
    )
    return response


@open_router.get("/sign-in/oidc/{provider}/callback")
def callback(request: Request, provider: str) -> Response:
    """Take the browser back; a refusal is the sign-in page with a sentence."""
    rt: Runtime = request.state.portal_runtime
    try:
        completion = single_sign_on.come_back(
            rt,
            provider,
            _once_each(request),
            cookie=request.cookies.get(_cookie_name(rt)),
            session_cookie=session_cookie(request) or None,
            ip=address_of(request),
            user_agent=request.headers.get("user-agent"),
        )
    except CharterError as error:
        response = door(request, None, error)
    else:
        response = RedirectResponse(completion.next_path, 303)
        keep_session(response, rt, completion.session)
    response.delete_cookie(
        _cookie_name(rt), path="/", secure=rt.settings.url.startswith("https:"), httponly=True
    )
    return response


@open_router.post("/sign-in/oidc/{provider}/logout")
def back_channel_logout(
    request: Request, provider: str, form: Annotated[Mapping[str, str], Depends(form_of)]
) -> Response:
    """The provider, not a browser, says whose session is over; its signature stands for it."""
    rt: Runtime = request.state.portal_runtime
    token = form.get("logout_token", "")
    if not 0 < len(token) <= _LONGEST_LOGOUT_TOKEN:
        return _not_valid("There is no logout token in this request.")
    try:
        provider_sessions.end_by_provider(rt, provider, token)
    except UnauthenticatedError as error:
        return _not_valid(error.message)
    return Response(status_code=200)


def _not_valid(why: str) -> Response:
    """As Back-Channel Logout §2.8 has it."""
    return JSONResponse({"error": "invalid_request", "error_description": why}, 400)


def _signed_in(request: Request) -> str | None:
    """Who is signed in in this browser, if somebody is."""
    rt: Runtime = request.state.portal_runtime
    cookie = session_cookie(request)
    try:
        return identity.authenticate_session(rt, cookie, address_of(request)).id
    except CharterError:
        return None


def _once_each(request: Request) -> dict[str, str]:
    """The parameters of the answer; one that is there twice could mean two things."""
    pairs = request.query_params.multi_items()
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidInputError("The provider's answer says something twice.", fix="Sign in again.")
    return dict(pairs)
