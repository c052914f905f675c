"""The token endpoint (RFC 8693), and what others need to verify what it issues (RFC 7517, 8414).

These speak OAuth: a form comes in, and a refusal goes out as `error` and `error_description`.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from charter.api.deps import address_of, runtime_of, shown_in
from charter.services import keys, token_exchange
from charter.services.token_exchange import ExchangeError

router = APIRouter(include_in_schema=False)

_FORM: Final = "application/x-www-form-urlencoded"
_MOST_PARAMETERS: Final = 32
_KEPT_SECONDS: Final = 60  # how long others may keep the keys: a rotation reaches them soon
_UNSTORED: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@router.get("/.well-known/oauth-authorization-server")
def configuration(request: Request) -> JSONResponse:
    """Where what is."""
    return JSONResponse(token_exchange.metadata(runtime_of(request)))


@router.get("/oauth/jwks")
def key_set(request: Request) -> JSONResponse:
    """The public keys with which agents' credentials are verified."""
    return JSONResponse(
        keys.key_set(runtime_of(request)),
        headers={"Cache-Control": f"public, max-age={_KEPT_SECONDS}"},
    )


@router.post("/oauth/token")
async def token(request: Request) -> Response:
    """Exchange a token for a credential with which an agent acts."""
    try:
        form = _form(request, await request.body())
        made = await run_in_threadpool(
            token_exchange.exchange,
            runtime_of(request),
            form,
            shown_in(request, "none"),
            address_of(request),
        )
    except ExchangeError as error:
        return JSONResponse(
            {"error": error.error, "error_description": _ascii(error.description)},
            status_code=error.status,
            headers={**_UNSTORED, **error.headers},
        )
    return JSONResponse(made, headers=_UNSTORED)


def _form(request: Request, body: bytes) -> dict[str, str]:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != _FORM:
        raise ExchangeError("invalid_request", f"The body has to be {_FORM}.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError as error:
        raise ExchangeError("invalid_request", "The body is no form.") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise ExchangeError("invalid_request", "A parameter came more than once.")
    # A parameter without a value counts as not sent (RFC 6749 §3.2).
    return {name: value for name, value in form.items() if value}


def _ascii(text: str) -> str:
    """What an error_description may hold: printable ASCII without quote and backslash."""
    return "".join(
        character if " " <= character <= "~" and character not in '"\\' else "'"
        for character in text
    )
