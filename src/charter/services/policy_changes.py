"""Policy changes, as people deal with them: propose, look, review, promote, withdraw.

A change that comes from Git is received by `policy_source`; one that is proposed here takes the
same way. What a change passes on its way stands in `core.policy.pipeline`.

Source: Spec PC-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.roles import roles_of, scope_chain
from charter.core.kernel.errors import ConflictError, ForbiddenError, InvalidInputError
from charter.core.policy.bundle import Bundle
from charter.core.policy.pipeline import (
    OPEN,
    ChangeState,
    edits_between,
    missing_sides,
    not_promotable,
    side_of,
)
from charter.services import paging
from charter.services.access import carry_out, simple
from charter.services.decisions import Answer, Question, actor
from charter.services.policy_bundles import Kind, active_digest, check_parity, put_in_force
from charter.services.policy_records import (
    check_size,
    facts_of,
    files_of,
    limits_in_force,
    move,
    receive,
    record,
    row_of_change,
)
from charter.services.policy_views import summary, view
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_REVIEWED = frozenset({ChangeState.IN_REVIEW, ChangeState.APPROVED, ChangeState.STAGED})


def _about_policy(caller: Caller, permission: Permission) -> Question:
    return simple(caller, permission, ResourceRef("policy"))


def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    state: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Changes, newest first; `state` may also be `open`."""
    del caller  # policies, and what becomes of them, are everybody's to see
    with rt.database.reading() as tx:
        query = sa.select(t.policy_changes)
        c = t.policy_changes.c
        if state == "open":
            query = query.where(c.closed_at.is_(None))
        elif state is not None:
            query = query.where(c.state == state)
        return paging.newest_first(tx, query, c.id, summary, cursor, limit)


def get(rt: Runtime, caller: Caller, change_id: str) -> dict[str, Any]:
    """One change with everything that is known about it."""
    del caller
    with rt.database.reading() as tx:
        return view(rt, tx, row_of_change(tx, change_id))


def propose(
    rt: Runtime, caller: Caller, files: Mapping[str, str], title: str, description: str
) -> dict[str, Any]:
    """A change that makes the bundle in force hold exactly these files."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        wanted = Bundle(files)
        before = files_of(tx, active_digest(tx) or "")
        edits = edits_between(before, {path: wanted.text(path) for path in wanted.files})
        if not edits:
            raise InvalidInputError(
                "These files are what is in force already.",
                fix="Change a rule or a number first.",
                code="nothing-changed",
            )
        check_size(edits, limits_in_force(rt, tx))
        change_id = receive(
            tx,
            edits,
            source="proposal",
            title=title,
            description=description,
            author=caller.person.handle,
            author_ids=[caller.person.id],
            by=actor(caller),
            decision_id=answer.id,
        )
        return view(rt, tx, row_of_change(tx, change_id))

    return carry_out(rt, lambda _: _about_policy(caller, Permission.POLICY_PROPOSE), act)


def review(
    rt: Runtime,
    caller: Caller,
    change_id: str,
    *,
    approves: bool,
    digest: str,
    comment: str = "",
    side: str | None = None,
) -> dict[str, Any]:
    """A yes or no to the candidate with this digest, for the reviewer's side.

    The digest is what the reviewer looked at: when the candidate has become another one meanwhile,
    nobody approves it unseen.
    """

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = row_of_change(tx, change_id, lock=True)
        _check_reviewable(row, digest)
        chosen = _side(rt, tx, caller, row, side)
        if not approves and not comment.strip():
            raise InvalidInputError(
                "A no needs its reason, so that the author can do better.",
                fix="Say why with -m.",
                code="reason-required",
            )
        verdict = "approve" if approves else "reject"
        tx.insert(
            t.policy_reviews,
            id=tx.new_id("review"),
            change_id=change_id,
            reviewer_id=caller.person.id,
            side=chosen,
            verdict=verdict,
            comment=comment,
            digest=row["digest"],
            base_digest=row["base_digest"],
            impact_id=row["impact_id"],
            at=tx.now,
        )
        record(
            tx,
            "policy.change-reviewed",
            change_id,
            actor(caller),
            facts={"side": chosen, "verdict": verdict, "digest": row["digest"]},
            decision_id=answer.id,
            private={"comment": comment} if comment else None,
        )
        tx.wake = True
        return view(rt, tx, row_of_change(tx, change_id))

    return carry_out(rt, lambda _: _about_policy(caller, Permission.POLICY_REVIEW), act)


def _check_reviewable(row: Row, digest: str) -> None:
    state = ChangeState(row["state"])
    if state not in _REVIEWED:
        raise ConflictError(
            f"It is {state.value.replace('-', ' ')}: there is nothing to review now.",
            fix=f"charter policy change show {row['id']} says what comes next.",
            code="not-in-review",
        )
    if row["digest"] != digest:
        raise ConflictError(
            "The candidate has become another one since you looked at it.",
            fix=f"Look again: charter policy change show {row['id']}.",
            code="candidate-changed",
        )


def _side(rt: Runtime, tx: Tx, caller: Caller, row: Row, asked: str | None) -> str:
    """For which side this person speaks; raises `ForbiddenError` when for none."""
    if caller.person.id in row["author_ids"]:
        raise ForbiddenError(
            "Nobody reviews a change of their own.",
            fix="Ask somebody else of your side.",
            code="own-change",
        )
    limits = limits_in_force(rt, tx)
    chain = scope_chain(None, None)
    sides = side_of(roles_of(caller.person.bindings, chain, tx.now), limits)
    if asked is not None:
        sides = tuple(side for side in sides if side == asked)
    if not sides:
        who = "; ".join(f"{side}: {', '.join(limits.reviewers[side])}" for side in limits.reviewers)
        raise ForbiddenError(
            "Your roles speak for no side that reviews policy changes"
            + (f" as {asked}." if asked else "."),
            fix=f"Who may ({who}) can be asked.",
            code="not-a-reviewer",
        )
    missing = missing_sides(facts_of(tx, row, limits), limits)
    return next((side for side in sides if side in missing), sides[0])


def promote(rt: Runtime, caller: Caller, change_id: str) -> dict[str, Any]:
    """Put a staged change in force; from then on it is watched.

    Where an OPA is configured, it has to agree with the built-in engine about the candidate.
    """
    with rt.database.reading() as tx:
        digest = row_of_change(tx, change_id)["digest"]
        candidate = None if digest is None else Bundle(files_of(tx, digest))
    if candidate is not None:
        check_parity(rt, caller, candidate)

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = row_of_change(tx, change_id, lock=True)
        if row["digest"] != digest:
            raise ConflictError(
                "The candidate has become another one meanwhile.",
                fix=f"Look again: charter policy change show {change_id}.",
                code="candidate-changed",
            )
        active_digest(tx, lock=True)  # nobody puts another one in force between looking and acting
        limits = limits_in_force(rt, tx)
        why_not = not_promotable(facts_of(tx, row, limits), limits, tx.now)
        if why_not is not None:
            raise ConflictError(
                f"The change cannot be promoted. {why_not}",
                fix=f"charter policy change show {change_id} says what comes next.",
                code="not-promotable",
            )
        previous = put_in_force(
            rt,
            tx,
            row["digest"],
            kind=Kind.PROMOTE,
            by=actor(caller),
            ip=caller.ip,
            why=row["title"],
            change_id=change_id,
            decision_id=answer.id,
        )
        move(
            tx,
            row,
            ChangeState.MONITORED,
            "Refusals are compared with those before it.",
            by=actor(caller),
            decision_id=answer.id,
            promoted_at=tx.now,
            previous_digest=previous,
        )
        return view(rt, tx, row_of_change(tx, change_id))

    return carry_out(rt, lambda _: _about_policy(caller, Permission.POLICY_APPLY), act)


def withdraw(rt: Runtime, caller: Caller, change_id: str, why: str) -> dict[str, Any]:
    """End a change that is not in force yet."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = row_of_change(tx, change_id, lock=True)
        state = ChangeState(row["state"])
        if state not in OPEN:
            raise ConflictError(
                f"It is {state.value.replace('-', ' ')}, so there is nothing to withdraw.",
                fix="What is in force is taken back with: charter policy rollback.",
                code="change-ended",
            )
        reason = f"{caller.person.handle} withdrew it{f': {why}' if why else '.'}"
        move(tx, row, ChangeState.WITHDRAWN, reason, by=actor(caller), decision_id=answer.id)
        return view(rt, tx, row_of_change(tx, change_id))

    return carry_out(rt, lambda _: _about_policy(caller, Permission.POLICY_PROPOSE), act)
