"""Bounds on what a request may bring: its body's size and its text's encoding.

A pure ASGI layer, in front of everything, so that a 10 MB body is refused after the first
megabyte and invalid UTF-8 never reaches a parser that would raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from charter.api.problems import problem

T = TypeVar("T")
Shape = Callable[[int, str, str, str], Response]
"""Makes a refusal out of status, code, what happened, and the next step."""


class BodyTooLargeError(Exception):
    """Raised inside `receive` when a chunked body outgrows the bound."""


class RequestLimits:
    """Refuses bodies over `max_body_bytes` (413) and undecodable text in path or query (400)."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        larger: Mapping[str, int] | None = None,
        shapes: Mapping[str, Shape] | None = None,
    ) -> None:
        self._app = app
        self._max = max_body_bytes
        self._larger = larger or {}  # by the start of the path
        self._shapes = shapes or {}  # likewise; of protocols that are not Charter's own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _first(self._shapes, scope["path"], problem)
        if not _decodable(scope):
            response = refusal(
                400,
                "invalid-encoding",
                "The path or the query is not valid UTF-8 or holds a null character.",
                "Send percent-encoded UTF-8 text.",
            )
            await response(scope, receive, send)
            return
        bound = _first(self._larger, scope["path"], self._max)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        declared_too_large = declared.isdigit() and int(declared) > bound
        if declared_too_large or await self._outgrown(scope, receive, send, bound):
            too_large = refusal(
                413,
                "body-too-large",
                f"The body is larger than {bound} bytes.",
                "Send less; files go into a workspace in pieces.",
            )
            await too_large(scope, receive, send)

    async def _outgrown(self, scope: Scope, receive: Receive, send: Send, bound: int) -> bool:
        """Pass the request on; whether its body outgrew the bound before anything was answered."""
        seen = 0
        over = started = False

        async def bounded() -> Message:
            nonlocal seen, over
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > bound:
                over = True
                raise BodyTooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            if over and not started:
                return  # whatever was made of the broken body; another answer replaces it
            started = True
            await send(message)

        try:
            await self._app(scope, bounded, watched)
        except Exception:
            if not over:
                raise
        return over and not started


def _first(by_start: Mapping[str, T], path: str, otherwise: T) -> T:
    return next((value for start, value in by_start.items() if path.startswith(start)), otherwise)


def _decodable(scope: Scope) -> bool:
    for raw in (scope.get("raw_path") or b"", scope.get("query_string") or b""):
        try:
            text = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            return False
        if "\x00" in text:
            return False
    return True
