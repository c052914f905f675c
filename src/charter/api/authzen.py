"""OpenID AuthZEN 1.0: metadata, one evaluation, several evaluations.

An enforcement point of the kind `authzen` asks about anybody; a person or an agent with their own
token about themselves. `X-Request-ID` comes back with every answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from charter.api.deps import address_of, runtime_of, token_of
from charter.api.points import bearer_of, parsed
from charter.core.kernel.errors import CharterError, InvalidInputError
from charter.services import authzen
from charter.services.enforcement_points import EnforcementPoint, authenticate_point
from charter.services.identity import authenticate_bearer
from charter.services.proofs import Shown
from charter.services.runtime import Caller, Runtime

router = APIRouter(include_in_schema=False)

_REQUEST_ID: Final = "x-request-id"
_LONGEST_REQUEST_ID: Final = 200
Evaluate = Callable[[Runtime, EnforcementPoint | Caller, object], dict[str, Any]]


def _who(
    rt: Runtime, token: str, address: str | None, shown: Shown | None
) -> EnforcementPoint | Caller:
    if token.startswith("cep_"):
        return authenticate_point(rt, token, "authzen", address)
    return authenticate_bearer(rt, token, address, shown)


async def _answer(request: Request, evaluate: Evaluate) -> Response:
    rt = runtime_of(request)
    headers = {"Cache-Control": "no-store"}
    given = request.headers.get(_REQUEST_ID, "")
    if 0 < len(given) <= _LONGEST_REQUEST_ID and given.isprintable():
        headers["X-Request-ID"] = given
    try:
        token, shown = token_of(request) or (bearer_of(request), None)
        who = await run_in_threadpool(_who, rt, token, address_of(request), shown)
        body = await run_in_threadpool(evaluate, rt, who, parsed(await request.body()))
    except CharterError as error:
        status = 400 if isinstance(error, InvalidInputError) else error.status
        headers.update(error.headers)
        return JSONResponse(
            {"error": error.code, "message": error.message, "fix": error.fix},
            status_code=status,
            headers=headers,
        )
    return JSONResponse(body, headers=headers)


@router.get("/.well-known/authzen-configuration")
def configuration(request: Request) -> JSONResponse:
    """Where what is."""
    return JSONResponse(authzen.configuration(runtime_of(request)))


@router.post("/access/v1/evaluation")
async def evaluation(request: Request) -> Response:
    """May this subject do this to that?"""
    return await _answer(request, authzen.evaluation)


@router.post("/access/v1/evaluations")
async def evaluations(request: Request) -> Response:
    """The same for a list, with defaults and one of three semantics."""
    return await _answer(request, authzen.evaluations)
