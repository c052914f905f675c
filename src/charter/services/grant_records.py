"""Grants as rows: show them, say who may see them, how they stand, and what may be done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import permissions_of, scope_chain
from charter.core.access.subjects import Agent, Human
from charter.core.agents.tasks import task_open
from charter.core.approvals.grants import Grant, GrantState, state_of
from charter.core.kernel.errors import (
    CharterError,
    ConflictError,
)
from charter.services import lookup
from charter.services.access import missing
from charter.services.decisions import Question
from charter.services.runtime import Caller
from charter.services.subjects import load_agent, load_human
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

RENEW: Final = "grant.renew"
# What can be had again by the grant alone. Other kinds of access are more than their grant, and are
# asked for anew where they come from.
_RENEWABLE: Final = frozenset({"workspace.create", "workspace.start", RENEW})


def grant_rows() -> sa.Select[Any]:
    """Grants with what is needed of the requests behind them."""
    c, a = t.grants.c, t.approvals.c
    return sa.select(
        t.grants,
        a.summary,
        a.requester_kind,
        a.sponsor_id,
        a.team_id,
        a.project_id,
        a.justification,
        a.ticket,
        a.decision_id,
        a.pending,
    ).join(t.approvals, a.id == c.approval_id)


def _given_by(caller: Caller) -> sa.ColumnElement[bool]:
    """Whether the caller voted on the request behind the grant."""
    v = t.approval_votes.c
    return sa.exists().where(v.approval_id == t.grants.c.approval_id, v.approver_id == caller.id)


def visible_grants(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    """The filter that gives exactly the grants which the caller may see."""
    a = t.approvals.c
    reach = reach_set(caller.subject, Permission.GRANT_VIEW, tx.now)
    if reach.everything:
        return sa.true()
    return sa.or_(
        t.grants.c.subject_id == caller.id,
        a.sponsor_id == caller.id,
        a.team_id.in_(reach.teams),
        a.project_id.in_(reach.projects),
        _given_by(caller),
    )


def visible_row(tx: Tx, caller: Caller, grant_id: str) -> Row:
    """The grant; raises the 404 of one that is not the caller's to see."""
    row = tx.one(grant_rows().where(t.grants.c.id == grant_id, visible_grants(tx, caller)))
    if row is None:
        raise missing("grant")
    return row


def view(tx: Tx, caller: Caller, row: Row) -> dict[str, Any]:
    """The grant for faces."""
    return views(tx, caller, [row])[0]


def views(tx: Tx, caller: Caller, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """As `view`, of several."""
    votes = _votes(tx, [row["approval_id"] for row in rows])
    renewals = _renewals(tx, [row["id"] for row in rows])
    ids = {row["subject_id"] for row in rows} | {row["sponsor_id"] for row in rows}
    ids |= {row["revoked_by"] for row in rows if row["revoked_by"] is not None}
    ids |= {vote["approver_id"] for each in votes.values() for vote in each}
    names = lookup.subject_names(tx, ids)
    teams = tx.all(
        sa.select(t.teams.c.id, t.teams.c.name).where(
            t.teams.c.id.in_({row["team_id"] for row in rows})
        )
    )
    places = {row["id"]: row["name"] for row in teams}
    holders: dict[str, Human | Agent | None] = {}
    shown: list[dict[str, Any]] = []
    for row in rows:
        if row["subject_id"] not in holders:
            holders[row["subject_id"]] = holder_of(tx, row)
        state = state_now(tx, row, holders[row["subject_id"]])
        own = caller.person.id == row["sponsor_id"]
        shown.append(
            {
                **{name: row[name] for name in _SHOWN},
                "state": state.value,
                "holder": names.get(row["subject_id"], row["subject_id"]),
                "holder_kind": row["requester_kind"],
                "sponsor": names.get(row["sponsor_id"], row["sponsor_id"]),
                "team": places.get(row["team_id"]),
                "revoked_by": names.get(row["revoked_by"], row["revoked_by"]),
                "approvers": [names.get(v["approver_id"]) for v in votes[row["approval_id"]]],
                "renewal_id": renewals.get(row["id"]),
                "renewable": own and not caller.is_agent and why_not_renewed(row, state) is None,
            }
        )
    return shown


_SHOWN: Final = (
    "id",
    "approval_id",
    "subject_id",
    "action",
    "summary",
    "rules",
    "team_id",
    "created_at",
    "expires_at",
    "single_use",
    "task_id",
    "used_at",
    "revoked_at",
    "revoke_reason",
    "justification",
    "ticket",
)


def _votes(tx: Tx, ids: Sequence[str]) -> dict[str, list[Row]]:
    c = t.approval_votes.c
    found: dict[str, list[Row]] = {id_: [] for id_ in ids}
    for row in tx.all(
        sa.select(c.approval_id, c.approver_id).where(c.approval_id.in_(ids)).order_by(c.at)
    ):
        found[row["approval_id"]].append(row)
    return found


def _renewals(tx: Tx, ids: Sequence[str]) -> dict[str, str]:
    """The newest request that is to follow each of these, while it is open or after a yes."""
    c = t.approvals.c
    rows = tx.all(
        sa.select(c.renews_id, c.id)
        .where(
            c.renews_id.in_(ids),
            sa.or_(c.state == "approved", sa.and_(c.state == "pending", c.deadline > tx.now)),
        )
        .order_by(c.id)
    )
    return {row["renews_id"]: row["id"] for row in rows}


def holder_of(tx: Tx, row: Row) -> Human | Agent | None:
    """Whose grant it is, as they are now."""
    if row["requester_kind"] == "agent":
        return load_agent(tx, row["subject_id"])
    return load_human(tx, row["subject_id"])


def as_grant(row: Row) -> Grant:
    """The core's view of a stored grant."""
    return Grant(
        id=row["id"],
        request_id=row["approval_id"],
        subject_id=row["subject_id"],
        action=row["action"],
        resource_digest=row["resource_digest"],
        rules=frozenset(row["rules"]),
        granted_at=row["created_at"],
        expires_at=row["expires_at"],
        single_use=row["single_use"],
        task_id=row["task_id"],
        used_at=row["used_at"],
        revoked_at=row["revoked_at"],
    )


def state_now(tx: Tx, row: Row, holder: Human | Agent | None) -> GrantState:
    """Where the grant stands, with what its holder is and may at this moment."""
    person = holder.sponsor if isinstance(holder, Agent) else holder
    chain = scope_chain(row["team_id"], row["project_id"])
    may = (
        holder is not None
        and person is not None
        and holder.active
        and person.active
        and row["action"] in permissions_of(person.bindings, chain, tx.now)
    )
    task = holder.task if isinstance(holder, Agent) else None
    is_open = row["task_id"] is None or (
        task is not None and task.id == row["task_id"] and task_open(task, tx.now)
    )
    return state_of(as_grant(row), tx.now, task_open=is_open, holder_may_ask=may)


def _ref(row: Row, entitled: frozenset[str]) -> ResourceRef:
    agent = row["requester_kind"] == "agent"
    return ResourceRef(
        "grant",
        id=row["id"],
        owner_id=row["subject_id"],
        owner_kind=row["requester_kind"],
        sponsor_id=row["sponsor_id"] if agent else None,
        team_id=row["team_id"],
        project_id=row["project_id"],
        task_id=row["task_id"],
        entitled_ids=entitled,
    )


def locked(tx: Tx, grant_id: str) -> Row:
    """The grant, locked."""
    row = tx.one(grant_rows().where(t.grants.c.id == grant_id).with_for_update(of=t.grants))
    if row is None:
        raise missing("grant")
    return row


def question(tx: Tx, caller: Caller, grant_id: str, action: Permission) -> Question:
    """The question whether the caller may do this to the grant, which is locked from now on."""
    row = locked(tx, grant_id)
    gave = {vote["approver_id"] for vote in _votes(tx, [row["approval_id"]])[row["approval_id"]]}
    entitled = frozenset(gave) if isinstance(caller.subject, Human) else frozenset()
    return Question(
        caller=caller,
        action=action,
        resource=_ref(row, entitled),
        resource_facts={
            "spec": {
                "action": row["action"],
                "holder": row["subject_id"],
                "rules": sorted(row["rules"]),
            }
        },
        context={},
    )


def why_not_renewed(row: Row, state: GrantState) -> CharterError | None:
    """Why a grant that stands like this is not renewed; None when it can be."""
    if state is not GrantState.ACTIVE:
        return ConflictError(
            f"The grant has ended: it is {state}.",
            fix="Ask anew for what you need.",
            code="grant-ended",
        )
    if row["single_use"] or row["pending"]["action"] not in _RENEWABLE:
        return ConflictError(
            "This grant cannot be renewed by itself.",
            fix="Ask anew for what you need, where you asked for it first.",
            code="grant-not-renewable",
        )
    return None
