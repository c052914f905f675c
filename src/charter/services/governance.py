"""Governance: reviews of the policy, opened by the calendar or by an event, held by a committee.

The calendar opens what is due (`governance_calendar`); a person opens a review for an
event. It is held on a day by people who each speak for one side, minutes and findings are written,
and it is closed once `core.policy.reviews` finds nothing lacking. Each review shows the figures of
its period, so that the committee argues about what happened rather than about impressions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from charter.core.policy import reviews as core
from charter.core.policy.reviews import Outcome, ReviewKind, Side, Trigger
from charter.services import lookup, paging, rule_usage
from charter.services.access import carry_out, note, simple
from charter.services.approval_requests import notify
from charter.services.decisions import Answer
from charter.services.governance_calendar import began, fresh, last_held, tell
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_MOST_RULES: Final = 50  # in the figures; a committee does not read more


@dataclass(frozen=True, slots=True)
class Held:
    """That a review was held: when, and by whom (handle or id) for which side."""

    held_at: datetime | None
    members: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be done: what, by whom (handle or id), until when."""

    text: str
    owner: str
    due_on: date


# --- reading ----------------------------------------------------------------------------------
def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    state: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Reviews, newest first."""
    del caller
    with rt.database.reading() as tx:
        c = t.governance_reviews.c
        query = sa.select(t.governance_reviews)
        if state == "open":
            query = query.where(c.closed_at.is_(None))
        elif state == "overdue":
            query = query.where(c.closed_at.is_(None), c.held_at.is_(None), c.due_at < tx.now)
        elif state is not None:
            query = query.where(c.closed_at.is_not(None))
        page = paging.newest_first(tx, query, c.id, lambda row: _view(row, tx.now), cursor, limit)
        _name(tx, page["items"])
        return page


def list_due(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """When the next review of each scheduled kind is due, by the cadence in force."""
    del caller
    with rt.database.reading() as tx:
        cadence = rt.policy.active(tx).data.reviews
        held, first = last_held(tx), began(tx)
        return [
            {
                "kind": kind.value,
                "every_months": cadence.every_months[kind],
                "last_held_at": held.get(kind),
                "due_at": core.next_due(kind, cadence, held, first),
            }
            for kind in core.SCHEDULED
        ]


def get(rt: Runtime, caller: Caller, review_id: str) -> dict[str, Any]:
    """One review with the figures of its period."""
    del caller
    with rt.database.reading() as tx:
        row = _row(tx, review_id)
        view = _view(row, tx.now)
        cadence = rt.policy.active(tx).data.reviews
        view["lacking"] = [] if row["closed_at"] else list(_lacking(row, cadence))
        view["figures"] = _figures(tx, row)
        _name(tx, [view])
        return view


def _row(tx: Tx, review_id: str, *, lock: bool = False) -> Row:
    query = sa.select(t.governance_reviews).where(t.governance_reviews.c.id == review_id)
    row = tx.one(query.with_for_update() if lock else query)
    if row is None:
        raise NotFoundError(
            "There is no such review.", fix="charter governance list shows all of them."
        )
    return row


def _view(row: Row, now: datetime) -> dict[str, Any]:
    return {
        **{
            name: row[name]
            for name in (
                "id",
                "kind",
                "trigger",
                "reason",
                "opened_by",
                "opened_at",
                "due_at",
                "held_at",
                "minutes",
                "outcome",
                "closed_at",
                "closed_by",
            )
        },
        "state": core.state_of(
            due_at=row["due_at"], held_at=row["held_at"], closed_at=row["closed_at"], now=now
        ).value,
        "committee": [dict(member) for member in row["committee"]],
        "findings": [dict(finding) for finding in row["findings"]],
        "lacking": [],
        "figures": None,
    }


def _name(tx: Tx, views: Iterable[dict[str, Any]]) -> None:
    """Put handles beside the ids of people, with one query for all views."""
    views = list(views)
    ids = {id_ for view in views for id_ in _people_in(view)}
    rows = tx.all(sa.select(t.people.c.id, t.people.c.handle).where(t.people.c.id.in_(ids)))
    handles = {row["id"]: row["handle"] for row in rows}
    for view in views:
        view["opened_by"] = handles.get(view["opened_by"], view["opened_by"])
        view["closed_by"] = handles.get(view["closed_by"], view["closed_by"])
        for member in view["committee"]:
            member["person"] = handles.get(member["person_id"], member["person_id"])
        for finding in view["findings"]:
            finding["owner"] = handles.get(finding["owner_id"], finding["owner_id"])


def _people_in(view: Mapping[str, Any]) -> Iterable[str]:
    yield view["opened_by"]
    if view["closed_by"]:
        yield view["closed_by"]
    yield from (member["person_id"] for member in view["committee"])
    yield from (finding["owner_id"] for finding in view["findings"])


def _figures(tx: Tx, row: Row) -> dict[str, Any]:
    """What happened between the review before and this one, in bounded sums."""
    c = t.governance_reviews.c
    before = tx.one(
        sa.select(sa.func.max(c.held_at).label("at")).where(
            c.held_at.is_not(None), c.id < row["id"]
        )
    )
    since = before["at"] if before is not None and before["at"] else began(tx)
    until = row["held_at"] or tx.now
    counted = rule_usage.totals(tx, since, until)
    b = t.bundles.c
    loaded = tx.one(
        sa.select(sa.func.count().label("n")).where(b.created_at > since, b.created_at <= until)
    )
    return {
        "since": since,
        "until": until,
        "rules": [
            {**each, "last_at": each["last_at"]}
            for each in counted
            if each["said"] == rule_usage.SPOKE
        ][:_MOST_RULES],
        "exempted": [each for each in counted if each["said"] == rule_usage.EXEMPTED][:_MOST_RULES],
        "spoke": sum(each["count"] for each in counted if each["said"] == rule_usage.SPOKE),
        "exemptions_used": sum(
            each["count"] for each in counted if each["said"] == rule_usage.EXEMPTED
        ),
        "bundles_loaded": 0 if loaded is None else int(loaded["n"]),
    }


# --- changing ---------------------------------------------------------------------------------
def open_review(rt: Runtime, caller: Caller, trigger: str, reason: str) -> dict[str, Any]:
    """Open a review because of an event."""

    def act(tx: Tx, answer: Answer) -> str:
        cadence = rt.policy.active(tx).data.reviews
        why = _one_of(Trigger, trigger, "trigger", core.AD_HOC_TRIGGERS)
        due_at = core.due_of(why, cadence, tx.now)
        id_ = tx.new_id("review")
        tx.insert(
            t.governance_reviews,
            **fresh(id_, ReviewKind.AD_HOC, why, tx.now, due_at, caller.id, reason),
        )
        note(tx, caller, "review.opened", "review", id_, decision_id=answer.id,
             facts={"trigger": why.value}, private={"reason": reason})  # fmt: skip
        tell(
            tx,
            f"A review was opened and is due on {due_at:%Y-%m-%d}: {reason}",
            id_,
            "opened",
        )
        return id_

    id_ = carry_out(rt, lambda _: _question(caller, None), act)
    return get(rt, caller, id_)


def hold(rt: Runtime, caller: Caller, review_id: str, held: Held) -> dict[str, Any]:
    """Note that the review was held, and by which committee; again to correct it."""

    def act(tx: Tx, row: Row, answer: Answer) -> None:
        when = held.held_at or tx.now
        if when > tx.now:
            raise InvalidInputError(
                "A review cannot have been held in the future.", fix="Give the day it was held on."
            )
        members = [
            core.Member(
                str(lookup.person(tx, person)["id"]),
                _one_of(Side, side, "side", tuple(Side)),
            )
            for person, side in held.members
        ]
        problems = core.not_seated(members)
        if problems:
            raise InvalidInputError(
                " ".join(problems), fix="Name each person once, with the side they speak for."
            )
        tx.update(
            t.governance_reviews,
            t.governance_reviews.c.id == row["id"],
            held_at=when.astimezone(UTC),
            committee=[{"person_id": m.person_id, "side": m.side.value} for m in members],
        )
        note(tx, caller, "review.held", "review", row["id"], decision_id=answer.id,
             facts={"members": len(members)})  # fmt: skip

    return _change(rt, caller, review_id, act)


def write_minutes(
    rt: Runtime, caller: Caller, review_id: str, minutes: str, findings: Sequence[Action]
) -> dict[str, Any]:
    """Write the minutes and what is to be done; replaces both until the review is closed."""

    def act(tx: Tx, row: Row, answer: Answer) -> None:
        done = {(f["text"], f["owner_id"]): f.get("done_at") for f in row["findings"]}
        kept = []
        for finding in findings:
            owner = str(lookup.person(tx, finding.owner)["id"])
            kept.append(
                {
                    "text": finding.text,
                    "owner_id": owner,
                    "due_on": finding.due_on.isoformat(),
                    "done_at": done.get((finding.text, owner)),
                }
            )
        tx.update(
            t.governance_reviews,
            t.governance_reviews.c.id == row["id"],
            minutes=minutes,
            findings=kept,
        )
        note(tx, caller, "review.minuted", "review", row["id"], decision_id=answer.id,
             facts={"findings": len(kept)}, private={"minutes": minutes})  # fmt: skip

    return _change(rt, caller, review_id, act)


def close(rt: Runtime, caller: Caller, review_id: str, outcome: str) -> dict[str, Any]:
    """Close a review that lacks nothing; the findings go to their owners."""

    def act(tx: Tx, row: Row, answer: Answer) -> None:
        result = _one_of(Outcome, outcome, "outcome", tuple(Outcome))
        lacking = _lacking(row, rt.policy.active(tx).data.reviews)
        if lacking:
            raise ConflictError(
                f"The review cannot be closed yet. {' '.join(lacking)}",
                fix="charter governance hold and charter governance minutes add what is missing.",
                code="review-incomplete",
                details={"lacking": list(lacking)},
            )
        tx.update(
            t.governance_reviews,
            t.governance_reviews.c.id == row["id"],
            outcome=result.value,
            closed_at=tx.now,
            closed_by=caller.id,
        )
        for number, finding in enumerate(row["findings"], start=1):
            notify(
                tx,
                finding["owner_id"],
                "review-action",
                f"A review asks you, until {finding['due_on']}: {finding['text']}",
                resource=("review", row["id"]),
                dedupe_key=f"review-action:{row['id']}:{number}",
            )
        note(tx, caller, "review.closed", "review", row["id"], decision_id=answer.id,
             facts={"outcome": result.value})  # fmt: skip

    return _change(rt, caller, review_id, act)


def finish_action(rt: Runtime, caller: Caller, review_id: str, number: int) -> dict[str, Any]:
    """Note that finding `number` (from 1) of a review is done."""

    def act(tx: Tx, row: Row, answer: Answer) -> None:
        if not 1 <= number <= len(row["findings"]):
            raise NotFoundError(
                f"The review has no finding {number}.", fix="charter governance show numbers them."
            )
        findings = [dict(finding) for finding in row["findings"]]
        findings[number - 1]["done_at"] = tx.now.isoformat()
        tx.update(t.governance_reviews, t.governance_reviews.c.id == row["id"], findings=findings)
        note(tx, caller, "review.action-done", "review", row["id"], decision_id=answer.id,
             facts={"finding": number})  # fmt: skip

    return _change(rt, caller, review_id, act, closed=True)


def _question(caller: Caller, review_id: str | None) -> Any:
    return simple(caller, Permission.GOVERNANCE_MANAGE, ResourceRef("review", id=review_id))


def _change(
    rt: Runtime, caller: Caller, review_id: str, act: Any, *, closed: bool = False
) -> dict[str, Any]:
    def locked(tx: Tx, answer: Answer) -> None:
        row = _row(tx, review_id, lock=True)
        if row["closed_at"] is not None and not closed:
            raise ConflictError(
                "The review is closed, and its record stays as it is.",
                fix="Open another one: charter governance open --trigger …",
                code="review-closed",
            )
        act(tx, row, answer)

    carry_out(rt, lambda _: _question(caller, review_id), locked)
    return get(rt, caller, review_id)


def _lacking(row: Row, cadence: core.ReviewCadence) -> tuple[str, ...]:
    return core.lacking(
        cadence,
        held_at=row["held_at"],
        members=[core.Member(m["person_id"], Side(m["side"])) for m in row["committee"]],
        minutes=row["minutes"],
    )


def _one_of(kind: Any, value: str, what: str, choices: Sequence[Any]) -> Any:
    if value not in choices:
        raise InvalidInputError(
            f"There is no {what} {value!r}.", fix=f"Choose one of: {', '.join(choices)}."
        )
    return kind(value)
