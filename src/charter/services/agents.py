"""Agents: sponsored for a task, given short-lived credentials, ended, and killed.

The kill switch does first what stops harm: in one transaction the agent, its task, its credentials
and grants are dead, and its workspaces are decided to be stopped. Then every sandbox is killed at
once, straight through the provider and not through a queue. The queue stands behind it: should
this process die in between, the executors finish what was decided.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.agents.tasks import TaskEvent, TaskState
from charter.core.agents.tiers import Tier
from charter.core.approvals.requirements import Carried
from charter.core.audit.event import Outcome
from charter.core.kernel.canonical import rfc3339
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import CharterError, ConflictError, ForbiddenError
from charter.core.lifecycle.states import Desired
from charter.services import (
    agent_credentials,
    agent_instances,
    approval_records,
    approval_requests,
    idempotency,
    lookup,
    paging,
    quotas,
)
from charter.services import agent_records as records
from charter.services.access import carry_out, missing, note, simple
from charter.services.agent_credentials import Wanted
from charter.services.decisions import Answer, Question, ask, grants_of, refuse_unless_allowed
from charter.services.kill_switch import kill_sandboxes, write_stopped
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import hold_starter, load_agent
from charter.services.workspace_records import set_desired
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_MILLISECONDS: Final = 1000


# --- create -----------------------------------------------------------------------------------
def create(
    rt: Runtime, caller: Caller, request: dict[str, Any], key: str | None = None
) -> dict[str, Any]:
    """Sponsor an agent for a task. `request` has the fields of `api.schemas.AgentIn`.

    The credential is shown this once; a repetition with the same key makes a new one.
    """
    result: dict[str, Any] = {"agent": None, "credential": None, "approval": None}
    answer, refusal, lacking = None, None, None
    with rt.database.unit_of_work() as tx:
        before = idempotency.recall(tx, caller.id, key, ["agent.create", request])
        if before is None:
            try:
                with tx.conn.begin_nested():
                    answer, lacking = _create_first(rt, tx, caller, request, key, result)
            except ForbiddenError as error:
                refusal = error
                idempotency.forget(tx, caller.id, key)
                _note_refused(tx, caller, error)
    if before is not None:
        return {
            **result,
            "decision": before["decision"],
            "agent": get(rt, caller, before["agent_id"]),
            "credential": agent_credentials.issue_credential(
                rt, caller, before["agent_id"], request.get("thumbprint")
            ),
        }
    if answer is None:
        raise refusal or missing("agent")
    if lacking is not None:
        raise lacking
    if result["approval"] is None:
        refuse_unless_allowed(answer)
    return result


def _note_refused(tx: Tx, caller: Caller, refusal: ForbiddenError) -> None:
    """Record what no decision has refused: an instance wider than its definition or its parent."""
    note(
        tx,
        caller,
        "agent.create",
        "agent",
        "new",
        outcome=Outcome.DENIED,
        facts={"code": refusal.code},
    )


def _create_first(
    rt: Runtime,
    tx: Tx,
    caller: Caller,
    request: dict[str, Any],
    key: str | None,
    result: dict[str, Any],
) -> tuple[Answer, CharterError | None]:
    """Decide, create or ask for the approval, and fill `result`; with what the request lacks."""
    answer, agent_id = create_in(rt, tx, caller, request)
    result["decision"] = answer.as_json()
    if agent_id is not None:
        agent = load_agent(tx, agent_id)
        if agent is None:
            raise missing("agent")
        result["agent"] = records.view(tx, records.row_of(tx, agent_id))
        wanted = Wanted(bound_to=request.get("thumbprint"))
        result["credential"] = agent_credentials.hand_out(rt, tx, caller, agent, answer, wanted)
        idempotency.remember(
            tx, caller.id, key, {"decision": result["decision"], "agent_id": agent_id}
        )
        return answer, None
    idempotency.forget(tx, caller.id, key)
    carried = Carried.of(request)
    lacking = approval_requests.incomplete(rt, tx, answer, carried)
    if answer.decision.effect is Effect.REQUIRE_APPROVAL and lacking is None:
        approval_id = approval_requests.open_request(
            rt,
            tx,
            caller,
            answer,
            summary=f"agent {request['name']} in the {request['tier']} tier",
            pending={"action": "agent.create", "request": request},
            **carried.fields,
        )
        result["approval"] = approval_records.view(tx, caller, approval_id)
    return answer, lacking


def create_in(
    rt: Runtime, tx: Tx, caller: Caller, request: dict[str, Any]
) -> tuple[Answer, str | None]:
    """Decide and, on a yes, write agent and task; for `create` and approvals."""
    hold_starter(tx, caller)
    team, project = lookup.place(tx, caller, request.get("team"), request.get("project"))
    deadline = tx.now + timedelta(minutes=request["minutes"])
    bounds = agent_instances.bounds(rt, tx, caller, request, team_id=team["id"], deadline=deadline)
    context: dict[str, Any] = {
        "environment": "development" if project is None else project["environment"]
    }
    context |= {name: request[name] for name in ("justification", "ticket") if request.get(name)}
    question = Question(
        caller=caller,
        action=Permission.AGENT_CREATE,
        resource=ResourceRef(
            "agent",
            owner_id=caller.id,
            owner_kind="human",
            team_id=team["id"],
            project_id=None if project is None else project["id"],
        ),
        resource_facts={
            "name": request["name"],
            "spec": {
                "tier": request["tier"],
                "minutes": request["minutes"],
                "deadline": rfc3339(deadline),
                "repositories": list(request["repositories"]),
                **_of(bounds),
            },
            "data_class": "internal" if project is None else project["data_class"],
        },
        context=context,
        grants=grants_of(tx, caller.id),
    )
    answer = ask(rt, tx, question)
    if not answer.decision.allowed:
        return answer, None
    definition = bounds.kept(tx, caller)
    agent_id, task_id = tx.new_id("agent"), tx.new_id("task")
    tx.insert(
        t.agents,
        id=agent_id,
        name=request["name"],
        definition_id=definition.id,
        definition_version=definition.version,
        parent_id=bounds.parent_id,
        sponsor_id=caller.id,
        team_id=team["id"],
        project_id=question.resource.project_id,
        tier=Tier(request["tier"]).value,
        state="active",
        created_at=tx.now,
    )
    tx.insert(
        t.tasks,
        id=task_id,
        agent_id=agent_id,
        title=request["task"],
        repositories=list(request["repositories"]),
        state=TaskState.OPEN.value,
        created_at=tx.now,
        deadline=deadline,
    )
    quotas.ensure(rt, tx, [f"agent:{agent_id}"])
    note(
        tx,
        caller,
        "agent.created",
        "agent",
        agent_id,
        decision_id=answer.id,
        facts={
            "tier": request["tier"],
            "task": task_id,
            "deadline": rfc3339(deadline),
            "definition": definition.id,
            "definition_version": definition.version,
        },
        private={"task": request["task"]},
    )
    return answer, agent_id


def _of(bounds: agent_instances.Bounds) -> dict[str, Any]:
    """The definition and the parent as policy sees them; implied ones are none."""
    found: dict[str, Any] = {}
    if bounds.definition.id:
        found["definition"] = {
            "id": bounds.definition.id,
            "name": bounds.definition.name,
            "version": bounds.definition.version,
        }
    return found if bounds.parent_id is None else {**found, "parent": bounds.parent_id}


# --- reading ----------------------------------------------------------------------------------
def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    state: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Agents that the caller may see, newest first."""
    with rt.database.reading() as tx:
        query = sa.select(t.agents.c.id).where(records.visible_agents(tx, caller))
        if state is not None:
            query = query.where(t.agents.c.state == state)
        return paging.newest_first(
            tx,
            query,
            t.agents.c.id,
            lambda row: records.view(tx, records.row_of(tx, row["id"])),
            cursor,
            limit,
        )


def get(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """One agent."""
    with rt.database.reading() as tx:
        agent_id = records.find(tx, caller, ref)
        if (
            tx.one(
                sa.select(t.agents.c.id).where(
                    t.agents.c.id == agent_id, records.visible_agents(tx, caller)
                )
            )
            is None
        ):
            raise missing("agent")
        return records.view(tx, records.row_of(tx, agent_id))


# --- ends ---------------------------------------------------------------------------------------
def end(rt: Runtime, caller: Caller, ref: str, outcome: str) -> dict[str, Any]:
    """The task is done or has failed: credentials and grants end, its workspaces are deleted."""
    event = TaskEvent.COMPLETE if outcome == "completed" else TaskEvent.FAIL

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = records.row_of(tx, records.find(tx, caller, ref), lock=True)
        records.close(tx, row, event, f"Task {outcome}.", state="ended")
        note(
            tx,
            caller,
            "agent.ended",
            "agent",
            row["id"],
            decision_id=answer.id,
            facts={"outcome": outcome},
        )
        return records.view(tx, records.row_of(tx, row["id"]))

    def question(tx: Tx) -> Question:
        row = records.row_of(tx, records.find(tx, caller, ref))
        own = caller.is_agent and caller.id == row["id"]
        resource = records.ref_of(row)
        if own:
            resource = ResourceRef(
                "task",
                id=row["task_id"],
                owner_id=caller.id,
                owner_kind="agent",
                sponsor_id=row["sponsor_id"],
                team_id=row["team_id"],
                project_id=row["project_id"],
                task_id=row["task_id"],
            )
        return simple(caller, Permission.TASK_CLOSE, resource)

    return carry_out(rt, question, act)


# --- the kill switch --------------------------------------------------------------------------
def kill(rt: Runtime, caller: Caller, ref: str, reason: str) -> dict[str, Any]:
    """Stop one agent at once. Times are milliseconds since the order."""
    began = time.perf_counter()

    def since() -> float:
        return (time.perf_counter() - began) * _MILLISECONDS

    def act(tx: Tx, answer: Answer) -> tuple[str, list[tuple[str, int]]]:
        row = records.row_of(tx, records.find(tx, caller, ref), lock=True)
        if row["state"] == "killed":
            raise ConflictError(
                f"{row['name']} was killed already.", fix="Nothing is left to do.", code="killed"
            )
        records.close(tx, row, TaskEvent.CANCEL, reason, state="killed")
        tx.update(
            t.agents,
            t.agents.c.id == row["id"],
            state="killed",
            ended_at=sa.func.coalesce(t.agents.c.ended_at, tx.now),
            end_reason=reason,
        )
        note(
            tx,
            caller,
            "agent.killed",
            "agent",
            row["id"],
            decision_id=answer.id,
            private={"reason": reason},
        )
        live = tx.all(
            sa.select(t.workspaces)
            .where(
                t.workspaces.c.agent_id.in_([row["id"], *records.descendants(tx, row["id"])]),
                t.workspaces.c.deleted_at.is_(None),
            )
            .order_by(t.workspaces.c.id)
            .with_for_update()
        )
        targets = [
            (w["id"], set_desired(tx, w, Desired.STOPPED, "Killed.", stopped_by="kill"))
            for w in live
            if w["desired"] != Desired.DELETED
        ]
        return row["id"], targets

    agent_id, targets = carry_out(
        rt,
        lambda tx: simple(
            caller,
            Permission.AGENT_KILL,
            records.ref_of(records.row_of(tx, records.find(tx, caller, ref))),
        ),
        act,
    )
    credentials_dead_ms = since()
    reports = kill_sandboxes(rt, targets)
    processes_gone_ms = since()
    with rt.database.unit_of_work() as tx:
        for report in reports:
            if "error" not in report:
                write_stopped(tx, report)
        note(
            tx,
            caller,
            "agent.kill-finished",
            "agent",
            agent_id,
            outcome=Outcome.FAILED if any("error" in r for r in reports) else Outcome.DONE,
            facts={
                "credentials_dead_us": int(credentials_dead_ms * _MILLISECONDS),
                "processes_gone_us": int(processes_gone_ms * _MILLISECONDS),
                "workspaces": len(reports),
            },
        )
    return {
        "agent_id": agent_id,
        "credentials_dead_ms": credentials_dead_ms,
        "processes_gone_ms": processes_gone_ms,
        "workspaces_stopped_ms": since(),
        "workspaces": reports,
    }
