"""Opaque, prefixed identifiers.

An identifier tells what kind of thing it names (`ws_…` a workspace) and nothing else: no personal
data and no meaning that could change, so that it may stand in the append-only trail for ever. The
first 48 bits are the time in milliseconds (ids of one kind sort by age and keep indexes dense),
the rest is randomness, which the caller supplies: the core itself never draws any.
"""

from __future__ import annotations

import re
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u to misread
_RANDOM_BYTES: Final = 10  # 80 bits: no collision to expect at any fleet's size

PREFIXES: Final = {
    "person": "per",
    "team": "team",
    "project": "prj",
    "agent": "agt",
    "agent-definition": "def",
    "task": "tsk",
    "workspace": "ws",
    "template": "tpl",
    "binding": "rb",
    "role": "role",
    "decision": "dec",
    "approval": "apr",
    "comment": "cmt",
    "absence": "abs",
    "grant": "grt",
    "event": "evt",
    "identity": "idn",
    "session": "ses",
    "token": "tok",
    "link": "lnk",
    "passkey": "psk",
    "credential": "crd",
    "production-access": "pac",
    "elevation": "elv",
    "quota-override": "qov",
    "break-glass": "bgl",
    "notice": "ntc",
    "effect": "eff",
    "incident": "inc",
    "activation": "act",
    "change": "chg",
    "impact": "imp",
    "review": "rev",
    "campaign": "cam",
    "review-item": "rvi",
    "enforcement-point": "pep",
    "opening": "opn",
    "notification-channel": "nch",
    "delivery": "dlv",
    "approval-link": "apl",
    "scim-token": "scm",
}

_SHAPE: Final = re.compile(r"^([a-z]{2,4})_[0-9abcdefghjkmnpqrstvwxyz]{26}$")


def make_id(kind: str, now_ms: int, randomness: bytes) -> str:
    """The identifier of a new `kind` (a key of PREFIXES); `randomness` is 10 bytes."""
    if len(randomness) != _RANDOM_BYTES:
        msg = f"an identifier takes {_RANDOM_BYTES} random bytes, not {len(randomness)}"
        raise ValueError(msg)
    number = (now_ms << 80 | int.from_bytes(randomness)) & ((1 << 128) - 1)
    digits = [_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)]
    return f"{PREFIXES[kind]}_{''.join(digits)}"


def is_id(kind: str, text: str) -> bool:
    """Whether `text` has the shape of a `kind` identifier; says nothing about its existence."""
    match = _SHAPE.fullmatch(text)
    return match is not None and match.group(1) == PREFIXES[kind]
