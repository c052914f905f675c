"""Signing in with a passkey, and confirming with one that it is still you.

Nobody types a name: the authenticator knows which account a passkey belongs to, and says so with
its answer. A session that is opened or renewed so has two factors: the key, and the finger, face or
PIN that its authenticator asked for.

A counter that went back means that a copy of the key is about; then nobody gets in by it, and its
owner is told.

Source: Spec ID-3, ID-4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.identity import passkeys as wire
from charter.core.access.passkeys import copied
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import CharterError, ConflictError, UnauthenticatedError
from charter.services.approval_requests import notify
from charter.services.attempts import Door
from charter.services.identity import guarded, open_session
from charter.services.passkey_challenges import (
    new_challenge,
    of_browser,
    of_session,
    refused,
    usable,
    use_up,
)
from charter.services.passkeys import known_to_wire, live_of
from charter.services.runtime import Caller, Runtime
from charter.services.sessions import renew
from charter.services.subjects import load_human
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

METHOD: Final = "passkey"


def begin_sign_in(rt: Runtime, cookie: str) -> dict[str, Any]:
    """What the browser with this cookie needs to show a passkey, whoever it belongs to."""
    found = usable(rt)
    with rt.database.unit_of_work() as tx:
        challenge, seconds = new_challenge(rt, tx, "sign-in", of_browser(cookie))
    return wire.request_options(found, challenge=challenge, seconds=seconds)


def sign_in(
    rt: Runtime, cookie: str, answer: str, ip: str | None = None, user_agent: str | None = None
) -> dict[str, Any]:
    """Open a session for whoever showed their passkey; see `identity.open_session`.

    What is refused counts against the address that it came from, never against a person.
    """
    with guarded(rt, Door.SIGN_IN, ip, wrong=UnauthenticatedError):
        return _sign_in(rt, cookie, answer, ip, user_agent)


def _sign_in(
    rt: Runtime, cookie: str, answer: str, ip: str | None, user_agent: str | None
) -> dict[str, Any]:
    challenge = use_up(rt, answer, "sign-in", of_browser(cookie))
    session: dict[str, Any] = {}
    with rt.database.unit_of_work() as tx:
        row, refusal = _shown(rt, tx, answer, challenge)
        if row is not None:
            session = open_session(
                rt,
                tx,
                row["person_id"],
                method=METHOD,
                mfa=True,
                ip=ip,
                user_agent=user_agent,
                passkey_id=row["id"],
            )
    if refusal is not None:
        raise refusal
    return session


def begin_step_up(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """What the browser needs so that the caller shows one of their own passkeys."""
    found, bound_to = usable(rt), of_session(caller)
    with rt.database.unit_of_work() as tx:
        known = known_to_wire(live_of(tx, caller.id))
        if not known:
            raise ConflictError(
                "There is no passkey in your account.", fix="Confirm it another way."
            )
        challenge, seconds = new_challenge(rt, tx, "step-up", bound_to)
    return wire.request_options(found, challenge=challenge, seconds=seconds, allowed=known)


def step_up(rt: Runtime, caller: Caller, answer: str) -> dict[str, Any]:
    """Renew the session of who showed a passkey of their own; see `sessions.renew`."""
    challenge = use_up(rt, answer, "step-up", of_session(caller))
    session: dict[str, Any] = {}
    with rt.database.unit_of_work() as tx:
        row, refusal = _shown(rt, tx, answer, challenge, caller.id)
        if row is not None:
            session = renew(rt, tx, caller, method=METHOD, mfa=True, passkey_id=row["id"])
    if refusal is not None:
        raise refusal
    return session


def _shown(
    rt: Runtime, tx: Tx, answer: str, challenge: bytes, person_id: str | None = None
) -> tuple[Row | None, CharterError | None]:
    """The passkey that was shown, or the refusal; either is written down in this transaction.

    `person_id` is whose it must be, where that is known before.
    """
    c = t.passkeys.c
    row = None
    try:
        claim = wire.claim_of(answer)
        row = tx.one(
            sa.select(t.passkeys)
            .where(c.credential_id == claim.credential_id, c.removed_at.is_(None))
            .with_for_update()
        )
        found = _of_its_owner(tx, row, claim, person_id)
        shown = wire.verify_use(usable(rt), answer, challenge, found["public_key"])
    except wire.RefusedError as error:
        return None, _failed(tx, row, person_id, str(error))
    if copied(found["sign_count"], shown.sign_count):
        return None, _copied(tx, found)
    tx.update(
        t.passkeys,
        c.id == found["id"],
        sign_count=shown.sign_count,
        backed_up=shown.backed_up,
        last_used_at=tx.now,
    )
    return found, None


def _of_its_owner(tx: Tx, row: Row | None, claim: wire.Claim, person_id: str | None) -> Row:
    if row is None:
        raise wire.RefusedError("there is no such passkey")
    owner = row["person_id"]
    if person_id is None and claim.user_id is None:
        raise wire.RefusedError("it does not say whose it is")
    if person_id not in (None, owner) or claim.user_id not in (None, owner):
        raise wire.RefusedError("it is somebody else's passkey")
    person = load_human(tx, owner)
    if person is None or not person.active:
        raise wire.RefusedError("the account is deactivated")
    return row


def _failed(tx: Tx, row: Row | None, person_id: str | None, why: str) -> CharterError:
    owner = person_id if row is None else row["person_id"]
    _event(tx, "passkey.refused", owner, None if row is None else row["id"], {"why": why[:200]})
    return refused()


def _copied(tx: Tx, row: Row) -> CharterError:
    _event(tx, "passkey.copied", row["person_id"], row["id"], {})
    notify(
        tx,
        row["person_id"],
        "passkey",
        f"Your passkey {row['name']} was refused: its counter went back, so there may be a copy of "
        "it. Remove it, and add a new one.",
        dedupe_key=f"copied:{row['id']}",
    )
    return refused()


def _event(
    tx: Tx, action: str, person_id: str | None, passkey_id: str | None, facts: Mapping[str, str]
) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=ActorRef("human", person_id or "unknown", None, passkey_id),
            action=action,
            resource_kind="passkey",
            resource_id=passkey_id or "unknown",
            outcome=Outcome.DENIED,
            facts=facts,
        )
    )
