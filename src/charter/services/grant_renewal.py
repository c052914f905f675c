"""Renewing a grant: a new request out of the old one, before the grant ends.

What was asked for is decided anew under the policy and the roles of today. So a renewal goes to
whoever would be asked today; and where nobody needs to be asked any more, or it would not be given
again, it says so. The grant itself never gets longer: the yes makes another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.snapshot import resource_from_json
from charter.core.approvals.grants import Grant, GrantState
from charter.core.approvals.requirements import Carried
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
)
from charter.services import approval_records, approval_requests
from charter.services.access import carry_out, missing
from charter.services.decisions import Answer, Question, ask
from charter.services.grant_records import (
    RENEW,
    grant_rows,
    holder_of,
    locked,
    question,
    state_now,
    why_not_renewed,
)
from charter.services.lifecycle import recheck_granted
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewal carries; what is None is taken from the request that the grant came from."""

    justification: str | None = None
    ticket: str | None = None
    duration_seconds: int | None = None


def renew(rt: Runtime, caller: Caller, grant_id: str, wanted: Renewal) -> dict[str, Any]:
    """Ask for the same again before it ends; returns the new request."""

    def act(tx: Tx, _answer: Answer) -> dict[str, Any]:
        row = locked(tx, grant_id)
        holder = holder_of(tx, row)
        refusal = why_not_renewed(row, state_now(tx, row, holder))
        if refusal is not None:
            raise refusal
        if holder is None or caller.id != holder.id:
            raise ForbiddenError(
                "A grant is renewed by whoever holds it.",
                fix="Ask its holder to renew it.",
                code="not-the-holder",
            )
        answer = _asked_anew(rt, tx, caller, row)
        carried = _carried(tx, row, wanted)
        lacking = approval_requests.incomplete(rt, tx, answer, carried)
        if lacking is not None:
            raise lacking
        approval_id = approval_requests.open_request(
            rt,
            tx,
            caller,
            answer,
            summary=f"renew: {row['summary'].removeprefix('renew: ')}",
            pending={"action": RENEW, "grant_id": grant_id},
            **carried.fields,
            renews_id=grant_id,
        )
        return approval_records.view(tx, caller, approval_id)

    return carry_out(
        rt, lambda tx: question(tx, caller, grant_id, Permission.APPROVAL_REQUEST), act
    )


def _carried(tx: Tx, row: Row, wanted: Renewal) -> Carried:
    before = tx.one(
        sa.select(t.approvals.c.duration_seconds).where(t.approvals.c.id == row["approval_id"])
    )
    span = None if before is None else before["duration_seconds"]
    return Carried(
        justification=wanted.justification or row["justification"] or "",
        ticket=wanted.ticket or row["ticket"] or "",
        duration_seconds=wanted.duration_seconds or span,
    )


def _asked_anew(rt: Runtime, tx: Tx, caller: Caller, row: Row) -> Answer:
    """The decision on what the grant is for, without this grant, as policy and roles stand now."""
    c = t.decisions.c
    stored = tx.one(sa.select(c.facts).where(c.id == row["decision_id"]))
    if stored is None:
        raise missing("decision")
    facts: Mapping[str, Any] = json.loads(stored["facts"])
    document = facts["document"]
    resource = document["resource"]
    answer = ask(
        rt,
        tx,
        Question(
            caller=caller,
            action=Permission(row["action"]),
            resource=resource_from_json(facts["resource"]),
            resource_facts={
                name: value
                for name, value in resource.items()
                if name not in ("kind", "id", "owner", "team", "project")
            },
            context={
                name: value
                for name, value in document["context"].items()
                if name not in ("now", "session", "task")
            },
            request=document.get("request"),
        ),
    )
    if answer.decision.effect is Effect.DENY:
        raise ForbiddenError(
            f"It would not be given again. {answer.decision.explain()}",
            fix="Use it until it ends, and change what the policy asks for before you ask anew.",
            code="renewal-denied",
        )
    if answer.decision.effect is not Effect.REQUIRE_APPROVAL:
        raise ConflictError(
            "Nobody needs to approve this any more.",
            fix="Go on; it is allowed without a grant.",
            code="no-approval-needed",
        )
    if answer.resource_digest != row["resource_digest"]:
        raise InvalidInputError(
            "What it was given for is not the same any more.",
            fix="Ask anew for what you need now.",
            code="grant-differs",
        )
    return answer


def carry_on(
    _rt: Runtime, tx: Tx, requester: Caller, pending: Mapping[str, Any], grant: Grant
) -> tuple[str, str | None]:
    """What the last yes to a renewal does: the new grant stands, unless the old one was ended."""
    old = tx.one(grant_rows().where(t.grants.c.id == pending["grant_id"]))
    state = None if old is None else state_now(tx, old, requester.subject)
    if state not in (GrantState.ACTIVE, GrantState.EXPIRED):
        tx.update(t.grants, t.grants.c.id == grant.id, revoked_at=tx.now)
        return f"The grant that it was to follow is {state or 'gone'}, so nothing was given.", None
    recheck_granted(tx, grant.subject_id)
    return f"Renewed until {grant.expires_at:%Y-%m-%d %H:%M} UTC.", grant.id
