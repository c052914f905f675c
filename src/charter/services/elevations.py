"""More room for an agent in one task: ask, have it until the task ends, or lose it before.

The agent asks with its own credential, or its sponsor asks for it; a team lead says yes. What was
given is read with the agent at every request (`subjects.load_agent`), so it widens the very next
one and ends without anybody's doing: with the task, at its expiry, or when it is taken back.

Source: Spec AP-4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.delegation import base_tier, elevations_of
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.roles import ROLE_PERMISSIONS, RoleName, permissions_of, scope_chain
from charter.core.access.subjects import Agent
from charter.core.agents.elevation import Wanted, beyond, never_given, pointless
from charter.core.agents.tasks import TaskScope, task_open
from charter.core.agents.tiers import Tier
from charter.core.approvals.grants import Grant
from charter.core.audit.event import Outcome
from charter.core.kernel.canonical import rfc3339
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import CharterError, ConflictError, ForbiddenError
from charter.services import agent_records as records
from charter.services import approval_records, approval_requests
from charter.services.access import carry_out, check_visible, missing, note
from charter.services.agent_credentials import check_definition
from charter.services.decisions import Answer, Question, ask, grants_of, refuse_unless_allowed
from charter.services.lifecycle import recheck_agent
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import hold_starter, load_agent
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_NOUN: Final = "elevation"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request with the agent that it is about."""

    agent: Agent
    task: TaskScope
    row: Row
    wanted: Wanted
    question: Question


def request(
    rt: Runtime,
    caller: Caller,
    ref: str,
    *,
    tier: str | None,
    permissions: Sequence[str],
    repositories: Sequence[str],
    reason: str | None,
) -> dict[str, Any]:
    """Ask for more room for an agent's task: `approval`, or `elevation` where none is needed."""
    refusal: CharterError | None = None
    with rt.database.unit_of_work() as tx:
        hold_starter(tx, caller)
        pending = {
            "agent_id": records.find(tx, caller, ref),
            "tier": tier,
            "permissions": sorted(permissions),
            "repositories": sorted(repositories),
        }
        asked = _asked(tx, caller, pending, reason)
        answer = ask(rt, tx, asked.question)
        made = None
        approval_id = None
        if answer.decision.effect is not Effect.DENY:
            refusal = _refusal(tx, asked)
        if refusal is not None:
            _note_refusal(tx, caller, asked, answer, refusal)
        elif answer.decision.allowed:
            made = _insert(tx, caller, asked, grant=None)
        elif answer.decision.effect is Effect.REQUIRE_APPROVAL and approval_requests.complete(
            answer, reason
        ):
            approval_id = approval_requests.open_request(
                rt,
                tx,
                caller,
                answer,
                summary=_summary(asked),
                pending={"action": "agent.elevate", "request": pending},
                justification=reason,
            )
        result = {
            "decision": answer.as_json(),
            "elevation": None if made is None else records.elevation_view(_row(tx, made), tx.now),
            "approval": None
            if approval_id is None
            else approval_records.view(tx, caller, approval_id),
        }
    if refusal is not None:
        raise refusal
    approval_requests.check_complete(answer, reason)
    if approval_id is None:
        refuse_unless_allowed(answer)
    return result


def _asked(tx: Tx, caller: Caller, pending: Mapping[str, Any], reason: str | None) -> _Asked:
    row = records.row_of(tx, pending["agent_id"])
    agent = load_agent(tx, row["id"])
    if agent is None or agent.task is None:
        raise missing("agent")
    context: dict[str, Any] = {
        "task": {
            "id": agent.task.id,
            "state": agent.task.state.value,
            "deadline": rfc3339(agent.task.deadline),
            "repositories": sorted(agent.task.repositories),
        }
    }
    if reason is not None:
        context["justification"] = reason
    wanted = Wanted(
        tier=None if pending["tier"] is None else Tier(pending["tier"]),
        permissions=frozenset(map(Permission, pending["permissions"])),
        repositories=frozenset(pending["repositories"]),
    )
    question = Question(
        caller=caller,
        action=Permission.AGENT_ELEVATE,
        resource=replace(records.ref_of(row), task_id=row["task_id"]),
        resource_facts={
            "name": row["name"],
            "spec": {
                "tier": pending["tier"],
                "permissions": pending["permissions"],
                "repositories": pending["repositories"],
                "deadline": rfc3339(agent.task.deadline),
            },
        },
        context=context,
        grants=grants_of(tx, caller.id),
    )
    return _Asked(agent, agent.task, row, wanted, question)


def _refusal(tx: Tx, asked: _Asked) -> CharterError | None:
    """What Python itself says, whoever asks and whatever policy lets be asked for."""
    agent = asked.agent
    if not agent.active or not task_open(asked.task, tx.now):
        return ConflictError(
            "The agent's task has ended, so it gets no more room.",
            fix="Sponsor an agent for a new task.",
            code="task-ended",
        )
    if (unfit := _unfit(tx, asked)) is not None:
        return unfit
    chain = scope_chain(asked.row["team_id"], asked.row["project_id"])
    never, not_lent = never_given(
        asked.wanted,
        ROLE_PERMISSIONS[RoleName.AGENT],
        permissions_of(agent.sponsor.bindings, chain, tx.now),
    )
    if never:
        return ForbiddenError(
            f"No agent is ever given {' or '.join(never)}.",
            fix="Let a person do this part of the work.",
            code="never-for-agents",
        )
    if not_lent:
        return ForbiddenError(
            f"{agent.sponsor.handle} does not hold {' or '.join(not_lent)} here, "
            "and an agent never exceeds its sponsor.",
            fix="Let a sponsor who holds it take the task.",
            code="exceeds-sponsor",
        )
    if pointless(asked.wanted, base_tier(agent), asked.task, elevations_of(agent, tx.now)):
        return ConflictError(
            "The agent has all of this already.",
            fix="Ask for a wider tier, another permission or another repository.",
            code="nothing-wider",
        )
    return None


def _unfit(tx: Tx, asked: _Asked) -> CharterError | None:
    """Why what the agent is a run of does not let it have that; None where it does."""
    try:
        check_definition(tx, asked.agent)
    except ConflictError as retired:
        return retired
    outside = _outside_definition(tx, asked)
    if not outside:
        return None
    return ForbiddenError(
        f"What this agent is a run of does not allow {' or '.join(outside)}.",
        fix="Ask whoever answers for the definition to widen it, and run it anew.",
        code="exceeds-definition",
    )


def _outside_definition(tx: Tx, asked: _Asked) -> tuple[str, ...]:
    """What the definition does not allow; an implied one allows what policy does."""
    d, v = t.agent_definitions.c, t.agent_definition_versions.c
    row = tx.one(
        sa.select(d.implied, v.tier, v.repositories)
        .join(t.agents, t.agents.c.definition_id == d.id)
        .join(t.agent_definition_versions, sa.and_(v.definition_id == d.id, v.version == d.version))
        .where(t.agents.c.id == asked.row["id"])
    )
    if row is None:  # the foreign key forbids it
        raise missing("agent")
    return () if row["implied"] else beyond(asked.wanted, Tier(row["tier"]), row["repositories"])


def _note_refusal(
    tx: Tx, caller: Caller, asked: _Asked, answer: Answer, refusal: CharterError
) -> None:
    note(
        tx,
        caller,
        "agent.elevate",
        "agent",
        asked.row["id"],
        outcome=Outcome.DENIED,
        decision_id=answer.id,
        facts={"code": refusal.code},
    )


def _summary(asked: _Asked) -> str:
    wanted = asked.wanted
    parts = [
        *([f"the {wanted.tier} tier"] if wanted.tier is not None else []),
        *sorted(wanted.permissions),
        *sorted(wanted.repositories),
    ]
    return f"agent {asked.row['name']}: {', '.join(parts)} for its task"


def create_in(
    rt: Runtime, tx: Tx, requester: Caller, pending: Mapping[str, Any], grant: Grant
) -> tuple[str, str | None]:
    """After the yes: decided anew and given; what came of it, and the agent's id when it was."""
    a = t.approvals.c
    approval = tx.one(sa.select(a.justification).where(a.id == grant.request_id))
    # The end of the agent and what is given to it wait for each other.
    tx.all(sa.select(t.agents.c.id).where(t.agents.c.id == pending["agent_id"]).with_for_update())
    asked = _asked(tx, requester, pending, None if approval is None else approval["justification"])
    refusal = _refusal(tx, asked)
    if refusal is not None:
        return f"It could not be given: {refusal.message}", None
    answer = ask(rt, tx, asked.question)
    if not answer.decision.allowed:
        return f"It could not be given: {answer.decision.explain()}", None
    _insert(tx, requester, asked, grant=grant)
    return "The agent has it for its task from its next request on.", str(asked.row["id"])


def _insert(tx: Tx, caller: Caller, asked: _Asked, *, grant: Grant | None) -> str:
    made = tx.new_id(_NOUN)
    ends = asked.task.deadline
    tx.insert(
        t.elevations,
        id=made,
        agent_id=asked.row["id"],
        task_id=asked.task.id,
        tier=None if asked.wanted.tier is None else asked.wanted.tier.value,
        permissions=sorted(asked.wanted.permissions),
        repositories=sorted(asked.wanted.repositories),
        requested_by=caller.id,
        approval_id=None if grant is None else grant.request_id,
        created_at=tx.now,
        expires_at=ends if grant is None else min(ends, grant.expires_at),
    )
    note(
        tx,
        caller,
        "agent.elevated",
        "agent",
        asked.row["id"],
        facts={
            "elevation": made,
            "tier": None if asked.wanted.tier is None else asked.wanted.tier.value,
            "permissions": len(asked.wanted.permissions),
            "repositories": len(asked.wanted.repositories),
        },
    )
    return made


def _row(tx: Tx, elevation_id: str, *, lock: bool = False) -> Row:
    query = sa.select(t.elevations).where(t.elevations.c.id == elevation_id)
    row = tx.one(query.with_for_update() if lock else query)
    if row is None:
        raise missing(_NOUN)
    return row


def revoke(rt: Runtime, caller: Caller, ref: str, elevation_id: str) -> dict[str, Any]:
    """Take it back at once; what the agent runs beyond its own tier is stopped."""

    def agent_row(tx: Tx) -> Row:
        row = records.row_of(tx, records.find(tx, caller, ref))
        check_visible(tx, caller, records.ref_of(row))
        if _row(tx, elevation_id)["agent_id"] != row["id"]:
            raise missing(_NOUN)
        return row

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = agent_row(tx)
        c = t.elevations.c
        if tx.update(t.elevations, c.id == elevation_id, c.revoked_at.is_(None), revoked_at=tx.now):
            note(
                tx,
                caller,
                "agent.lowered",
                "agent",
                row["id"],
                decision_id=answer.id,
                facts={"elevation": elevation_id},
            )
            recheck_agent(tx, row["id"])
        return records.view(tx, records.row_of(tx, row["id"]))

    def question(tx: Tx) -> Question:
        ref_: ResourceRef = records.ref_of(agent_row(tx))
        return Question(caller, Permission.AGENT_LOWER, ref_, {}, {})

    return carry_out(rt, question, act)
