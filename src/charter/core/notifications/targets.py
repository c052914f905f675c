"""Which addresses a webhook may be sent to.

Whoever may add a webhook chooses where this server connects to. Without a check that would be a way
to reach what only this server can reach: its own loopback, the private network, the metadata
service of a cloud. So a target is an https address by name or number; the name is resolved once,
every address that it stands for is looked at, and the connection goes to one of exactly these.

Private networks that webhooks may reach are listed by the operator, and nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from charter.core.access.addresses import Address, Network

_LONGEST: Final = 2000
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.IGNORECASE)
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_PORTS: Final = {"https": 443, "http": 80}


class TargetError(ValueError):
    """The address may not be sent to; the text is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook's address, taken apart. `path` holds the query as well."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def shown(self) -> str:
        """What may be shown of it: an address of a chat is itself a secret from its path on."""
        usual = _PORTS[self.scheme] == self.port
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if usual else f":{self.port}")

    @property
    def authority(self) -> str:
        """The Host header."""
        return self.shown.removeprefix(f"{self.scheme}://")


def read_target(url: str, *, loopback_http: bool = False) -> Target:
    """The parts of `url`; raises `TargetError` with a sentence when it may not be used."""
    if len(url) > _LONGEST or not _PRINTABLE.fullmatch(url):
        raise TargetError("The address is too long, or holds blanks or special characters.")
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "")
    except ValueError as error:
        raise TargetError("The address cannot be read.") from error
    literal = _literal(host)
    if not host or (literal is None and not _HOST.fullmatch(host)):
        raise TargetError("The address names no host.")
    if parts.username is not None or parts.password is not None:
        raise TargetError("The address holds a user name or a password.")
    if parts.fragment or "\\" in url:
        raise TargetError("The address holds a fragment or a backslash.")
    local = literal is not None and literal.is_loopback
    if parts.scheme != "https" and not (parts.scheme == "http" and local and loopback_http):
        told = " CHARTER_WEBHOOK_LOOPBACK_HTTP allows http to this machine." if local else ""
        raise TargetError(f"The address does not begin with https://.{told}")
    if literal is None and re.fullmatch(r"[0-9.]+|0x[0-9a-f.x]+", host, re.IGNORECASE):
        raise TargetError("The host is a number in an unusual spelling.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host.lower(), port or _PORTS[parts.scheme], path)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _inner(address: Address) -> Address:
    """The address that this one carries inside, where it is a disguise of another."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address.teredo is not None:
            return address.teredo[1]
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def why_not(
    addresses: Iterable[str], allowed: Sequence[Network] = (), *, loopback: bool = False
) -> str | None:
    """Why one of these addresses may not be connected to; None when all of them may."""
    for text in addresses:
        address = _inner(ip_address(text.split("%", 1)[0]))
        listed = any(address in net for net in allowed if net.version == address.version)
        open_ = address.is_global and not address.is_multicast
        if not (open_ or listed or (loopback and address.is_loopback)):
            return (
                f"The host stands for {address}, which is not on the public internet. Networks "
                "that webhooks may reach are listed in CHARTER_WEBHOOK_PRIVATE_NETWORKS."
            )
    return None
