"""Workspaces: create, start, stop, extend, delete; and who may see which.

What a service changes here is what a workspace *should be* (`desired`, with a new generation) and
the quota it holds. Making it so is the work of the executors, which read the effect that is left
in the same transaction (`workspace_effects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.subjects import Agent
from charter.core.approvals.requirements import NOTHING, Carried
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import ForbiddenError
from charter.core.lifecycle.states import Desired, WorkspaceState
from charter.core.lifecycle.transition import extend as may_extend
from charter.core.resources.amounts import Amount
from charter.services import approval_records, approval_requests, idempotency, paging, quotas
from charter.services import workspace_records as records
from charter.services.access import carry_out, missing, note
from charter.services.decisions import Answer, Question, ask, refuse_unless_allowed
from charter.services.lifecycle import facts_of_workspace
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import hold_starter
from charter.services.workspace_questions import (
    WorkspaceRequest,
    approved_digest,
    create_question,
    question_about,
    resolve_plan,
    summary,
)
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


# --- create -----------------------------------------------------------------------------------
def create(
    rt: Runtime, caller: Caller, request: WorkspaceRequest, key: str | None = None
) -> dict[str, Any]:
    """Decide and, on a yes, create: `workspace`; or `approval`, the request that it waits for.

    Raises the refusal otherwise. The same `key` gives the same outcome again.
    """
    with rt.database.unit_of_work() as tx:
        before = idempotency.recall(tx, caller.id, key, ["workspace.create", asdict(request)])
        if before is not None:
            return _outcome_again(tx, caller, before)
        answer, workspace_id = create_in(rt, tx, caller, request)
        approval_id, lacking = None, None
        if answer.decision.effect is Effect.REQUIRE_APPROVAL:
            lacking = approval_requests.incomplete(rt, tx, answer, request.carried)
            if lacking is not None:
                idempotency.forget(tx, caller.id, key)
            else:
                approval_id = approval_requests.open_request(
                    rt,
                    tx,
                    caller,
                    answer,
                    summary=summary(request, answer),
                    pending={"action": "workspace.create", "request": asdict(request)},
                    **request.carried.fields,
                )
        outcome = {
            "decision": answer.as_json(),
            "workspace_id": workspace_id,
            "approval_id": approval_id,
        }
        if workspace_id is None and approval_id is None:
            idempotency.forget(tx, caller.id, key)
        else:
            idempotency.remember(tx, caller.id, key, outcome)
            result = _outcome_again(tx, caller, outcome)
    if lacking is not None:
        raise lacking
    if approval_id is None:
        refuse_unless_allowed(answer)
    return result


def _outcome_again(tx: Tx, caller: Caller, outcome: Mapping[str, Any]) -> dict[str, Any]:
    workspace_id, approval_id = outcome["workspace_id"], outcome["approval_id"]
    return {
        "decision": outcome["decision"],
        "workspace": None
        if workspace_id is None
        else records.view(tx, records.row_of(tx, workspace_id)),
        "approval": None if approval_id is None else approval_records.view(tx, caller, approval_id),
    }


def create_in(
    rt: Runtime, tx: Tx, caller: Caller, request: WorkspaceRequest
) -> tuple[Answer, str | None]:
    """Decide under locked quotas and, on a yes, write the workspace; for `create` and approvals."""
    hold_starter(tx, caller)
    plan = resolve_plan(rt, tx, caller, request)
    question = create_question(rt, tx, caller, plan, lock=True)
    answer = ask(rt, tx, question)
    if not answer.decision.allowed or question.quota is None:
        return answer, None
    records.check_name_free(tx, caller, request.name)
    subject = caller.subject
    workspace_id = tx.new_id("workspace")
    tx.insert(
        t.workspaces,
        id=workspace_id,
        name=request.name,
        owner_kind=plan.ref.owner_kind,
        owner_id=caller.id,
        sponsor_id=caller.person.id,
        agent_id=subject.id if isinstance(subject, Agent) else None,
        task_id=plan.ref.task_id,
        team_id=plan.team["id"],
        project_id=plan.ref.project_id,
        template_id=plan.template["id"],
        size=request.size,
        vcpu=plan.amount.vcpu,
        memory_mib=plan.amount.memory_mib,
        disk_mib=plan.amount.disk_mib,
        gpu=plan.amount.gpu,
        tier=plan.tier,
        network=request.network,
        egress_allowlist=request.egress_allowlist,
        labels=dict(request.labels),
        provider=rt.provider.name,
        desired=Desired.RUNNING.value,
        observed=WorkspaceState.PENDING.value,
        generation=1,
        state_reason="Waiting for the sandbox.",
        approved_digest=approved_digest(question, answer),
        created_at=tx.now,
        last_activity_at=tx.now,
        last_activity_signal="created",
    )
    quotas.book(tx, workspace_id, question.quota[0], plan.amount)
    tx.effect("converge", workspace_id, 1)
    note(
        tx,
        caller,
        "workspace.created",
        "workspace",
        workspace_id,
        decision_id=answer.id,
        facts={**plan.amount.as_json(), "template": plan.template["id"], "tier": plan.tier},
    )
    return answer, workspace_id


# --- reading ----------------------------------------------------------------------------------


def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    state: str | None = None,
    owner: str | None = None,
    q: str | None = None,
    deleted: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Workspaces that the caller may see, newest first."""
    with rt.database.reading() as tx:
        c = t.workspaces.c
        query = sa.select(t.workspaces).where(records.visible_workspaces(tx, caller))
        if not deleted:
            query = query.where(c.deleted_at.is_(None))
        if state is not None:
            query = query.where(c.observed == state)
        if owner is not None:
            query = query.where(c.owner_id == (caller.id if owner == "me" else owner))
        if q:
            query = query.where(c.name.contains(q, autoescape=True))
        return paging.newest_first(
            tx, query, c.id, lambda row: records.view(tx, row), cursor, limit
        )


def get(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """One workspace."""
    with rt.database.reading() as tx:
        row = records.find(tx, caller, ref)
        seen = tx.one(
            sa.select(t.workspaces.c.id).where(
                t.workspaces.c.id == row["id"], records.visible_workspaces(tx, caller)
            )
        )
        if seen is None:
            raise missing("workspace")
        return records.view(tx, row)


# --- start, stop, extend, delete --------------------------------------------------------------


def _change(
    rt: Runtime, caller: Caller, ref: str, action: Permission, act: Any, **more: Any
) -> dict[str, Any]:
    decided: list[Answer] = []

    def question(tx: Tx) -> Question:
        return question_about(
            rt, tx, caller, records.find(tx, caller, ref, lock=True), action, **more
        )

    def do(tx: Tx, answer: Answer) -> dict[str, Any]:
        decided.append(answer)
        row = records.find(tx, caller, ref)
        act(tx, answer, row)
        return records.view(tx, records.row_of(tx, row["id"]))

    workspace = carry_out(rt, question, do)
    return {"decision": decided[0].as_json(), "workspace": workspace, "approval": None}


def start(rt: Runtime, caller: Caller, ref: str, carried: Carried = NOTHING) -> dict[str, Any]:
    """Run it again: the quota of running things is taken again, policy is asked again."""
    with rt.database.unit_of_work() as tx:
        answer, _ = start_in(rt, tx, caller, ref, carried)
        row = records.find(tx, caller, ref)
        approval_id = None
        lacking = approval_requests.incomplete(rt, tx, answer, carried)
        if answer.decision.effect is Effect.REQUIRE_APPROVAL and lacking is None:
            approval_id = approval_requests.open_request(
                rt,
                tx,
                caller,
                answer,
                summary=f"start workspace {row['name']} ({row['vcpu']} vCPU)",
                pending={"action": "workspace.start", "workspace_id": row["id"]},
                **carried.fields,
            )
        result = _outcome_again(
            tx,
            caller,
            {"decision": answer.as_json(), "workspace_id": row["id"], "approval_id": approval_id},
        )
    if lacking is not None:
        raise lacking
    if approval_id is None:
        refuse_unless_allowed(answer)
    return result


def start_in(
    rt: Runtime, tx: Tx, caller: Caller, ref: str, carried: Carried = NOTHING
) -> tuple[Answer, str | None]:
    """Decide under locked quotas and, on a yes, decide that it runs; for `start` and approvals."""
    hold_starter(tx, caller)
    row = records.find(tx, caller, ref, lock=True)
    records.refuse_deleted(row)
    running = row["desired"] == Desired.RUNNING and row["observed"] != WorkspaceState.FAILED
    lines = quotas.lines(tx, quotas.reserved_scopes(tx, row["id"]), lock=True)
    amount = Amount() if running else quotas.missing_amount(tx, row)
    question = question_about(
        rt,
        tx,
        caller,
        row,
        Permission.WORKSPACE_START,
        carried=carried,
        quota=(lines, amount),
    )
    answer = ask(rt, tx, question)
    if not answer.decision.allowed:
        return answer, None
    if not running:
        quotas.book(tx, row["id"], lines, amount)
        records.set_desired(tx, row, Desired.RUNNING, "Starting.")
        tx.update(
            t.workspaces,
            t.workspaces.c.id == row["id"],
            last_activity_at=tx.now,
            last_activity_signal="started",
            extended_until=None,
            extensions=0,
            approved_digest=approved_digest(question, answer),
        )
        note(tx, caller, "workspace.started", "workspace", row["id"], decision_id=answer.id)
    return answer, str(row["id"])


def stop(rt: Runtime, caller: Caller, ref: str, justification: str | None = None) -> dict[str, Any]:
    """Stop it; its home is kept."""

    def act(tx: Tx, answer: Answer, row: Row) -> None:
        records.refuse_deleted(row)
        if row["desired"] == Desired.STOPPED:
            return
        records.set_desired(tx, row, Desired.STOPPED, "Stopped on request.", stopped_by="person")
        note(tx, caller, "workspace.stopped", "workspace", row["id"], decision_id=answer.id)

    return _change(
        rt, caller, ref, Permission.WORKSPACE_STOP, act, carried=Carried(justification or "")
    )


def delete(
    rt: Runtime, caller: Caller, ref: str, justification: str | None = None
) -> dict[str, Any]:
    """Delete it with its home; this cannot be undone."""

    def act(tx: Tx, answer: Answer, row: Row) -> None:
        if row["desired"] == Desired.DELETED:
            return
        records.set_desired(tx, row, Desired.DELETED, "Deleted on request.", stopped_by="person")
        note(tx, caller, "workspace.deleted", "workspace", row["id"], decision_id=answer.id)

    return _change(
        rt, caller, ref, Permission.WORKSPACE_DELETE, act, carried=Carried(justification or "")
    )


def extend(
    rt: Runtime, caller: Caller, ref: str, justification: str | None = None
) -> dict[str, Any]:
    """Push the idle stop away, once per call, up to the maximum runtime."""

    def act(tx: Tx, answer: Answer, row: Row) -> None:
        records.refuse_deleted(row)
        facts = facts_of_workspace(rt, tx, row)
        decision = may_extend(
            facts,
            tx.now,
            seconds=facts.limits.extension_seconds,
            justification=justification or "",
        )
        if decision.extended_until is None:
            raise ForbiddenError(
                " ".join(v.message for v in decision.violations),
                fix=" ".join(v.fix for v in decision.violations),
                code="extension-refused",
            )
        tx.update(
            t.workspaces,
            t.workspaces.c.id == row["id"],
            extended_until=decision.extended_until,
            extensions=row["extensions"] + 1,
            next_check_at=tx.now,
        )
        note(
            tx,
            caller,
            "workspace.extended",
            "workspace",
            row["id"],
            decision_id=answer.id,
            facts={"free": decision.free},
            private=None if justification is None else {"justification": justification},
        )

    with rt.database.reading() as tx:
        row = records.find(tx, caller, ref)
        limits = rt.policy.active(tx).data.lifecycle[row["owner_kind"]]
    return _change(
        rt,
        caller,
        ref,
        Permission.WORKSPACE_EXTEND,
        act,
        carried=Carried(justification or ""),
        extra={"extension": {"seconds": limits.extension_seconds, "used": int(row["extensions"])}},
    )
