"""Ask the decision point, store the answer with its facts, and show stored answers.

Every service that changes something asks here first, in its own transaction. The answer and all it
was made from are stored whether it was yes or no: a refusal is evidence too.
`refuse_unless_allowed` turns a stored refusal into the error that the faces show; it is called
after the commit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from charter import __version__
from charter.core.access.break_glass import emergency_of
from charter.core.access.invariants import ResourceRef
from charter.core.access.listings import list_command
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.snapshot import resource_json, subject_json
from charter.core.access.subjects import Human
from charter.core.audit.event import ActorRef, AuditEvent, Outcome, Scalar
from charter.core.kernel.canonical import canonical_json, digest_of_text
from charter.core.kernel.decision import Decision, Effect
from charter.core.kernel.errors import ForbiddenError, NotFoundError
from charter.core.kernel.masking import masked
from charter.core.policy.decide import UNAVAILABLE_RULE, GrantView, resource_digest
from charter.core.policy.judge import grant_json, judge, quota_json
from charter.core.policy.result import PolicyFailure, parse_outcome
from charter.core.policy.step_up import RULE as STEP_UP_RULE
from charter.core.resources.amounts import Amount
from charter.core.resources.quotas import QuotaLine
from charter.services import lookup, paging
from charter.services.documents import decision_document
from charter.services.policy_point import ActivePolicy, write_down
from charter.services.runtime import Actor, Caller, Clockwork, Doer, Provisioner, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

KNOWN_OBLIGATIONS: Final[frozenset[str]] = frozenset()  # what this enforcement point can carry out
_MICROSECONDS: Final = 1_000_000
_NOT_VISIBLE: Final = "invariant/not-visible"


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be decided. `resource_facts`, `context` and `request` are what policy sees."""

    caller: Actor
    action: Permission
    resource: ResourceRef
    resource_facts: Mapping[str, object]
    context: Mapping[str, object]
    request: Mapping[str, object] | None = None
    quota: tuple[tuple[QuotaLine, ...], Amount] | None = None
    grants: Sequence[GrantView] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision; `id` is None when it was only previewed."""

    decision: Decision
    facts: Mapping[str, Any]
    id: str | None
    bundle_digest: str | None = None

    @property
    def resource_digest(self) -> str:
        """What an approval of this very request is tied to."""
        return resource_digest(self.facts["document"])

    def as_json(self) -> dict[str, object]:
        """The transmitted form."""
        return {"id": self.id, **self.decision.as_json()}


def facts_of(tx: Tx, question: Question) -> dict[str, Any]:
    """The facts document of a question, as `core.policy.judge` reads it."""
    document = decision_document(tx, question)
    return {
        "document": document,
        "subject": subject_json(question.caller.subject),
        "resource": resource_json(question.resource),
        "quota": None if question.quota is None else quota_json(*question.quota),
        "grants": [grant_json(grant) for grant in question.grants],
        "known_obligations": sorted(KNOWN_OBLIGATIONS),
    }


def grants_of(tx: Tx, subject_id: str) -> tuple[GrantView, ...]:
    """The subject's grants that have not run out, nor ended with the task they were given for."""
    task = t.tasks.c
    closed = sa.exists().where(
        task.id == t.grants.c.task_id,
        sa.or_(task.closed_at.is_not(None), task.deadline <= tx.now),
    )
    rows = tx.all(
        sa.select(t.grants)
        .where(
            t.grants.c.subject_id == subject_id,
            t.grants.c.revoked_at.is_(None),
            t.grants.c.expires_at > tx.now,
            ~closed,
        )
        .order_by(t.grants.c.id)
    )
    return tuple(
        GrantView(
            id=row["id"],
            subject_id=row["subject_id"],
            action=row["action"],
            resource_digest=row["resource_digest"],
            rules=frozenset(row["rules"]),
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
        )
        for row in rows
    )


def evaluate(policy: ActivePolicy, facts: Mapping[str, Any]) -> Decision:
    """The decision on `facts` under `policy`; a pure function of the two."""
    answer = policy.engine.evaluate(canonical_json(facts["document"]), facts["document"])
    outcome = answer if isinstance(answer, PolicyFailure) else parse_outcome(answer)
    return judge(facts, outcome)


def preview(rt: Runtime, tx: Tx, question: Question) -> Answer:
    """The answer without storing it: nothing has happened yet that an auditor could ask about."""
    facts = facts_of(tx, question)
    return Answer(evaluate(rt.policy.deciding(tx, question.resource), facts), facts, None)


def ask(rt: Runtime, tx: Tx, question: Question) -> Answer:
    """Decide, store the decision with its facts, and write the decision's audit event."""
    policy = rt.policy.deciding(tx, question.resource)
    facts = facts_of(tx, question)
    started = time.perf_counter()
    decision = evaluate(policy, facts)
    duration_us = int((time.perf_counter() - started) * _MICROSECONDS)
    decision_id = tx.new_id("decision")
    facts_text = masked(canonical_json(facts))
    resource = question.resource
    tx.insert(
        t.decisions,
        id=decision_id,
        at=tx.now,
        subject_kind=actor(question.caller).kind,
        subject_id=question.caller.id,
        action=question.action.value,
        resource_kind=resource.kind,
        resource_id=resource.id,
        team_id=resource.team_id,
        effect=decision.effect.value,
        facts=facts_text,
        facts_digest=digest_of_text(facts_text),
        result=canonical_json(decision.as_json()),
        bundle_digest=policy.digest,
        engine=f"{policy.engine.name} {policy.engine.version}",
        core_version=__version__,
        duration_us=duration_us,
    )
    _write_down_failures(rt, tx, policy, decision)
    answer = Answer(decision, facts, decision_id)
    record(tx, question, answer)
    return answer


def _write_down_failures(rt: Runtime, tx: Tx, policy: ActivePolicy, decision: Decision) -> None:
    """Leave what an alert is made of, where a bundle cannot be loaded or its engine failed."""
    for trouble in rt.policy.trouble(tx) if rt.policy.troubled else ():
        if trouble.own_fault:
            write_down(tx, trouble.digest, "load", trouble.message)
    for violation in decision.violations:
        if violation.rule == UNAVAILABLE_RULE:
            write_down(tx, policy.digest, "engine", violation.message)


OUTCOMES: Final = {
    Effect.ALLOW: Outcome.ALLOWED,
    Effect.WARN: Outcome.ALLOWED,
    Effect.REQUIRE_APPROVAL: Outcome.APPROVAL_REQUIRED,
    Effect.DENY: Outcome.DENIED,
}


def record(tx: Tx, question: Question, answer: Answer) -> None:
    """The audit event of a decision."""
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=actor(question.caller),
            action=question.action.value,
            resource_kind=question.resource.kind,
            resource_id=question.resource.id or "new",
            outcome=OUTCOMES[answer.decision.effect],
            decision_id=answer.id,
            reason_codes=tuple(v.rule for v in answer.decision.violations),
            facts=emergency_facts(tx, question.caller),
        )
    )


def emergency_facts(tx: Tx, caller: Doer) -> dict[str, Scalar]:
    """The mark of everything that somebody does under break-glass; empty in ordinary times."""
    if isinstance(caller, Clockwork) or not isinstance(caller.subject, Human):
        return {}
    emergency = emergency_of(caller.subject, tx.now)
    return {} if emergency is None else {"break_glass": emergency}


def actor(caller: Doer) -> ActorRef:
    """The caller as the trail names it: by opaque ids."""
    if isinstance(caller, Clockwork):
        return ActorRef("system", caller.id)
    if isinstance(caller, Provisioner):
        return ActorRef("system", caller.id, None, caller.credential_id)
    return ActorRef(
        kind="agent" if caller.is_agent else "human",
        id=caller.id,
        sponsor_id=caller.person.id if caller.is_agent else None,
        credential_id=caller.credential_id,
    )


def refuse_unless_allowed(answer: Answer) -> None:
    """Raise the refusal that a decision is, unless it is a yes.

    Call it after the transaction: the refusal itself must be stored.
    """
    decision = answer.decision
    if decision.allowed:
        return
    # Whatever else speaks against it: what must not be known of gives the answer of what is not.
    for violation in decision.decisive:
        if violation.rule == _NOT_VISIBLE:
            kind = answer.facts["resource"]["kind"]
            raise NotFoundError(
                violation.message, fix=f"{list_command(kind)} shows those that you may see."
            )
    fixes = " ".join(dict.fromkeys(v.fix for v in decision.decisive if v.fix))
    code = "approval-required" if decision.effect is Effect.REQUIRE_APPROVAL else "denied"
    if {v.rule for v in decision.decisive} == {STEP_UP_RULE}:
        code = "step-up-required"  # a proof of identity is all that is missing
    raise ForbiddenError(
        decision.explain(),
        fix=fixes or "Ask your team lead.",
        code=code,
        details={"decision": answer.as_json()},
    )


# --- reading ------------------------------------------------------------------
def _summary(row: Row) -> dict[str, Any]:
    return {
        **{
            name: row[name]
            for name in (
                "id",
                "at",
                "subject_kind",
                "subject_id",
                "action",
                "resource_kind",
                "resource_id",
                "effect",
                "bundle_digest",
                "engine",
                "duration_us",
            )
        },
        "result": {"id": row["id"], **json.loads(row["result"])},
    }


def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    subject: str | None = None,
    effect: str | None = None,
    action: str | None = None,
    resource: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Decisions that the caller may see, newest first."""
    with rt.database.reading() as tx:
        reach = reach_set(caller.subject, Permission.DECISION_VIEW, tx.now)
        c = t.decisions.c
        query = sa.select(t.decisions)
        if not reach.everything:
            query = query.where(sa.or_(c.subject_id == caller.id, c.team_id.in_(reach.teams)))
        for column, value in (
            (c.subject_id, subject),
            (c.effect, effect),
            (c.action, action),
            (c.resource_id, resource),
        ):
            if value is not None:
                query = query.where(column == value)
        page = paging.newest_first(tx, query, c.id, _summary, cursor, limit)
        return {**page, "items": _named(tx, page["items"])}


def get(rt: Runtime, caller: Caller, decision_id: str) -> dict[str, Any]:
    """One decision with its facts."""
    with rt.database.reading() as tx:
        row = visible(tx, caller, decision_id)
        [named] = _named(tx, [_summary(row)])
        return {**named, "facts": json.loads(row["facts"])}


def _named(tx: Tx, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = lookup.subject_names(tx, (item["subject_id"] for item in items))
    return [{**item, "subject_name": names.get(item["subject_id"])} for item in items]


def visible(tx: Tx, caller: Caller, decision_id: str) -> Row:
    """The stored decision; raises `NotFoundError` when it is not the caller's to see."""
    row = tx.one(sa.select(t.decisions).where(t.decisions.c.id == decision_id))
    reach = reach_set(caller.subject, Permission.DECISION_VIEW, tx.now)
    if row is None or not (
        reach.everything or row["subject_id"] == caller.id or row["team_id"] in reach.teams
    ):
        raise NotFoundError(
            "There is no such decision, or it is not yours to see.",
            fix="charter decision list shows those that you may see.",
        )
    return row
