"""What every route needs: the runtime, and who is asking.

A request shows either a bearer token (command line, agents, programs) or the session cookie
(portal). With the cookie, a method that changes something must also carry the session's CSRF token:
another site can make a browser send the cookie, and cannot know the token.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Request

from charter.api.problems import Problem
from charter.core.kernel.errors import ForbiddenError, UnauthenticatedError
from charter.services import addresses
from charter.services.identity import authenticate_bearer, authenticate_session
from charter.services.proofs import Shown
from charter.services.runtime import Caller, Runtime
from charter.services.secrets import cookie_in

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LARGEST_CREDENTIAL: Final = 8192
_SCHEMES: Final = frozenset({"bearer", "dpop"})


def runtime_of(request: Request) -> Runtime:
    """The runtime that the app was built with."""
    rt: Runtime = request.app.state.runtime
    return rt


def address_of(request: Request) -> str | None:
    """Where the request came from."""
    peer = None if request.client is None else request.client.host
    return addresses.address_of(runtime_of(request).settings, peer, request.headers.getlist)


def shown_in(request: Request, scheme: str) -> Shown:
    """How a credential comes with this request, for those that are bound to a key."""
    proofs = request.headers.getlist("dpop")
    raw = request.scope.get("raw_path") or request.url.path.encode()
    return Shown(
        scheme=scheme,
        method=request.method,
        path=raw.split(b"?")[0].decode("ascii", "replace"),
        proof=None if not proofs else proofs[0] if len(proofs) == 1 else "",
    )


def token_of(request: Request) -> tuple[str, Shown] | None:
    """The token of the Authorization header and how it was shown; None without the header."""
    headers = request.headers.getlist("authorization")
    if not headers:
        return None
    # Of two headers none counts: which one is taken would be an accident.
    scheme, _, credential = (headers[0] if len(headers) == 1 else "").partition(" ")
    scheme, credential = scheme.lower(), credential.strip()
    usable = credential.isascii() and 0 < len(credential) <= _LARGEST_CREDENTIAL
    if scheme not in _SCHEMES or not usable:
        raise UnauthenticatedError(
            "The Authorization header is neither a bearer token nor one with a proof of its key.",
            fix="Send: Authorization: Bearer TOKEN, or Authorization: DPoP TOKEN with a proof.",
        )
    return credential, shown_in(request, scheme)


def caller_of(request: Request) -> Caller:
    """The authenticated caller; raises `UnauthenticatedError` otherwise."""
    rt = runtime_of(request)
    given = token_of(request)
    if given is not None:
        token, shown = given
        return authenticate_bearer(rt, token, address_of(request), shown)
    cookie = cookie_in(request.headers.getlist("cookie"), rt.settings.session_cookie)
    if cookie is None:
        raise UnauthenticatedError(
            "Nobody is signed in.",
            fix="Send a bearer token, or sign in with a one-time link: charter login.",
        )
    caller = authenticate_session(rt, cookie, address_of(request))
    if request.method not in _SAFE_METHODS:
        sent = request.headers.get("x-csrf-token", "")
        if not hmac.compare_digest(sent.encode(), (caller.csrf_token or "").encode()):
            raise ForbiddenError(
                "The request does not carry this session's CSRF token.",
                fix="Reload the page and try again.",
                code="csrf",
            )
    return caller


RuntimeDep = Annotated[Runtime, Depends(runtime_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
AddressDep = Annotated[str | None, Depends(address_of)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=200,
        description="The same key with the same request gives the same thing again.",
    ),
]
Cursor = Annotated[
    str | None,
    Query(pattern=r"^[A-Za-z0-9_:.-]{1,100}$", description="`next` of the page before."),
]
Limit = Annotated[int, Query(ge=1, le=200)]
Filter = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_:.@+/-]{1,128}$")]

_WORDS: Final = {
    400: "The request is malformed.",
    401: "Nobody is signed in, or the credential is not valid.",
    403: "The decision is no; `details.decision` carries every reason.",
    404: "There is no such thing, or it is not yours to know of.",
    409: "Not possible in the present state.",
    413: "The body is too large.",
    422: "The request is not valid.",
    429: "Too many.",
    503: "A part that is needed is missing; nothing was weakened to go on without it.",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": words,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    for status, words in _WORDS.items()
}
__all__ = [
    "PROBLEMS",
    "AddressDep",
    "CallerDep",
    "Cursor",
    "Filter",
    "Key",
    "Limit",
    "Problem",
    "RuntimeDep",
]
