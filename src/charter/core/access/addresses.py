"""Addresses and networks: reading them, and finding whose address a forwarded request has.

A proxy in front of Charter is the peer of every connection; whom it speaks for stands in a header
that anybody can write. So the header counts only when the peer is a proxy that the operator named,
and it is read from the right: each proxy appends the address that *it* saw, so the entries of
trusted proxies are true and everything to the left of the first stranger is the stranger's word.
The right-most address that is no trusted proxy is the client.

Where the header does not say (it is missing, malformed, names `unknown`, or names trusted proxies
only) the answer is that nobody knows: `None`, which no allowlist lets in. To take the proxy's own
address in its place would let every stranger in whose proxy stands inside the company network.

Source: RFC 7239; Spec ID-5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

X_FORWARDED_FOR: Final = "X-Forwarded-For"
FORWARDED: Final = "Forwarded"
HEADERS: Final = (X_FORWARDED_FOR, FORWARDED)

_PORT: Final = r"(?::(?:\d{1,5}|_[A-Za-z0-9._-]{1,64}))?"  # RFC 7239 lets a port be a word
_BRACKETED: Final = re.compile(rf"\[([0-9A-Fa-f:.]{{2,45}})\]{_PORT}")
_IPV4: Final = re.compile(rf"(\d{{1,3}}(?:\.\d{{1,3}}){{3}}){_PORT}")
# One `name=value` of RFC 7239 §4: a token, or a quoted text in which a backslash quotes the next.
_PAIR: Final = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r'(?:([!#$%&\'*+.^_`|~0-9A-Za-z-]+)|"((?:[^"\\]|\\.)*)")[ \t]*'
)


def parse_address(text: str) -> Address | None:
    """The address, or None. An IPv4 address inside an IPv6 one is the IPv4 address.

    An address with a zone (`fe80::1%eth0`) is none: it means something on one link only.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def parse_network(text: str) -> Network:
    """The network in `text`, in CIDR notation; raises ValueError with what is wrong with it.

    A network with bits behind its prefix is refused: it is a slip, and which one is not known. So
    is an IPv4 network inside IPv6: addresses are compared as IPv4 and would never be in it.
    """
    if "/" not in text:
        raise ValueError("must be in CIDR notation, such as 192.0.2.0/24 or 2001:db8::/32")
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"is no network ({error})") from None
    if isinstance(network, IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:  # noqa: PLR2004 — of ::ffff:0:0/96
            raise ValueError(f"must be written as IPv4: {mapped}/{network.prefixlen - 96}")
    return network


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks separated by commas; a single address is a network of its own. Raises ValueError."""
    found = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        address = parse_address(item)
        whole = f"{address}/{address.max_prefixlen}" if address is not None else item
        try:
            found.append(parse_network(whole))
        except ValueError as error:
            raise ValueError(f"{item!r} {error}") from None
    return tuple(found)


def within(address: Address, networks: Sequence[Network]) -> bool:
    """Whether one of the networks holds the address; IPv4 and IPv6 never hold each other."""
    return any(address in network for network in networks)


def client_address(
    peer: str | None, header: str, values: Sequence[str], proxies: Sequence[Network]
) -> Address | None:
    """Where a request comes from; None when nobody can say.

    `peer` is the other end of the connection, `values` are all headers named `header` in the order
    in which they came, `proxies` the networks that are believed.
    """
    near = parse_address(peer or "")
    if near is None or not within(near, proxies):
        return near
    hops = _forwarded(values) if header == FORWARDED else _listed(values)
    for hop in hops:
        address = _node(hop)
        if address is None or not within(address, proxies):
            return address
    return None


def _listed(values: Sequence[str]) -> Iterator[str]:
    """The hops of `X-Forwarded-For`, the nearest first."""
    for value in reversed(values):
        for hop in reversed(value.split(",")):
            yield hop.strip(" \t")


def _forwarded(values: Sequence[str]) -> Iterator[str]:
    """The `for` of each element of `Forwarded`, the nearest first; empty where it has none.

    A header that is not RFC 7239 as a whole gives one hop that is nobody's address.
    """
    try:
        elements = [element for value in values for element in _elements(value)]
    except ValueError:
        elements = [""]
    return reversed(elements)


def _elements(value: str) -> Iterator[str]:
    """The `for` of each element of one header; raises ValueError for what is no such header."""
    at, node, named = 0, "", False
    while True:
        pair = _PAIR.match(value, at)
        if pair is None:
            raise ValueError(value)
        name, token, quoted = pair.groups()
        if name.lower() == "for":
            if named:
                raise ValueError(value)  # each parameter may stand once in an element
            node, named = token or re.sub(r"\\(.)", r"\1", quoted or ""), True
        at = pair.end()
        if at == len(value) or value[at] == ",":
            yield node
            node, named = "", False
        elif value[at] != ";":
            raise ValueError(value)
        if at == len(value):
            return
        at += 1


def _node(text: str) -> Address | None:
    """The address of one hop, which may carry a port; None for `unknown` and anything else."""
    found = _BRACKETED.fullmatch(text)
    if found is not None:
        address = parse_address(found[1])
        return address if ":" in found[1] else None
    found = _IPV4.fullmatch(text)
    return parse_address(text if found is None else found[1])
