"""Agents' credentials as tokens: signed, and recognised when they are shown.

A credential is a JWT that lives for minutes, names this Charter as its audience, and in the terms
of RFC 8693 says who acts for whom: the subject is the sponsor, `act` is the agent, and inside it,
where an agent works for another agent, that one. `cnf.jkt` binds it to the agent's key (RFC 9449).

The signature alone never suffices. What counts is the credential's row, looked up at each request,
and who the agent, its task and its sponsor are at that moment; permissions are never read from the
token. So a revoked credential is dead at the next request, whatever its signature says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.delegation import effective_tier
from charter.core.access.permissions import Permission
from charter.core.access.subjects import Agent
from charter.core.agents.credentials import Lifetimes, session_end
from charter.core.agents.tasks import task_open
from charter.core.kernel.errors import UnauthenticatedError
from charter.services import keys, networks, proofs
from charter.services.attempts import WrongCredentialError
from charter.services.proofs import Shown
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_agent
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

ALGORITHM: Final = "Ed25519"
TYPE: Final = "charter-agent+jwt"
SUPERSEDED: Final = "credential-superseded"
_LARGEST: Final = 8192


def audience(rt: Runtime) -> str:
    """Whom a credential is for: this instance of Charter."""
    return f"{rt.settings.url}/api"


def lifetimes(rt: Runtime, tx: Tx) -> Lifetimes:
    """The spans that the policy in force sets."""
    data = rt.policy.active(tx).data
    return Lifetimes(
        credential_seconds=data.credentials.agent_credential_seconds,
        session_seconds=data.credentials.agent_session_seconds,
        overlap_seconds=data.agents.renewal_overlap_seconds,
    )


def needs_proof(rt: Runtime, tx: Tx, agent: Agent) -> bool:
    """Whether policy asks that the agent prove its key with every request."""
    return effective_tier(agent, tx.now) in rt.policy.active(tx).data.agents.proof_tiers


def session_ends_at(rt: Runtime, tx: Tx, agent_id: str) -> datetime:
    """When the session of this instance ends: counted from its start, by today's policy."""
    a, v = t.agents.c, t.agent_definition_versions.c
    row = tx.one(
        sa.select(a.created_at, v.max_session_seconds)
        .join(
            t.agent_definition_versions,
            sa.and_(v.definition_id == a.definition_id, v.version == a.definition_version),
        )
        .where(a.id == agent_id)
    )
    if row is None:  # the foreign keys forbid it
        raise _invalid()
    return session_end(row["created_at"], lifetimes(rt, tx), row["max_session_seconds"])


# --- signing ------------------------------------------------------------------------------------
def acting(agent: Agent) -> dict[str, object]:
    """The `act` claim: the agent, and inside it the one that it works for."""
    if agent.parent is None:
        return {"sub": agent.id}
    return {"sub": agent.id, "act": acting(agent.parent)}


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed token, and the id of the key that signed it."""

    token: str
    key_id: str


def sign(
    rt: Runtime,
    tx: Tx,
    agent: Agent,
    *,
    credential_id: str,
    expires_at: datetime,
    bound_to: str | None,
    scope: Sequence[str],
) -> Signed:
    """The token of the credential with this id."""
    key = keys.signing_key(rt, tx)
    claims: dict[str, object] = {
        "iss": rt.settings.url,
        "aud": audience(rt),
        "sub": agent.sponsor.id,
        "client_id": agent.id,
        "act": acting(agent),
        "jti": credential_id,
        "iat": int(tx.now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "scope": " ".join(scope),
        "task": None if agent.task is None else agent.task.id,
        "tier": effective_tier(agent, tx.now).value,
    }
    if bound_to is not None:
        claims["cnf"] = {"jkt": bound_to}
    from joserfc import jwt  # noqa: PLC0415 — loading JOSE takes time; most starts need none
    from joserfc.jwk import OKPKey  # noqa: PLC0415

    header = {"alg": ALGORITHM, "typ": TYPE, "kid": key.id}
    private = OKPKey.import_key(key.private)
    return Signed(jwt.encode(header, claims, private, algorithms=[ALGORITHM]), key.id)


# --- recognising --------------------------------------------------------------------------------
def _invalid() -> WrongCredentialError:
    return WrongCredentialError(
        "This token is not valid here.",
        fix="An agent renews its credential before it expires; a person signs in with "
        "charter login.",
    )


def _claims(rt: Runtime, tx: Tx, text: str) -> Mapping[str, Any]:
    """The claims of a token that this instance signed for itself, whatever its age."""
    if not 0 < len(text) <= _LARGEST or not text.isascii():
        raise _invalid()
    from joserfc import jws, jwt  # noqa: PLC0415 — see above
    from joserfc.errors import JoseError  # noqa: PLC0415
    from joserfc.jwk import OKPKey  # noqa: PLC0415

    try:
        header = jws.extract_compact(text.encode()).headers()
        if header.get("alg") != ALGORITHM or header.get("typ") != TYPE:
            raise _invalid()
        public = keys.verifying_key(tx, header.get("kid"))
        if public is None:
            raise _invalid()
        key = OKPKey.import_key(keys.jwk_of(public))
        claims = jwt.decode(text, key, algorithms=[ALGORITHM]).claims
        jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": rt.settings.url},
            aud={"essential": True, "value": audience(rt)},
            jti={"essential": True},
            act={"essential": True},
        ).validate(_ageless(claims))
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _invalid() from error
    return claims


def _ageless(claims: Mapping[str, Any]) -> dict[str, Any]:
    """The claims without their times: the row knows them better."""
    return {name: value for name, value in claims.items() if name not in {"exp", "iat", "nbf"}}


@dataclass(frozen=True, slots=True)
class Recognised:
    """A credential of ours that somebody shows: its row, and the agent it belongs to."""

    row: Row
    agent: Agent


def recognise(rt: Runtime, tx: Tx, text: str, *, lock: bool = False) -> Recognised:
    """The credential behind `text`, dead or alive; raises when it is none of ours.

    With `lock`, nothing else happens to the agent until the transaction ends.
    """
    claims = _claims(rt, tx, text)
    c = t.agent_credentials.c
    query = sa.select(t.agent_credentials).where(c.id == str(claims["jti"]))
    row = tx.one(query)
    act = claims["act"]
    if row is None or not isinstance(act, Mapping) or row["agent_id"] != act.get("sub"):
        raise _invalid()
    if lock:
        lock_agent(tx, row["agent_id"])
        row = tx.one(query)
    agent = None if row is None else load_agent(tx, row["agent_id"], row["id"])
    if row is None or agent is None or agent.task is None or agent.task.id != claims.get("task"):
        raise _invalid()
    scope = row["scope"]
    if scope is not None:
        agent = replace(agent, scope=frozenset(map(Permission, scope)))
    return Recognised(row, agent)


def lock_agent(tx: Tx, agent_id: str) -> None:
    """Let one transaction at a time decide what becomes of an agent's credentials."""
    tx.one(sa.select(t.agents.c.id).where(t.agents.c.id == agent_id).with_for_update())


def check_live(rt: Runtime, tx: Tx, agent: Agent) -> None:
    """Raise unless the agent, everybody it works for, its task and its session are alive."""
    worker: Agent | None = agent
    while worker is not None:
        if (
            not worker.active
            or not worker.sponsor.active
            or worker.task is None
            or not task_open(worker.task, tx.now)
        ):
            raise UnauthenticatedError(
                "This agent has been ended, or its sponsor is deactivated.",
                fix="An active person sponsors a new agent for the work: charter agent create.",
            )
        worker = worker.parent
    if session_ends_at(rt, tx, agent.id) <= tx.now:
        raise UnauthenticatedError(
            "The session of this agent is over: one run lasts no longer.",
            fix="An active person sponsors a new agent for the work: charter agent create.",
            code="session-over",
        )


def check_shown(rt: Runtime, tx: Tx, row: Row, agent: Agent, shown: Shown | None) -> None:
    """Raise unless the credential was shown in the way that it has to be.

    A bound one counts with a proof only, one that is not bound as a bearer only, and for a tier
    that has to prove its key it only serves to be exchanged.
    """
    with_proof = shown is not None and shown.scheme == "dpop"
    if row["thumbprint"] is not None and not with_proof:
        raise proofs.refused(
            "This credential is bound to a key and is worth nothing by itself.", proofs.REQUIRED
        )
    if row["thumbprint"] is None and with_proof:
        raise proofs.refused("This credential is bound to no key; send it as a bearer token.")
    if row["thumbprint"] is None and needs_proof(rt, tx, agent):
        raise UnauthenticatedError(
            f"An agent in the {effective_tier(agent, tx.now)} tier proves its key with every "
            "request; this credential only serves to be exchanged for one bound to the key.",
            fix="Exchange it at /oauth/token with a DPoP proof; the charter command line does so "
            "by itself.",
            code=proofs.REQUIRED,
        )


def authenticate(rt: Runtime, text: str, ip: str | None, shown: Shown | None) -> Caller:
    """The agent behind a credential that came with a request; raises `UnauthenticatedError`."""
    with rt.database.reading() as tx:
        found = recognise(rt, tx, text)
        row, agent = found.row, found.agent
        if row["revoked_at"] is not None or row["expires_at"] <= tx.now:
            raise UnauthenticatedError(
                "This agent's credential was revoked or has expired.",
                fix="Its sponsor can issue a new one while the task is open: "
                "charter agent credential NAME.",
                code="unauthenticated" if row["superseded_at"] is None else SUPERSEDED,
            )
        check_live(rt, tx, agent)
        check_shown(rt, tx, row, agent, shown)
        why = networks.admit(rt, tx, agent, row["id"], ip)
    key = None
    if shown is not None and shown.scheme == "dpop":
        # In a transaction of its own: the proof is used up, whatever becomes of the request.
        with rt.database.unit_of_work() as tx:
            key = proofs.verified(rt, tx, shown, token=text)
        if key != row["thumbprint"]:
            raise proofs.refused("The proof is of another key than the one of this credential.")
    return Caller(agent, "agent", row["id"], ip=ip, key=key, networks=why)
