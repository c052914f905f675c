"""Where a request comes from: one function for every face.

What is believed of a forwarded request, and why, stands in `core.access.addresses`; which proxies
are believed is the operator's setting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from charter.core.access.addresses import Network, client_address, parse_networks
from charter.settings import Settings

_proxies: Callable[[str], tuple[Network, ...]] = lru_cache(maxsize=8)(parse_networks)


def address_of(
    settings: Settings, peer: str | None, headers: Callable[[str], Sequence[str]]
) -> str | None:
    """The client's address as text, in one spelling; None when nobody can say.

    `peer` is the other end of the connection; `headers` gives all values of a header by its name.
    """
    header = settings.forwarded_header
    address = client_address(peer, header, headers(header), _proxies(settings.trusted_proxies))
    return None if address is None else str(address)
