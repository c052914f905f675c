"""Bearer secrets: made once, shown once, kept as hashes.

A secret is `charter_<kind>_<id without its prefix>_<43 characters>`: the fixed start lets secret
scanners find a leaked one, the id finds the row without a search, and the rest is 256 random bits.
The token of an enforcement point begins with `cep_` alone: it stands in the configuration of other
programs, where a short name that is easy to search for helps more.
With that much randomness a plain SHA-256 is the right hash: there is nothing to guess.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_SECRET_BYTES: Final = 32
_NOBODYS: Final = bytes(hashlib.sha256().digest_size)
KINDS: Final = {
    "pat": "token",
    "ses": "session",
    "lnk": "link",
    "scm": "directory",
    "cep": "enforcement point",
    "prd": "production access",
}
_PREFIX_OF: Final = {
    "pat": "tok",
    "ses": "ses",
    "lnk": "lnk",
    "scm": "scm",
    "cep": "pep",
    "prd": "pac",
}
_SHAPE: Final = re.compile(
    r"^(?:charter_(pat|ses|lnk|scm|prd)|(cep))_([0-9a-hjkmnp-tv-z]{26})_([A-Za-z0-9_-]{43})$"
)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A parsed secret: its kind (of `KINDS`), the row it belongs to, the hash to compare."""

    kind: str
    id: str
    secret_hash: bytes

    def matches(self, stored: bytes | None) -> bool:
        """Whether the stored hash is this secret's, compared in constant time.

        Without a stored one the comparison is made all the same, with a hash that is nobody's:
        that there is no such row must not show in the work.
        """
        same = hmac.compare_digest(self.secret_hash, stored or _NOBODYS)
        return same and stored is not None


def make(kind: str, id_: str, randomness: Callable[[int], bytes]) -> tuple[str, bytes]:
    """The secret to show once, and the hash to keep, for the row `id_`."""
    secret = base64.urlsafe_b64encode(randomness(_SECRET_BYTES)).rstrip(b"=").decode()
    start = kind if kind == "cep" else f"charter_{kind}"
    return f"{start}_{id_.split('_', 1)[1]}_{secret}", _hash(secret)


def parse(text: str) -> Bearer | None:
    """The parts of `text`, or None when it is no secret of ours."""
    match = _SHAPE.match(text)
    if match is None:
        return None
    spelled, point, id_, secret = match.groups()
    kind = spelled or point
    return Bearer(kind, f"{_PREFIX_OF[kind]}_{id_}", _hash(secret))


def cookie_in(headers: Sequence[str], name: str) -> str | None:
    """The cookie of that name in these `Cookie` headers; None without one, and with two.

    A neighbouring host can plant a cookie beside the right one. Which of two a server takes is an
    accident, so neither counts.
    """
    found = [
        value.strip()
        for header in headers
        for key, equals, value in (part.partition("=") for part in header.split(";"))
        if equals and key.strip() == name
    ]
    return found[0] if len(found) == 1 else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
