"""Make approval requests out of decisions, and read them back as the core sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from charter.core.approvals.request import (
    ApprovalRequest,
    ApprovalState,
    Requirement,
    Verdict,
    Vote,
    missing_fields,
    requirements_from,
)
from charter.core.approvals.request import state as state_of
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import ForbiddenError, InvalidInputError
from charter.services.access import note
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


def open_request(
    rt: Runtime,
    tx: Tx,
    caller: Caller,
    answer: Answer,
    *,
    summary: str,
    pending: Mapping[str, Any],
    justification: str | None,
) -> str:
    """Store the request that a "require approval" leads to; returns its id.

    An equal request of the same subject that still waits is returned instead of a second one.
    """
    if answer.decision.effect is not Effect.REQUIRE_APPROVAL or answer.id is None:
        raise AssertionError("only a stored decision that requires an approval opens a request")
    resource = answer.facts["resource"]
    if resource["team_id"] is None:
        raise ForbiddenError(
            "This needs an approval, and without a team nobody can give it.",
            fix="Name the team that this is for.",
            code="no-team",
        )
    same = tx.one(
        sa.select(t.approvals.c.id).where(
            t.approvals.c.requester_id == caller.id,
            t.approvals.c.action == answer.facts["document"]["action"]["name"],
            t.approvals.c.resource_digest == answer.resource_digest,
            t.approvals.c.pending == dict(pending),
            t.approvals.c.state == "pending",
            t.approvals.c.deadline > tx.now,
        )
    )
    if same is not None:
        return str(same["id"])
    requirements = requirements_from(answer.decision.violations)
    approval_id = tx.new_id("approval")
    settings = rt.policy.active(tx).data.approvals
    tx.insert(
        t.approvals,
        id=approval_id,
        requester_kind="agent" if caller.is_agent else "human",
        requester_id=caller.id,
        sponsor_id=caller.person.id,
        team_id=resource["team_id"],
        project_id=resource["project_id"],
        task_id=resource["task_id"],
        action=answer.facts["document"]["action"]["name"],
        resource_kind=resource["kind"],
        resource_digest=answer.resource_digest,
        summary=summary,
        requirements=[_requirement_json(r) for r in requirements],
        pending=dict(pending),
        justification=justification,
        decision_id=answer.id,
        created_at=tx.now,
        deadline=tx.now + timedelta(seconds=settings.deadline_seconds),
        remind_at=tx.now + timedelta(seconds=settings.reminder_seconds),
        state="pending",
    )
    note(
        tx,
        caller,
        "approval.requested",
        "approval",
        approval_id,
        decision_id=answer.id,
        private=None if justification is None else {"justification": justification},
    )
    for approver in approvers(
        tx,
        {role for r in requirements for role in r.roles},
        resource["team_id"],
        resource["project_id"],
        but=caller.person.id,
    ):
        notify(
            tx,
            approver,
            "approval",
            f"An approval waits for you: {summary}.",
            resource=("approval", approval_id),
        )
    return approval_id


def check_complete(answer: Answer, justification: str | None) -> None:
    """Raise what the requester has to add before anybody can approve."""
    if answer.decision.effect is not Effect.REQUIRE_APPROVAL:
        return
    missing = missing_fields(
        requirements_from(answer.decision.violations), justification=justification or ""
    )
    if missing:
        raise InvalidInputError(
            f"{answer.decision.explain()} The request must carry a {' and '.join(missing)}.",
            fix=f"Send it again with a {' and '.join(missing)}: why is this needed?",
            code=f"{missing[0]}-required",
            details={"decision": answer.as_json(), "missing": list(missing)},
        )


def complete(answer: Answer, justification: str | None) -> bool:
    """Whether the request carries all that its approvers may expect."""
    try:
        check_complete(answer, justification)
    except InvalidInputError:
        return False
    return True


def _requirement_json(requirement: Requirement) -> dict[str, Any]:
    return {
        "rule": requirement.rule,
        "roles": sorted(requirement.roles),
        "count": requirement.count,
        "requires": list(requirement.requires),
        "grant_seconds": requirement.grant_seconds,
    }


def _requirement(stored: Mapping[str, Any]) -> Requirement:
    return Requirement(
        rule=stored["rule"],
        roles=frozenset(stored["roles"]),
        count=stored["count"],
        requires=tuple(stored["requires"]),
        grant_seconds=stored["grant_seconds"],
    )


def approvers(
    tx: Tx, roles: AbstractSet[str], team_id: str, project_id: str | None, *, but: str
) -> list[str]:
    """Who holds one of these roles where the request is, without the one who answers for it."""
    c = t.role_bindings.c
    holders = tx.all(
        sa.select(c.person_id)
        .distinct()
        .join(t.people, t.people.c.id == c.person_id)
        .where(
            c.role.in_(roles),
            c.revoked_at.is_(None),
            c.break_glass_id.is_(None),
            sa.or_(c.expires_at.is_(None), c.expires_at > tx.now),
            t.people.c.deactivated_at.is_(None),
            sa.or_(
                c.scope_kind == "organisation",
                sa.and_(c.scope_kind == "team", c.scope_id == team_id),
                sa.and_(c.scope_kind == "project", c.scope_id == project_id),
            ),
            c.person_id != but,
        )
        .order_by(c.person_id)
    )
    return [row["person_id"] for row in holders]


def notify(
    tx: Tx,
    person_id: str,
    kind: str,
    message: str,
    *,
    resource: tuple[str, str] | None = None,
    dedupe_key: str | None = None,
) -> bool:
    """Leave a notice for a person; with a key it is left once. Says whether it is new."""
    return tx.insert_new(
        t.notices,
        id=tx.new_id("notice"),
        person_id=person_id,
        kind=kind,
        message=message,
        resource_kind=None if resource is None else resource[0],
        resource_id=None if resource is None else resource[1],
        dedupe_key=dedupe_key,
        created_at=tx.now,
    )


def load(tx: Tx, approval_id: str, *, lock: bool = False) -> tuple[Row, ApprovalRequest] | None:
    """The row and the request as the core sees it."""
    found = load_all(tx, [approval_id], lock=lock)
    return found[0] if found else None


def load_all(
    tx: Tx, ids: Sequence[str], *, lock: bool = False
) -> list[tuple[Row, ApprovalRequest]]:
    """As `load`, of those that there are of these."""
    query = sa.select(t.approvals).where(t.approvals.c.id.in_(ids))
    rows = tx.all(query.with_for_update() if lock else query)
    votes: dict[str, list[Row]] = {row["id"]: [] for row in rows}
    for vote in votes_on(tx, *votes):
        votes[vote["approval_id"]].append(vote)
    return [(row, as_request(row, votes[row["id"]])) for row in rows]


def is_settled(row: Row, request: ApprovalRequest, now: datetime) -> bool:
    """Whether nothing is left to decide: by what was stored, or by the votes and the clock."""
    return row["state"] != "pending" or state_of(request, now) is not ApprovalState.PENDING


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
            )
            for v in votes
        ),
        cancelled_at=row["closed_at"] if row["state"] == "cancelled" else None,
        justification=row["justification"] or "",
        resource_kind=row["resource_kind"],
        team_id=row["team_id"],
        project_id=row["project_id"],
        task_id=row["task_id"],
    )
