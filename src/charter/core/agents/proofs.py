"""Proof of possession (DPoP): what has to be true of the proof that comes with a request.

A bearer credential works for whoever holds it. A credential that is bound to a key works only
together with a fresh statement, signed by that key, about this very request: its method, its
address, the moment, and the credential that it goes with. A copied credential is then worth
nothing, and a copied proof is worth nothing for any other request or a second time.

Here is the part without cryptography: the claims of a proof whose signature has been verified, and
the thumbprint by which a key is named.

Source: RFC 9449 §4.2, §4.3, §7; RFC 7638.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

PROOF_TYPE: Final = "dpop+jwt"
ALGORITHMS: Final = ("Ed25519", "ES256")
THUMBPRINT: Final = re.compile(r"^[A-Za-z0-9_-]{43}$")
_MEMBERS: Final = {
    ("OKP", "Ed25519"): ("crv", "kty", "x"),
    ("EC", "P-256"): ("crv", "kty", "x", "y"),
}
_LONGEST_ID: Final = 128
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Expected:
    """The request that a proof must be about.

    `urls` are the addresses under which this very resource is known; `token` is the credential
    that the proof goes with, None where none is shown in the header. `ahead_seconds` is how far the
    clock of the one who signs may be in front of ours.
    """

    method: str
    urls: tuple[str, ...]
    token: str | None
    now: datetime
    window_seconds: int
    ahead_seconds: int


def encoded(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token_hash(token: str) -> str:
    """The `ath` of a credential."""
    return encoded(hashlib.sha256(token.encode()).digest())


def thumbprint(jwk: Mapping[str, object]) -> str | None:
    """The name of a public key; None for a key of a kind that is not accepted, or a private one."""
    members = _MEMBERS.get((str(jwk.get("kty")), str(jwk.get("crv"))))
    if members is None or "d" in jwk or not all(isinstance(jwk.get(m), str) for m in members):
        return None
    text = json.dumps({m: jwk[m] for m in members}, sort_keys=True, separators=(",", ":"))
    return encoded(hashlib.sha256(text.encode()).digest())


def normal_url(url: str) -> str | None:
    """Scheme, authority and path in one spelling, without query and fragment (RFC 9449 §4.3).

    The names of this machine count as one. None when it is no web address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in _PORTS or not host or parts.username is not None:
        return None
    place = "localhost" if host in _LOOPBACK else host
    path = _ESCAPE.sub(_plain, parts.path) or "/"
    return f"{scheme}://{place}:{port or _PORTS[scheme]}{path}"


def _plain(match: re.Match[str]) -> str:
    character = chr(int(match.group(1), 16))
    return character if character in _UNRESERVED else match.group().upper()


def wrong_with(claims: Mapping[str, object], expected: Expected) -> str | None:
    """Why this proof is none for this request, as a sentence; None when it is one."""
    return (
        _wrong_request(claims, expected)
        or _wrong_moment(claims, expected)
        or _wrong_token(claims, expected)
    )


def _wrong_request(claims: Mapping[str, object], expected: Expected) -> str | None:
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_ID:
        return "The proof has no usable jti."
    if claims.get("htm") != expected.method:
        return f"The proof is for the method {claims.get('htm')!r}, not {expected.method}."
    htu = claims.get("htu")
    if not isinstance(htu, str) or normal_url(htu) not in _normal(expected.urls):
        return "The proof is for another address."
    return None


def _normal(urls: Iterable[str]) -> set[str]:
    return {found for url in urls if (found := normal_url(url)) is not None}


def _wrong_moment(claims: Mapping[str, object], expected: Expected) -> str | None:
    iat = claims.get("iat")
    if isinstance(iat, bool) or not isinstance(iat, int | float):
        return "The proof has no iat."
    age = expected.now.timestamp() - iat
    if not -expected.ahead_seconds <= age <= expected.window_seconds:
        return (
            f"The proof was not made within the last {expected.window_seconds} seconds by the "
            "clock of this server."
        )
    return None


def _wrong_token(claims: Mapping[str, object], expected: Expected) -> str | None:
    if expected.token is not None and claims.get("ath") != token_hash(expected.token):
        return "The proof goes with another credential."
    return None
