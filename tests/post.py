"""Real receivers on loopback: a mail server with STARTTLS, and a web server for webhooks."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from charter import clock
from charter.adapters.kubernetes.certificates import ensure_certificates

ACCOUNT, PASSWORD = "charter", "only for this test"


@dataclass
class Certificate:
    """A certificate for 127.0.0.1 and localhost, and the authority that signed it."""

    folder: Path
    authority: Path
    context: ssl.SSLContext


def certificate(folder: Path) -> Certificate:
    made = ensure_certificates(folder / "ca", ("localhost", "127.0.0.1"), clock.now())
    authority, chain, key = folder / "ca.pem", folder / "chain.pem", folder / "key.pem"
    authority.write_text(made.authority)
    chain.write_text(made.certificate)
    key.write_text(made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return Certificate(folder, authority, context)


@dataclass
class Mailbox:
    """What a mail server received; `answer` may refuse a message."""

    port: int = 0
    received: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    answer: str = "250 OK"

    async def handle_RCPT(  # noqa: N802 — the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 — the library's name
        self, _server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            message = email.message_from_bytes(content, policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            self.received.append(message)
            self.recipients += envelope.rcpt_tos
            self.encrypted.append(session.ssl is not None)
        return self.answer


def _login(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any) -> Any:
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (
        ACCOUNT.encode(),
        PASSWORD.encode(),
    )
    return AuthResult(success=known, handled=known)


@contextmanager
def mail_server(found: Certificate | None) -> Iterator[Mailbox]:
    """A server that wants STARTTLS and an account; without a certificate it offers neither."""
    box = Mailbox()
    options: dict[str, Any] = {}
    if found is not None:
        options = {
            "tls_context": found.context,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": _login,
        }
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(lambda: SMTP(box, loop=loop, **options), "127.0.0.1", 0)
    )
    box.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield box
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(_ended())
        loop.close()


async def _ended() -> None:
    """Every conversation of the loop, cut off."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@dataclass
class Hook:
    """What a web server received; `respond` gives status and headers for a path."""

    url: str = ""
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answer: bytes = b"ok"
    respond: Callable[[str], tuple[int, dict[str, str]]] = lambda _path: (200, {})


@contextmanager
def web_server(found: Certificate | None = None) -> Iterator[Hook]:
    """A server for webhooks, over TLS where there is a certificate."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            hook.received.append((self.path, headers, body))
            status, extra = hook.respond(self.path)
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(hook.answer)))
            self.end_headers()
            self.wfile.write(hook.answer)

        def log_message(self, *_parts: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if found is not None:
        server.socket = found.context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if found is None else "https"
    hook.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
