"""Who is asking: one-time links, sessions, personal tokens, agents' credentials.

People hold bearer secrets (kept as hashes); agents hold a signed token that lives for minutes, is
bound to this instance as its audience and to one task, and counts only while its row in the
database does. So a revoked credential is dead at the next request, whatever its signature says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.roles import ORGANISATION, ScopeKind
from charter.core.access.subjects import Agent, Human, SessionFacts
from charter.core.agents.tasks import task_open
from charter.core.audit.event import ActorRef, AuditEvent, Outcome, Scalar
from charter.core.kernel.errors import InvalidInputError, UnauthenticatedError
from charter.services import secrets
from charter.services.access import carry_out, missing, note, simple
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_agent, load_human
from charter.store import tables as t
from charter.store.unit_of_work import Tx

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

ALGORITHM: Final = "Ed25519"
_TOUCH_SECONDS: Final = 60  # "last used" is kept to the minute: not every request shall write


def _refused(what: str, fix: str) -> UnauthenticatedError:
    return UnauthenticatedError(what, fix=fix)


# --- sign-in ----------------------------------------------------------------------------------
def exchange_link(rt: Runtime, text: str, ip: str | None = None) -> dict[str, Any]:
    """Use a one-time link up and open a session; see `open_session`."""
    with rt.database.unit_of_work() as tx:
        return open_session(rt, tx, _use_link(tx, text), method="link", mfa=False, ip=ip)


def open_session(
    rt: Runtime, tx: Tx, person_id: str, *, method: str, mfa: bool, ip: str | None
) -> dict[str, Any]:
    """A new session of somebody who has just proved who they are by `method`.

    Answers `id`, `secret` (for the cookie), `csrf_token` and `expires_at`. `mfa` says whether a
    second factor was shown.
    """
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
        authenticated_at=tx.now,
        mfa=mfa,
        ip=ip,
        created_at=tx.now,
        last_used_at=tx.now,
        expires_at=expires_at,
    )
    _signed_in(tx, person_id, session_id, "session", {"method": method, "mfa": mfa})
    return {
        "id": session_id,
        "secret": secret,
        "csrf_token": csrf_token,
        "expires_at": expires_at,
    }


def exchange_link_for_token(rt: Runtime, text: str, name: str) -> dict[str, Any]:
    """Use a one-time link up and make a personal token, for a command line."""
    with rt.database.unit_of_work() as tx:
        person_id = _use_link(tx, text)
        lifetime = rt.policy.active(tx).data.credentials.human_session_seconds
        made = _make_token(rt, tx, person_id, name, lifetime)
        _signed_in(tx, person_id, made["id"], "token")
        return made


def _use_link(tx: Tx, text: str) -> str:
    bearer = secrets.parse(text.rsplit("link=", 1)[-1].strip())
    row = None
    if bearer is not None and bearer.kind == "lnk":
        row = tx.one(
            sa.select(t.sign_in_links).where(t.sign_in_links.c.id == bearer.id).with_for_update()
        )
    if (
        bearer is None
        or row is None
        or not bearer.matches(row["secret_hash"])
        or row["used_at"] is not None
        or row["expires_at"] <= tx.now
    ):
        raise _refused(
            "This sign-in link is not valid: it was used already, has expired, or is incomplete.",
            "Ask an administrator for a new one: charter person link HANDLE.",
        )
    person = load_human(tx, row["person_id"])
    if person is None or not person.active:
        raise _refused("This account is deactivated.", "Ask an administrator.")
    tx.update(t.sign_in_links, t.sign_in_links.c.id == row["id"], used_at=tx.now)
    return person.id


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
    bearer = secrets.parse(cookie)
    if bearer is None or bearer.kind != "ses":
        raise _refused("This session is not valid.", _SIGN_IN_AGAIN)
    with rt.database.unit_of_work() as tx:
        row = tx.one(sa.select(t.sessions).where(t.sessions.c.id == bearer.id))
        idle = timedelta(seconds=rt.policy.active(tx).data.credentials.human_session_idle_seconds)
        if (
            row is None
            or not bearer.matches(row["secret_hash"])
            or row["revoked_at"] is not None
            or row["expires_at"] <= tx.now
            or row["last_used_at"] + idle <= tx.now
        ):
            raise _refused("This session has ended.", _SIGN_IN_AGAIN)
        human = _active_human(tx, row["person_id"])
        _touch(tx, t.sessions, row)
        facts = SessionFacts(row["id"], row["method"], row["authenticated_at"], row["mfa"], ip)
        return Caller(replace(human, session=facts), "session", row["id"], row["csrf_token"], ip=ip)


def authenticate_bearer(rt: Runtime, text: str, ip: str | None = None) -> Caller:
    """The caller behind a bearer token: a personal one or an agent's credential."""
    bearer = secrets.parse(text)
    if bearer is None:
        return _authenticate_agent(rt, text, ip)
    if bearer.kind != "pat":
        raise _refused("This is not a token for the API.", _SIGN_IN_AGAIN)
    with rt.database.unit_of_work() as tx:
        row = tx.one(sa.select(t.api_tokens).where(t.api_tokens.c.id == bearer.id))
        if row is None or not bearer.matches(row["secret_hash"]):
            raise _refused("This token is not valid.", _SIGN_IN_AGAIN)
        if row["revoked_at"] is not None or row["expires_at"] <= tx.now:
            raise _refused("This token has expired or was revoked.", _SIGN_IN_AGAIN)
        human = _active_human(tx, row["person_id"])
        _touch(tx, t.api_tokens, row)
        return Caller(human, "token", row["id"], ip=ip)


def _active_human(tx: Tx, person_id: str) -> Human:
    human = load_human(tx, person_id)
    if human is None or not human.active:
        raise _refused("This account is deactivated.", "Ask an administrator.")
    return human


def _touch(tx: Tx, table: sa.Table, row: Any) -> None:
    last = row["last_used_at"]
    if last is None or (tx.now - last).total_seconds() >= _TOUCH_SECONDS:
        tx.update(table, table.c.id == row["id"], last_used_at=tx.now)


# --- agents' credentials ----------------------------------------------------------------------
def audience(rt: Runtime) -> str:
    """Whom a credential is for: this instance."""
    return f"{rt.settings.url}/api"


def sign_credential(rt: Runtime, tx: Tx, agent: Agent) -> dict[str, Any]:
    """A new credential for the agent; the caller has decided that it may have one.

    It never outlives the task.
    """
    if agent.task is None:
        raise InvalidInputError("The agent has no task.", fix="Sponsor it for one.")
    lifetime = rt.policy.active(tx).data.credentials.agent_credential_seconds
    expires_at = min(tx.now + timedelta(seconds=lifetime), agent.task.deadline)
    credential_id = tx.new_id("credential")
    claims: dict[str, object] = {
        "iss": rt.settings.url,
        "aud": audience(rt),
        "sub": agent.id,
        "jti": credential_id,
        "iat": int(tx.now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "task": agent.task.id,
        "tier": agent.tier.value,
        "act": {"sub": agent.sponsor.id},
    }
    from joserfc import jwt  # noqa: PLC0415 — see _key

    token = jwt.encode(
        {"alg": ALGORITHM, "typ": "charter-agent+jwt"}, claims, _key(rt), algorithms=[ALGORITHM]
    )
    tx.insert(
        t.agent_credentials,
        id=credential_id,
        agent_id=agent.id,
        audience=audience(rt),
        issued_at=tx.now,
        expires_at=expires_at,
    )
    return {
        "token": token,
        "token_type": "Bearer",
        "expires_at": expires_at,
        "credential_id": credential_id,
        "audience": audience(rt),
    }


def _key(rt: Runtime) -> OKPKey:
    from joserfc.jwk import OKPKey  # noqa: PLC0415 — loading JOSE takes time; most starts need none

    return OKPKey.import_key(rt.keys.credentials)


def _authenticate_agent(rt: Runtime, text: str, ip: str | None) -> Caller:
    invalid = _refused(
        "This token is not valid here.",
        "An agent renews its credential before it expires; a person signs in with charter login.",
    )
    from joserfc import jwt  # noqa: PLC0415 — see _key
    from joserfc.errors import JoseError  # noqa: PLC0415

    try:
        token = jwt.decode(text, _key(rt), algorithms=[ALGORITHM])
        claims = token.claims
        jwt.JWTClaimsRegistry(
            now=int(rt.now().timestamp()),
            leeway=0,
            aud={"essential": True, "value": audience(rt)},
            exp={"essential": True},
            jti={"essential": True},
            sub={"essential": True},
        ).validate(claims)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise invalid from error
    if token.header.get("typ") != "charter-agent+jwt":
        raise invalid
    with rt.database.reading() as tx:
        row = tx.one(
            sa.select(t.agent_credentials).where(t.agent_credentials.c.id == str(claims["jti"]))
        )
        if row is None or row["agent_id"] != claims["sub"]:
            raise invalid
        if row["revoked_at"] is not None or row["expires_at"] <= tx.now:
            raise _refused(
                "This agent's credential was revoked or has expired.",
                "Its sponsor can issue a new one while the task is open: "
                "charter agent credential NAME.",
            )
        agent = load_agent(tx, row["agent_id"], row["id"])
        if agent is None or agent.task is None or agent.task.id != claims.get("task"):
            raise invalid
        if not agent.active or not agent.sponsor.active or not task_open(agent.task, tx.now):
            raise _refused(
                "This agent has been ended, or its sponsor is deactivated.",
                "An active person sponsors a new agent for the work: charter agent create.",
            )
        return Caller(agent, "agent", row["id"], ip=ip)


# --- personal tokens --------------------------------------------------------------------------
_TOKEN = ("id", "name", "created_at", "expires_at", "last_used_at")
_DAY_SECONDS: Final = 86_400


def _make_token(
    rt: Runtime, tx: Tx, person_id: str, name: str, lifetime_seconds: int
) -> dict[str, Any]:
    token_id = tx.new_id("token")
    secret, secret_hash = secrets.make("pat", token_id, rt.randomness)
    row = {
        "id": token_id,
        "name": name,
        "created_at": tx.now,
        "expires_at": tx.now + timedelta(seconds=lifetime_seconds),
        "last_used_at": None,
    }
    tx.insert(t.api_tokens, person_id=person_id, secret_hash=secret_hash, **row)
    return {**row, "secret": secret}


def _own_tokens(caller: Caller, now: datetime) -> ResourceRef:
    """The caller's tokens, placed where they hold a role.

    A token belongs to no team, so a role that is held in one team only has to be enough.
    """
    scopes = [b.scope for b in caller.person.bindings if b.live(now)]
    place = scopes[0] if scopes and ORGANISATION not in scopes else ORGANISATION
    return ResourceRef(
        "token",
        owner_id=caller.id,
        owner_kind="human",
        team_id=place.id if place.kind is ScopeKind.TEAM else None,
        project_id=place.id if place.kind is ScopeKind.PROJECT else None,
    )


def list_tokens(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """The caller's own live tokens; secrets are never shown again."""
    with rt.database.reading() as tx:
        rows = tx.all(
            sa.select(t.api_tokens)
            .where(
                t.api_tokens.c.person_id == caller.id,
                t.api_tokens.c.revoked_at.is_(None),
                t.api_tokens.c.expires_at > tx.now,
            )
            .order_by(t.api_tokens.c.id.desc())
        )
        return [{n: row[n] for n in _TOKEN} for row in rows]


def create_token(rt: Runtime, caller: Caller, name: str, days: int) -> dict[str, Any]:
    """A personal token with its secret, shown this once."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        longest = rt.policy.active(tx).data.credentials.api_token_max_seconds
        if days * _DAY_SECONDS > longest:
            raise InvalidInputError(
                f"A token may live for {longest // _DAY_SECONDS} days at most.",
                fix="Ask for fewer days and renew it.",
                code="token-too-long",
            )
        made = _make_token(rt, tx, caller.id, name, days * _DAY_SECONDS)
        note(tx, caller, "token.created", "token", made["id"], decision_id=answer.id)
        return made

    return carry_out(
        rt, lambda tx: simple(caller, Permission.TOKEN_MANAGE, _own_tokens(caller, tx.now)), act
    )


def revoke_token(rt: Runtime, caller: Caller, token_id: str) -> None:
    """End one of the caller's own tokens."""

    def act(tx: Tx, answer: Answer) -> None:
        c = t.api_tokens.c
        if not tx.update(
            t.api_tokens,
            c.id == token_id,
            c.person_id == caller.id,
            c.revoked_at.is_(None),
            revoked_at=tx.now,
        ):
            raise missing("token")
        note(tx, caller, "token.revoked", "token", token_id, decision_id=answer.id)

    carry_out(
        rt, lambda tx: simple(caller, Permission.TOKEN_MANAGE, _own_tokens(caller, tx.now)), act
    )
