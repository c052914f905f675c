"""One spelling for every document that is hashed, signed or replayed.

Sorted keys, no white space, UTF-8, no NaN; times as RFC 3339 in UTC with microseconds. Two equal
values always give equal bytes, so a digest of them means something.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime


def canonical_json(value: object) -> str:
    """`value` (dicts, lists, strings, numbers, booleans, None) as canonical JSON text."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: object) -> str:
    """`sha256:` and the hexadecimal digest of the canonical form of `value`."""
    return digest_of_text(canonical_json(value))


def digest_of_text(text: str) -> str:
    """As `digest`, of a value whose canonical form is at hand."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def rfc3339(moment: datetime) -> str:
    """`moment` (must carry a zone) as `2026-01-31T08:00:00.000000Z`."""
    if moment.tzinfo is None:
        msg = "a time without a zone cannot be written down"
        raise ValueError(msg)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """The moment that `rfc3339` wrote; other zones are accepted, a missing one is not."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        msg = "a time without a zone cannot be read"
        raise ValueError(msg)
    return moment.astimezone(UTC)
