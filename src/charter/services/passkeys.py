"""Passkeys of people: add, name and remove them (signing in with one is `passkey_sign_in`).

Source: Spec ID-3, ID-4.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.identity import passkeys as wire
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.kernel.errors import ConflictError
from charter.services import lookup, role_bounds
from charter.services.access import carry_out, missing, note, simple
from charter.services.approval_requests import notify
from charter.services.decisions import Answer, Question
from charter.services.passkey_challenges import (
    new_challenge,
    of_session,
    refused,
    usable,
    use_up,
)
from charter.services.runtime import Caller, Runtime
from charter.services.tokens import own_account
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_MOST: Final = 20  # of one person: far more than anybody has devices
_FIELDS: Final = ("id", "name", "created_at", "last_used_at", "backed_up")


def _own(tx: Tx, caller: Caller) -> Question:
    return simple(caller, Permission.PASSKEY_MANAGE, own_account(caller, "passkey", tx.now))


def live_of(tx: Tx, person_id: str) -> list[Row]:
    """Somebody's passkeys."""
    c = t.passkeys.c
    return list(
        tx.all(
            sa.select(t.passkeys)
            .where(c.person_id == person_id, c.removed_at.is_(None))
            .order_by(c.id)
        )
    )


def known_to_wire(rows: list[Row]) -> list[wire.Known]:
    """Passkeys as a browser is told of them."""
    return [wire.Known(row["credential_id"], tuple(row["transports"])) for row in rows]


def list_passkeys(rt: Runtime, caller: Caller, person: str | None = None) -> list[dict[str, Any]]:
    """One's own passkeys or, for who manages people, somebody's."""
    with rt.database.reading() as tx:
        person_id = caller.id  # an agent has none, whatever its sponsor has
        if person is not None:
            found = lookup.person(tx, person)
            if found["id"] != caller.id and not _manages_people(tx, caller):
                raise missing("person")
            person_id = found["id"]
        return [{name: row[name] for name in _FIELDS} for row in live_of(tx, person_id)]


def _manages_people(tx: Tx, caller: Caller) -> bool:
    return reach_set(caller.subject, Permission.PEOPLE_MANAGE, tx.now).everything


def begin_adding(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """What the browser needs to make a passkey for the caller; decided like the adding itself."""
    bound_to, organisation = of_session(caller), rt.settings.organisation
    found = usable(rt)

    def act(tx: Tx, _answer: Answer) -> dict[str, Any]:
        rows = live_of(tx, caller.id)
        if len(rows) >= _MOST:
            raise ConflictError(
                f"You have {_MOST} passkeys already.", fix="Remove one that you do not use."
            )
        challenge, seconds = new_challenge(rt, tx, "add", bound_to)
        return wire.creation_options(
            found,
            organisation=organisation,
            user_id=caller.id,
            handle=caller.person.handle,
            challenge=challenge,
            seconds=seconds,
            existing=known_to_wire(rows),
        )

    return carry_out(rt, lambda tx: _own(tx, caller), act)


def add(rt: Runtime, caller: Caller, name: str, answer: str) -> dict[str, Any]:
    """Keep the passkey that the browser made."""
    found, bound_to = usable(rt), of_session(caller)
    challenge = use_up(rt, answer, "add", bound_to)
    try:
        new = wire.verify_creation(found, answer, challenge)
    except wire.RefusedError as error:
        raise refused() from error

    def act(tx: Tx, decision: Answer) -> dict[str, Any]:
        passkey_id = tx.new_id("passkey")
        row = {
            "id": passkey_id,
            "name": name,
            "created_at": tx.now,
            "last_used_at": None,
            "backed_up": new.backed_up,
        }
        kept = tx.insert_new(
            t.passkeys,
            person_id=caller.id,
            credential_id=new.credential_id,
            public_key=new.public_key,
            sign_count=new.sign_count,
            transports=list(new.transports),
            aaguid=new.aaguid,
            **row,
        )
        if not kept:  # whoever has it, has it: an answer must not take over another's key
            raise ConflictError(
                "This passkey is known already.", fix="Use another authenticator or account."
            )
        note(tx, caller, "passkey.added", "passkey", passkey_id, decision_id=decision.id)
        notify(tx, caller.id, "passkey", f"A passkey was added to your account: {name}.")
        return row

    return carry_out(rt, lambda tx: _own(tx, caller), act)


def rename(rt: Runtime, caller: Caller, passkey_id: str, name: str) -> dict[str, Any]:
    """Give one of one's own passkeys another name."""

    def act(tx: Tx, decision: Answer) -> dict[str, Any]:
        c = t.passkeys.c
        if not tx.update(
            t.passkeys,
            c.id == passkey_id,
            c.person_id == caller.id,
            c.removed_at.is_(None),
            name=name,
        ):
            raise missing("passkey")
        note(tx, caller, "passkey.renamed", "passkey", passkey_id, decision_id=decision.id)
        row = tx.one(sa.select(t.passkeys).where(c.id == passkey_id))
        return {} if row is None else {field: row[field] for field in _FIELDS}

    return carry_out(rt, lambda tx: _own(tx, caller), act)


def remove(rt: Runtime, caller: Caller, passkey_id: str, *, last: bool = False) -> None:
    """Remove a passkey, and end what was opened with it; the last one only when told so.

    Who manages people may remove those of others: somebody who lost their only authenticator can
    show no second factor any more, and policy may ask for one before they remove it themselves.
    """
    c = t.passkeys.c

    def find(tx: Tx) -> Row | None:
        return tx.one(sa.select(t.passkeys).where(c.id == passkey_id, c.removed_at.is_(None)))

    def question(tx: Tx) -> Question:
        row = find(tx)
        if row is not None and row["person_id"] == caller.id:
            return _own(tx, caller)
        if not _manages_people(tx, caller):
            return _own(tx, caller)  # and the act finds nothing of the caller's
        person = None if row is None else row["person_id"]
        return simple(caller, Permission.PEOPLE_MANAGE, ResourceRef("person", person))

    def act(tx: Tx, decision: Answer) -> None:
        row = find(tx)
        if row is None or (row["person_id"] != caller.id and not _manages_people(tx, caller)):
            raise missing("passkey")
        owner = row["person_id"]
        role_bounds.check_not_above(tx, caller, owner)
        tx.all(sa.select(t.people.c.id).where(t.people.c.id == owner).with_for_update())
        if len(live_of(tx, owner)) == 1 and not last:
            raise ConflictError(
                f"{row['name']} is the last passkey of this account: without it, only a one-time "
                "link or the organisation's own sign-in leads in.",
                fix="Add another passkey first, or say that the last one may go (--last).",
                code="last-passkey",
            )
        tx.update(t.passkeys, c.id == passkey_id, removed_at=tx.now)
        s = t.sessions.c
        ended = tx.update(
            t.sessions,
            s.passkey_id == passkey_id,
            s.revoked_at.is_(None),
            s.id != caller.credential_id,
            revoked_at=tx.now,
        )
        note(
            tx,
            caller,
            "passkey.removed",
            "passkey",
            passkey_id,
            decision_id=decision.id,
            facts={"person": owner, "sessions_ended": ended},
        )
        who = "" if owner == caller.id else f" by {caller.person.handle}"
        notify(
            tx, owner, "passkey", f"A passkey was removed from your account{who}: {row['name']}."
        )

    carry_out(rt, question, act)
