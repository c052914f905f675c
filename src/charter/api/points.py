"""What the doors for enforcement points share: the point's token, and bodies that are read whole.

These doors speak other people's protocols (OPA, AuthZEN), so they stand beside the versioned API,
answer errors in the shape that their clients know, and take no session cookie.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from charter.api.deps import address_of, runtime_of
from charter.core.kernel.errors import InvalidInputError, UnauthenticatedError
from charter.services.enforcement_points import EnforcementPoint, authenticate_point

_LARGEST_CREDENTIAL = 8192


def bearer_of(request: Request) -> str:
    """The bearer token of the request; raises `UnauthenticatedError` when there is none."""
    headers = request.headers.getlist("authorization")
    scheme, _, credential = (headers[0] if len(headers) == 1 else "").partition(" ")
    credential = credential.strip()
    usable = credential.isascii() and 0 < len(credential) <= _LARGEST_CREDENTIAL
    if scheme.lower() != "bearer" or not usable:
        raise UnauthenticatedError(
            "The request carries no bearer token.", fix="Send: Authorization: Bearer TOKEN."
        )
    return credential


async def point_of(request: Request, kind: str) -> EnforcementPoint:
    """The enforcement point of this kind that asks."""
    token, address = bearer_of(request), address_of(request)
    return await run_in_threadpool(authenticate_point, runtime_of(request), token, kind, address)


def parsed(body: bytes) -> Any:
    """The JSON in `body`; NaN and infinities are refused, since no other reader would take them."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise InvalidInputError(
            "The body is not a JSON document in UTF-8.", fix="Send JSON.", code="malformed-json"
        ) from None
