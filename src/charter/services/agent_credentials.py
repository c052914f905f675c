"""Agents' credentials: issued, renewed, exchanged (RFC 8693), and ended.

However a credential comes about, it goes through `_issue`: the agent's row is locked first, so
that of two requests at the same moment one happens after the other, and whatever ended the agent
meanwhile is seen. A new credential ends the others of the instance after a short overlap. Renewing
twice with the same one, after the overlap, gives a copy away: then all of them end, and the sponsor
and the security admins are told (`core/agents/credentials.py`).

Source: Spec ID-6, ID-7.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.delegation import effective_permissions
from charter.core.access.permissions import Permission
from charter.core.access.roles import RoleName, scope_chain
from charter.core.access.subjects import Agent
from charter.core.agents.credentials import Renewal, credential_end, renewal
from charter.core.agents.tasks import TaskState, task_state
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    UnauthenticatedError,
)
from charter.services import agent_identity, keys, proofs
from charter.services import agent_records as records
from charter.services.access import carry_out, check_visible, missing, note, simple
from charter.services.agent_definition_records import retired
from charter.services.agent_identity import (
    SUPERSEDED,
    audience,
    check_live,
    lifetimes,
    lock_agent,
    needs_proof,
    recognise,
    session_ends_at,
)
from charter.services.approval_requests import notify
from charter.services.decisions import Answer, Question
from charter.services.proofs import Shown
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_agent
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

WATCH: Final = ActorRef("system", "credentials")
INVALID_SCOPE: Final = "invalid-scope"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a new credential is to be: bound to which key, narrowed to what, renewed from which.

    `asked` says that the scope was asked for now, so that all of it has to be possible; one that is
    only handed on may hold what the sponsor has lost meanwhile.
    """

    bound_to: str | None = None
    scope: frozenset[str] | None = None
    asked: bool = False
    renews: str | None = None


# --- issuing ------------------------------------------------------------------------------------
def issue_credential(
    rt: Runtime, caller: Caller, ref: str, bound_to: str | None = None
) -> dict[str, Any]:
    """A fresh credential: for the sponsor to hand over, or for the agent to carry on with.

    `bound_to` is the thumbprint of the agent's key. An agent's own renewals stay bound to the key
    that it proved, and to the scope that it has.
    """

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        agent_id = records.find(tx, caller, ref)
        if caller.is_agent and caller.id == agent_id:
            return renew(rt, tx, caller, answer, Wanted(bound_to=caller.key))
        agent = of_sponsor(tx, caller, agent_id)
        return hand_out(rt, tx, caller, agent, answer, Wanted(bound_to=bound_to))

    return carry_out(rt, lambda tx: question(tx, caller, records.find(tx, caller, ref)), act)


def question(tx: Tx, caller: Caller, agent_id: str) -> Question:
    """May the caller see this agent? Whose credential it is, is asked afterwards."""
    row = records.row_of(tx, agent_id)
    # In the very words of an agent that does not exist: the token endpoint answers strangers.
    check_visible(tx, caller, records.ref_of(row))
    subject = caller.subject
    if isinstance(subject, Agent):
        # What a credential was narrowed to says what it is used for, not whether it is renewed.
        caller = replace(caller, subject=replace(subject, scope=None))
    return simple(
        caller, Permission.AGENT_VIEW, records.ref_of(row), {"spec": {"credential": True}}
    )


def of_sponsor(tx: Tx, caller: Caller, agent_id: str) -> Agent:
    """The agent, locked; raises unless the caller is its sponsor."""
    lock_agent(tx, agent_id)
    agent = load_agent(tx, agent_id)
    if agent is None:
        raise missing("agent")
    if caller.id != agent.sponsor.id:
        raise ForbiddenError(
            "Only the sponsor of an agent, or the agent itself, takes its credential.",
            fix="Ask the sponsor, or sponsor an agent of your own.",
            code="not-the-sponsor",
        )
    return agent


def hand_out(
    rt: Runtime, tx: Tx, caller: Caller, agent: Agent, answer: Answer, wanted: Wanted
) -> dict[str, Any]:
    """Sign a credential and put it on record: what is done with it later is told by its id.

    Whoever calls has locked the agent, or has just made it.
    """
    if agent.task is None or not agent.active or _ended(agent, tx):
        raise ConflictError(
            "The agent's task has ended, so it gets no more credentials.",
            fix="Sponsor an agent for a new task.",
            code="task-ended",
        )
    check_live(rt, tx, agent)
    check_definition(tx, agent)
    made = _sign(rt, tx, agent, wanted)
    facts: dict[str, Any] = {"credential": made["credential_id"], "bound": made["bound"]}
    if wanted.renews is not None:
        facts["renews"] = wanted.renews
    note(
        tx,
        caller,
        "agent.credential-issued",
        "agent",
        agent.id,
        decision_id=answer.id,
        facts=facts,
    )
    return made


def _ended(agent: Agent, tx: Tx) -> bool:
    return agent.task is None or task_state(agent.task, tx.now) is not TaskState.OPEN


def check_definition(tx: Tx, agent: Agent) -> None:
    """Raise when what the agent is a run of is retired: it goes on as it is, and gets no more."""
    a, d = t.agents.c, t.agent_definitions.c
    row = tx.one(
        sa.select(d.name, retired(tx.now).label("retired_at"))
        .join(t.agents, a.definition_id == d.id)
        .where(a.id == agent.id)
    )
    if row is not None and row["retired_at"] is not None:
        raise ConflictError(
            f"The definition {row['name']} is retired, so its instances get nothing more.",
            fix="Sponsor an agent of another definition: charter agent definitions shows them.",
            code="definition-retired",
        )


def _sign(rt: Runtime, tx: Tx, agent: Agent, wanted: Wanted) -> dict[str, Any]:
    if agent.task is None:
        raise missing("agent")
    limits = lifetimes(rt, tx)
    expires_at = credential_end(
        tx.now,
        limits,
        deadline=agent.task.deadline,
        session_ends_at=session_ends_at(rt, tx, agent.id),
    )
    allowed = _allowed(tx, agent, wanted)
    credential_id = tx.new_id("credential")
    signed = agent_identity.sign(
        rt,
        tx,
        agent,
        credential_id=credential_id,
        expires_at=expires_at,
        bound_to=wanted.bound_to,
        scope=allowed,
    )
    _end_others(tx, agent.id, limits.overlap_seconds)
    tx.insert(
        t.agent_credentials,
        id=credential_id,
        agent_id=agent.id,
        audience=audience(rt),
        key_id=signed.key_id,
        thumbprint=wanted.bound_to,
        scope=None if wanted.scope is None else sorted(wanted.scope),
        issued_at=tx.now,
        expires_at=expires_at,
    )
    return {
        "token": signed.token,
        "token_type": "Bearer" if wanted.bound_to is None else "DPoP",
        "expires_at": expires_at,
        "credential_id": credential_id,
        "audience": audience(rt),
        "bound": wanted.bound_to is not None,
        "exchange_only": wanted.bound_to is None and needs_proof(rt, tx, agent),
        "scope": allowed,
    }


def _allowed(tx: Tx, agent: Agent, wanted: Wanted) -> list[str]:
    """What the credential gives at this moment: never more than the agent may, or was asked for."""
    row = records.row_of(tx, agent.id)
    chain = scope_chain(row["team_id"], row["project_id"])
    effective = {p.value for p in effective_permissions(agent, chain, tx.now)}
    if wanted.scope is None:
        return sorted(effective)
    outside = sorted(wanted.scope - effective)
    if outside and wanted.asked:
        raise InvalidInputError(
            f"The agent may not do {', '.join(outside)}, so no credential can be issued for that.",
            fix="Ask for less, or leave the scope out to get all that the agent may do now.",
            code=INVALID_SCOPE,
        )
    return sorted(wanted.scope & effective)


def _end_others(tx: Tx, agent_id: str, overlap_seconds: int) -> None:
    """Whatever else the instance holds ends after the overlap."""
    c = t.agent_credentials.c
    soon = tx.now + timedelta(seconds=overlap_seconds)
    tx.update(
        t.agent_credentials,
        c.agent_id == agent_id,
        c.revoked_at.is_(None),
        c.expires_at > soon,
        expires_at=soon,
    )


# --- renewing -----------------------------------------------------------------------------------
def renew(rt: Runtime, tx: Tx, caller: Caller, answer: Answer, wanted: Wanted) -> dict[str, Any]:
    """The next credential, for the one that the agent shows; the agent is locked here.

    `wanted.bound_to` is the key that the agent has proved, and `wanted.scope` what it asks for;
    neither can be wider than what is renewed.
    """
    lock_agent(tx, caller.id)
    c = t.agent_credentials.c
    row = tx.one(sa.select(t.agent_credentials).where(c.id == caller.credential_id))
    agent = load_agent(tx, caller.id)
    if row is None or agent is None or row["agent_id"] != caller.id:
        raise missing("agent")
    stage = _stage(rt, tx, row)
    if stage in (Renewal.DEAD, Renewal.REUSED):
        raise _dead(reused=stage is Renewal.REUSED)
    _check_key(rt, tx, row, agent, wanted.bound_to)
    if stage is Renewal.AGAIN and row["successor_id"] is not None:
        tx.update(
            t.agent_credentials,
            c.id == row["successor_id"],
            c.revoked_at.is_(None),
            revoked_at=tx.now,
            superseded_at=sa.func.coalesce(c.superseded_at, tx.now),
        )
    held = row["scope"]
    if held is not None:
        agent = replace(agent, scope=frozenset(map(Permission, held)))
    next_one = replace(
        wanted,
        scope=wanted.scope if wanted.asked or held is None else frozenset(held),
        renews=row["id"],
    )
    made = hand_out(rt, tx, caller, agent, answer, next_one)
    tx.update(
        t.agent_credentials,
        c.id == row["id"],
        superseded_at=sa.func.coalesce(c.superseded_at, tx.now),
        successor_id=made["credential_id"],
    )
    return made


def _check_key(rt: Runtime, tx: Tx, row: Row, agent: Agent, key: str | None) -> None:
    """A bound credential is renewed with a proof of its key, a tier that needs one gets one."""
    bound = row["thumbprint"]
    if key is None and (bound is not None or needs_proof(rt, tx, agent)):
        raise proofs.refused(
            "The agent has to prove its key to get this credential.", proofs.REQUIRED
        )
    if bound is not None and key != bound:
        raise proofs.refused("The proof is of another key than the one of this credential.")


def check_usable(rt: Runtime, tx: Tx, row: Row, agent: Agent, key: str | None) -> None:
    """Raise unless this credential is alive, and `key`, if it is bound to one, was proved."""
    if row["revoked_at"] is not None or row["expires_at"] <= tx.now:
        raise _dead(reused=False)
    _check_key(rt, tx, row, agent, key)


def within(wanted: Wanted, scope: frozenset[str]) -> Wanted:
    """The same, but no wider than `scope`; raises where more was asked for."""
    if wanted.scope is None:
        return replace(wanted, scope=scope)
    if not wanted.scope <= scope:
        raise InvalidInputError(
            "More was asked for than the credential that was shown was issued for.",
            fix="Ask for less.",
            code=INVALID_SCOPE,
        )
    return wanted


def _stage(rt: Runtime, tx: Tx, row: Row) -> Renewal:
    return renewal(
        now=tx.now,
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        superseded_at=row["superseded_at"],
        overlap_seconds=lifetimes(rt, tx).overlap_seconds,
    )


def _dead(*, reused: bool) -> UnauthenticatedError:
    return UnauthenticatedError(
        "This agent's credential was renewed already, was revoked, or has expired.",
        fix="Its sponsor can issue a new one while the task is open: "
        "charter agent credential NAME.",
        code=SUPERSEDED if reused else None,
    )


# --- copies -------------------------------------------------------------------------------------
def report_reuse(rt: Runtime, text: str, key: str | None) -> None:
    """Somebody renews with a credential that was renewed before: end all of the instance's.

    Of a credential that is bound to a key, only whoever proves the key (`key` is its thumbprint)
    is taken for a danger; the token alone shows that it was seen, and is worth nothing.
    """
    with rt.database.unit_of_work() as tx:
        found = recognise(rt, tx, text, lock=True)
        row, agent = found.row, found.agent
        bound = row["thumbprint"]
        if _stage(rt, tx, row) is not Renewal.REUSED or (bound is not None and bound != key):
            return
        c = t.agent_credentials.c
        ended = tx.update(
            t.agent_credentials,
            c.agent_id == agent.id,
            c.revoked_at.is_(None),
            c.expires_at > tx.now,
            revoked_at=tx.now,
        )
        if ended:
            _alert(tx, agent, row["id"], ended)


def report_shown(rt: Runtime, text: str, shown: Shown) -> None:
    """As `report_reuse`, of a credential that came in a header, perhaps with a proof."""
    key = None
    if shown.scheme == "dpop":
        with rt.database.unit_of_work() as tx:
            key = proofs.verified(rt, tx, shown, token=text)
    report_reuse(rt, text, key)


def _alert(tx: Tx, agent: Agent, credential_id: str, ended: int) -> None:
    name = records.row_of(tx, agent.id)["name"]
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=WATCH,
            action="agent.credential-reused",
            resource_kind="agent",
            resource_id=agent.id,
            outcome=Outcome.DONE,
            facts={"credential": credential_id, "ended": ended},
        )
    )
    for person in {agent.sponsor.id, *keys.holders(tx, (RoleName.SECURITY_ADMIN,))}:
        notify(
            tx,
            person,
            "credential-reused",
            f"A credential of the agent {name} was used again after it had been renewed: "
            "somebody may hold a copy. All of its credentials were ended. If the agent is sound, "
            f"its sponsor issues a new one (charter agent credential {name}); if not: "
            f"charter agent kill {name}.",
            resource=("agent", agent.id),
            dedupe_key=f"reused:{credential_id}:{tx.now.timestamp():.0f}",
        )
