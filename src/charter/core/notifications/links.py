"""Links that carry one person's vote on one request: signed, single-use, and bound to the person.

Each approver gets a link of their own. Its end is an HMAC over what the link is for (which request,
which person, until when, a nonce), so that nobody without the key can make one, neither somebody
who reads the database nor somebody who can write to it: a row that was changed does not fit the
signature any more. The database keeps a hash, and the link is made anew whenever the mail is sent.

What a link is worth is computed whenever it is followed. It is over once it was used, the request
settled, the person may not vote any more, the account is off or has another address, a newer link
was made, or the time is up.

Source: Spec AP-7.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_SHAPE: Final = re.compile(r"charter_apl_([0-9a-hjkmnp-tv-z]{26})_([A-Za-z0-9_-]{43})")
_PURPOSE: Final = "charter approval link v1"


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """What is signed. `id` names the stored row."""

    id: str
    approval_id: str
    person_id: str
    expires_at: datetime
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Presented:
    """A link that somebody shows: the row that it names, and the hash of its signature."""

    id: str
    signature: str

    @property
    def digest(self) -> bytes:
        """What the database keeps of a link."""
        return _digest(self.signature)


def make(facts: LinkFacts, key: bytes) -> tuple[str, bytes]:
    """The text of the link, and the hash to keep."""
    signature = _sign(facts, key)
    return f"charter_apl_{facts.id.split('_', 1)[1]}_{signature}", _digest(signature)


def parse(text: str) -> Presented | None:
    """The parts of a link, None when it has not the shape of one."""
    match = _SHAPE.fullmatch(text)
    return None if match is None else Presented(f"apl_{match[1]}", match[2])


def genuine(shown: Presented, facts: LinkFacts, stored: bytes, key: bytes) -> bool:
    """Whether the link was made by us, for exactly these facts; compared in constant time."""
    signed = hmac.compare_digest(shown.signature, _sign(facts, key))
    return hmac.compare_digest(shown.digest, stored) and signed


def _sign(facts: LinkFacts, key: bytes) -> str:
    said = (
        _PURPOSE,
        facts.id,
        facts.approval_id,
        facts.person_id,
        str(int(facts.expires_at.timestamp())),
        facts.nonce.hex(),
    )
    mac = hmac.digest(key, "\n".join(said).encode(), "sha256")
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _digest(signature: str) -> bytes:
    return hashlib.sha256(signature.encode()).digest()


@dataclass(frozen=True, slots=True)
class LinkState:
    """What became of a link since it was made."""

    expires_at: datetime
    used: bool = False
    ended: bool = False
    """It was seen in another person's hands."""
    replaced: bool = False
    person_active: bool = True
    same_address: bool = True
    why_not_vote: str | None = None


def why_over(state: LinkState, now: datetime) -> str | None:
    """Why the link counts no more, as a sentence; None while it does."""
    reasons = (
        (state.used, "This link was used already."),
        (state.ended, "This link was opened by somebody else, so it does not count any more."),
        (state.replaced, "A newer link was sent for this request; only the newest one counts."),
        (now >= state.expires_at, "This link has expired."),
        (not state.person_active, "The account that this link was made for is deactivated."),
        (not state.same_address, "The address that this link was sent to is not in use any more."),
        (state.why_not_vote is not None, state.why_not_vote or ""),
    )
    return next((sentence for holds, sentence in reasons if holds), None)
