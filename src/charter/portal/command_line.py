"""A command line asks to act for somebody: the page on which they say yes.

`charter login` shows the address of this page, with a challenge in it. Whoever opens it signs in,
in whatever way, and gets a code to paste back. The code works once, for minutes, and only in
the command line that keeps the challenge's secret; so a code that leaks is worth nothing.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from charter.core.kernel.errors import InvalidInputError, UnauthenticatedError
from charter.portal.visit import PortalRoute, Signed, form_of, visit_of
from charter.services import sessions

open_router = APIRouter(route_class=PortalRoute)
router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_PATH: Final = "/sign-in/command-line"
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def _challenge(text: str | None) -> str:
    if text is None or not _CHALLENGE.fullmatch(text):
        raise InvalidInputError(
            "This address is incomplete.", fix="Copy the whole address that charter login shows."
        )
    return text


@open_router.get(_PATH)
async def ask(request: Request) -> Response:
    """The question, to somebody who is signed in; else the way there, and back here."""
    challenge = _challenge(request.query_params.get("challenge"))
    try:
        visit = visit_of(request, await form_of(request))
    except UnauthenticatedError:
        here = f"{_PATH}?challenge={challenge}"
        return RedirectResponse(f"/sign-in?{urlencode({'next': here})}", 303)
    return visit.page("command_line.html", {"challenge": challenge, "code": None})


@router.post(_PATH)
def confirm(visit: Signed) -> Response:
    """Show the code, this once."""
    challenge = _challenge(visit.form.get("challenge"))
    made = sessions.hand_over(visit.rt, visit.caller, challenge)
    code = str(made["url"]).partition("link=")[2]
    return visit.page("command_line.html", {"challenge": None, "code": code, **made})
