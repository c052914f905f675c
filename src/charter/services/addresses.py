"""Where a request comes from: the peer's address, in one spelling."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def peer_address(host: str | None) -> str | None:
    """The address as text; None when there is no peer or it has no address (a unix socket).

    An IPv4 address that arrives inside an IPv6 one is the IPv4 address: rules name it so.
    """
    try:
        address = ip_address(host or "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
