"""One attempt to sign in at a provider: what ties the answer to the browser that asked.

A browser that sets out to a provider takes a cookie along that nobody else has. All that must be
unguessable is derived from the secret in it: the *state* that the provider sends back (so that
no other site can finish an attempt in this browser, RFC 6749 §10.12), the *nonce* that must stand
in the ID token (so that no other token fits, OpenID Connect Core §3.1.2.1) and the *verifier* of
PKCE (so that a stolen code is worth nothing, RFC 7636). The cookie is signed, hence nothing is
stored for attempts that are never finished; a finished one is remembered by its `id`, because it
counts once.

Source: Spec ID-3.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

SECRET_BYTES: Final = 32
_LONGEST_COOKIE: Final = 2048
_LONGEST_PATH: Final = 500
_PURPOSE: Final = b"charter sign-in attempt 1\n"  # the key signs other things too
# A path of the portal, with a query or without. Nothing that a browser reads as another host:
# no second slash, no backslash, no control character, no fragment.
_OWN_PATH: Final = re.compile(
    r"/(?:[\w.~@:+%-]+(?:/[\w.~@:+%-]+)*/?)?(?:\?[\w.~/@:+%&=,-]*)?", re.ASCII
)


def own_path(text: str | None) -> str:
    """`text` when it is a path of this portal, else the overview."""
    if text is None or len(text) > _LONGEST_PATH or not text.startswith("/"):
        return "/"
    return text if _OWN_PATH.fullmatch(text) else "/"


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at `provider`, begun at `started_at`, that is to end at `next_path`.

    `fresh` asks for a proof of identity now, not for one that the provider remembers. `person_id`
    is who must come back, where somebody is signed in already and only proves it again.
    """

    provider: str
    secret: bytes
    started_at: datetime
    next_path: str = "/"
    fresh: bool = False
    person_id: str | None = None

    @property
    def id(self) -> str:
        """What is remembered of it."""
        return hashlib.sha256(self.secret).hexdigest()

    @property
    def state(self) -> str:
        """What the provider sends back with the browser."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """What must stand in the ID token."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """What is shown when the code is exchanged."""
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier beforehand."""
        return challenge_of(self.verifier)

    def _derived(self, what: str) -> str:
        return _base64(hmac.digest(self.secret, what.encode(), "sha256"))


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2)."""
    return _base64(hashlib.sha256(verifier.encode()).digest())


def seal(attempt: Attempt, key: bytes) -> str:
    """The cookie's value."""
    document = {
        "provider": attempt.provider,
        "secret": _base64(attempt.secret),
        "started_at": int(attempt.started_at.timestamp()),
        "next": attempt.next_path,
        "fresh": attempt.fresh,
        "person": attempt.person_id,
    }
    payload = _base64(json.dumps(document, separators=(",", ":")).encode())
    return f"{payload}.{_base64(_signature(payload, key))}"


def unseal(text: str | None, key: bytes) -> Attempt | None:
    """The attempt in a cookie; None when there is none or it was not made here."""
    if text is None or len(text) > _LONGEST_COOKIE or not text.isascii():
        return None
    payload, dot, signature = text.partition(".")
    if not dot or not hmac.compare_digest(signature, _base64(_signature(payload, key))):
        return None
    document: dict[str, Any] = json.loads(_bytes(payload))
    return Attempt(
        provider=document["provider"],
        secret=_bytes(document["secret"]),
        started_at=datetime.fromtimestamp(document["started_at"], UTC),
        next_path=document["next"],
        fresh=document["fresh"],
        person_id=document["person"],
    )


def _signature(payload: str, key: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + payload.encode(), "sha256")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
