"""Challenges of passkeys: made for one browser and one purpose, used once, gone in minutes.

An answer uses its challenge up before anything else is looked at, in a transaction of its own, so
that no answer counts twice and a wrong one cannot be tried again. What is wrong with an answer is
told to the trail, not to whoever sent it: the page always says the same.

Source: Spec ID-3; WebAuthn, "Cryptographic challenges".
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from charter.adapters.identity import passkeys as wire
from charter.core.access.passkeys import NoRelyingParty, RelyingParty, relying_party
from charter.core.kernel.errors import InvalidInputError, UnauthenticatedError, UnavailableError
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_CHALLENGE_BYTES: Final = 32


def party(rt: Runtime) -> RelyingParty | NoRelyingParty:
    """Whom passkeys of this instance are made for, or why there can be none."""
    return relying_party(rt.settings.public_url, rt.settings.host, rt.settings.port)


def usable(rt: Runtime) -> RelyingParty:
    """The relying party; raises `UnavailableError` where passkeys cannot work."""
    found = party(rt)
    if isinstance(found, NoRelyingParty):
        raise UnavailableError(found.why, fix=found.fix, code="no-passkeys-here")
    return found


def new_challenge(rt: Runtime, tx: Tx, purpose: str, bound_to: str) -> tuple[bytes, int]:
    """A new challenge and for how many seconds it counts; those that ran out are swept away."""
    seconds = rt.policy.active(tx).data.credentials.passkey_challenge_seconds
    challenge = rt.randomness(_CHALLENGE_BYTES)
    c = t.passkey_challenges.c
    tx.conn.execute(sa.delete(t.passkey_challenges).where(c.expires_at <= tx.now))
    tx.insert(
        t.passkey_challenges,
        id=hashlib.sha256(challenge).hexdigest(),
        purpose=purpose,
        bound_to=bound_to,
        expires_at=tx.now + timedelta(seconds=seconds),
    )
    return challenge, seconds


def use_up(rt: Runtime, answer: str, purpose: str, bound_to: str) -> bytes:
    """The challenge that this answer may answer, which from now on is used."""
    try:
        challenge = wire.challenge_in(answer)
    except wire.RefusedError as error:
        raise refused() from error
    c = t.passkey_challenges.c
    with rt.database.unit_of_work() as tx:
        row = tx.one(
            sa.delete(t.passkey_challenges)
            .where(c.id == hashlib.sha256(challenge).hexdigest())
            .returning(c.purpose, c.bound_to, c.expires_at)
        )
    if row is None or row["expires_at"] <= rt.now():
        raise UnauthenticatedError(
            "This took too long, or it was answered already.",
            fix="Press the button again.",
            code="passkey-refused",
        )
    if (row["purpose"], row["bound_to"]) != (purpose, bound_to):
        raise refused()
    return challenge


def refused() -> UnauthenticatedError:
    """The one thing that is said of an answer which does not hold."""
    return UnauthenticatedError(
        "This passkey was not accepted.",
        fix="Try again, use another passkey, or sign in another way.",
        code="passkey-refused",
    )


def of_browser(cookie: str) -> str:
    """What a challenge is bound to where nobody is signed in yet."""
    return "browser:" + hashlib.sha256(cookie.encode()).hexdigest()


def of_session(caller: Caller) -> str:
    """What a challenge is bound to in a session; raises for other credentials."""
    if caller.via != "session":
        raise InvalidInputError("Passkeys are for browsers.", fix="Open the portal.")
    return f"session:{caller.credential_id}"
