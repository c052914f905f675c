"""The shape that every changing service has: decide, act only on a yes, commit, then answer.

`carry_out` opens the transaction, asks the decision point and calls `act` when the answer is yes.
Whatever the answer, it is stored; a no is raised as an error after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from charter.core.access.invariants import ResourceRef, visible
from charter.core.access.listings import list_command
from charter.core.access.permissions import Permission
from charter.core.audit.event import AuditEvent, Outcome, Scalar
from charter.core.kernel.errors import ForbiddenError, NotFoundError
from charter.services.decisions import (
    Answer,
    Question,
    actor,
    ask,
    emergency_facts,
    refuse_unless_allowed,
)
from charter.services.runtime import Actor, Caller, Doer, Runtime
from charter.store.unit_of_work import Tx

T = TypeVar("T")


def carry_out(rt: Runtime, question: Callable[[Tx], Question], act: Callable[[Tx, Answer], T]) -> T:
    """The result of `act` when the decision is a yes; otherwise the refusal is raised."""
    result: list[T] = []
    with rt.database.unit_of_work() as tx:
        asked = question(tx)
        answer = ask(rt, tx, asked)
        refusal = _attempt(tx, asked, answer, lambda: result.append(act(tx, answer)))
    refuse_unless_allowed(answer)
    if refusal is not None:
        raise refusal
    return result[0]


def _attempt(
    tx: Tx, asked: Question, answer: Answer, act: Callable[[], None]
) -> ForbiddenError | None:
    """Act on a yes. A refusal that only the act itself finds is recorded like any other."""
    if not answer.decision.allowed:
        return None
    try:
        with tx.conn.begin_nested():
            act()
    except ForbiddenError as refusal:
        note(
            tx,
            asked.caller,
            asked.action.value,
            asked.resource.kind,
            asked.resource.id or "new",
            outcome=Outcome.DENIED,
            decision_id=answer.id,
            facts={"code": refusal.code},
        )
        return refusal
    return None


def simple(
    caller: Actor,
    action: Permission,
    resource: ResourceRef,
    facts: Mapping[str, object] | None = None,
) -> Question:
    """A question about something that needs no quota, no request view and no grants."""
    return Question(
        caller=caller,
        action=action,
        resource=resource,
        resource_facts=facts or {},
        context={},
    )


def require(rt: Runtime, caller: Caller, action: Permission, resource: ResourceRef) -> None:
    """Decide and store; raise when the answer is no. For actions that change nothing of ours."""
    carry_out(rt, lambda _tx: simple(caller, action, resource), lambda _tx, _answer: None)


def check_visible(tx: Tx, caller: Caller, resource: ResourceRef) -> None:
    """Raise the same 404 for what does not exist and for what the caller may not know of."""
    if not visible(caller.subject, resource, tx.now):
        raise missing(resource.kind)


def or_unknown(find: Callable[[], ResourceRef], kind: str) -> ResourceRef:
    """What `find` gives or, where there is no such thing, one of its kind that is nobody's.

    For the question of a service: whoever may not do this at all is then told so, in the same
    words for what there is and what there is not. Whoever may, gets the 404 when it is carried out.
    """
    try:
        return find()
    except NotFoundError:
        return ResourceRef(kind, id="unknown")


def missing(kind: str) -> NotFoundError:
    """The 404 of a `kind`."""
    return NotFoundError(
        f"There is no such {kind}, or it is not yours to know of.",
        fix=f"{list_command(kind)} shows those that you may see.",
    )


def note(
    tx: Tx,
    caller: Doer,
    action: str,
    resource_kind: str,
    resource_id: str,
    *,
    outcome: Outcome = Outcome.DONE,
    decision_id: str | None = None,
    facts: Mapping[str, Scalar] | None = None,
    private: Mapping[str, object] | None = None,
) -> None:
    """One audit event about something that the caller did."""
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=actor(caller),
            action=action,
            resource_kind=resource_kind,
            resource_id=resource_id,
            outcome=outcome,
            decision_id=decision_id,
            facts={**(facts or {}), **emergency_facts(tx, caller)},
            private=private,
        )
    )
