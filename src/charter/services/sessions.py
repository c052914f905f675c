"""Sessions: who is signed in where, ending them, and renewing one by a fresh proof of identity.

A session is somebody's open door, so its owner sees each and closes any, without asking anybody;
platform and security admins close those of others (`session.end`), because stopping harm must not
wait.

A step-up renews a session: how and when its owner proved who they are is written anew, and its
secret and form token are changed in the same moment, so that whoever had a copy of the old ones
gains nothing by the proof (session fixation).

Source: Spec ID-3, ID-4.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.kernel.errors import ForbiddenError, InvalidInputError, UnauthenticatedError
from charter.services import lookup, people, secrets
from charter.services.access import carry_out, missing, note, or_unknown, simple
from charter.services.approval_requests import notify
from charter.services.decisions import Answer, Question
from charter.services.identity import link_door, parse_link, use_link
from charter.services.runtime import Caller, Runtime
from charter.services.tokens import own_account
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_FIELDS: Final = (
    "id",
    "method",
    "mfa",
    "authenticated_at",
    "ip",
    "user_agent",
    "created_at",
    "last_used_at",
    "expires_at",
)


# --- who is signed in where -------------------------------------------------------------------
def _live(rt: Runtime, tx: Tx) -> sa.ColumnElement[bool]:
    c = t.sessions.c
    idle = timedelta(seconds=rt.policy.active(tx).data.credentials.human_session_idle_seconds)
    return sa.and_(c.revoked_at.is_(None), c.expires_at > tx.now, c.last_used_at > tx.now - idle)


def list_sessions(rt: Runtime, caller: Caller, person: str | None = None) -> list[dict[str, Any]]:
    """One's own live sessions or, for who may end them, somebody's; the newest first."""
    with rt.database.reading() as tx:
        person_id = caller.id  # an agent has none, whatever its sponsor has
        if person is not None:
            found = lookup.person(tx, person)
            if found["id"] != caller.id and not _ends_others(tx, caller):
                raise missing("person")
            person_id = found["id"]
        c = t.sessions.c
        rows = tx.all(
            sa.select(t.sessions)
            .where(c.person_id == person_id, _live(rt, tx))
            .order_by(c.created_at.desc(), c.id.desc())
        )
        return [
            {**{name: row[name] for name in _FIELDS}, "current": row["id"] == caller.credential_id}
            for row in rows
        ]


def _ends_others(tx: Tx, caller: Caller) -> bool:
    return reach_set(caller.subject, Permission.SESSION_END, tx.now).everything


def end(rt: Runtime, caller: Caller, session_id: str) -> None:
    """End a session: one's own without further ado, that of somebody else if policy lets it."""
    c = t.sessions.c

    def find(tx: Tx) -> Row | None:
        return tx.one(sa.select(t.sessions).where(c.id == session_id, c.revoked_at.is_(None)))

    def stop(tx: Tx, row: Row | None, decision_id: str | None) -> None:
        if row is None or not tx.update(
            t.sessions, c.id == session_id, c.revoked_at.is_(None), revoked_at=tx.now
        ):
            raise missing("session")
        note(tx, caller, "session.ended", "person", row["person_id"], decision_id=decision_id)
        if row["person_id"] != caller.id:
            notify(
                tx,
                row["person_id"],
                "session",
                f"{caller.person.handle} ended a session of yours.",
            )

    with rt.database.unit_of_work() as tx:
        row = find(tx)
        own = row is not None and row["person_id"] == caller.id
        if own:
            stop(tx, row, None)
    if not own:
        carry_out(
            rt,
            lambda _tx: simple(caller, Permission.SESSION_END, ResourceRef("session", session_id)),
            lambda tx, answer: stop(tx, find(tx), answer.id),
        )


def end_others(rt: Runtime, caller: Caller) -> int:
    """End all sessions of the caller but the one that asks; how many there were."""
    if caller.is_agent:
        raise ForbiddenError(
            "An agent has no sessions, and ends nobody's.", fix="Ask the person to do it."
        )
    c = t.sessions.c
    with rt.database.unit_of_work() as tx:
        ended = tx.update(
            t.sessions,
            c.person_id == caller.id,
            c.id != caller.credential_id,
            c.revoked_at.is_(None),
            c.expires_at > tx.now,
            revoked_at=tx.now,
        )
        note(tx, caller, "session.ended", "person", caller.id, facts={"sessions": ended})
    return ended


def end_all(rt: Runtime, caller: Caller, person: str) -> dict[str, int]:
    """End every session and personal token of somebody: their account may be in other hands."""

    def question(tx: Tx) -> Question:
        def find() -> ResourceRef:
            return ResourceRef("session", lookup.person(tx, person)["id"])

        return simple(caller, Permission.SESSION_END, or_unknown(find, "session"))

    def act(tx: Tx, answer: Answer) -> dict[str, int]:
        row = lookup.person(tx, person)
        ended = {}
        for name, table in (("sessions", t.sessions), ("tokens", t.api_tokens)):
            c = table.c
            ended[name] = tx.update(
                table,
                c.person_id == row["id"],
                c.revoked_at.is_(None),
                c.expires_at > tx.now,
                revoked_at=tx.now,
            )
        note(tx, caller, "session.ended", "person", row["id"], decision_id=answer.id, facts=ended)
        notify(
            tx,
            row["id"],
            "session",
            f"{caller.person.handle} ended all your sessions and personal tokens.",
        )
        return ended

    return carry_out(rt, question, act)


# --- another device ---------------------------------------------------------------------------
def hand_over(rt: Runtime, caller: Caller, challenge: str | None = None) -> dict[str, Any]:
    """A one-time link for oneself, to sign in on another device or at a command line.

    It hands on how and when one had proved who one is: whoever uses it is as fresh as this session.
    With a `challenge`, only the command line that sent it can use the link.
    """

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        shown = caller.person.session
        if caller.via != "session" or shown is None:
            raise ForbiddenError(
                "Only a session in a browser can be handed over.", fix="Open the portal: Account."
            )
        made = people.make_link(
            rt, tx, caller.id, made_by=caller.id, shown=shown, challenge=challenge
        )
        note(tx, caller, "session.handed-over", "person", caller.id, decision_id=answer.id)
        return made

    return carry_out(
        rt,
        lambda tx: simple(
            caller, Permission.SESSION_HAND_OVER, own_account(caller, "session", tx.now)
        ),
        act,
    )


# --- step-up ----------------------------------------------------------------------------------
def step_up_by_link(rt: Runtime, caller: Caller, text: str) -> dict[str, Any]:
    """Renew the session by a one-time link of the same person; see `renew`."""
    bearer = parse_link(text)
    with link_door(rt, bearer, caller.ip), rt.database.unit_of_work() as tx:
        proof = use_link(tx, bearer)
        if proof.person_id != caller.id:  # rolls back, so that its owner can still use it
            raise UnauthenticatedError(
                "This link is for somebody else.",
                fix="Use one of your own: charter person link HANDLE.",
                code="somebody-elses-link",
            )
        return renew(rt, tx, caller, method=proof.method, mfa=proof.mfa, authenticated_at=proof.at)


def renew(
    rt: Runtime,
    tx: Tx,
    caller: Caller,
    *,
    method: str,
    mfa: bool,
    authenticated_at: datetime | None = None,
    passkey_id: str | None = None,
) -> dict[str, Any]:
    """Write down the fresh proof, and change the session's secret and form token with it.

    Answers like `identity.open_session`.
    """
    if caller.via != "session":
        raise InvalidInputError(
            "Only a session can be renewed.", fix="For a token: charter login --step-up."
        )
    secret, secret_hash = secrets.make("ses", caller.credential_id, rt.randomness)
    csrf_token = rt.randomness(24).hex()
    c = t.sessions.c
    row = tx.one(
        sa.update(t.sessions)
        .where(
            c.id == caller.credential_id,
            c.csrf_token == caller.csrf_token,  # nobody renewed it in between
            c.revoked_at.is_(None),
            c.expires_at > tx.now,
        )
        .values(
            secret_hash=secret_hash,
            csrf_token=csrf_token,
            method=method,
            mfa=mfa,
            authenticated_at=authenticated_at or tx.now,
            passkey_id=passkey_id,
            last_used_at=tx.now,
        )
        .returning(c.id, c.expires_at)
    )
    if row is None:
        raise UnauthenticatedError(
            "This session has ended.", fix="Sign in again; `charter login` or a new link does it."
        )
    note(
        tx,
        caller,
        "session.stepped-up",
        "person",
        caller.id,
        facts={"method": method, "mfa": mfa},
    )
    return {
        "id": row["id"],
        "secret": secret,
        "csrf_token": csrf_token,
        "expires_at": row["expires_at"],
    }
