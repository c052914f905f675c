"""Stored approval requests as the core sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from charter.core.approvals.request import ApprovalRequest, ApprovalState, Verdict, Vote, seen_at
from charter.core.approvals.request import state as state_of
from charter.core.approvals.requirements import Requirement
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


def load(tx: Tx, approval_id: str, *, lock: bool = False) -> tuple[Row, ApprovalRequest] | None:
    """The row and the request as the core sees it."""
    found = load_all(tx, [approval_id], lock=lock)
    return found[0] if found else None


def load_all(
    tx: Tx, ids: Sequence[str], *, lock: bool = False
) -> list[tuple[Row, ApprovalRequest]]:
    """As `load`, of those that there are of these."""
    c = t.approvals.c
    query = sa.select(t.approvals, left_at()).where(c.id.in_(ids)).order_by(c.id)
    rows = tx.all(query.with_for_update(of=t.approvals) if lock else query)
    votes: dict[str, list[Row]] = {row["id"]: [] for row in rows}
    for vote in votes_on(tx, *votes):
        votes[vote["approval_id"]].append(vote)
    return [(row, as_request(row, votes[row["id"]])) for row in rows]


def left_at() -> sa.Label[Any]:
    """When the person behind the request, or the agent that asked, left; NULL while both are there.

    From that moment on the request is cancelled, whoever looks at it: what a yes would carry out
    would be done for somebody who is gone.
    """
    c, p, a = t.approvals.c, t.people.c, t.agents.c
    person = sa.select(p.deactivated_at).where(p.id == c.sponsor_id).correlate(t.approvals)
    agent = sa.select(a.ended_at).where(a.id == c.requester_id).correlate(t.approvals)
    return sa.func.least(person.scalar_subquery(), agent.scalar_subquery()).label("left_at")


def nobody_left(now: datetime | sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    """The filter of requests whose person, and whose agent if there is one, are still there."""
    c, p, a = t.approvals.c, t.people.c, t.agents.c
    gone = sa.select(p.id).where(p.deactivated_at <= now)
    ended = sa.select(a.id).where(a.ended_at <= now)
    return sa.and_(c.sponsor_id.not_in(gone), c.requester_id.not_in(ended))


def is_settled(row: Row, request: ApprovalRequest, now: datetime) -> bool:
    """Whether nothing is left to decide: by what was stored, or by the votes and the clock."""
    return row["state"] != "pending" or state_of(request, seen_at(request, now)) is not (
        ApprovalState.PENDING
    )


def votes_on(tx: Tx, *ids: str) -> Sequence[Row]:
    """The votes on these requests, in the order of their time."""
    c = t.approval_votes.c
    return tx.all(sa.select(t.approval_votes).where(c.approval_id.in_(ids)).order_by(c.at))


def as_request(row: Row, votes: Any) -> ApprovalRequest:
    """The core's view of a stored request."""
    return ApprovalRequest(
        id=row["id"],
        requester_id=row["requester_id"],
        requester_kind=row["requester_kind"],
        sponsor_id=row["sponsor_id"] if row["requester_kind"] == "agent" else None,
        action=row["action"],
        resource_digest=row["resource_digest"],
        requirements=tuple(_requirement(r) for r in row["requirements"]),
        created_at=row["created_at"],
        deadline=row["deadline"],
        votes=tuple(
            Vote(
                approver_id=v["approver_id"],
                approver_roles=frozenset(v["roles"]),
                verdict=Verdict(v["verdict"]),
                comment=v["comment"] or "",
                at=v["at"],
                for_id=None if v["counts_as"] == v["approver_id"] else v["counts_as"],
                lost_roles=frozenset(v["lost_roles"] or ()),
                lost_at=v["lost_at"],
            )
            for v in votes
        ),
        cancelled_at=row["closed_at"] if row["state"] == "cancelled" else _left(row),
        justification=row["justification"] or "",
        resource_kind=row["resource_kind"],
        team_id=row["team_id"],
        project_id=row["project_id"],
        task_id=row["task_id"],
        ticket=row["ticket"] or "",
        duration_seconds=row["duration_seconds"],
    )


def _left(row: Row) -> datetime | None:
    """The moment at which an open request ended with its requester; None for a closed one."""
    return row["left_at"] if row["state"] == "pending" else None


def requirement_json(requirement: Requirement) -> dict[str, Any]:
    """The stored form."""
    plain = {
        "rule": requirement.rule,
        "roles": sorted(requirement.roles),
        "count": requirement.count,
        "requires": list(requirement.requires),
        "grant_seconds": requirement.grant_seconds,
        "max_grant_seconds": requirement.max_grant_seconds,
        "step": requirement.step,
    }
    if requirement.escalate_seconds is None:
        return plain
    return {
        **plain,
        "escalate_seconds": requirement.escalate_seconds,
        "escalate_to": sorted(requirement.escalate_to),
    }


def _requirement(stored: Mapping[str, Any]) -> Requirement:
    """As stored; requests of before have no steps and no escalation."""
    return Requirement(
        rule=stored["rule"],
        roles=frozenset(stored["roles"]),
        count=stored["count"],
        requires=tuple(stored["requires"]),
        grant_seconds=stored["grant_seconds"],
        max_grant_seconds=stored.get("max_grant_seconds"),
        step=stored.get("step", 0),
        escalate_seconds=stored.get("escalate_seconds"),
        escalate_to=frozenset(stored.get("escalate_to", ())),
    )
