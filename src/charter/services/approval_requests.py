"""Make approval requests out of decisions, and read them back as the core sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from charter.core.access.snapshot import resource_from_json
from charter.core.approvals.request import ApprovalRequest
from charter.core.approvals.requirements import (
    Carried,
    Requirement,
    longest_duration,
    missing_fields,
    requirements_from,
)
from charter.core.approvals.rules import APPROVER_MANAGER, TICKET, ApprovalSettings
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import CharterError, ForbiddenError, InvalidInputError
from charter.services.access import note
from charter.services.approval_entitlement import address, approvers, managers_of, resolved
from charter.services.approval_rows import is_settled, load, load_all, requirement_json
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

__all__ = [
    "approvers",
    "check_complete",
    "complete",
    "incomplete",
    "is_settled",
    "load",
    "load_all",
    "notify",
    "open_request",
]


def open_request(
    rt: Runtime,
    tx: Tx,
    caller: Caller,
    answer: Answer,
    *,
    summary: str,
    pending: Mapping[str, Any],
    justification: str | None,
    ticket: str | None = None,
    duration_seconds: int | None = None,
    renews_id: str | None = None,
) -> str:
    """Store the request that a "require approval" leads to, and tell its approvers; returns its id.

    `pending` is what the last yes carries out: `{"action": …}` with what `approval_actions` needs
    for it. An equal request of the same subject that still waits is returned instead of a second
    one. Call `incomplete` first: what a request lacks is the requester's to know.
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
    same = _same(tx, caller, answer, pending)
    if same is not None:
        return same
    settings = _settings(rt, tx, answer)
    requirements = _requirements(tx, caller, answer, settings)
    rules = [requirement.rule for requirement in requirements]
    approval_id = tx.new_id("approval")
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
        requirements=[requirement_json(r) for r in requirements],
        pending=dict(pending),
        justification=justification,
        ticket=ticket,
        duration_seconds=duration_seconds,
        renews_id=renews_id,
        decision_id=answer.id,
        created_at=tx.now,
        deadline=tx.now + timedelta(seconds=settings.deadline_of(rules)),
        remind_at=tx.now + timedelta(seconds=settings.reminder_of(rules)),
        state="pending",
    )
    words = {"justification": justification, "ticket": ticket}
    private = {name: text for name, text in words.items() if text is not None}
    note(
        tx,
        caller,
        "approval.requested",
        "approval",
        approval_id,
        decision_id=answer.id,
        facts={} if renews_id is None else {"renews": renews_id},
        private=private or None,
    )
    found = load(tx, approval_id)
    if found is not None:
        tell_addressed(tx, *found, address(tx, found[1]))
    return approval_id


def _same(tx: Tx, caller: Caller, answer: Answer, pending: Mapping[str, Any]) -> str | None:
    c = t.approvals.c
    row = tx.one(
        sa.select(c.id)
        .where(
            c.requester_id == caller.id,
            c.action == answer.facts["document"]["action"]["name"],
            c.resource_digest == answer.resource_digest,
            c.pending == dict(pending),
            c.state == "pending",
            c.deadline > tx.now,
        )
        .order_by(c.id)
        .limit(1)
    )
    return None if row is None else str(row["id"])


def tell_addressed(
    tx: Tx, row: Row, request: ApprovalRequest, words: frozenset[str], *, why: str = ""
) -> None:
    """Tell those to whom the request is put by these words and who have not spoken yet."""
    heard = {who for vote in request.votes for who in (vote.approver_id, vote.counts_as)}
    for person in (
        approvers(tx, words, row["team_id"], row["project_id"], but=row["sponsor_id"])
        if words
        else ()
    ):
        if person not in heard:
            notify(
                tx,
                person,
                "approval",
                f"{why or 'An approval waits for you'}: {row['summary']}.",
                resource=("approval", row["id"]),
            )


def _settings(rt: Runtime, tx: Tx, answer: Answer) -> ApprovalSettings:
    """The settings of the very policy that decided."""
    resource = resource_from_json(answer.facts["resource"])
    return rt.policy.deciding(tx, resource).data.approvals


def _requirements(
    tx: Tx, caller: Caller, answer: Answer, settings: ApprovalSettings
) -> tuple[Requirement, ...]:
    """What is asked of whom, with names resolved: later changes of policy or names change nothing.

    Where nobody at all could answer, an escalation does not wait.
    """
    resource, made = answer.facts["resource"], []
    place = (resource["team_id"], resource["project_id"])
    for needed in requirements_from(answer.decision.violations, settings):
        roles = resolved(tx, needed.roles)
        further = resolved(tx, needed.escalate_to - {APPROVER_MANAGER})
        after = needed.escalate_seconds
        if needed.escalate_to:
            first = approvers(tx, roles, *place, but=caller.person.id)
            if APPROVER_MANAGER in needed.escalate_to:
                further |= managers_of(tx, first)
            after = after if first else 0
        if not further:
            after = None
        made.append(replace(needed, roles=roles, escalate_to=further, escalate_seconds=after))
    return tuple(made)


def incomplete(rt: Runtime, tx: Tx, answer: Answer, carried: Carried) -> CharterError | None:
    """What the requester has to add or change before anybody can approve; None when nothing."""
    if answer.decision.effect is not Effect.REQUIRE_APPROVAL:
        return None
    settings = _settings(rt, tx, answer)
    needed = requirements_from(answer.decision.violations, settings)
    missing = missing_fields(needed, carried)
    details: dict[str, object] = {"decision": answer.as_json(), "missing": list(missing)}
    if missing:
        return _lacking(answer, missing, details)
    if carried.ticket and not settings.is_ticket(carried.ticket):
        return InvalidInputError(
            "That is not the number of a ticket.",
            fix=f"Give one that looks like {settings.ticket_pattern}.",
            code=f"{TICKET}-invalid",
            details=details,
        )
    if carried.duration_seconds is not None:
        return _too_long(carried.duration_seconds, longest_duration(needed), details)
    return None


def _lacking(answer: Answer, missing: Sequence[str], details: Mapping[str, object]) -> CharterError:
    named = " and a ".join(missing)
    return InvalidInputError(
        f"{answer.decision.explain()} The request must carry a {named}.",
        fix=f"Send it again with a {named}: why is this needed, and for how long?"
        if "duration" in missing
        else f"Send it again with a {named}: why is this needed?",
        code=f"{missing[0]}-required",
        details=dict(details),
    )


def _too_long(
    seconds: int, longest: int | None, details: Mapping[str, object]
) -> CharterError | None:
    if longest is None:
        return InvalidInputError(
            "This is approved for the one request, so it has no duration.",
            fix="Send it again without a duration.",
            code="duration-without-use",
            details=dict(details),
        )
    if not 0 < seconds <= longest:
        return InvalidInputError(
            f"It may be asked for up to {longest} seconds, and not for {seconds}.",
            fix="Ask for a shorter time; a grant can be renewed before it ends.",
            code="duration-too-long",
            details=dict(details),
        )
    return None


def check_complete(answer: Answer, justification: str | None) -> None:
    """Raise when a justification is demanded and missing; for requests that carry no more."""
    if answer.decision.effect is not Effect.REQUIRE_APPROVAL:
        return
    missing = missing_fields(
        requirements_from(answer.decision.violations), Carried(justification or "")
    )
    if missing:
        raise _lacking(answer, missing, {"decision": answer.as_json(), "missing": list(missing)})


def complete(answer: Answer, justification: str | None) -> bool:
    """Whether a request that carries a justification at most carries all that is demanded."""
    try:
        check_complete(answer, justification)
    except InvalidInputError:
        return False
    return True


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
    return tx.insert_new(t.notices, **notice(tx, person_id, kind, message, resource, dedupe_key))


def notice(
    tx: Tx,
    person_id: str,
    kind: str,
    message: str,
    resource: tuple[str, str] | None = None,
    dedupe_key: str | None = None,
) -> dict[str, object]:
    """The row of a notice, for whoever leaves very many at once (`Tx.insert_all_new`)."""
    return {
        "id": tx.new_id("notice"),
        "person_id": person_id,
        "kind": kind,
        "message": message,
        "resource_kind": None if resource is None else resource[0],
        "resource_id": None if resource is None else resource[1],
        "dedupe_key": dedupe_key,
        "created_at": tx.now,
    }
