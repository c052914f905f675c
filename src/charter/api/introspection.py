"""OAuth 2.0 token introspection (RFC 7662), for the doors to production.

An enforcement point shows its own token (as a bearer token, or as the password of HTTP Basic) and
asks what the token of somebody at its door is worth. Each yes is a use and is recorded with the
door. `audience` says before which project the door stands, unless its registration does.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from charter.api.deps import runtime_of
from charter.api.points import bearer_of
from charter.core.kernel.errors import CharterError, InvalidInputError, UnauthenticatedError
from charter.services import production_door
from charter.services.enforcement_points import authenticate_point

router = APIRouter(include_in_schema=False)

_HEADERS: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_ERRORS: Final = {401: "invalid_client", 422: "invalid_request", 400: "invalid_request"}
_LONGEST: Final = 8192


def _credential(request: Request) -> str:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return bearer_of(request)
    try:
        _, _, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise UnauthenticatedError(
            "The Authorization header cannot be read.", fix="Send the point's name and token."
        ) from None
    return password


@router.post("/oauth/introspect")
async def introspect(request: Request) -> JSONResponse:
    """What a token is worth, to the enforcement point that asks."""
    rt = runtime_of(request)
    try:
        point = await run_in_threadpool(authenticate_point, rt, _credential(request))
        async with request.form() as form:
            token, audience = form.get("token"), form.get("audience")
        if not isinstance(token, str) or not 0 < len(token) <= _LONGEST:
            raise InvalidInputError("The form carries no token.", fix="Send token=TOKEN.")
        project = audience if isinstance(audience, str) and audience else None
        found = await run_in_threadpool(production_door.introspect, rt, point, token, project)
    except CharterError as error:
        headers = dict(_HEADERS)
        if error.status == 401:  # noqa: PLR2004 — the status that must name a scheme
            headers["WWW-Authenticate"] = 'Bearer realm="charter"'
        status = 400 if isinstance(error, InvalidInputError) else error.status
        return JSONResponse(
            {
                "error": _ERRORS.get(error.status, "server_error"),
                "error_description": f"{error.message} {error.fix}",
            },
            status_code=status,
            headers=headers,
        )
    return JSONResponse(found, headers=_HEADERS)
