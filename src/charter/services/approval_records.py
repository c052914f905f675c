"""Approvals as rows: show them, say who may see them, and who may vote on them now."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set, voting_roles
from charter.core.access.subjects import Human
from charter.core.approvals.request import (
    ApprovalRequest,
    may_vote,
    outstanding,
)
from charter.core.approvals.request import state as state_of
from charter.core.kernel.decision import Violation
from charter.core.kernel.units import show_mib
from charter.services import approval_requests
from charter.services.access import missing
from charter.services.runtime import Caller
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


def visible_approvals(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    """The filter that gives exactly the approvals which the caller may see."""
    c = t.approvals.c
    reach = reach_set(caller.subject, Permission.APPROVAL_VIEW, tx.now)
    if reach.everything:
        return sa.true()
    return sa.or_(
        c.requester_id == caller.id, c.sponsor_id == caller.id, c.team_id.in_(reach.teams)
    )


def why_not_vote(caller: Caller, request: ApprovalRequest, tx: Tx) -> Violation | None:
    """Why the caller may not vote on the request now; None when they may."""
    subject = caller.subject
    if not isinstance(subject, Human):
        return may_vote(request, caller.id, "agent", frozenset(), tx.now)
    roles = voting_roles(subject, place_of(request), tx.now)
    return may_vote(request, caller.id, "human", roles, tx.now)


def place_of(request: ApprovalRequest) -> ResourceRef:
    """Where the thing would be: the roles that count are those held there."""
    return ResourceRef(
        request.resource_kind, team_id=request.team_id, project_id=request.project_id
    )


def _details(tx: Tx, row: Row) -> dict[str, str]:
    """What is asked for, for whoever has to decide on it: out of the facts of the decision."""
    decision = tx.one(sa.select(t.decisions.c.facts).where(t.decisions.c.id == row["decision_id"]))
    if decision is None:  # the foreign key forbids it
        return {}
    resource = json.loads(decision["facts"])["document"]["resource"]
    spec = resource["spec"]
    details: dict[str, str] = {"name": str(resource.get("name", ""))}
    if "resources" in spec:
        wanted = spec["resources"]
        details |= {
            "template": f"{spec['template']['name']}@{spec['template']['version']}",
            "CPU": f"{wanted['cpu']} vCPU",
            "memory": show_mib(wanted["memoryMib"]),
            "disk": show_mib(wanted["diskMib"]),
            "GPU": str(wanted["gpu"]),
            "network": spec["network"]["mode"],
        }
    asked = row["pending"].get("request", {})
    for key, label in (("task", "task"), ("tier", "tier"), ("minutes", "minutes")):
        if row["action"] == Permission.AGENT_CREATE and key in asked:
            details[label] = str(asked[key])
    if row["action"] == Permission.AGENT_CREATE:
        details["repositories"] = ", ".join(asked.get("repositories", [])) or "none"
    for column, table, label in (
        ("team_id", t.teams, "team"),
        ("project_id", t.projects, "project"),
    ):
        if row[column] is not None:
            named = tx.one(sa.select(table.c.name).where(table.c.id == row[column]))
            details[label] = row[column] if named is None else named["name"]
    return details


def view(tx: Tx, caller: Caller, approval_id: str) -> dict[str, Any]:
    """The approval for faces, with whether the caller may vote on it now."""
    found = approval_requests.load(tx, approval_id)
    if found is None:
        raise missing("approval")
    row, request = found
    handles = {
        r["id"]: r["handle"]
        for r in tx.all(
            sa.select(t.people.c.id, t.people.c.handle).where(
                t.people.c.id.in_([v.approver_id for v in request.votes])
            )
        )
    }
    why_not = why_not_vote(caller, request, tx)
    names = (
        "id",
        "action",
        "summary",
        "requester_kind",
        "requester_id",
        "team_id",
        "requirements",
        "justification",
        "created_at",
        "deadline",
        "closed_at",
        "outcome",
        "result_id",
        "decision_id",
    )
    return {
        **{name: row[name] for name in names},
        "state": state_of(request, tx.now).value,
        "requester": approval_requests.requester_name(
            tx, row["requester_kind"], row["requester_id"]
        ),
        "outstanding": [
            {"rule": r.rule, "roles": sorted(r.roles), "people": people}
            for r, people in outstanding(request, tx.now)
        ],
        "votes": [
            {
                "approver_id": v.approver_id,
                "approver": handles.get(v.approver_id, v.approver_id),
                "verdict": v.verdict.value,
                "comment": v.comment or None,
                "at": v.at,
            }
            for v in request.votes
        ],
        "details": _details(tx, row),
        "can_vote": why_not is None,
        "why_not": None if why_not is None else why_not.message,
    }


def check_visible(tx: Tx, caller: Caller, approval_id: str) -> None:
    """Raise the 404 of an approval that does not exist or is not the caller's to see."""
    if (
        tx.one(
            sa.select(t.approvals.c.id).where(
                t.approvals.c.id == approval_id, visible_approvals(tx, caller)
            )
        )
        is None
    ):
        raise missing("approval")


def count_for(tx: Tx, caller: Caller) -> int:
    """How many requests wait for the caller's vote."""
    return len(votable(tx, caller))


def votable(tx: Tx, caller: Caller) -> list[str]:
    """The ids of the pending requests that the caller may vote on now."""
    rows = tx.all(
        sa.select(t.approvals.c.id).where(
            visible_approvals(tx, caller),
            t.approvals.c.state == "pending",
            t.approvals.c.deadline > tx.now,
        )
    )
    found = (approval_requests.load(tx, row["id"]) for row in rows)
    return [one[0]["id"] for one in found if one and why_not_vote(caller, one[1], tx) is None]
