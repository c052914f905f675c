"""The doors through which an OPA (or a client of OPA's API) works with Charter.

* `GET /opa/v1/discovery.tar.gz`, `GET /opa/v1/bundles/{name}.tar.gz`: configuration and policy;
* `POST /opa/v1/logs`, `POST /opa/v1/status`: what OPA decided, and how it is doing;
* `GET|POST /opa/v1/data/{path}`, `POST /opa/v0/data/{path}`, `GET /opa/health`: OPA's data API.

Errors have OPA's shape: `{"code", "message", "errors"}`.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from charter.api.deps import runtime_of
from charter.api.points import parsed, point_of
from charter.core.kernel.errors import CharterError, InvalidInputError
from charter.services import opa_bundles, opa_queries, opa_reports
from charter.services.enforcement_points import EnforcementPoint
from charter.services.opa_bundles import File
from charter.services.opa_queries import Queried
from charter.services.runtime import Runtime

router = APIRouter(prefix="/opa", include_in_schema=False)

_MEDIA_TYPE: Final = "application/vnd.openpolicyagent.bundles"  # OPA waits only where it sees this
_WAIT: Final = re.compile(r"(?:^|[;,\s])wait=(\d{1,4})")
_LOOK_SECONDS: Final = 0.25
_KIND: Final = "opa"
_CODES: Final = {
    401: "unauthorized",
    403: "unauthorized",
    404: "resource_not_found",
    409: "resource_conflict",
    422: "invalid_parameter",
    429: "too_many_requests",
}
_NO_INPUT: Final = {
    "code": "api_usage_warning",
    "message": "'input' key missing from the request",
}

Door = Callable[..., Awaitable[Response]]


def _in_opas_words(door: Door) -> Door:
    """Errors of the door in OPA's shape."""

    @wraps(door)
    async def guarded(*arguments: Any, **named: Any) -> Response:
        try:
            return await door(*arguments, **named)
        except CharterError as error:
            status = 400 if isinstance(error, InvalidInputError) else error.status
            return JSONResponse(
                {
                    "code": _CODES.get(error.status, "internal_error"),
                    "message": error.message,
                    "errors": [{"code": error.code, "message": error.fix}],
                },
                status_code=status,
                headers=error.headers,
            )

    return guarded


def _file(found: File, request: Request) -> Response:
    headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers={**headers, "Content-Type": _MEDIA_TYPE})
    return Response(found.content, media_type=_MEDIA_TYPE, headers=headers)


@router.get("/v1/discovery.tar.gz")
@_in_opas_words
async def discovery(request: Request) -> Response:
    """The configuration of the point that asks."""
    rt, point = runtime_of(request), await point_of(request, _KIND)
    found = await run_in_threadpool(opa_bundles.discovery_file, rt, point)
    return _file(found, request)


@router.get("/v1/bundles/{name}.tar.gz")
@_in_opas_words
async def bundle(request: Request, name: str) -> Response:
    """The bundle in force; a client that has it and says `Prefer: wait=` waits for the next one."""
    rt = runtime_of(request)
    await point_of(request, _KIND)
    held = request.headers.get("if-none-match")
    wait = _WAIT.search(request.headers.get("prefer", ""))
    if held is not None and wait is not None and name == opa_bundles.BUNDLE:
        await _changed(request, rt, held, min(int(wait[1]), opa_bundles.LONGEST_WAIT_SECONDS))
    return _file(await run_in_threadpool(opa_bundles.bundle_file, rt, name), request)


async def _changed(request: Request, rt: Runtime, held: str, seconds: int) -> None:
    """Until another bundle than `held` is in force, the time is over, or the client has gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        digest = await run_in_threadpool(opa_bundles.active_digest, rt)
        if f'"{digest}"' != held or await request.is_disconnected():
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _report(request: Request) -> Any:
    body = await request.body()
    encoding = request.headers.get("content-encoding", "")
    return await run_in_threadpool(opa_reports.unpacked, body, encoding)


@router.post("/v1/logs")
@router.post("/v1/logs/{partition:path}")
@_in_opas_words
async def logs(request: Request) -> Response:
    """Decisions that an OPA made by itself."""
    rt, point = runtime_of(request), await point_of(request, _KIND)
    report = await _report(request)
    return JSONResponse(await run_in_threadpool(opa_reports.receive_decisions, rt, point, report))


@router.post("/v1/status")
@router.post("/v1/status/{partition:path}")
@_in_opas_words
async def status(request: Request) -> Response:
    """How an OPA is doing: the bundle that it decides by, its plugins, its errors."""
    rt, point = runtime_of(request), await point_of(request, _KIND)
    report = await _report(request)
    await run_in_threadpool(opa_reports.receive_status, rt, point, report)
    return JSONResponse({})


# --- the data API -------------------------------------------------------------------------------
def _path(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("/") if part)


def _ask(rt: Runtime, point: EnforcementPoint, path: str, document: object) -> Queried:
    return opa_queries.query(rt, point, _path(path), document)


def _answer(found: Queried, request: Request, *, with_input: bool) -> Response:
    body: dict[str, Any] = {}
    if found.decision_id is not None:
        body["decision_id"] = found.decision_id
    if found.defined:
        body["result"] = found.value
    if not with_input:
        body["warning"] = _NO_INPUT
    pretty = request.query_params.get("pretty") == "true"
    text = json.dumps(body, indent=2 if pretty else None)
    return Response(text, media_type="application/json")


@router.post("/v1/data")
@router.post("/v1/data/{path:path}")
@_in_opas_words
async def ask_v1(request: Request, path: str = "") -> Response:
    """`data.<path>` for `{"input": …}`."""
    rt, point = runtime_of(request), await point_of(request, _KIND)
    raw = await request.body()
    body = parsed(raw) if raw.strip() else {}
    if not isinstance(body, dict):
        raise InvalidInputError(
            "The body is not an object.", fix='Send {"input": …}.', code="malformed-json"
        )
    found = await run_in_threadpool(_ask, rt, point, path, body.get("input", {}))
    return _answer(found, request, with_input="input" in body)


@router.get("/v1/data")
@router.get("/v1/data/{path:path}")
@_in_opas_words
async def read_v1(request: Request, path: str = "") -> Response:
    """`data.<path>`; the input may be given in the query."""
    rt, point = runtime_of(request), await point_of(request, _KIND)
    given = request.query_params.get("input")
    document = {} if given is None else parsed(given.encode())
    found = await run_in_threadpool(_ask, rt, point, path, document)
    return _answer(found, request, with_input=given is not None)


@router.post("/v0/data/{path:path}")
@_in_opas_words
async def ask_v0(request: Request, path: str) -> Response:
    """`data.<path>` for the input that the body is; undefined is a 404 here."""
    rt, point = runtime_of(request), await point_of(request, _KIND)
    found = await run_in_threadpool(_ask, rt, point, path, parsed(await request.body()))
    if not found.defined:
        return JSONResponse(
            {"code": "undefined_document", "message": f"document missing: data.{path}"},
            status_code=404,
        )
    return JSONResponse(found.value)


@router.get("/health")
async def health(request: Request) -> Response:
    """200 while decisions can be made."""
    try:
        await run_in_threadpool(opa_bundles.active_digest, runtime_of(request))
    except CharterError as error:
        return JSONResponse({"error": error.message}, status_code=500)
    return JSONResponse({})
