"""An OpenID provider that answers whatever a test wants, over real HTTP on this machine."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey

from charter.adapters.identity.oidc import OidcProvider, ProviderConfig
from charter.core.access.sign_in_attempt import Attempt

NOW: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CLIENT: Final = "charter"
ALL: Final = ("ES256", "HS256", "none", "Ed25519", "EdDSA", "RS256")


@cache
def key(name: str) -> Key:
    """A key; the name is its id, and two names are two keys."""
    return ECKey.generate_key("P-256", {"kid": name})


@cache
def edwards_key() -> Key:
    return OKPKey.generate_key("Ed25519", {"kid": "edwards"})


@dataclass
class Hostile:
    """What it answers, by path, and how often it was asked."""

    url: str = ""
    answers: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    forms: list[tuple[dict[str, str], str]] = field(default_factory=list)
    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment

    def on(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[path] = (status, raw, headers)

    def discovery(self, **changes: Any) -> None:
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            **changes,
        }
        self.on(
            "/.well-known/openid-configuration",
            {name: value for name, value in document.items() if value is not None},
        )

    def publish(self, *keys: Key, **changes: Any) -> None:
        listed = [{**each.as_dict(private=False), **changes} for each in keys]
        self.on("/keys", {"keys": listed})

    def provider(self, **changes: Any) -> OidcProvider:
        config = ProviderConfig(
            **{
                "name": "corp",
                "issuer": self.url,
                "client_id": CLIENT,
                "label": "Corp",
                **changes,
            }
        )
        return OidcProvider(config, "http://127.0.0.1:1/sign-in/oidc/corp/callback", self.now)

    def attempt(self) -> Attempt:
        return Attempt("corp", b"s" * 32, self.moment)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good ID token; None leaves one out."""
        at = int(self.moment.timestamp())
        found = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": "u-1",
            "iat": at,
            "exp": at + 300,
            "nonce": self.attempt().nonce,
            "auth_time": at - 5,
            **changes,
        }
        return {name: value for name, value in found.items() if value is not None}

    def logout_claims(self, **changes: Any) -> dict[str, Any]:
        at = int(self.moment.timestamp())
        found = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": at,
            "exp": at + 120,
            "jti": "one",
            "sid": "sid-1",
            "sub": "u-1",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            **changes,
        }
        return {name: value for name, value in found.items() if value is not None}

    def answer_with(self, id_token: str, **more: Any) -> None:
        self.on("/token", {"id_token": id_token, "access_token": "at", "token_type": "x", **more})

    def later(self, **span: float) -> None:
        self.moment += timedelta(**span)


def sign(claims: dict[str, Any], by: Key, algorithm: str = "ES256", **header: Any) -> str:
    """A signed token; `header` changes what its header says."""
    said = {"alg": algorithm, **({"kid": by.kid} if by.kid else {}), **header}
    return jwt.encode({k: v for k, v in said.items() if v is not None}, claims, by, algorithms=ALL)


def shared_secret(text: bytes) -> Key:
    return OctKey.import_key(text)


class _Handler(BaseHTTPRequestHandler):
    hostile: Hostile

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        self._answer(self.rfile.read(length).decode())

    def _answer(self, body: str) -> None:
        hostile, path = self.hostile, self.path.partition("?")[0]
        hostile.asked[path] += 1
        if body:
            hostile.forms.append(({k.lower(): v for k, v in self.headers.items()}, body))
        status, raw, headers = hostile.answers.get(path, (404, b"{}", {}))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextmanager
def running() -> Iterator[Hostile]:
    """One on a free port."""
    hostile = Hostile()
    handler = type("Handler", (_Handler,), {"hostile": hostile})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hostile.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hostile
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
