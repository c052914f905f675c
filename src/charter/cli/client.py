"""The REST client: small, strict about what comes back, and clear about what went wrong.

It knows the API's conventions (prefix, bearer token, pages, problem documents, idempotency keys)
and nothing about single routes; those stand where they are used.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self
from urllib.parse import quote

from charter import __version__
from charter.cli.agent_key import REQUIRED, AgentKey, claims_of
from charter.cli.errors import CommandError, ExitCode, exit_code_of, usage
from charter.cli.profile import Target, is_loopback

if TYPE_CHECKING:
    import httpx2

PREFIX: Final = "/api/v1"
LARGEST_PAGE: Final = 200  # what the API gives at once
ACCEPTED: Final = 202  # the request is kept and waits for an approval

# A create waits for locks, policy and a commit: far below a second. Thirty is for a busy machine.
_TIMEOUT_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 5.0
# Where a refusal's next step is an option of this command line, it is named.
_FIXES: Final = {"justification-required": "Say why: the same command with -m 'the reason'."}
_BAD: Final = 400
_NO_CONTENT: Final = 204
_UNAUTHENTICATED: Final = 401

Query = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer; `body` is the parsed JSON, None for an empty one."""

    status: int
    body: Any

    @property
    def waits(self) -> bool:
        """Whether the request now waits for an approval."""
        return self.status == ACCEPTED


class Client:
    """Calls one server with one token."""

    def __init__(self, target: Target) -> None:
        self.url = target.url
        self._token = target.token
        claims = claims_of(target.token)
        self._agent = (
            None
            if claims is None or target.token is None
            else AgentKey(self.url, target.token, claims)
        )
        self._http: httpx2.Client | None = None

    def get(self, *segments: str, query: Query | None = None, signed_in: bool = True) -> Any:
        """The body of a GET."""
        return self._json("GET", segments, query=query, signed_in=signed_in).body

    def post(
        self,
        *segments: str,
        body: Mapping[str, Any] | None = None,
        key: str | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        signed_in: bool = True,
    ) -> Answer:
        """The answer to a POST; `key` is the idempotency key of a create."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._json(
            "POST",
            segments,
            body=body or {},
            headers=headers,
            timeout_seconds=timeout_seconds,
            signed_in=signed_in,
        )

    def create(self, *segments: str, body: Mapping[str, Any], key: str | None = None) -> Answer:
        """A POST that creates; thanks to its idempotency key, a lost answer is asked for again."""
        key = key or secrets.token_urlsafe(18)
        try:
            return self.post(*segments, body=body, key=key)
        except CommandError as error:
            if error.code != "connection-lost":
                raise
            return self.post(*segments, body=body, key=key)

    def put(self, *segments: str, body: Mapping[str, Any], query: Query | None = None) -> Answer:
        """The answer to a PUT."""
        return self._json("PUT", segments, body=body, query=query)

    def patch(self, *segments: str, body: Mapping[str, Any]) -> Answer:
        """The answer to a PATCH."""
        return self._json("PATCH", segments, body=body)

    def delete(self, *segments: str, query: Query | None = None) -> Answer:
        """The answer to a DELETE."""
        return self._json("DELETE", segments, query=query)

    def page(
        self, *segments: str, limit: int | None = None, query: Query | None = None
    ) -> dict[str, Any]:
        """Up to `limit` rows (None: all of them) as `{"items": […], "next": cursor or None}`."""
        items: list[Any] = []
        cursor: str | None = None
        while True:
            wanted = LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - len(items))
            asked: dict[str, str | int | bool | None] = dict(query or {})
            asked |= {"limit": wanted, "cursor": cursor}
            body = self.get(*segments, query=asked)
            if not isinstance(body, dict) or not isinstance(body.get("items"), list):
                self._foreign("a list was expected")
            items += body["items"]
            cursor = body.get("next")
            if cursor is None or not body["items"] or (limit is not None and len(items) >= limit):
                return {"items": items, "next": cursor}

    def text(self, *segments: str) -> str:
        """The body of a GET that answers with text."""
        with self._send("GET", segments) as response:
            response.read()
            return response.text

    def download(self, *segments: str, into: Path) -> int:
        """Write the body of a GET to the file `into`; answers how many bytes."""
        count = 0
        with self._send("GET", segments) as response, into.open("wb") as file:
            for piece in response.iter_bytes():
                count += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        return count

    def healthy(self) -> bool:
        """Whether the server says that it is ready; raises when none answers."""
        with self._send("GET", (), path="/readyz", signed_in=False, refuse=False) as response:
            return response.status_code < _BAD

    def _json(
        self,
        method: str,
        segments: tuple[str, ...],
        *,
        body: Mapping[str, Any] | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        signed_in: bool = True,
    ) -> Answer:
        with self._send(
            method,
            segments,
            body=body,
            query=query,
            headers=headers,
            timeout_seconds=timeout_seconds,
            signed_in=signed_in,
        ) as response:
            response.read()
            if response.status_code == _NO_CONTENT or not response.content:
                return Answer(response.status_code, None)
            try:
                return Answer(response.status_code, response.json())
            except ValueError:
                self._foreign("its answer is not JSON")

    @contextmanager
    def _send(
        self,
        method: str,
        segments: tuple[str, ...],
        *,
        path: str | None = None,
        body: Mapping[str, Any] | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        signed_in: bool = True,
        refuse: bool = True,
    ) -> Iterator[httpx2.Response]:
        """Send one request; its body is still to be read. A refusal is raised as an error."""
        import httpx2  # noqa: PLC0415 — 0.2 s that --help and local commands never need

        if signed_in and self._token is None:
            raise CommandError(
                f"You are not signed in at {self.url}.",
                fix="charter login --link LINK, with the one-time link that ./dev up or an"
                " administrator gave you.",
                code="not-signed-in",
                exit_code=ExitCode.NOT_SIGNED_IN,
            )
        url = self.url + (path or PREFIX + "".join(f"/{_segment(s)}" for s in segments))
        try:
            for first in (True, False):
                with self._client().stream(
                    method,
                    url,
                    params={k: v for k, v in (query or {}).items() if v is not None},
                    json=None if body is None else dict(body),
                    headers={**(headers or {}), **(self._shown(method, url) if signed_in else {})},
                    timeout=httpx2.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
                ) as response:
                    if refuse and not response.is_success:
                        response.read()
                        if first and self._bound_now(response):
                            continue
                        self._refuse(response)
                    yield response
                    return
        except httpx2.InvalidURL as error:
            raise usage(f"{self.url} is not an address: {error}.", "Check --url.") from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise CommandError(
                f"No Charter server answers at {self.url}.",
                fix="Start one with ./dev up, or name another with --url or CHARTER_URL.",
                code="server-unreachable",
                exit_code=ExitCode.UNAVAILABLE,
            ) from error
        except httpx2.TimeoutException as error:
            raise CommandError(
                f"The server at {self.url} did not answer within {timeout_seconds:g} s.",
                fix="See charter status; the request may still have been carried out.",
                code="server-timeout",
                exit_code=ExitCode.UNAVAILABLE,
            ) from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise CommandError(
                f"The connection to {self.url} broke: {error or type(error).__name__}.",
                fix="Try again; see charter status if it happens again.",
                code="connection-lost",
                exit_code=ExitCode.UNAVAILABLE,
            ) from error

    def _shown(self, method: str, url: str) -> dict[str, str]:
        """How a request shows the token: as a bearer token, or with a proof of an agent's key."""
        if self._agent is not None:
            return self._agent.headers(method, url, self._post_form)
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}

    def _bound_now(self, response: httpx2.Response) -> bool:
        """Whether the server wanted a proof of the agent's key, and now there is one to give."""
        if self._agent is None or response.status_code != _UNAUTHENTICATED:
            return False
        try:
            wanted = response.json().get("code") == REQUIRED
        except (ValueError, AttributeError):
            return False
        return wanted and self._agent.exchange(self._post_form)

    def _post_form(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        response = self._client().post(
            self.url + path, data=dict(form), headers=dict(headers), timeout=_TIMEOUT_SECONDS
        )
        try:
            return response.status_code, response.json()
        except ValueError:
            return response.status_code, None

    def _client(self) -> httpx2.Client:
        import httpx2  # noqa: PLC0415 — see above

        if self._http is None:
            self._http = httpx2.Client(
                headers={
                    "User-Agent": f"charter-cli/{__version__}",
                    "Accept": "application/json, application/problem+json, */*;q=0.1",
                },
                # A proxy of the environment has no business between this machine and itself.
                trust_env=not is_loopback(self.url),
                follow_redirects=False,  # a token goes where it was meant to go, nowhere else
            )
        return self._http

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _refuse(self, response: httpx2.Response) -> NoReturn:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("code"), str):
            self._foreign(f"it answered with status {response.status_code}", response.status_code)
        details = body.get("details")
        raise CommandError(
            str(body.get("detail") or body.get("title") or "The server refused."),
            fix=_FIXES.get(body["code"], str(body.get("fix") or "")),
            code=body["code"],
            exit_code=exit_code_of(response.status_code, body["code"]),
            status=response.status_code,
            title=str(body.get("title") or "Refused"),
            details=details if isinstance(details, dict) else None,
        )

    def _foreign(self, why: str, status: int | None = None) -> NoReturn:
        raise CommandError(
            f"What answers at {self.url} does not behave like a Charter server: {why}.",
            fix="Check --url or CHARTER_URL, and any proxy in between.",
            code="unexpected-answer",
            exit_code=ExitCode.UNAVAILABLE,
            status=status,
        )


def _segment(text: str) -> str:
    """One segment of a path; what would change the path's meaning is refused."""
    if text in {"", ".", ".."} or "\x00" in text:
        raise usage(f"{text!r} is neither an id nor a name.", "Give an id or a name.")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError as error:
        raise usage("A name holds bytes that are not UTF-8.", "Give an id or a name.") from error
