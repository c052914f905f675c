"""Guessing: wrong secrets are counted, slowed down, told to whom they concern, and recorded.

A door that takes secrets is wrapped in `counted`, and raises `WrongCredentialError` for what is
wrong; that is all:

    with attempts.counted(rt, Door.SIGN_IN, ip, credential_id=passkey_id):
        ...
        raise WrongCredentialError("This passkey is not known here.", fix="…", credential_id=…)

Counts stand in PostgreSQL, so that replicas share them and a restart forgets nothing. A door that
is shut costs its guesser one look-up and writes nothing.

What must not happen is that guessing shuts somebody else out. So at the doors where a *lasting*
secret is shown (tokens, sessions, credentials of enforcement points) only those are refused whose
secret is wrong: the right one gets in, however much its neighbours behind the same address guess.
At the doors where people *sign in*, an address that guesses is refused as a whole for some minutes,
and nobody elsewhere notices. No count is kept of a person.

An attempt costs the same whether there is such a link, token or session or not: the look-up, one
comparison (with a hash that is nobody's where there is no row), and the counting.

Source: Spec ID-5; limits and reasons in `core.access.attempts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv6Address, ip_network
from typing import Final, NamedTuple

import sqlalchemy as sa

from charter.core.access.addresses import parse_address
from charter.core.access.attempts import AttemptLimits, Failures, after_failure
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import (
    CharterError,
    TooManyError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.services.approval_requests import notify
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_GUARD: Final = ActorRef("system", "attempts")
_SITE_PREFIX: Final = 64  # of IPv6: what one site has, all of whose addresses are one guesser's


class Door(StrEnum):
    """What kind of secret is shown; each has its own count of an address."""

    SIGN_IN = "sign-in"
    BEARER = "bearer"


class WrongCredentialError(UnauthenticatedError):
    """What was shown is not what is kept. Neither the text nor the work says what is missing.

    `credential_id` is what was named, whether there is such a thing or not; `owner_id` the person
    who holds it, if there is one.
    """

    def __init__(
        self,
        message: str,
        *,
        fix: str,
        credential_id: str | None = None,
        owner_id: str | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.credential_id = credential_id
        self.owner_id = owner_id


@contextmanager
def counted(
    rt: Runtime,
    door: Door,
    ip: str | None,
    *,
    credential_id: str | None = None,
    wrong: type[CharterError] = WrongCredentialError,
) -> Iterator[None]:
    """Count what raises `wrong` in the block; raise `TooManyError` when it is too much.

    The block opens and ends its own transactions. `ip` is None where nobody knows the address: all
    of those are one guesser.
    """
    place = _place(ip)
    if door is Door.SIGN_IN:
        _refuse_while_shut(rt, door, place, credential_id)
    try:
        yield
    except wrong as error:
        named = getattr(error, "credential_id", None), getattr(error, "owner_id", None)
        wait = _failed(rt, door, place, _Guess(*named))
        if wait:
            raise _too_many(wait) from error
        raise


class _Guess(NamedTuple):
    """What was guessed at, as far as it was named, and whose it is, if it is anybody's."""

    credential_id: str | None
    owner_id: str | None


def _place(ip: str | None) -> str:
    """Whom a count is about: an IPv4 address, or the site of an IPv6 one."""
    address = None if ip is None else parse_address(ip)
    if address is None:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _SITE_PREFIX), strict=False))
    return str(address)


def _keys(door: Door, place: str, credential_id: str | None) -> list[str]:
    """The rows that an attempt counts in, in the order in which they are locked."""
    keys = [f"address:{door}:{place}"]
    if credential_id is not None:
        keys.append(f"credential:{credential_id}:{place}")
    return keys


def _too_many(wait_seconds: int) -> TooManyError:
    return TooManyError(
        "Too many attempts from here have failed.",
        fix=f"Wait {wait_seconds} s before the next one. If you did not make them, tell an "
        "administrator; from another network you may go on.",
        code="too-many-attempts",
        details={"retry_after_seconds": wait_seconds},
    )


def _refuse_while_shut(rt: Runtime, door: Door, place: str, credential_id: str | None) -> None:
    with rt.database.reading() as tx:
        found = _kept(tx, _keys(door, place, credential_id))
        wait = max((each.wait_seconds(tx.now) for each in found.values()), default=0)
    if wait:
        raise _too_many(wait)


def _kept(tx: Tx, keys: list[str], *, lock: bool = False) -> dict[str, Failures]:
    c = t.failed_attempts.c
    query = sa.select(t.failed_attempts).where(c.key.in_(keys)).order_by(c.key)
    rows = tx.all(query.with_for_update() if lock else query)
    return {row["key"]: _failures(row) for row in rows if row["failures"]}


def _failures(row: Row) -> Failures:
    return Failures(row["failures"], row["since"], row["locked_until"])


def _failed(rt: Runtime, door: Door, place: str, guess: _Guess) -> int:
    """Count one failure; the seconds to wait, if the door is shut now."""
    keys = _keys(door, place, guess.credential_id)
    with rt.database.unit_of_work() as tx:
        wait = max((each.wait_seconds(tx.now) for each in _kept(tx, keys).values()), default=0)
        if wait:
            return wait
        limits = limits_of(rt, tx)
        mosts = [limits.address_failures, limits.credential_failures]
        for key, most in zip(keys, mosts, strict=False):
            after, shut = _count(tx, key, most, limits)
            if shut:
                _tell(tx, key, door, place, after, guess)
            wait = max(wait, after.wait_seconds(tx.now))
        return wait


def limits_of(rt: Runtime, tx: Tx) -> AttemptLimits:
    """The limits of the policy in force; the defaults while there is none that can be used."""
    try:
        return rt.policy.active(tx).data.attempts
    except UnavailableError:
        return AttemptLimits()


def _count(tx: Tx, key: str, most: int, limits: AttemptLimits) -> tuple[Failures, bool]:
    """One failure more under `key`, and whether it is the one that shut the door."""
    span = timedelta(seconds=limits.window_seconds + limits.lock_seconds)
    # First the row, then its lock: two first failures at one moment count as two.
    tx.insert_new(t.failed_attempts, key=key, failures=0, since=tx.now, forget_at=tx.now + span)
    before = _kept(tx, [key], lock=True).get(key)
    after = after_failure(before, most, limits, tx.now)
    tx.update(
        t.failed_attempts,
        t.failed_attempts.c.key == key,
        failures=after.count,
        since=after.since,
        locked_until=after.locked_until,
        forget_at=tx.now + span,
    )
    return after, bool(after.wait_seconds(tx.now)) and after != before


def first_in_window(rt: Runtime, tx: Tx, key: str) -> bool:
    """Count something under `key`; whether it is the first in its window.

    For what is recorded when it happens, and not once more for each repetition.
    """
    limits = limits_of(rt, tx)
    after, _ = _count(tx, key, 1 << 31, limits)
    return after.count == 1


def _tell(tx: Tx, key: str, door: Door, place: str, after: Failures, guess: _Guess) -> None:
    """Record that a door was shut, and tell the person whose credential was guessed at."""
    about_address = key.startswith("address:")
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=_GUARD,
            action="attempts.address-locked" if about_address else "attempts.credential-locked",
            resource_kind="address" if about_address else "credential",
            resource_id=door.value if about_address else _named(guess),
            outcome=Outcome.DENIED,
            facts={"failures": after.count, "door": door.value},
            private={"address": place, "named": guess.credential_id},
        )
    )
    if not about_address and guess.owner_id is not None:
        notify(
            tx,
            guess.owner_id,
            "credential-guessed",
            f"{after.count} wrong secrets were shown for {_KIND_OF[_kind(guess)]} of yours, from "
            f"{place}. None of them got in. If you do not know why, end it and make a new one.",
            dedupe_key=f"guessed:{guess.credential_id}:{tx.now:%Y-%m-%d}",
        )


_KIND_OF: Final = {
    "tok": "a token",
    "ses": "a session",
    "lnk": "a sign-in link",
    "other": "a credential",
}


def _kind(guess: _Guess) -> str:
    prefix = (guess.credential_id or "").partition("_")[0]
    return prefix if prefix in _KIND_OF else "other"


def _named(guess: _Guess) -> str:
    """The credential as the trail may name it: what a stranger made up is not sealed for ever."""
    return (
        "unknown" if guess.owner_id is None or guess.credential_id is None else guess.credential_id
    )


def forget(tx: Tx, most: int) -> int:
    """Delete counts that mean nothing any more; how many there were."""
    c = t.failed_attempts.c
    old = (
        sa.select(c.key).where(c.forget_at <= tx.now).limit(most).with_for_update(skip_locked=True)
    )
    return tx.conn.execute(sa.delete(t.failed_attempts).where(c.key.in_(old))).rowcount
