"""Who is asking: one-time links, and what proves who a caller is with each request.

People hold bearer secrets, kept as hashes. Agents hold signed tokens; those are the business of
`agent_identity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.sign_in_attempt import challenge_of
from charter.core.access.subjects import Human, SessionFacts
from charter.core.audit.event import ActorRef, AuditEvent, Outcome, Scalar
from charter.core.kernel.errors import CharterError, UnauthenticatedError
from charter.services import agent_identity, attempts, networks, secrets
from charter.services.access import note
from charter.services.attempts import Door, WrongCredentialError
from charter.services.proofs import Shown
from charter.services.provider_sessions import AtProvider, at_provider, session_stands
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_human
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_LONGEST_USER_AGENT: Final = 200
_TOUCH_SECONDS: Final = 60  # "last used" is kept to the minute: not every request shall write


def _refused(what: str, fix: str) -> UnauthenticatedError:
    return UnauthenticatedError(what, fix=fix)


@contextmanager
def guarded(
    rt: Runtime,
    door: Door,
    ip: str | None,
    *,
    credential_id: str | None = None,
    wrong: type[CharterError] = WrongCredentialError,
) -> Iterator[None]:
    """What every door does about strangers: wrong secrets count, known people from outside show."""
    counted = attempts.counted(rt, door, ip, credential_id=credential_id, wrong=wrong)
    with counted, networks.recorded(rt):
        yield


def check_secret(bearer: secrets.Bearer, row: Row | None, what: str, fix: str) -> None:
    """Raise unless the secret is the row's; without a row as much is done and said as with one."""
    if not bearer.matches(None if row is None else row["secret_hash"]):
        owner = None if row is None else row["person_id"]
        raise WrongCredentialError(what, fix=fix, credential_id=bearer.id, owner_id=owner)


# --- sign-in ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Proof:
    """Who somebody has proved to be, by `method`, when, and whether with a second factor."""

    person_id: str
    method: str
    at: datetime
    mfa: bool
    at_provider: AtProvider | None = None

    def as_columns(self) -> dict[str, Any]:
        """As sessions and tokens keep it."""
        there = {} if self.at_provider is None else self.at_provider.columns()
        return {"method": self.method, "authenticated_at": self.at, "mfa": self.mfa, **there}


def exchange_link(
    rt: Runtime, text: str, ip: str | None = None, user_agent: str | None = None
) -> dict[str, Any]:
    """Use a one-time link up and open a session; see `open_session`."""
    bearer = parse_link(text)
    with link_door(rt, bearer, ip), rt.database.unit_of_work() as tx:
        proof = use_link(tx, bearer)
        return open_session(
            rt,
            tx,
            proof.person_id,
            method=proof.method,
            mfa=proof.mfa,
            ip=ip,
            authenticated_at=proof.at,
            user_agent=user_agent,
            at_provider=proof.at_provider,
        )


def open_session(
    rt: Runtime,
    tx: Tx,
    person_id: str,
    *,
    method: str,
    mfa: bool,
    ip: str | None,
    authenticated_at: datetime | None = None,
    user_agent: str | None = None,
    passkey_id: str | None = None,
    at_provider: AtProvider | None = None,
) -> dict[str, Any]:
    """A new session of somebody who has just proved who they are by `method`.

    Answers `id`, `secret` (for the cookie), `csrf_token` and `expires_at`. `mfa` says whether a
    second factor was shown, `authenticated_at` when it all was, if it was not now. Nobody signs in
    from where policy does not let them in.
    """
    networks.admit_person(rt, tx, person_id, ip)
    limits = rt.policy.active(tx).data.credentials
    session_id = tx.new_id("session")
    secret, secret_hash = secrets.make("ses", session_id, rt.randomness)
    csrf_token = rt.randomness(24).hex()
    expires_at = tx.now + timedelta(seconds=limits.human_session_seconds)
    tx.insert(
        t.sessions,
        id=session_id,
        person_id=person_id,
        secret_hash=secret_hash,
        csrf_token=csrf_token,
        method=method,
        authenticated_at=authenticated_at or tx.now,
        mfa=mfa,
        ip=ip,
        user_agent=None if user_agent is None else user_agent[:_LONGEST_USER_AGENT],
        passkey_id=passkey_id,
        created_at=tx.now,
        last_used_at=tx.now,
        expires_at=expires_at,
        **({} if at_provider is None else at_provider.columns()),
    )
    _signed_in(tx, person_id, session_id, "session", {"method": method, "mfa": mfa})
    return {"id": session_id, "secret": secret, "csrf_token": csrf_token, "expires_at": expires_at}


def exchange_link_for_token(
    rt: Runtime, text: str, name: str, ip: str | None = None, *, verifier: str | None = None
) -> dict[str, Any]:
    """Use a one-time link up and make a personal token, for a command line."""
    bearer = parse_link(text)
    with link_door(rt, bearer, ip), rt.database.unit_of_work() as tx:
        proof = use_link(tx, bearer, verifier)
        networks.admit_person(rt, tx, proof.person_id, ip)
        lifetime = rt.policy.active(tx).data.credentials.human_session_seconds
        made = make_token(rt, tx, proof, name, lifetime, ip)
        _signed_in(
            tx,
            proof.person_id,
            made["id"],
            "token",
            {"method": proof.method, "mfa": proof.mfa},
        )
        return made


def make_token(
    rt: Runtime, tx: Tx, proof: Proof, name: str, lifetime_seconds: int, ip: str | None
) -> dict[str, Any]:
    """Store a new personal token, made from `ip`; its secret is in the answer and never again."""
    token_id = tx.new_id("token")
    secret, secret_hash = secrets.make("pat", token_id, rt.randomness)
    row = {
        "id": token_id,
        "name": name,
        "created_at": tx.now,
        "expires_at": tx.now + timedelta(seconds=lifetime_seconds),
        "last_used_at": None,
    }
    tx.insert(
        t.api_tokens,
        person_id=proof.person_id,
        secret_hash=secret_hash,
        ip=ip,
        **proof.as_columns(),
        **row,
    )
    return {**row, "secret": secret}


def parse_link(text: str) -> secrets.Bearer | None:
    """The secret in a one-time link, or None where it holds none."""
    bearer = secrets.parse(text.rsplit("link=", 1)[-1].strip())
    return bearer if bearer is not None and bearer.kind == "lnk" else None


def link_door(
    rt: Runtime, bearer: secrets.Bearer | None, ip: str | None
) -> AbstractContextManager[None]:
    """The door at which links are shown; see `guarded`."""
    return guarded(rt, Door.SIGN_IN, ip, credential_id=None if bearer is None else bearer.id)


def use_link(tx: Tx, bearer: secrets.Bearer | None, verifier: str | None = None) -> Proof:
    """Use a one-time link up; who has proved what by it. Raises `UnauthenticatedError`.

    A link that was made for one command line is worth nothing without its `verifier`, and one that
    was made in a session ends with it.
    """
    invalid = (
        "This sign-in link is not valid: it was used already, has expired, or is incomplete.",
        "Ask an administrator for a new one: charter person link HANDLE.",
    )
    if bearer is None:
        raise WrongCredentialError(invalid[0], fix=invalid[1])
    links = t.sign_in_links
    row = tx.one(sa.select(links).where(links.c.id == bearer.id).with_for_update())
    check_secret(bearer, row, *invalid)
    if (
        row is None
        or row["used_at"] is not None
        or row["expires_at"] <= tx.now
        or row["challenge"] not in {None, challenge_of(verifier or "")}
        or not session_stands(tx, row["session_id"])
    ):
        raise _refused(*invalid)
    person = load_human(tx, row["person_id"])
    if person is None or not person.active:
        raise _refused("This account is deactivated.", "Ask an administrator.")
    tx.update(links, links.c.id == row["id"], used_at=tx.now)
    return Proof(
        person.id,
        row["method"] or "link",
        row["authenticated_at"] or tx.now,
        bool(row["mfa"]),
        at_provider(tx, row["session_id"]),
    )


def _signed_in(
    tx: Tx, person_id: str, credential_id: str, via: str, facts: Mapping[str, Scalar] | None = None
) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=ActorRef("human", person_id, None, credential_id),
            action="session.opened",
            resource_kind="person",
            resource_id=person_id,
            outcome=Outcome.DONE,
            facts={"via": via, **(facts or {})},
        )
    )


def end_session(rt: Runtime, caller: Caller) -> None:
    """Sign out: the session, token or credential that was shown is dead."""
    table = {"session": t.sessions, "agent": t.agent_credentials}.get(caller.via, t.api_tokens)
    with rt.database.unit_of_work() as tx:
        tx.update(table, table.c.id == caller.credential_id, revoked_at=tx.now)
        note(tx, caller, "session.closed", "person", caller.person.id)


# --- authentication ---------------------------------------------------------------------------
_SIGN_IN_AGAIN: Final = "Sign in again; `charter login` or a new one-time link does it."


def authenticate_session(rt: Runtime, cookie: str, ip: str | None = None) -> Caller:
    """The caller behind a session cookie; raises `UnauthenticatedError`."""
    if not cookie:  # nothing was shown, so nothing was guessed
        raise _refused("Nobody is signed in.", _SIGN_IN_AGAIN)
    bearer = secrets.parse(cookie)
    with guarded(rt, Door.BEARER, ip):
        if bearer is None or bearer.kind != "ses":
            raise WrongCredentialError("This session is not valid.", fix=_SIGN_IN_AGAIN)
        with rt.database.unit_of_work() as tx:
            return _of_session(rt, tx, bearer, ip)


def _of_session(rt: Runtime, tx: Tx, bearer: secrets.Bearer, ip: str | None) -> Caller:
    ended = "This session has ended."
    row = tx.one(_with_passkey(t.sessions).where(t.sessions.c.id == bearer.id))
    idle = timedelta(seconds=rt.policy.active(tx).data.credentials.human_session_idle_seconds)
    check_secret(bearer, row, ended, _SIGN_IN_AGAIN)
    if (
        row is None
        or row["revoked_at"] is not None
        or row["expires_at"] <= tx.now
        or row["last_used_at"] + idle <= tx.now
    ):
        raise _refused(ended, _SIGN_IN_AGAIN)
    human = _active_human(tx, row["person_id"])
    why = networks.admit(rt, tx, human, row["id"], ip)
    _touch(tx, t.sessions, row)
    human = replace(human, session=_shown(row, ip))
    return Caller(human, "session", row["id"], row["csrf_token"], ip=ip, networks=why)


def _with_passkey(table: sa.Table) -> sa.Select[Any]:
    """Rows of sessions or tokens, with whether their owner has a passkey."""
    c = t.passkeys.c
    has = sa.exists().where(c.person_id == table.c.person_id, c.removed_at.is_(None))
    return sa.select(table, has.label("has_passkey"))


def _shown(row: Row, ip: str | None) -> SessionFacts:
    return SessionFacts(
        row["id"], row["method"], row["authenticated_at"], row["mfa"], ip, row["has_passkey"]
    )


def authenticate_bearer(
    rt: Runtime, text: str, ip: str | None = None, shown: Shown | None = None
) -> Caller:
    """The caller behind a token: a personal one or an agent's credential.

    `shown` says how it was shown, for credentials that are bound to a key.
    """
    bearer = secrets.parse(text)
    with guarded(rt, Door.BEARER, ip):
        if bearer is None:
            return agent_identity.authenticate(rt, text, ip, shown)
        if bearer.kind != "pat" or (shown is not None and shown.scheme != "bearer"):
            raise WrongCredentialError("This is not a token for the API.", fix=_SIGN_IN_AGAIN)
        with rt.database.unit_of_work() as tx:
            return _of_token(rt, tx, bearer, ip)


def _of_token(rt: Runtime, tx: Tx, bearer: secrets.Bearer, ip: str | None) -> Caller:
    row = tx.one(_with_passkey(t.api_tokens).where(t.api_tokens.c.id == bearer.id))
    check_secret(bearer, row, "This token is not valid.", _SIGN_IN_AGAIN)
    if row is None or row["revoked_at"] is not None or row["expires_at"] <= tx.now:
        raise _refused("This token has expired or was revoked.", _SIGN_IN_AGAIN)
    human = _active_human(tx, row["person_id"])
    why = networks.admit(rt, tx, human, row["id"], ip)
    _touch(tx, t.api_tokens, row)
    human = replace(human, session=_shown(row, ip))
    return Caller(human, "token", row["id"], ip=ip, networks=why)


def _active_human(tx: Tx, person_id: str) -> Human:
    human = load_human(tx, person_id)
    if human is None or not human.active:
        raise _refused("This account is deactivated.", "Ask an administrator.")
    return human


def _touch(tx: Tx, table: sa.Table, row: Any) -> None:
    last = row["last_used_at"]
    if last is None or (tx.now - last).total_seconds() >= _TOUCH_SECONDS:
        tx.update(table, table.c.id == row["id"], last_used_at=tx.now)
