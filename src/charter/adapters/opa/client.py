"""An OPA server's REST API over kept-alive connections.

The client knows nothing of bundles or decisions: it sends, reads bounded answers, and turns
whatever goes wrong into an `OpaError` whose text holds nothing of what was sent. Safe to share
between threads: each borrows a connection.
"""

from __future__ import annotations

import http.client
import json
import queue
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from charter.core.kernel.errors import InvalidInputError

_MAX_ANSWER_BYTES: Final = 8 * 1_048_576
_MAX_IDLE: Final = 16
_OK: Final = range(200, 300)
NOT_FOUND: Final = 404


class OpaError(Exception):
    """OPA gave no usable answer; `status` is 0 when there was none at all."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class OpaClient:
    """One OPA server at `url` (http or https), with the bearer token in `token_file` if any.

    The file is read for every connection, so that a rotated token is taken up.
    """

    def __init__(
        self, url: str, *, token_file: Path | None = None, timeout_seconds: float = 30.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise InvalidInputError(
                f"{url!r} is no address of an OPA server.",
                fix="Set CHARTER_OPA_URL to an address such as http://127.0.0.1:8181.",
                code="opa-url",
            )
        self._https = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._token_file = token_file
        self._timeout_seconds = timeout_seconds
        self._idle: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()
        self._tls = ssl.create_default_context() if self._https else None

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}
        except OSError as error:
            raise OpaError(0, "the token file cannot be read") from error

    def _connection(self, *, fresh: bool) -> tuple[http.client.HTTPConnection, bool]:
        """A connection and whether it was used before."""
        while not fresh:
            try:
                return self._idle.get_nowait(), True
            except queue.Empty:
                break
        if self._tls is not None:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_seconds, context=self._tls
            ), False
        return http.client.HTTPConnection(
            self._host, self._port, timeout=self._timeout_seconds
        ), False

    def send(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        """The body of the answer; raises `OpaError` for every status that is not a success."""
        headers = self._headers()
        if kind:
            headers["Content-Type"] = kind
        connection, used = self._connection(fresh=False)
        try:
            status, content = self._exchange(connection, method, path, body, headers)
        except (OSError, http.client.HTTPException):
            connection.close()
            if not used:
                raise OpaError(0, "OPA does not answer") from None
            # The server may have closed a connection that was idle: once again on a new one.
            connection, _ = self._connection(fresh=True)
            try:
                status, content = self._exchange(connection, method, path, body, headers)
            except (OSError, http.client.HTTPException):
                connection.close()
                raise OpaError(0, "OPA does not answer") from None
        if self._idle.qsize() < _MAX_IDLE:
            self._idle.put(connection)
        else:
            connection.close()
        if status not in _OK:
            raise OpaError(status, _reason(content))
        return content

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        connection.request(method, self._base + path, body, headers)
        answer = connection.getresponse()
        content = answer.read(_MAX_ANSWER_BYTES + 1)
        if len(content) > _MAX_ANSWER_BYTES:
            connection.close()
            raise OpaError(answer.status, "OPA's answer is too large")
        return answer.status, content

    def json(self, method: str, path: str, body: bytes | None = None) -> Any:
        """The answer as JSON."""
        content = self.send(method, path, body, "application/json" if body is not None else "")
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise OpaError(200, "OPA's answer is not JSON") from None

    def version(self) -> str:
        """Which OPA this is, such as `1.22.2`."""
        answer = self.json("GET", "/v1/data/system/version")
        found = answer.get("result", {}).get("version") if isinstance(answer, dict) else None
        return found if isinstance(found, str) and found else "unknown"

    def close(self) -> None:
        """Close what is idle."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return


def _reason(content: bytes) -> str:
    """What OPA says about its refusal; compile errors name places in the policy, not input."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return "OPA refused without a reason"
    if not isinstance(answer, dict):
        return "OPA refused without a reason"
    said = [str(answer.get("message", ""))]
    for error in answer.get("errors") or []:
        if isinstance(error, dict):
            place = error.get("location") or {}
            said.append(f"{place.get('file', '')}:{place.get('row', '')} {error.get('message')}")
    return "; ".join(part for part in said if part)[:2000]
