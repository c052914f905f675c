"""Workspaces: preview, create, start, stop, extend, delete; and who may see which.

What a service changes here is what a workspace *should be* (`desired`, with a new generation) and
the quota it holds. Making it so is the work of the executors, which read the effect that is left
in the same transaction (`workspace_effects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.subjects import Agent
from charter.core.agents.tiers import TIER_PROFILES, Tier
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import ConflictError, ForbiddenError, InvalidInputError
from charter.core.lifecycle.states import Desired, WorkspaceState
from charter.core.lifecycle.transition import extend as may_extend
from charter.core.policy.data import PolicyData
from charter.core.policy.judge import quota_json
from charter.core.resources.amounts import DIMENSIONS, Amount
from charter.core.resources.quotas import quota_scopes
from charter.core.resources.sizes import resolve
from charter.services import approval_requests, idempotency, lookup, paging, quotas, templates
from charter.services.access import carry_out, missing, note
from charter.services.decisions import Answer, Question, ask, grants_of, refuse_unless_allowed
from charter.services.decisions import preview as ask_preview
from charter.services.documents import admission_review, subject_facts
from charter.services.lifecycle import facts_of_workspace
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

# Above anything that a host or a policy could mean; keeps sums inside the database's integers.
_SANITY: Final = Amount(
    vcpu=4096, memory_mib=64 * 1024 * 1024, disk_mib=1024 * 1024 * 1024, gpu=1024, workspaces=1
)


@dataclass(frozen=True, slots=True)
class WorkspaceRequest:
    """What is asked for; see `api.schemas.WorkspaceIn` for the meaning of each field."""

    name: str
    template: str
    size: str = "small"
    vcpu: int | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    gpu: int | None = None
    team: str | None = None
    project: str | None = None
    network: str = "none"
    egress_allowlist: list[str] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    justification: str | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request with everything resolved that it refers to."""

    request: WorkspaceRequest
    template: Row
    amount: Amount
    team: Row
    project: Row | None
    ref: ResourceRef
    scopes: tuple[str, ...]
    tier: str | None


def _plan(rt: Runtime, tx: Tx, caller: Caller, request: WorkspaceRequest) -> _Plan:
    data = rt.policy.active(tx).data
    team, project = lookup.place(tx, caller, request.team, request.project)
    subject = caller.subject
    agent = subject if isinstance(subject, Agent) else None
    project_id = None if project is None else project["id"]
    task_id = agent.task.id if agent is not None and agent.task is not None else None
    sponsor_id = None if agent is None else agent.sponsor.id
    return _Plan(
        request=request,
        template=templates.find(tx, request.template),
        amount=_amount(data, request),
        team=team,
        project=project,
        tier=None if agent is None else agent.tier.value,
        ref=ResourceRef(
            kind="workspace",
            owner_id=caller.id,
            owner_kind="human" if agent is None else "agent",
            sponsor_id=sponsor_id,
            team_id=team["id"],
            project_id=project_id,
            task_id=task_id,
        ),
        scopes=quota_scopes(
            owner_kind="human" if agent is None else "agent",
            owner_id=caller.id,
            sponsor_id=sponsor_id,
            team_id=team["id"],
            project_id=project_id,
        ),
    )


def _amount(data: PolicyData, request: WorkspaceRequest) -> Amount:
    overrides = {
        name: value
        for name in ("vcpu", "memory_mib", "disk_mib", "gpu")
        if (value := getattr(request, name)) is not None
    }
    amount = resolve(request.size, overrides, data.sizes, _SANITY)
    if isinstance(amount, tuple):
        raise InvalidInputError(
            " ".join(v.message for v in amount),
            fix=" ".join(dict.fromkeys(v.fix for v in amount)),
            code="invalid-size",
        )
    return amount


def _spec(plan: _Plan) -> dict[str, Any]:
    network: dict[str, Any] = {"mode": plan.request.network}
    if plan.request.egress_allowlist is not None:
        network["egressAllowlist"] = list(plan.request.egress_allowlist)
    return {
        "agent": plan.tier is not None,
        "template": {
            "name": plan.template["name"],
            "version": plan.template["version"],
            "approved": plan.template["approved"],
        },
        "size": plan.request.size,
        "resources": {
            "cpu": plan.amount.vcpu,
            "memoryMib": plan.amount.memory_mib,
            "diskMib": plan.amount.disk_mib,
            "gpu": plan.amount.gpu,
        },
        "network": network,
        **({} if plan.tier is None else {"tier": plan.tier}),
    }


def _create_question(rt: Runtime, tx: Tx, caller: Caller, plan: _Plan, *, lock: bool) -> Question:
    if lock:
        quotas.ensure(rt, tx, plan.scopes)
    held = quotas.lines(tx, plan.scopes, lock=lock)
    spec = _spec(plan)
    labels = dict(plan.request.labels)
    question = Question(
        caller=caller,
        action=Permission.WORKSPACE_CREATE,
        resource=plan.ref,
        resource_facts={
            "name": plan.request.name,
            "spec": spec,
            "labels": labels,
            "data_class": "internal" if plan.project is None else plan.project["data_class"],
        },
        context=_context(rt, tx, plan.template, plan.project, plan.request.justification)
        | {"quota": quota_json(held, plan.amount)},
        quota=(held, plan.amount),
        grants=grants_of(tx, caller.id),
    )
    return replace(
        question,
        request=admission_review(
            subject_facts(tx, question),
            operation="CREATE",
            name=plan.request.name,
            labels=labels,
            spec=spec,
        ),
    )


def _context(
    rt: Runtime, tx: Tx, template: Row, project: Row | None, justification: str | None
) -> dict[str, Any]:
    del tx
    capabilities = rt.provider.capabilities()
    context: dict[str, Any] = {
        "environment": "development" if project is None else project["environment"],
        "template": {
            "name": template["name"],
            "version": template["version"],
            "approved": template["approved"],
            "for_kinds": list(template["for_kinds"]),
            "use_instead": template["use_instead"],
        },
        "provider": {
            "name": capabilities.provider,
            "isolation": capabilities.isolation,
            "capabilities": sorted(i.name for i in capabilities.items if i.enforced),
        },
    }
    if justification is not None:
        context["justification"] = justification
    return context


# --- create -----------------------------------------------------------------------------------
def preview(rt: Runtime, caller: Caller, request: WorkspaceRequest) -> dict[str, Any]:
    """What would be decided now; nothing is stored or reserved."""
    with rt.database.unit_of_work() as tx:
        plan = _plan(rt, tx, caller, request)
        quotas.ensure(rt, tx, plan.scopes)
        answer = ask_preview(rt, tx, _create_question(rt, tx, caller, plan, lock=False))
        lines = quotas.lines(tx, plan.scopes)
    return {
        "decision": answer.as_json(),
        "amounts": {
            "name": request.size,
            **{d: plan.amount.of(d) for d in DIMENSIONS if d != "workspaces"},
        },
        "quota": [
            {
                "scope": line.name,
                "dimension": d,
                "limit": line.limit.of(d),
                "used": line.used.of(d),
                "after": line.used.of(d) + plan.amount.of(d),
            }
            for line in lines
            for d in DIMENSIONS
            if plan.amount.of(d)
        ],
    }


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
        approval_id = None
        if answer.decision.effect is Effect.REQUIRE_APPROVAL:
            if not approval_requests.complete(answer, request.justification):
                idempotency.forget(tx, caller.id, key)
            else:
                approval_id = approval_requests.open_request(
                    rt,
                    tx,
                    caller,
                    answer,
                    summary=_summary(request, answer),
                    pending={"action": "workspace.create", "request": asdict(request)},
                    justification=request.justification,
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
    approval_requests.check_complete(answer, request.justification)
    if approval_id is None:
        refuse_unless_allowed(answer)
    return result


def _summary(request: WorkspaceRequest, answer: Answer) -> str:
    resources = answer.facts["document"]["resource"]["spec"]["resources"]
    return (
        f"workspace {request.name}: {resources['cpu']} vCPU, "
        f"{resources['memoryMib'] // 1024} GiB, {resources['gpu']} GPU, {request.template}"
    )


def _outcome_again(tx: Tx, caller: Caller, outcome: Mapping[str, Any]) -> dict[str, Any]:
    from charter.services import approvals  # noqa: PLC0415 — approvals executes creates

    workspace_id, approval_id = outcome["workspace_id"], outcome["approval_id"]
    return {
        "decision": outcome["decision"],
        "workspace": None if workspace_id is None else view(tx, row_of(tx, workspace_id)),
        "approval": None if approval_id is None else approvals.view(tx, caller, approval_id),
    }


def create_in(
    rt: Runtime, tx: Tx, caller: Caller, request: WorkspaceRequest
) -> tuple[Answer, str | None]:
    """Decide under locked quotas and, on a yes, write the workspace; for `create` and approvals."""
    plan = _plan(rt, tx, caller, request)
    question = _create_question(rt, tx, caller, plan, lock=True)
    answer = ask(rt, tx, question)
    if not answer.decision.allowed or question.quota is None:
        return answer, None
    _check_name_free(tx, caller, request.name)
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


def _check_name_free(tx: Tx, caller: Caller, name: str) -> None:
    c = t.workspaces.c
    if tx.one(
        sa.select(c.id).where(c.owner_id == caller.id, c.name == name, c.deleted_at.is_(None))
    ):
        raise ConflictError(
            f"You have a workspace {name} already.",
            fix="Choose another name, or delete that one first.",
            code="name-taken",
        )


# --- reading ----------------------------------------------------------------------------------
def row_of(tx: Tx, workspace_id: str, *, lock: bool = False) -> Row:
    """The row of a workspace that exists."""
    query = sa.select(t.workspaces).where(t.workspaces.c.id == workspace_id)
    row = tx.one(query.with_for_update() if lock else query)
    if row is None:
        raise missing("workspace")
    return row


def ref_of(row: Row) -> ResourceRef:
    """The workspace as access rules see it."""
    return ResourceRef(
        kind="workspace",
        id=row["id"],
        owner_id=row["owner_id"],
        owner_kind=row["owner_kind"],
        sponsor_id=row["sponsor_id"] if row["owner_kind"] == "agent" else None,
        team_id=row["team_id"],
        project_id=row["project_id"],
        task_id=row["task_id"],
    )


def find(tx: Tx, caller: Caller, ref: str, *, lock: bool = False) -> Row:
    """The workspace that an id, or the name of an own (or sponsored) live one, means."""
    c = t.workspaces.c
    mine = sa.or_(c.owner_id == caller.id, c.sponsor_id == caller.id)
    query = (
        sa.select(t.workspaces)
        .where(sa.or_(c.id == ref, sa.and_(c.name == ref, mine, c.deleted_at.is_(None))))
        .order_by((c.id == ref).desc(), (c.owner_id == caller.id).desc(), c.id.desc())
        .limit(1)
    )
    row = tx.one(query.with_for_update() if lock else query)
    if row is None:
        raise missing("workspace")
    return row


def view(tx: Tx, row: Row) -> dict[str, Any]:
    """The workspace for faces."""
    template = tx.one(
        sa.select(t.templates.c.name, t.templates.c.version).where(
            t.templates.c.id == row["template_id"]
        )
    )
    names = (
        "id",
        "name",
        "owner_kind",
        "owner_id",
        "sponsor_id",
        "team_id",
        "project_id",
        "agent_id",
        "task_id",
        "size",
        "vcpu",
        "memory_mib",
        "disk_mib",
        "gpu",
        "tier",
        "network",
        "egress_allowlist",
        "labels",
        "provider",
        "desired",
        "observed",
        "state_reason",
        "notices",
        "created_at",
        "started_at",
        "stopped_at",
        "last_activity_at",
        "last_activity_signal",
        "warned_for",
        "extended_until",
        "generation",
    )
    return {
        **{name: row[name] for name in names},
        "owner": approval_requests.requester_name(tx, row["owner_kind"], row["owner_id"]),
        "template": "" if template is None else f"{template['name']}@{template['version']}",
        "state": state_word(row),
    }


def state_word(row: Row) -> str:
    """One word for what a person sees: where it is, or where it is going."""
    desired, observed = row["desired"], row["observed"]
    if observed == WorkspaceState.FAILED:
        return "failed"
    settled = {
        Desired.RUNNING.value: WorkspaceState.RUNNING.value,
        Desired.STOPPED.value: WorkspaceState.STOPPED.value,
        Desired.DELETED.value: WorkspaceState.DELETED.value,
    }[desired]
    if observed == settled and row["observed_generation"] == row["generation"]:
        return settled
    return {"running": "starting", "stopped": "stopping", "deleted": "deleting"}[desired]


def visible_workspaces(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    """The filter that gives exactly the workspaces which the caller may see."""
    c = t.workspaces.c
    reach = reach_set(caller.subject, Permission.WORKSPACE_VIEW, tx.now)
    if reach.everything:
        return sa.true()
    own = sa.or_(c.owner_id == caller.id, c.sponsor_id == caller.id)
    return sa.or_(own, c.team_id.in_(reach.teams), c.project_id.in_(reach.projects))


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
        query = sa.select(t.workspaces).where(visible_workspaces(tx, caller))
        if not deleted:
            query = query.where(c.deleted_at.is_(None))
        if state is not None:
            query = query.where(c.observed == state)
        if owner is not None:
            query = query.where(c.owner_id == (caller.id if owner == "me" else owner))
        if q:
            query = query.where(c.name.contains(q, autoescape=True))
        return paging.newest_first(tx, query, c.id, lambda row: view(tx, row), cursor, limit)


def get(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """One workspace."""
    with rt.database.reading() as tx:
        row = find(tx, caller, ref)
        seen = tx.one(
            sa.select(t.workspaces.c.id).where(
                t.workspaces.c.id == row["id"], visible_workspaces(tx, caller)
            )
        )
        if seen is None:
            raise missing("workspace")
        return view(tx, row)


# --- start, stop, extend, delete --------------------------------------------------------------
def question_about(
    rt: Runtime,
    tx: Tx,
    caller: Caller,
    row: Row,
    action: Permission,
    *,
    justification: str | None = None,
    extra: Mapping[str, Any] | None = None,
    quota: tuple[tuple[quotas.QuotaLine, ...], Amount] | None = None,
) -> Question:
    """A question about a workspace that exists."""
    template = tx.one(sa.select(t.templates).where(t.templates.c.id == row["template_id"]))
    if template is None:  # the foreign key forbids it
        raise missing("template")
    project = None
    if row["project_id"] is not None:
        project = lookup.project(tx, row["project_id"])
    network: dict[str, Any] = {"mode": row["network"]}
    if row["egress_allowlist"] is not None:
        network["egressAllowlist"] = list(row["egress_allowlist"])
    spec = {
        "agent": row["owner_kind"] == "agent",
        "template": {
            "name": template["name"],
            "version": template["version"],
            "approved": template["approved"],
        },
        "size": row["size"],
        "resources": {
            "cpu": row["vcpu"],
            "memoryMib": row["memory_mib"],
            "diskMib": row["disk_mib"],
            "gpu": row["gpu"],
        },
        "network": network,
        **({} if row["tier"] is None else {"tier": row["tier"]}),
    }
    question = Question(
        caller=caller,
        action=action,
        resource=ref_of(row),
        resource_facts={
            "name": row["name"],
            "spec": spec,
            "labels": dict(row["labels"]),
            "data_class": "internal" if project is None else project["data_class"],
            "state": state_word(row),
        },
        context=_context(rt, tx, template, project, justification) | dict(extra or {}),
        quota=quota,
        grants=grants_of(tx, row["owner_id"]),
    )
    return replace(
        question,
        request=admission_review(
            subject_facts(tx, question),
            operation="UPDATE" if action is not Permission.WORKSPACE_DELETE else "DELETE",
            name=row["name"],
            labels=dict(row["labels"]),
            spec=spec,
        ),
    )


def _change(
    rt: Runtime, caller: Caller, ref: str, action: Permission, act: Any, **more: Any
) -> dict[str, Any]:
    decided: list[Answer] = []

    def question(tx: Tx) -> Question:
        return question_about(rt, tx, caller, find(tx, caller, ref, lock=True), action, **more)

    def do(tx: Tx, answer: Answer) -> dict[str, Any]:
        decided.append(answer)
        row = find(tx, caller, ref)
        act(tx, answer, row)
        return view(tx, row_of(tx, row["id"]))

    workspace = carry_out(rt, question, do)
    return {"decision": decided[0].as_json(), "workspace": workspace, "approval": None}


def _gone(row: Row) -> None:
    if row["desired"] == Desired.DELETED:
        raise ConflictError(
            "This workspace is being deleted or is gone.",
            fix="Create a new one; what was deleted does not come back.",
            code="workspace-deleted",
        )


def set_desired(
    tx: Tx, row: Row, desired: Desired, reason: str, *, stopped_by: str | None = None
) -> int:
    """Write what the workspace should be, under a new generation, and leave the effect."""
    generation = int(row["generation"]) + 1
    tx.update(
        t.workspaces,
        t.workspaces.c.id == row["id"],
        desired=desired.value,
        generation=generation,
        state_reason=reason,
        stopped_by=stopped_by,
        next_check_at=None,
    )
    tx.effect("converge", row["id"], generation)
    return generation


def start(
    rt: Runtime, caller: Caller, ref: str, justification: str | None = None
) -> dict[str, Any]:
    """Run it again: the quota of running things is taken again, policy is asked again."""
    with rt.database.unit_of_work() as tx:
        answer, _ = start_in(rt, tx, caller, ref, justification)
        row = find(tx, caller, ref)
        approval_id = None
        if answer.decision.effect is Effect.REQUIRE_APPROVAL and approval_requests.complete(
            answer, justification
        ):
            approval_id = approval_requests.open_request(
                rt,
                tx,
                caller,
                answer,
                summary=f"start workspace {row['name']} ({row['vcpu']} vCPU)",
                pending={"action": "workspace.start", "workspace_id": row["id"]},
                justification=justification,
            )
        result = _outcome_again(
            tx,
            caller,
            {"decision": answer.as_json(), "workspace_id": row["id"], "approval_id": approval_id},
        )
    approval_requests.check_complete(answer, justification)
    if approval_id is None:
        refuse_unless_allowed(answer)
    return result


def start_in(
    rt: Runtime, tx: Tx, caller: Caller, ref: str, justification: str | None = None
) -> tuple[Answer, str | None]:
    """Decide under locked quotas and, on a yes, decide that it runs; for `start` and approvals."""
    row = find(tx, caller, ref, lock=True)
    _gone(row)
    running = row["desired"] == Desired.RUNNING and row["observed"] != WorkspaceState.FAILED
    lines = quotas.lines(tx, _reserved_scopes(tx, row["id"]), lock=True)
    amount = Amount() if running else _missing_amount(tx, row)
    answer = ask(
        rt,
        tx,
        question_about(
            rt,
            tx,
            caller,
            row,
            Permission.WORKSPACE_START,
            justification=justification,
            quota=(lines, amount),
        ),
    )
    if not answer.decision.allowed:
        return answer, None
    if not running:
        quotas.book(tx, row["id"], lines, amount)
        set_desired(tx, row, Desired.RUNNING, "Starting.")
        tx.update(
            t.workspaces,
            t.workspaces.c.id == row["id"],
            last_activity_at=tx.now,
            last_activity_signal="started",
            extended_until=None,
            extensions=0,
        )
        note(tx, caller, "workspace.started", "workspace", row["id"], decision_id=answer.id)
    return answer, str(row["id"])


def _reserved_scopes(tx: Tx, workspace_id: str) -> list[str]:
    rows = tx.all(
        sa.select(t.reservations.c.scope).where(t.reservations.c.workspace_id == workspace_id)
    )
    return sorted(row["scope"] for row in rows)


def _missing_amount(tx: Tx, row: Row) -> Amount:
    """What a stopped workspace gave back and needs again to run."""
    held = tx.one(
        sa.select(t.reservations)
        .where(t.reservations.c.workspace_id == row["id"])
        .order_by(t.reservations.c.scope)
        .limit(1)
    )
    full = Amount(row["vcpu"], row["memory_mib"], row["disk_mib"], row["gpu"], 1)
    return full if held is None else full - Amount(**{d: held[d] for d in DIMENSIONS})


def stop(rt: Runtime, caller: Caller, ref: str, justification: str | None = None) -> dict[str, Any]:
    """Stop it; its home is kept."""

    def act(tx: Tx, answer: Answer, row: Row) -> None:
        _gone(row)
        if row["desired"] == Desired.STOPPED:
            return
        set_desired(tx, row, Desired.STOPPED, "Stopped on request.", stopped_by="person")
        note(tx, caller, "workspace.stopped", "workspace", row["id"], decision_id=answer.id)

    return _change(rt, caller, ref, Permission.WORKSPACE_STOP, act, justification=justification)


def delete(
    rt: Runtime, caller: Caller, ref: str, justification: str | None = None
) -> dict[str, Any]:
    """Delete it with its home; this cannot be undone."""

    def act(tx: Tx, answer: Answer, row: Row) -> None:
        if row["desired"] == Desired.DELETED:
            return
        set_desired(tx, row, Desired.DELETED, "Deleted on request.", stopped_by="person")
        note(tx, caller, "workspace.deleted", "workspace", row["id"], decision_id=answer.id)

    return _change(rt, caller, ref, Permission.WORKSPACE_DELETE, act, justification=justification)


def extend(
    rt: Runtime, caller: Caller, ref: str, justification: str | None = None
) -> dict[str, Any]:
    """Push the idle stop away, once per call, up to the maximum runtime."""

    def act(tx: Tx, answer: Answer, row: Row) -> None:
        _gone(row)
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
        row = find(tx, caller, ref)
        limits = rt.policy.active(tx).data.lifecycle[row["owner_kind"]]
    return _change(
        rt,
        caller,
        ref,
        Permission.WORKSPACE_EXTEND,
        act,
        justification=justification,
        extra={"extension": {"seconds": limits.extension_seconds, "used": int(row["extensions"])}},
    )


def writable(tier: str | None) -> bool:
    """Whether a workspace of this tier (None: a person's) may be written to."""
    return tier is None or TIER_PROFILES[Tier(tier)].writable
