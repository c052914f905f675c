"""Errors as problem+json (RFC 9457): what happened, a stable code, and the next step.

Every refusal that leaves the API has the same shape, and none of them carries a stack trace, a
query or another subject's data. `Problem` is also the documented response of every operation.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from charter.core.agents.proofs import ALGORITHMS
from charter.core.kernel.errors import CharterError
from charter.core.kernel.masking import masked
from charter.log import Log
from charter.services.proofs import INVALID, REQUIRED

_log = Log("charter.api")

_TITLES = {
    400: "The request is malformed",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not possible now",
    413: "Too large",
    415: "Unsupported media type",
    422: "The request is not valid",
    429: "Too many",
    500: "Something went wrong",
    503: "Not available now",
}


# What the framework refuses by itself; its own words are no sentences.
_PLAIN = {
    400: ("malformed-json", "The body is not a JSON document in UTF-8, or is nested too deeply."),
    404: ("no-such-route", "There is nothing at this address."),
    405: ("method-not-allowed", "This address does not take the method {method}."),
}


class Problem(BaseModel):
    """A refusal or failure (RFC 9457), with Charter's `code` and `fix`."""

    type: str = Field(description="`urn:charter:problem:` and the code.")
    title: str = Field(description="The kind of refusal, the same for one status.")
    status: int
    code: str = Field(description="Stable; what a program switches on.")
    detail: str = Field(description="What happened, in one or more sentences.")
    fix: str = Field(description="The next step.")
    details: dict[str, Any] = Field(
        default_factory=dict, description="Facts for programs, such as the violated rules."
    )


def challenge(code: str) -> str:
    """How to sign in: by a bearer token, or by one with a proof of its key (RFC 9449 §7.1)."""
    error = {INVALID: "invalid_dpop_proof", REQUIRED: "invalid_token"}.get(code)
    said = "" if error is None else f', error="{error}"'
    return f'Bearer realm="charter", DPoP algs="{" ".join(ALGORITHMS)}"{said}'


def problem(
    status: int,
    code: str,
    detail: str,
    fix: str,
    details: dict[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response for one refusal."""
    sent = {"Cache-Control": "no-store", **(headers or {})}
    if status == 401:  # noqa: PLR2004 — the status of RFC 9110 that must name a scheme
        sent["WWW-Authenticate"] = challenge(code)
    body = Problem(
        type=f"urn:charter:problem:{code}",
        title=_TITLES.get(status, "Refused"),
        status=status,
        code=code,
        detail=detail,
        fix=fix,
        details=details or {},
    )
    return JSONResponse(
        json.loads(masked(body.model_dump_json())),
        status_code=status,
        media_type="application/problem+json",
        headers=sent,
    )


def of(error: CharterError) -> JSONResponse:
    """The response for a refusal of a service."""
    return problem(error.status, error.code, error.message, error.fix, error.details, error.headers)


def describe_validation(errors: Sequence[Any]) -> tuple[str, list[dict[str, str]]]:
    """One sentence for people and a list of (field, message) for programs."""
    fields = [
        {
            "field": ".".join(str(part) for part in error["loc"] if part != "body") or "body",
            "message": str(error["msg"]),
        }
        for error in errors
    ]
    first = fields[0] if fields else {"field": "body", "message": "is not valid"}
    more = f" ({len(fields) - 1} more)" if len(fields) > 1 else ""
    return f"{first['field']}: {first['message']}{more}.", fields


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""

    @app.exception_handler(CharterError)
    def _charter(_request: Request, error: CharterError) -> JSONResponse:
        return of(error)

    @app.exception_handler(RequestValidationError)
    def _validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        detail, fields = describe_validation(error.errors())
        malformed = any(e.get("type") == "json_invalid" for e in error.errors())
        return problem(
            400 if malformed else 422,
            "malformed-json" if malformed else "invalid-input",
            detail,
            "Correct the named field and send it again; docs/reference/api.md shows the shape.",
            {"fields": fields},
        )

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        code, detail = _PLAIN.get(
            error.status_code, (f"http-{error.status_code}", "The request was refused.")
        )
        response = problem(
            error.status_code,
            code,
            detail.format(method=request.method),
            "See /api/v1/openapi.json for the routes and what they take.",
        )
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response

    @app.exception_handler(Exception)
    def _unexpected(request: Request, error: Exception) -> JSONResponse:
        # As text: a renderer of exceptions may show local variables, and those hold credentials.
        trace = "".join(traceback.format_exception(error))
        _log.error("unhandled", path=masked(request.url.path), trace=trace)
        return problem(
            500,
            "internal-error",
            "Charter failed while handling this request; nothing was changed by it.",
            "Try again; if it happens again, an administrator finds it in the log under the time.",
        )
