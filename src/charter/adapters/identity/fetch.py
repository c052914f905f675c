"""Asking an identity provider over HTTP, with bounds on everything it may do to us.

A provider is trusted to say who somebody is, not to keep us waiting, to fill our memory or to send
us somewhere else: answers are bounded in time and size, and redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from charter.core.kernel.errors import UnavailableError

if TYPE_CHECKING:
    import httpx2

_TIMEOUT_SECONDS: Final = 5.0  # a person waits for it
_LARGEST_ANSWER: Final = 1_048_576
_SERVER_ERROR: Final = 500


def trustworthy(url: str) -> bool:
    """Whether what is sent there cannot be read on the way: https, or this very machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and _this_machine(parts.hostname or "")


def _this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Answer:
    """A status and a JSON object; `body` is empty where the answer was none."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.body = body


class Fetcher:
    """A client for one provider; `name` is how messages call it."""

    def __init__(self, name: str, issuer: str) -> None:
        self._name = name
        self._on_this_machine = _this_machine(urlsplit(issuer).hostname or "")
        self._http: httpx2.Client | None = None

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a GET; raises `UnavailableError` when there is none that can be used."""
        return self._send("GET", url, headers or {}, None)

    def post(self, url: str, headers: Mapping[str, str], fields: Mapping[str, str]) -> Answer:
        """The answer to a form that is posted; raises as `get`."""
        return self._send("POST", url, headers, dict(fields))

    def close(self) -> None:
        """Give the connections back."""
        if self._http is not None:
            self._http.close()

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], fields: dict[str, str] | None
    ) -> Answer:
        import httpx2  # noqa: PLC0415 — 0.2 s that a start without providers does not need

        if not trustworthy(url):
            raise self.unavailable(f"it names an address that is not encrypted: {url}")
        if self._http is None:
            # A proxy of the environment is for other machines.
            self._http = httpx2.Client(
                timeout=_TIMEOUT_SECONDS,
                follow_redirects=False,
                trust_env=not self._on_this_machine,
            )
        try:
            with self._http.stream(
                method, url, headers={"Accept": "application/json", **headers}, data=fields
            ) as response:
                status, body = response.status_code, _bounded(response)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self.unavailable(f"it does not answer ({type(error).__name__})") from error
        if body is None:
            raise self.unavailable("its answer is too large")
        if status >= _SERVER_ERROR:
            raise self.unavailable(f"it answers with status {status}")
        return Answer(status, _object(body))

    def unavailable(self, why: str) -> UnavailableError:
        """The refusal for a provider that cannot be used at the moment."""
        return UnavailableError(
            f"{self._name} cannot be used to sign in at the moment: {why}.",
            fix="Try again in a minute, or sign in with a one-time link; charter doctor shows the"
            " provider's state.",
            code="provider-unavailable",
        )


def _bounded(response: httpx2.Response) -> bytes | None:
    pieces, size = [], 0
    for piece in response.iter_bytes():
        size += len(piece)
        if size > _LARGEST_ANSWER:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
