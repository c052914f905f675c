"""`charter serve`: API and portal in one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from charter.api.app import build_api
from charter.portal.routes import build_router, no_such_page
from charter.services.runtime import Runtime
from charter.settings import Settings
from charter.tls import EncryptedListener
from charter.wiring import runtime


def build_app(rt: Runtime) -> FastAPI:
    """The API with the portal mounted; faces do not know of each other, this file knows both."""
    app = build_api(rt)
    app.include_router(build_router(lambda _request: rt))
    as_problem = app.exception_handlers[HTTPException]

    @app.exception_handler(HTTPException)
    def _no_such_page(request: Request, error: HTTPException) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "")
        if wants_page and not request.url.path.startswith("/api/"):
            return no_such_page(request, rt)
        response: Response = as_problem(request, error)  # type: ignore[assignment]  # never async
        return response

    return app


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    with runtime(settings) as rt, encrypted(build_app(rt), settings) as app:
        uvicorn.run(app, host=settings.host, port=settings.port, **_options(settings))


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "log_level": settings.log_level.lower(),
        "server_header": False,
        "date_header": True,
        "timeout_graceful_shutdown": 5,
        "access_log": False,  # what was asked and answered stands in decisions and trail
        # Whose word about a client's address counts is decided in one place (services.addresses),
        # which needs the connection's own peer: nothing before it may put another in its place.
        "proxy_headers": False,
    }


@contextmanager
def encrypted(app: FastAPI, settings: Settings) -> Iterator[FastAPI]:
    """Serve `app` over TLS as well for as long as the block lasts, where a certificate is set.

    Both listeners share one application: they differ in who can reach them. Raises
    `InvalidInputError` when certificate or key is missing or cannot be used.
    """
    if settings.tls_certificate is None and settings.tls_key is None:
        yield app
        return
    listening = EncryptedListener(app, settings, _options(settings))
    try:
        yield app
    finally:
        listening.stop()
