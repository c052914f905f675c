"""Break-glass: an emergency role that works at once, alerts, ends by itself and is reviewed.

Starting one inserts a role binding with an end, so every decision of the person sees it, and the
binding carries the emergency's id, so every decision and event under it is marked. Nothing depends
on a clean-up: the end of the binding and the overdue review are computed when they are looked at.

Source: Spec ID-11.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from charter.core.access.break_glass import (
    EmergencyState,
    ReviewOutcome,
    may_start,
    ordinary,
    over_at,
    state_of,
)
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.roles import ORGANISATION, ScopeKind
from charter.core.access.separation import conflicts
from charter.core.kernel.errors import ConflictError, ForbiddenError, InvalidInputError
from charter.services import break_glass_records as records
from charter.services import custom_roles, paging
from charter.services.access import carry_out, missing, note
from charter.services.approval_requests import notify
from charter.services.decisions import Answer, Question
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx


# --- reading ----------------------------------------------------------------------------------
def _view(tx: Tx, emergency_id: str) -> dict[str, Any]:
    return records.views(tx, [records.row_of(tx, emergency_id)])[0]


def _visible(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    if reach_set(caller.subject, Permission.BREAK_GLASS_VIEW, tx.now).everything:
        return sa.true()
    return t.break_glass.c.person_id == caller.id


def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    to_review: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Emergencies that the caller may see, newest first; `to_review`: not reviewed yet."""
    with rt.database.reading() as tx:
        c = t.break_glass.c
        query = sa.select(t.break_glass).where(_visible(tx, caller))
        if to_review:
            query = query.where(c.reviewed_at.is_(None))
        page = paging.newest_first(tx, query, c.id, dict, cursor, limit)
        return {**page, "items": records.views(tx, page["items"])}


def get(rt: Runtime, caller: Caller, emergency_id: str) -> dict[str, Any]:
    """One emergency, with what was decided under it."""
    with rt.database.reading() as tx:
        c, d = t.break_glass.c, t.decisions.c
        row = tx.one(sa.select(t.break_glass).where(c.id == emergency_id, _visible(tx, caller)))
        if row is None:
            raise missing(records.NOUN)
        done = tx.all(
            sa.select(d.id, d.at, d.action, d.resource_kind, d.resource_id, d.effect)
            .where(
                d.subject_id == row["person_id"],
                d.at >= row["started_at"],
                d.at < over_at(records.as_emergency(row)),
            )
            .order_by(d.at, d.id)
            .limit(paging.LARGEST_PAGE)
        )
        return {**records.views(tx, [row])[0], "decisions": [dict(each) for each in done]}


def get_offer(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """What the caller could take now: the emergency roles that policy names, and what is on."""
    with rt.database.reading() as tx:
        limits = rt.policy.active(tx).data.elevation.break_glass
        held = _held(tx, caller)
        handle = caller.person.handle
        roles = {
            name: role.seconds
            for name, role in limits.roles.items()
            if not caller.is_agent
            and (held & set(role.eligible_roles) or handle in role.eligible_people)
        }
        c = t.break_glass.c
        rows = tx.all(sa.select(t.break_glass).where(c.person_id == caller.id))
        on = [
            row
            for row in rows
            if state_of(records.as_emergency(row), tx.now) is EmergencyState.ACTIVE
        ]
        refusal = may_start(
            map(records.as_emergency, rows), tx.now, cool_down_seconds=limits.cool_down_seconds
        )
        return {
            "roles": [{"role": name, "seconds": seconds} for name, seconds in roles.items()],
            "active": records.views(tx, on)[0] if on else None,
            "why_not": None if refusal is None else refusal.message,
        }


# --- starting and ending ----------------------------------------------------------------------
def _held(tx: Tx, caller: Caller) -> set[str]:
    return {
        binding.role
        for binding in caller.person.bindings
        if binding.live(tx.now) and binding.break_glass is None
    }


def _own(
    tx: Tx, caller: Caller, action: Permission, emergency_id: str | None = None
) -> ResourceRef:
    """The caller's emergency, placed where a role of theirs lets them: one in a team is enough."""
    scopes = [
        b.scope
        for b in ordinary(caller.person).bindings
        if b.live(tx.now) and b.reach_of(action) is not None
    ]
    place = scopes[0] if scopes and ORGANISATION not in scopes else ORGANISATION
    return ResourceRef(
        records.NOUN,
        id=emergency_id,
        owner_id=caller.id,
        owner_kind="agent" if caller.is_agent else "human",
        sponsor_id=caller.person.id if caller.is_agent else None,
        team_id=place.id if place.kind is ScopeKind.TEAM else None,
        project_id=place.id if place.kind is ScopeKind.PROJECT else None,
    )


def start(
    rt: Runtime, caller: Caller, *, role: str, reason: str, minutes: int | None = None
) -> dict[str, Any]:
    """Take the emergency role now; without `minutes`, for as long as policy lets it last."""

    def question(tx: Tx) -> Question:
        limits = rt.policy.active(tx).data.elevation.break_glass
        known = limits.roles.get(role)
        longest = 0 if known is None else known.seconds
        return Question(
            caller=caller,
            action=Permission.BREAK_GLASS_START,
            resource=_own(tx, caller, Permission.BREAK_GLASS_START),
            resource_facts={
                "spec": {
                    "role": role,
                    "seconds": longest if minutes is None else minutes * 60,
                    "held_roles": sorted(_held(tx, caller)),
                }
            },
            context={"justification": reason},
        )

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        limits = rt.policy.active(tx).data.elevation.break_glass
        seconds = answer.facts["document"]["resource"]["spec"]["seconds"]
        # First the lock, then the look: two that start together find one another.
        tx.all(sa.select(t.people.c.id).where(t.people.c.id == caller.id).with_for_update())
        records.close_expired(tx, t.break_glass.c.person_id == caller.id)
        before = tx.all(sa.select(t.break_glass).where(t.break_glass.c.person_id == caller.id))
        refusal = may_start(
            map(records.as_emergency, before), tx.now, cool_down_seconds=limits.cool_down_seconds
        )
        if refusal is not None:
            raise ConflictError(
                refusal.message, fix=refusal.fix, code=refusal.rule.removeprefix("invariant/")
            )
        _check_roles(rt, tx, caller, role)
        emergency_id = tx.new_id("break-glass")
        until = tx.now + timedelta(seconds=seconds)
        tx.insert(
            t.break_glass,
            id=emergency_id,
            person_id=caller.id,
            role=role,
            reason=reason,
            started_at=tx.now,
            expires_at=until,
            review_due_at=until + timedelta(seconds=limits.review_seconds),
        )
        tx.insert(
            t.role_bindings,
            id=tx.new_id("binding"),
            person_id=caller.id,
            role=role,
            scope_kind=ORGANISATION.kind.value,
            scope_id=ORGANISATION.id,
            granted_by=records.NOUN,
            created_at=tx.now,
            expires_at=until,
            break_glass_id=emergency_id,
        )
        note(
            tx,
            caller,
            "break-glass.started",
            records.NOUN,
            emergency_id,
            decision_id=answer.id,
            facts={"role": role, "seconds": seconds, "break_glass": emergency_id},
            private={"reason": reason},
        )
        records.tell(
            tx,
            limits.alerted,
            f"{caller.person.handle} has broken the glass: {role} until {until:%H:%M} UTC. "
            f"Reason: {reason}",
            emergency_id,
        )
        return _view(tx, emergency_id)

    return carry_out(rt, question, act)


def _check_roles(rt: Runtime, tx: Tx, caller: Caller, role: str) -> None:
    c = t.role_bindings.c
    rows = tx.all(
        sa.select(c.role, c.scope_kind, c.expires_at).where(
            c.person_id == caller.id, c.revoked_at.is_(None), c.break_glass_id.is_(None)
        )
    )
    if any(
        row["role"] == role
        and row["scope_kind"] == ORGANISATION.kind
        and (row["expires_at"] is None or row["expires_at"] > tx.now)
        for row in rows
    ):
        raise ConflictError(
            f"You are {role} already.", fix="Nothing has to be broken for it.", code="held-already"
        )
    listed = rt.policy.active(tx).data.role_conflicts
    clash = conflicts([role, *(custom_roles.held(tx, row["role"]) for row in rows)], listed)
    if clash:
        raise ForbiddenError(clash[0].message, fix=clash[0].fix, code="separation-of-duties")


def end(rt: Runtime, caller: Caller, emergency_id: str) -> dict[str, Any]:
    """End it now: one's own, or another's as an administrator."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = records.row_of(tx, emergency_id, lock=True)
        if state_of(records.as_emergency(row), tx.now) is EmergencyState.ENDED:
            raise ConflictError(
                "This emergency is over.", fix="Nothing is left to end.", code="break-glass-over"
            )
        c, b = t.break_glass.c, t.role_bindings.c
        tx.update(t.break_glass, c.id == row["id"], ended_at=tx.now, ended_by=caller.id)
        tx.update(
            t.role_bindings,
            b.break_glass_id == row["id"],
            b.revoked_at.is_(None),
            revoked_at=tx.now,
        )
        note(tx, caller, "break-glass.ended", records.NOUN, row["id"], decision_id=answer.id)
        limits = rt.policy.active(tx).data.elevation.break_glass
        records.tell_over(tx, limits.reviewers, row)
        return _view(tx, row["id"])

    return carry_out(rt, lambda tx: _about(tx, caller, emergency_id, "end"), act)


def _about(tx: Tx, caller: Caller, emergency_id: str, verb: str) -> Question:
    row = records.row_of(tx, emergency_id)
    own = row["person_id"] == caller.id
    action = Permission.BREAK_GLASS_END if verb == "end" else Permission.BREAK_GLASS_REVIEW
    ref = (
        _own(tx, caller, action, row["id"])
        if own
        else ResourceRef(records.NOUN, id=row["id"], owner_id=row["person_id"], owner_kind="human")
    )
    return Question(caller, action, ref, {"spec": {"role": row["role"]}}, {})


# --- the review -------------------------------------------------------------------------------
def review(
    rt: Runtime, caller: Caller, emergency_id: str, *, outcome: str, findings: str
) -> dict[str, Any]:
    """Say what the emergency was; somebody else's, once, and when it is over."""
    if outcome not in tuple(ReviewOutcome):
        raise InvalidInputError(
            f"A review does not come to {outcome!r}.",
            fix=f"Choose one of {', '.join(ReviewOutcome)}.",
        )

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = records.row_of(tx, emergency_id, lock=True)
        if state_of(records.as_emergency(row), tx.now) is EmergencyState.ACTIVE:
            raise ConflictError(
                "This emergency is still going on.",
                fix="End it first: charter break-glass end.",
                code="break-glass-active",
            )
        if row["reviewed_at"] is not None:
            raise ConflictError(
                "This emergency was reviewed, and a review stands.",
                fix="Note anything else where the incident is kept.",
                code="break-glass-reviewed",
            )
        tx.update(
            t.break_glass,
            t.break_glass.c.id == row["id"],
            reviewed_at=tx.now,
            reviewer_id=caller.id,
            outcome=outcome,
            findings=findings,
        )
        note(
            tx,
            caller,
            "break-glass.reviewed",
            records.NOUN,
            row["id"],
            decision_id=answer.id,
            facts={"outcome": outcome},
            private={"findings": findings},
        )
        notify(
            tx,
            row["person_id"],
            records.NOUN,
            f"{caller.person.handle} reviewed your emergency: {outcome}.",
            resource=(records.NOUN, row["id"]),
        )
        return _view(tx, row["id"])

    return carry_out(rt, lambda tx: _about(tx, caller, emergency_id, "review"), act)
