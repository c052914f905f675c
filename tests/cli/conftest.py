"""A small real HTTP server with recorded answers, and the command line against it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from charter.cli.main import main

Answer = tuple[int, Any] | Callable[["Request"], tuple[int, Any]]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Server:
    """`answers` maps `GET /workspaces` to what is answered; what was asked stands in `requests`."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, route: str, answer: Any, status: int = 200) -> None:
        self.answers[route] = answer if callable(answer) else (status, answer)

    @property
    def last(self) -> Request:
        return self.requests[-1]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(
                method=self.command,
                path=unquote(parts.path).removeprefix("/api/v1"),
                query={k: v[0] for k, v in parse_qs(parts.query).items()},
                headers={k.lower(): v for k, v in self.headers.items()},
                body=json.loads(raw) if raw else None,
            )
            server.requests.append(request)
            found = server.answers.get(f"{request.method} {request.path}")
            if found is None:
                found = (404, {"code": "no-such-route", "detail": request.path, "fix": "x"})
            status, body = found(request) if callable(found) else found
            if status == 0:  # the connection breaks
                self.close_connection = True
                return
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent = b"" if status == 204 else sent
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 — names of the base

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server on loopback, named by CHARTER_URL, with a token in CHARTER_TOKEN."""
    found = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    http.daemon_threads = True
    found.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("CHARTER_URL", found.url)
    monkeypatch.setenv("CHARTER_TOKEN", "charter_pat_test")
    try:
        yield found
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CHARTER_URL", "CHARTER_TOKEN", "CHARTER_HOST", "CHARTER_PORT", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CHARTER_STATE_DIR", str(tmp_path / "state"))


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def charter(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs one command line in this process; gives its exit code and what it printed."""

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        code = main(list(arguments))
        out, err = capfd.readouterr()
        return Ended(int(code), out, err)

    return run
