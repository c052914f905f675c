"""The admission webhook: what an API server calls, outside /api/v1 and in Kubernetes' own format.

An API server can be told an address and nothing else, so the token of the enforcement point may
stand at the end of the path; one that can send headers sends it as a bearer token. Access logs are
off, so the path is written nowhere.
"""

from __future__ import annotations

import json
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from charter.api.deps import address_of
from charter.services.kubernetes import AdmissionDesk

router = APIRouter(prefix="/kubernetes/v1", include_in_schema=False)

PREFIX: Final = "/kubernetes/"
"""Below it, bodies may be larger: an update carries the object twice."""

Class = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,200}$")]


def _bearer(request: Request) -> str | None:
    headers = request.headers.getlist("authorization")
    scheme, _, token = (headers[0] if len(headers) == 1 else "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def _answered(request: Request, class_name: str, token: str | None) -> Response:
    desk: AdmissionDesk = request.app.state.admission
    body = await request.body()
    answer = await run_in_threadpool(desk.admit, token, class_name, body, address_of(request))
    return Response(json.dumps(answer), media_type="application/json")


@router.post("/admit/{name}")
async def admit(request: Request, name: Class) -> Response:
    """Decide about one AdmissionReview; the token is in the Authorization header."""
    return await _answered(request, name, _bearer(request))


@router.post("/admit/{name}/{token}")
async def admit_with_token_in_path(request: Request, name: Class, token: Token) -> Response:
    """The same, for callers that send no headers of their own."""
    return await _answered(request, name, token)
