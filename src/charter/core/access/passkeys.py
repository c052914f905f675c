"""Where passkeys can work: the relying party that an instance is, and what a counter betrays.

A passkey is a key pair that an authenticator makes for one *relying party*: a host name. A browser
shows it to pages of that host only, so a page that only looks like Charter's gets nothing.
Two things follow. The host must have a name: browsers refuse addresses such as 10.0.0.7 or
127.0.0.1 outright, while `localhost` is fine. And the page must come over https, again with
`localhost` as the one exception.

Most passkeys that a password manager keeps count nothing. Authenticators that do count add at least
one with every use, so a counter that stands still or goes back means that a copy of the key is
about (WebAuthn §6.1.1).

Source: Spec ID-3; W3C Web Authentication Level 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

LOCALHOST: Final = "localhost"


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Whom passkeys are made for: `id` is the host name, `origin` what browsers must report."""

    id: str
    origin: str


@dataclass(frozen=True, slots=True)
class NoRelyingParty:
    """Why no passkey can work here, and what an operator does about it."""

    why: str
    fix: str


def relying_party(public_url: str | None, host: str, port: int) -> RelyingParty | NoRelyingParty:
    """The relying party of an instance that people reach at `public_url`, or else at host and port.

    Without a public address, an instance that listens on this machine is reached as `localhost`.
    """
    if public_url is None:
        if not _reached_as_localhost(host):
            return _no_name(host) if _is_address(host) else _of(f"http://{host}:{port}")
        return _of(f"http://{LOCALHOST}:{port}")
    return _of(public_url.rstrip("/"))


def _of(url: str) -> RelyingParty | NoRelyingParty:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if not host or _is_address(host):
        return _no_name(host)
    if parts.scheme != "https" and host != LOCALHOST:
        return NoRelyingParty(
            f"Passkeys work over https only, and this instance is reached at {url}.",
            "Put it behind https and set CHARTER_PUBLIC_URL to that address.",
        )
    default = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return RelyingParty(host, f"{parts.scheme}://{host}{port}")


def _no_name(host: str) -> NoRelyingParty:
    return NoRelyingParty(
        f"Passkeys belong to a name, and this instance is reached at the address {host}.",
        "Give it a name with https and set CHARTER_PUBLIC_URL to it; on one machine, leave it "
        "unset and open Charter as http://localhost.",
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _reached_as_localhost(host: str) -> bool:
    if host == LOCALHOST:
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def copied(stored: int, shown: int) -> bool:
    """Whether the counter says that a copy of the key is about."""
    return (stored > 0 or shown > 0) and shown <= stored
