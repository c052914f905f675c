"""Passkeys in the browser: signing in with one, adding, naming and removing them.

The page's own script asks for the options, hands them to the browser, and puts the answer into the
form, which then goes the way of every form. Without scripts there are no passkeys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from charter.core.access.sign_in_attempt import own_path
from charter.core.kernel.errors import (
    CharterError,
    ForbiddenError,
    UnauthenticatedError,
)
from charter.portal import forms
from charter.portal.identity import door, keep_session
from charter.portal.visit import (
    PortalRoute,
    Signed,
    address_of,
    check_same_site,
    form_of,
    visit_of,
)
from charter.services import passkey_sign_in, passkeys
from charter.services.runtime import Runtime

open_router = APIRouter(route_class=PortalRoute)
router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_COOKIE_SECONDS: Final = 600
_SHORTEST_COOKIE: Final = 32


def _cookie_name(rt: Runtime) -> str:
    """With `__Host-` no other site of the same domain can plant one in this browser."""
    return "__Host-charter_passkey" if rt.settings.url.startswith("https:") else "charter_passkey"


# --- signing in -------------------------------------------------------------------------------
@open_router.post("/sign-in/passkey/options", dependencies=[Depends(check_same_site)])
def sign_in_options(request: Request) -> Response:
    """What the browser needs to show a passkey, bound to this browser by a cookie."""
    rt: Runtime = request.state.portal_runtime
    cookie = request.cookies.get(_cookie_name(rt), "")
    if len(cookie) < _SHORTEST_COOKIE:
        cookie = rt.randomness(_SHORTEST_COOKIE).hex()
    response = JSONResponse(passkey_sign_in.begin_sign_in(rt, cookie))
    response.set_cookie(
        _cookie_name(rt),
        cookie,
        max_age=_COOKIE_SECONDS,
        path="/",
        httponly=True,
        samesite="strict",
        secure=rt.settings.url.startswith("https:"),
    )
    return response


@open_router.post("/sign-in/passkey", dependencies=[Depends(check_same_site)])
def sign_in(request: Request, form: Annotated[Mapping[str, str], Depends(form_of)]) -> Response:
    """Take the passkey's answer and open a session."""
    rt: Runtime = request.state.portal_runtime
    try:
        session = passkey_sign_in.sign_in(
            rt,
            request.cookies.get(_cookie_name(rt), ""),
            form.get("credential", ""),
            address_of(request),
            request.headers.get("user-agent"),
        )
    except CharterError as error:
        return door(request, None, error)
    response = RedirectResponse(own_path(form.get("next")), 303)
    keep_session(response, rt, session)
    return response


# --- adding, naming, removing -----------------------------------------------------------------
@router.post("/account/passkeys/options")
def options(visit: Signed) -> Response:
    """What the browser needs to make a passkey."""
    return JSONResponse(passkeys.begin_adding(visit.rt, visit.caller))


@router.post("/account/passkeys")
def add(visit: Signed) -> Response:
    """Keep the passkey that the browser made.

    Without one the script was refused its options, and the same decision says why here; or the
    form comes back from a confirmation, and the browser is to make one now.
    """
    form = forms.read(forms.PasskeyForm, visit.form)
    answer = visit.form.get("credential", "")
    if not answer:
        passkeys.begin_adding(visit.rt, visit.caller)
        return visit.page("passkey_new.html", {"name": form.name})
    with _in_session():
        passkeys.add(visit.rt, visit.caller, form.name, answer)
    return visit.redirect("/account", "The passkey is added. You can sign in with it from now on.")


@contextmanager
def _in_session() -> Iterator[None]:
    """A wrong answer of somebody who is signed in ends no session."""
    try:
        yield
    except UnauthenticatedError as error:
        raise ForbiddenError(error.message, fix=error.fix, code=error.code) from error


@router.post("/account/passkeys/{passkey}/rename")
def rename(visit: Signed, passkey: str) -> Response:
    """Give a passkey another name."""
    form = forms.read(forms.PasskeyForm, visit.form)
    passkeys.rename(visit.rt, visit.caller, passkey, form.name)
    return visit.redirect("/account", "The passkey has its new name.")


@router.get("/account/passkeys/{passkey}/remove")
def ask_remove(visit: Signed, passkey: str) -> Response:
    """Ask before a passkey is removed, and warn when it is the last."""
    own = passkeys.list_passkeys(visit.rt, visit.caller)
    name = next((each["name"] for each in own if each["id"] == passkey), "this passkey")
    warning = (
        " It is your last one: after that only a one-time link or your organisation's own sign-in"
        " leads in."
        if len(own) == 1
        else ""
    )
    return visit.page(
        "ask.html",
        {
            "title": f"Remove {name}?",
            "text": f"Nobody can sign in with it any more; the sessions it opened end.{warning}",
            "action": f"/account/passkeys/{passkey}/remove",
            "kind": "danger",
            "reason_name": None,
            "label": "Remove the passkey",
            "back": "/account",
        },
        block="ask",
    )


@router.post("/account/passkeys/{passkey}/remove")
def remove(visit: Signed, passkey: str) -> Response:
    """Remove a passkey; the page that asked has warned of the last one."""
    passkeys.remove(visit.rt, visit.caller, passkey, last=True)
    return visit.redirect("/account", "The passkey is removed.")
