"""Approvals as rows: show them, say who may see them, and who may vote on them now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set, voting_roles
from charter.core.access.roles import Binding, Reach, ScopeKind
from charter.core.access.subjects import Human
from charter.core.approvals.request import (
    ApprovalRequest,
    may_vote,
    outstanding,
)
from charter.core.approvals.request import state as state_of
from charter.core.kernel.decision import Violation
from charter.core.kernel.units import show_mib
from charter.services import approval_requests, lookup
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


_SHOWN = (
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


def view(tx: Tx, caller: Caller, approval_id: str) -> dict[str, Any]:
    """The approval for faces, with whether the caller may vote on it now."""
    found = views(tx, caller, [approval_id])
    if not found:
        raise missing("approval")
    return found[0]


def views(tx: Tx, caller: Caller, ids: Sequence[str]) -> list[dict[str, Any]]:
    """As `view`, of several in this order, with a handful of queries for all of them."""
    found = {row["id"]: (row, request) for row, request in approval_requests.load_all(tx, ids)}
    rows = [row for row, _ in found.values()]
    people = {v.approver_id for _, request in found.values() for v in request.votes}
    names = lookup.subject_names(tx, people | {row["requester_id"] for row in rows})
    documents = _documents(tx, rows)
    places = _places(tx, rows)
    return [_view(tx, caller, *found[id_], names, documents, places) for id_ in ids if id_ in found]


def _view(
    tx: Tx,
    caller: Caller,
    row: Row,
    request: ApprovalRequest,
    names: Mapping[str, str],
    documents: Mapping[str, Any],
    places: Mapping[str, str],
) -> dict[str, Any]:
    why_not = why_not_vote(caller, request, tx)
    return {
        **{name: row[name] for name in _SHOWN},
        "state": state_of(request, tx.now).value,
        "requester": names.get(row["requester_id"], row["requester_id"]),
        "outstanding": [
            {"rule": r.rule, "roles": sorted(r.roles), "people": people}
            for r, people in outstanding(request, tx.now)
        ],
        "votes": [
            {
                "approver_id": v.approver_id,
                "approver": names.get(v.approver_id, v.approver_id),
                "verdict": v.verdict.value,
                "comment": v.comment or None,
                "at": v.at,
            }
            for v in request.votes
        ],
        "details": _details(row, documents.get(row["decision_id"]), places),
        "can_vote": why_not is None,
        "why_not": None if why_not is None else why_not.message,
    }


def _documents(tx: Tx, rows: Sequence[Row]) -> dict[str, Any]:
    """The decision documents behind the requests, by the id of the decision."""
    c = t.decisions.c
    wanted = {row["decision_id"] for row in rows}
    found = tx.all(sa.select(c.id, c.facts).where(c.id.in_(wanted)))
    return {row["id"]: json.loads(row["facts"])["document"] for row in found}


def _places(tx: Tx, rows: Sequence[Row]) -> dict[str, str]:
    """The names of the requests' teams and projects, by their ids."""
    found: dict[str, str] = {}
    for column, table in (("team_id", t.teams), ("project_id", t.projects)):
        wanted = {row[column] for row in rows if row[column] is not None}
        named = tx.all(sa.select(table.c.id, table.c.name).where(table.c.id.in_(wanted)))
        found |= {row["id"]: row["name"] for row in named}
    return found


def _details(
    row: Row, document: Mapping[str, Any] | None, places: Mapping[str, str]
) -> dict[str, str]:
    """What is asked for, for whoever has to decide on it: out of the facts of the decision."""
    if document is None:  # the foreign key forbids it
        return {}
    resource = document["resource"]
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
    for column, label in (("team_id", "team"), ("project_id", "project")):
        if row[column] is not None:
            details[label] = places.get(row[column], row[column])
    return details


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
    query = sa.select(sa.func.count().label("n")).where(votable(tx, caller))
    row = tx.one(query.select_from(t.approvals))
    return 0 if row is None else int(row["n"])


def votable(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    """The filter that gives exactly the pending requests that the caller may vote on now.

    It says in SQL what `why_not_vote` says of one request, because an inbox asks about thousands.
    """
    subject, c = caller.subject, t.approvals.c
    if not isinstance(subject, Human) or not subject.active:
        return sa.false()
    held = [
        sa.and_(c.requirements.contains([{"roles": [binding.role]}]), place)
        for binding in subject.bindings
        if binding.live(tx.now)
        and binding.break_glass is None
        and (place := _votes_in(subject, binding)) is not None
    ]
    voted = sa.exists().where(
        t.approval_votes.c.approval_id == c.id, t.approval_votes.c.approver_id == subject.id
    )
    return sa.and_(
        c.state == "pending",
        c.deadline > tx.now,
        sa.or_(sa.false(), *held),
        c.requester_id != subject.id,
        sa.or_(c.requester_kind != "agent", c.sponsor_id != subject.id),
        sa.not_(voted),
        visible_approvals(tx, caller),
    )


def _votes_in(human: Human, binding: Binding) -> sa.ColumnElement[bool] | None:
    """Where a binding lets its holder vote; None for a role that does not."""
    reach = binding.reach_of(Permission.APPROVAL_VOTE)
    c = t.approvals.c
    match binding.scope.kind:
        case _ if reach not in (Reach.ALL, Reach.TEAM):
            return None
        case ScopeKind.TEAM:
            return c.team_id == binding.scope.id
        case ScopeKind.PROJECT:
            return c.project_id == binding.scope.id
        case _:
            return sa.true() if reach is Reach.ALL else c.team_id.in_(human.teams)
