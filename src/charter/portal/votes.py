"""The page behind a link in a mail: what is asked, the verdict buttons and a comment.

Opening it decides nothing, so that a program that looks into mails may open it as often as it
likes; only the form does. It may be opened without a session: what the link is worth then, the
service says.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, Response

from charter.core.kernel.errors import CharterError, NotFoundError, UnauthenticatedError
from charter.portal import forms
from charter.portal.render import render
from charter.portal.visit import (
    PortalRoute,
    address_of,
    check_csrf,
    check_same_site,
    form_of,
    session_cookie,
    shared,
)
from charter.services import approval_links, decisions, identity
from charter.services.attempts import Door
from charter.services.runtime import Caller, Runtime

open_router = APIRouter(route_class=PortalRoute)

_LONGEST_LINK: Final = 200


def _session(request: Request) -> Caller | None:
    """Who is signed in, if anybody is."""
    rt: Runtime = request.state.portal_runtime
    try:
        return identity.authenticate_session(rt, session_cookie(request), address_of(request))
    except UnauthenticatedError:
        return None


def _page(request: Request, session: Caller | None, values: Mapping[str, Any]) -> Response:
    context = {
        **shared(request, None),
        "me": session,
        "csrf_token": None if session is None else session.csrf_token,
        "error": None,
        "done": None,
        "a": None,
        "decision": None,
        **values,
    }
    error = values.get("error")
    page = render("vote.html", context)
    return HTMLResponse(page) if error is None else HTMLResponse(page, error.status, error.headers)


def _limited(request: Request) -> AbstractContextManager[None]:
    """The door for links: what is none counts against the address that it came from."""
    rt: Runtime = request.state.portal_runtime
    return identity.guarded(rt, Door.SIGN_IN, address_of(request), wrong=NotFoundError)


def _decision(rt: Runtime, caller: Caller, decision_id: str) -> dict[str, Any] | None:
    try:
        return decisions.get(rt, caller, decision_id)
    except CharterError:  # who may vote may still not be among those who may read the decision
        return None


@open_router.get("/vote")
def show(request: Request) -> Response:
    """What the link is about."""
    rt: Runtime = request.state.portal_runtime
    text = request.query_params.get("link", "")[:_LONGEST_LINK]
    session = _session(request)
    try:
        with _limited(request):
            found = approval_links.follow(rt, text, session, address_of(request))
    except CharterError as error:
        return _page(request, session, {"error": error})
    if found.caller is None or found.approval is None:
        return _page(request, session, {"handle": found.handle})
    reasons = _decision(rt, found.caller, found.approval["decision_id"])
    return _page(
        request,
        session,
        {"handle": found.handle, "a": found.approval, "decision": reasons, "link": text},
    )


@open_router.post("/vote", dependencies=[Depends(check_same_site)])
def decide(request: Request, form: Annotated[Mapping[str, str], Depends(form_of)]) -> Response:
    """Vote with the link, and use it up."""
    rt: Runtime = request.state.portal_runtime
    session = _session(request)
    if session is not None:
        check_csrf(request, session, form)
    try:
        asked = forms.read(forms.LinkVoteForm, form)
        with _limited(request):
            after = approval_links.vote(
                rt,
                form.get("link", "")[:_LONGEST_LINK],
                approve=asked.verdict == "approve",
                comment=asked.comment,
                session=session,
                ip=address_of(request),
            )
    except CharterError as error:
        return _page(request, session, {"error": error})
    return _page(request, session, {"done": asked.verdict, "after": after})
