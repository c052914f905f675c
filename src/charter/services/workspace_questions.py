"""What is asked about a workspace: the request with all it refers to, and the question for policy.

Creating and starting again must ask in the same words, because an approval is tied to a digest of
them; so both are built here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.delegation import effective_tier
from charter.core.access.invariants import ResourceRef, invariants
from charter.core.access.permissions import Permission
from charter.core.access.subjects import Agent
from charter.core.approvals.requirements import NOTHING, Carried
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.data import PolicyData
from charter.core.policy.judge import quota_json
from charter.core.resources.amounts import Amount
from charter.core.resources.quotas import quota_scopes
from charter.core.resources.sizes import resolve
from charter.services import lookup, quotas, templates
from charter.services import workspace_records as records
from charter.services.access import missing
from charter.services.decisions import Answer, Question, grants_of
from charter.services.documents import admission_review, subject_facts
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
    ticket: str | None = None
    duration_seconds: int | None = None

    @property
    def carried(self) -> Carried:
        """What it carries for those who may have to approve it."""
        return Carried(self.justification or "", self.ticket or "", self.duration_seconds)


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with everything resolved that it refers to."""

    request: WorkspaceRequest
    template: Row
    amount: Amount
    team: Row
    project: Row | None
    ref: ResourceRef
    scopes: tuple[str, ...]
    tier: str | None


def resolve_plan(rt: Runtime, tx: Tx, caller: Caller, request: WorkspaceRequest) -> Plan:
    """The request with its template, amount, team, project and quota scopes looked up.

    Raises `InvalidInputError` or `NotFoundError` for what does not exist or makes no sense.
    """
    data = rt.policy.active(tx).data
    team, project = lookup.place(tx, caller, request.team, request.project)
    subject = caller.subject
    agent = subject if isinstance(subject, Agent) else None
    project_id = None if project is None else project["id"]
    task_id = agent.task.id if agent is not None and agent.task is not None else None
    sponsor_id = None if agent is None else agent.sponsor.id
    return Plan(
        request=request,
        template=templates.find(tx, request.template),
        amount=_amount(data, request),
        team=team,
        project=project,
        tier=None if agent is None else effective_tier(agent, tx.now).value,
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


def _spec(plan: Plan) -> dict[str, Any]:
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


def quota_scopes_to_ask(tx: Tx, caller: Caller, plan: Plan) -> tuple[str, ...]:
    """The quota lines that take part in the decision.

    For somebody who may place nothing there (the answer is no), only their own: what a team uses
    is not theirs to learn from the refusal, nor its lines theirs to lock.
    """
    if not invariants(caller.subject, Permission.WORKSPACE_CREATE, plan.ref, tx.now):
        return plan.scopes
    return tuple(s for s in plan.scopes if s.startswith(("agent:", "user:")))


def create_question(rt: Runtime, tx: Tx, caller: Caller, plan: Plan, *, lock: bool) -> Question:
    """What is asked about creating this; `lock` holds the quota lines until the commit."""
    scopes = quota_scopes_to_ask(tx, caller, plan)
    if lock:
        quotas.ensure(rt, tx, scopes)
    held = quotas.lines(tx, scopes, lock=lock)
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
        context=_context(rt, plan.template, plan.project, plan.request.carried)
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


def _context(rt: Runtime, template: Row, project: Row | None, carried: Carried) -> dict[str, Any]:
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
    if carried.justification:
        context["justification"] = carried.justification
    if carried.ticket:
        context["ticket"] = carried.ticket
    if carried.duration_seconds is not None:
        context["duration"] = carried.duration_seconds
    return context


def question_about(
    rt: Runtime,
    tx: Tx,
    caller: Caller,
    row: Row,
    action: Permission,
    *,
    carried: Carried = NOTHING,
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
        resource=records.ref_of(row),
        resource_facts={
            "name": row["name"],
            "spec": spec,
            "labels": dict(row["labels"]),
            "data_class": "internal" if project is None else project["data_class"],
            "state": records.state_word(row),
        },
        context=_context(rt, template, project, carried) | dict(extra or {}),
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


def approved_digest(question: Question, answer: Answer) -> str | None:
    """What ties a run to the grants that it stands on; None when nobody had to approve it."""
    digest = answer.resource_digest
    granted = any(grant.resource_digest == digest for grant in question.grants)
    return digest if granted else None


def summary(request: WorkspaceRequest, answer: Answer) -> str:
    """The request in a line, for approvers."""
    resources = answer.facts["document"]["resource"]["spec"]["resources"]
    return (
        f"workspace {request.name}: {resources['cpu']} vCPU, "
        f"{resources['memoryMib'] // 1024} GiB, {resources['gpu']} GPU, {request.template}"
    )
