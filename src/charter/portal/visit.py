"""A visit: one request to the portal, who makes it, and the form it carries.

Three things must hold for every page, so they are done in one place that no page can forget.

* Who asks is known before a page's own code runs. Without a live session a browser is sent to
  the sign-in page.
* Every unsafe request proves that it comes from a page of this portal and this session: it carries
  the session's CSRF token, in a field or a header, and does not come from another site.
* Every answer carries the security headers, and every refusal is a page with a sentence, a code
  and the next step.

`visit_of` does the first two as a dependency of the whole router, `PortalRoute` the third.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from charter.core.access.roles import Binding, permissions_anywhere
from charter.core.kernel.errors import (
    CharterError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    UnauthenticatedError,
)
from charter.core.kernel.masking import masked
from charter.log import Log
from charter.portal import confirm
from charter.portal.render import render
from charter.services import addresses, identity
from charter.services.runtime import Caller, Runtime
from charter.services.secrets import cookie_in

_log = Log("charter.portal")

THEME_COOKIE: Final = "charter_theme"
FLASH_COOKIE: Final = "charter_flash"
THEMES: Final = ("light", "dark")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FLASH_SECONDS: Final = (
    30  # long enough for the redirect that follows, short enough to be forgotten
)

# Nothing is loaded from anywhere else, no script or style stands in a page, nothing is evaluated.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # `no-referrer` would make browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class Visit:
    """Who asks for what. `form` is empty unless the request carries one."""

    rt: Runtime
    caller: Caller
    request: Request
    form: Mapping[str, str]

    @cached_property
    def permissions(self) -> frozenset[str]:
        """What the caller may do somewhere; decides which links are shown, never what is done."""
        bindings = self.caller.person.bindings
        return frozenset(p.value for p in permissions_anywhere(bindings, self.rt.now()))

    @cached_property
    def emergency(self) -> Binding | None:
        """The emergency role under which the caller acts; None in ordinary times."""
        now = self.rt.now()
        found = (b for b in self.caller.person.bindings if b.break_glass is not None)
        return next((b for b in found if b.live(now)), None)

    @property
    def partial(self) -> bool:
        """Whether htmx asks for a part of the page."""
        return self.request.headers.get("hx-request") == "true"

    def asked(self, *names: str) -> dict[str, str | None]:
        """These query parameters; an empty one counts as absent."""
        return {
            name: printable(self.request.query_params.get(name, "")).strip() or None
            for name in names
        }

    def page(
        self,
        template: str,
        values: Mapping[str, Any],
        *,
        block: str | None = None,
        status: int = 200,
    ) -> Response:
        """The page, or for htmx the block of it that it asked for.

        A refusal that a page would show among its fields is raised where a fresh proof of identity
        is all that is missing: then the form is held, and the person asked.
        """
        error = values.get("error")
        if isinstance(error, CharterError) and error.code == confirm.CODE:
            raise error
        part = block if self.partial else None
        flash = None if part else self.request.cookies.get(FLASH_COOKIE)
        body = render(
            template, {**shared(self.request, self), "flash": flash, **values}, block=part
        )
        response = HTMLResponse(body, status)
        if flash is not None:
            response.delete_cookie(FLASH_COOKIE, path="/")
        if block is not None:
            response.headers["Vary"] = "HX-Request"
        return response

    def redirect(self, path: str, flash: str | None = None) -> Response:
        """To another page after something was done, with a word about it."""
        response = RedirectResponse(path, 303)
        if flash is not None:
            response.set_cookie(
                FLASH_COOKIE,
                flash.encode("ascii", "replace").decode(),
                max_age=_FLASH_SECONDS,
                httponly=True,
                samesite="lax",
                secure=self.rt.settings.url.startswith("https:"),
            )
        return response


def shared(request: Request, visit: Visit | None) -> dict[str, Any]:
    """What every template finds in its context."""
    rt: Runtime = request.state.portal_runtime
    theme = request.cookies.get(THEME_COOKIE)
    return {
        "now": rt.now(),
        "organisation": rt.settings.organisation,
        "path": masked(request.url.path),
        "theme": theme if theme in THEMES else None,
        "flash": None,
        "me": visit.caller if visit else None,
        "csrf_token": visit.caller.csrf_token if visit else None,
        "permissions": visit.permissions if visit else frozenset(),
        "emergency": visit.emergency if visit else None,
    }


def printable(text: str) -> str:
    """`text`, if it holds no control character or half a character; raises InvalidInputError."""
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cs"} and character not in "\n\t":
            raise InvalidInputError(
                "The text holds a control character or half a character.",
                fix="Remove it and send the form again.",
            )
    return text


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form that was sent; files and repeated fields are not among them."""
    fields: dict[str, str] = {}
    if request.method not in _SAFE:
        async with request.form() as form:
            for name, value in form.items():
                if isinstance(value, str):
                    fields[name] = printable(value.replace("\r\n", "\n"))
    request.state.portal_body_read = True
    return fields


def check_same_site(request: Request) -> None:
    """Refuse an unsafe request that a browser says was made by a page of another site."""
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        raise ForbiddenError(
            "This request comes from a page of another site.",
            fix="Open the portal itself and do it there.",
            code="cross-site",
        )


def check_csrf(request: Request, caller: Caller, form: Mapping[str, str]) -> None:
    """Refuse an unsafe request that does not carry the session's token."""
    check_same_site(request)
    sent = request.headers.get("x-csrf-token") or form.get("_csrf", "")
    expected = caller.csrf_token or ""
    if not expected or not hmac.compare_digest(sent.encode(), expected.encode()):
        raise ForbiddenError(
            "The form does not belong to this session, so nothing was done.",
            fix="Reload the page and send the form again.",
            code="csrf",
        )


def session_cookie(request: Request) -> str:
    """What the browser shows as its session; empty without one, and with two."""
    rt: Runtime = request.state.portal_runtime
    return cookie_in(request.headers.getlist("cookie"), rt.settings.session_cookie) or ""


def address_of(request: Request) -> str | None:
    """Where the request came from."""
    rt: Runtime = request.state.portal_runtime
    peer = None if request.client is None else request.client.host
    return addresses.address_of(rt.settings, peer, request.headers.getlist)


def visit_of(request: Request, form: Annotated[Mapping[str, str], Depends(form_of)]) -> Visit:
    """The visit; raises `UnauthenticatedError` without a session and refuses forged requests."""
    rt: Runtime = request.state.portal_runtime
    for value in request.path_params.values():
        printable(str(value))
    caller = identity.authenticate_session(rt, session_cookie(request), address_of(request))
    visit = Visit(rt, caller, request, form)
    request.state.portal_visit = visit
    if request.method not in _SAFE:
        check_csrf(request, caller, form)
    return visit


Signed = Annotated[Visit, Depends(visit_of)]


# --- answers ----------------------------------------------------------------------------------
def secured(response: Response) -> Response:
    """`response` with the portal's headers; pages are never kept by a browser or a proxy."""
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def forget_session(response: Response, rt: Runtime) -> None:
    """Take the session's cookie away, with the flags that a browser wants to see again."""
    response.delete_cookie(
        rt.settings.session_cookie,
        path="/",
        httponly=True,
        samesite="lax",
        secure=rt.settings.url.startswith("https:"),
    )


def refusal(request: Request, error: CharterError) -> Response:
    """The page for a refusal; without a session, the way to the sign-in page."""
    if isinstance(error, UnauthenticatedError) and request.url.path != "/sign-in":
        if request.headers.get("hx-request") == "true":  # a fragment would land inside a page
            return secured(Response(status_code=204, headers={"HX-Redirect": "/sign-in"}))
        response = RedirectResponse("/sign-in", 303)
        forget_session(response, request.state.portal_runtime)
        return secured(response)
    visit: Visit | None = getattr(request.state, "portal_visit", None)
    if error.code == confirm.CODE and visit is not None:
        return secured(_confirmation(visit, error))
    values = {**shared(request, visit), "error": error}
    block = "main" if request.headers.get("hx-request") == "true" else None
    return secured(
        HTMLResponse(render("error.html", values, block=block), error.status, error.headers)
    )


def _confirmation(visit: Visit, error: CharterError) -> Response:
    """The page that asks for a fresh proof of identity, holding the form that was refused."""
    request = visit.request
    if visit.partial:  # a fragment would land inside a page
        back = quote(confirm.came_from(request, "hx-current-url"))
        return Response(status_code=204, headers={"HX-Redirect": f"/account/confirm?next={back}"})
    held = confirm.refused(request, visit.rt, visit.caller, visit.form)
    values = {**shared(request, visit), **held, "error": error}
    return HTMLResponse(render("confirm.html", values), error.status)


def _unexpected() -> CharterError:
    return CharterError(
        "Charter failed while handling this request; nothing was changed by it.",
        fix="Try again; if it happens again, an administrator finds it in the log under the time.",
    )


_STATUS_NOT_FOUND: Final = 404


def of_http(error: HTTPException) -> CharterError:
    """The refusal that a plain HTTP error of the framework stands for."""
    if error.status_code == _STATUS_NOT_FOUND:
        return NotFoundError(
            "There is no such page.", fix="Start from the overview.", code="no-such-page"
        )
    return InvalidInputError(
        "The request could not be read.", fix="Go back, reload the page and try again."
    )


class PortalRoute(APIRoute):
    """A route whose every answer is a page with the portal's headers."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the framework, with refusals turned into pages."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response = await handle(request)
            except CharterError as error:
                return refusal(request, error)
            except RequestValidationError:
                return refusal(request, of_http(HTTPException(422)))
            except HTTPException as error:
                return refusal(request, of_http(error))
            except Exception as error:
                # While the body is being read, errors belong to the layer that bounds bodies.
                if not getattr(request.state, "portal_body_read", False):
                    raise
                _log.exception("unhandled", path=masked(request.url.path), error=repr(error))
                return refusal(request, _unexpected())
            return secured(response)

        return answer
