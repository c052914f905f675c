"""The decision document: what policy sees of a request (docs/reference/policy-input.md).

Everything that a rule may read is gathered here, before the engine is asked, so that a decision is
a function of this document and the bundle alone. Absent facts are absent: a rule can tell "none
given" from "an empty list".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from charter.core.access.break_glass import emergency_of
from charter.core.access.delegation import (
    effective_permissions,
    effective_tier,
)
from charter.core.access.reach import task_repositories
from charter.core.access.roles import permissions_of, roles_of
from charter.core.access.subjects import Agent, System
from charter.core.access.systems import SYSTEM_PERMISSIONS
from charter.core.kernel.canonical import rfc3339
from charter.store.unit_of_work import Tx

if TYPE_CHECKING:
    from charter.services.decisions import Question


def subject_facts(tx: Tx, question: Question) -> dict[str, Any]:
    """The subject as policy sees it, with the roles and permissions that hold for the resource."""
    subject, chain = question.caller.subject, question.resource.chain
    from_where: dict[str, Any] = {} if question.caller.ip is None else {"ip": question.caller.ip}
    if question.caller.networks is not None:
        from_where["networks"] = question.caller.networks
    if isinstance(subject, System):
        return {
            "kind": "system",
            "id": subject.id,
            "name": subject.name,
            "roles": [],
            "teams": [],
            "permissions": sorted(SYSTEM_PERMISSIONS),
            "via": question.caller.via,
            **from_where,
        }
    if isinstance(subject, Agent):
        return {
            "kind": "agent",
            "id": subject.id,
            "roles": ["agent"],
            "teams": [] if subject.team_id is None else [subject.team_id],
            "permissions": sorted(effective_permissions(subject, chain, tx.now)),
            "tier": effective_tier(subject, tx.now).value,
            "sponsor": subject.sponsor.id if subject.sponsor.active else None,
            "sponsor_roles": sorted(roles_of(subject.sponsor.bindings, chain, tx.now)),
            "task": None if subject.task is None else subject.task.id,
            **from_where,
        }
    emergency = emergency_of(subject, tx.now)
    return {
        "kind": "human",
        "id": subject.id,
        "handle": subject.handle,
        "roles": sorted(roles_of(subject.bindings, chain, tx.now)),
        "teams": sorted(subject.teams),
        "permissions": sorted(permissions_of(subject.bindings, chain, tx.now)),
        "via": question.caller.via,
        "mfa": subject.session is not None and subject.session.mfa,
        "has_passkey": subject.session is not None and subject.session.has_passkey,
        **({} if emergency is None else {"break_glass": emergency}),
        **from_where,
    }


def decision_document(tx: Tx, question: Question) -> dict[str, Any]:
    """The whole document of one question."""
    ref = question.resource
    resource: dict[str, Any] = {
        "kind": ref.kind,
        "id": ref.id,
        "owner": ref.owner_id,
        "team": ref.team_id,
        "project": ref.project_id,
        "spec": {},
        "labels": {},
        **question.resource_facts,
    }
    document: dict[str, Any] = {
        "subject": subject_facts(tx, question),
        "action": {"name": question.action.value},
        "resource": resource,
        "context": {
            "now": rfc3339(tx.now),
            **_credential_facts(question, tx.now),
            **question.context,
        },
    }
    if question.request is not None:
        document["request"] = dict(question.request)
    return document


def _credential_facts(question: Question, now: datetime) -> dict[str, Any]:
    """What is known of the agent's task, or of how and when a person signed in."""
    subject = question.caller.subject
    if isinstance(subject, System):
        return {}
    if not isinstance(subject, Agent):
        session = subject.session
        if session is None:
            return {}
        return {
            "session": {
                "method": session.method,
                "authenticated_at": rfc3339(session.authenticated_at),
            }
        }
    if subject.task is None:
        return {}
    return {
        "task": {
            "id": subject.task.id,
            "state": subject.task.state.value,
            "deadline": rfc3339(subject.task.deadline),
            "repositories": sorted(task_repositories(subject, now)),
        }
    }


def admission_review(
    question_subject: Mapping[str, Any],
    *,
    operation: str,
    name: str,
    labels: Mapping[str, str],
    spec: Mapping[str, Any],
) -> dict[str, Any]:
    """The same request in the shape of a Kubernetes admission review (Spec PC-1)."""
    return {
        "kind": {"group": "charter", "version": "v1", "kind": "Workspace"},
        "operation": operation,
        "userInfo": {
            "username": question_subject["id"],
            "groups": list(question_subject["roles"]),
        },
        "object": {
            "apiVersion": "charter/v1",
            "kind": "Workspace",
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": dict(spec),
        },
    }
