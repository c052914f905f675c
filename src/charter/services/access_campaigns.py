"""Campaigns of access reviews: what is held is listed, people are asked, silence is written down.

Opening a campaign brings the end of everything in it forward to the deadline (`core.access.reviews`
says why), so that nothing waits for `close_due`, which only writes down what has ended, and takes
the role of platform admins away that nobody kept, as long as one is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.resource import ResourceRef
from charter.core.access.reviews import (
    Answer,
    Item,
    Kind,
    ReviewRules,
    ends_by_silence,
    quarter,
    reviewer_roles,
)
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import ConflictError
from charter.core.policy.reviews import add_months
from charter.services import access_held
from charter.services.access import carry_out, note, simple
from charter.services.approval_requests import approvers, notify
from charter.services.decisions import Answer as DecisionAnswer
from charter.services.governance_calendar import began
from charter.services.roles import keep_one_admin
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

CALENDAR: Final = ActorRef("system", "calendar")
_USED: Final = ("allow", "warn")
# The table, and its column, whose moment is the end of a thing of this kind.
ENDS: Final[Mapping[Kind, tuple[sa.Table, str]]] = {
    Kind.ROLE: (t.role_bindings, "expires_at"),
    Kind.GRANT: (t.grants, "expires_at"),
    Kind.TOKEN: (t.api_tokens, "expires_at"),
    Kind.AGENT: (t.tasks, "deadline"),
    Kind.DEFINITION: (t.agent_definitions, "ends_at"),
}


def item_of(row: Row | Mapping[str, Any]) -> Item:
    """A stored item as the core sees it."""
    return Item(
        kind=Kind(row["kind"]),
        holder_id=row["holder_id"],
        team_id=row["team_id"],
        role=row["role"],
        privileged=row["privileged"],
        answer=None if row["answer"] is None else Answer(row["answer"]),
    )


# --- opening ------------------------------------------------------------------------------------
def open_by(rt: Runtime, caller: Caller, *, reason: str) -> str:
    """Open a campaign outside the calendar; returns its id."""

    def act(tx: Tx, answer: DecisionAnswer) -> str:
        # Of two that open one at the same moment, the second finds the first's.
        tx.conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('charter.campaign'))"))
        running = tx.one(
            sa.select(t.access_campaigns.c.name).where(t.access_campaigns.c.closed_at.is_(None))
        )
        if running is not None:
            raise ConflictError(
                f"The campaign {running['name']} is still open.",
                fix="Answer it, or wait for its deadline: charter review list.",
                code="campaign-open",
            )
        rules = rt.policy.active(tx).data.access_reviews
        id_ = _open(tx, rules, name=f"{tx.now:%Y-%m-%d}", opened_by=caller.id, reason=reason)
        note(
            tx,
            caller,
            "access-review.opened",
            "access-review",
            id_,
            decision_id=answer.id,
            private={"reason": reason},
        )
        return id_

    return carry_out(
        rt,
        lambda _: simple(
            caller, Permission.ACCESS_REVIEW_OPEN, ResourceRef("access-review"), {"spec": {}}
        ),
        act,
    )


def open_due(rt: Runtime) -> str | None:
    """Open the campaign of the quarter when it is time; its id."""
    with rt.database.unit_of_work() as tx:
        rules = rt.policy.active(tx).data.access_reviews
        c = t.access_campaigns.c
        last = tx.one(
            sa.select(
                sa.func.max(c.opened_at).label("at"),
                sa.func.count().filter(c.closed_at.is_(None)).label("open"),
            )
        )
        since = began(tx) if last is None or last["at"] is None else last["at"]
        if tx.now < add_months(since, rules.every_months) or (last is not None and last["open"]):
            return None
        # A replica that looks at the same moment waits here, and finds the campaign open.
        tx.conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('charter.campaign'))"))
        if tx.one(sa.select(c.id).where(c.opened_at > since)) is not None:
            return None
        id_ = _open(tx, rules, name=quarter(tx.now), opened_by=CALENDAR.id, reason=None)
        _record(tx, CALENDAR, "access-review.opened", id_)
        return id_


def _open(tx: Tx, rules: ReviewRules, *, name: str, opened_by: str, reason: str | None) -> str:
    campaign_id = tx.new_id("campaign")
    due_at = tx.now + timedelta(seconds=rules.answer_seconds)
    tx.insert(
        t.access_campaigns,
        id=campaign_id,
        name=name,
        opened_by=opened_by,
        reason=reason,
        opened_at=tx.now,
        due_at=due_at,
        remind_at=tx.now + timedelta(seconds=rules.reminder_seconds),
    )
    # What ends before the deadline anyway needs nobody's answer.
    items = [
        item
        for item in access_held.held(tx, rules)
        if item["ended_at"] is None or item["ended_at"] >= due_at
    ]
    tx.insert_all(
        t.access_review_items,
        [{"id": tx.new_id("review-item"), "campaign_id": campaign_id, **item} for item in items],
    )
    for kind, (table, column) in ENDS.items():
        ids = [
            item["target_id"]
            for item in items
            if item["kind"] == kind and ends_by_silence(_as_item(item), item["scope_kind"])
        ]
        ends = table.c[column]
        key = table.c.agent_id if kind is Kind.AGENT else table.c.id
        tx.update(table, key.in_(ids), sa.or_(ends.is_(None), ends > due_at), **{column: due_at})
    _tell_reviewers(tx, rules, campaign_id, "A review of access has begun")
    return campaign_id


def _as_item(values: Mapping[str, Any]) -> Item:
    return Item(
        Kind(values["kind"]),
        values["holder_id"],
        values["team_id"],
        values["role"],
        values["privileged"],
    )


# --- asking -------------------------------------------------------------------------------------
def reviewers(tx: Tx, item: Item, rules: ReviewRules) -> list[str]:
    """Who may answer for the item at this moment; nobody for what is their own."""
    return approvers(tx, reviewer_roles(item, rules), item.team_id or "", None, but=item.holder_id)


def _tell_reviewers(tx: Tx, rules: ReviewRules, campaign_id: str, begins: str) -> int:
    """One notice for everybody for whom something waits; how many people were told."""
    c = t.access_review_items.c
    waiting: dict[str, int] = {}
    known: dict[Any, list[str]] = {}
    for row in tx.all(
        sa.select(t.access_review_items).where(c.campaign_id == campaign_id, c.answer.is_(None))
    ):
        item = item_of(row)
        key = (reviewer_roles(item, rules), item.team_id, item.holder_id)
        if key not in known:
            known[key] = reviewers(tx, item, rules)
        for person in known[key]:
            waiting[person] = waiting.get(person, 0) + 1
    campaign = _campaign(tx, campaign_id)
    for person, count in waiting.items():
        things = "1 thing waits" if count == 1 else f"{count} things wait"
        notify(
            tx,
            person,
            "access-review",
            f"{begins}: {things} for your answer until {campaign['due_at']:%Y-%m-%d %H:%M} UTC. "
            "What nobody keeps ends then.",
            resource=("access-review", campaign_id),
        )
    return len(waiting)


def _campaign(tx: Tx, campaign_id: str) -> Row:
    row = tx.one(sa.select(t.access_campaigns).where(t.access_campaigns.c.id == campaign_id))
    if row is None:
        raise AssertionError
    return row


def remind(rt: Runtime) -> str | None:
    """Remind the reviewers of one campaign whose time it is; its id."""
    with rt.database.unit_of_work() as tx:
        c = t.access_campaigns.c
        row = tx.one(
            sa.select(c.id)
            .where(c.closed_at.is_(None), c.remind_at <= tx.now, c.due_at > tx.now)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if row is None:
            return None
        rules = rt.policy.active(tx).data.access_reviews
        _tell_reviewers(tx, rules, row["id"], "A review of access goes on")
        again = tx.now + timedelta(seconds=rules.reminder_seconds)
        tx.update(t.access_campaigns, c.id == row["id"], remind_at=again)
        return str(row["id"])


# --- closing ------------------------------------------------------------------------------------
def close_due(rt: Runtime) -> str | None:
    """Close one campaign whose deadline has passed: write down what silence has ended; its id."""
    with rt.database.unit_of_work() as tx:
        c = t.access_campaigns.c
        campaign = tx.one(
            sa.select(t.access_campaigns)
            .where(c.closed_at.is_(None), c.due_at <= tx.now)
            .order_by(c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if campaign is None:
            return None
        i = t.access_review_items.c
        silent = tx.all(
            sa.select(t.access_review_items)
            .where(i.campaign_id == campaign["id"], i.answer.is_(None))
            .order_by(i.id)
            .with_for_update()
        )
        lost: dict[str, list[str]] = {}
        answers: dict[str, list[str]] = {}
        for row in silent:
            answer = _by_silence(tx, campaign, row)
            answers.setdefault(answer.value, []).append(row["id"])
            if answer is Answer.LAPSED:
                lost.setdefault(row["holder_id"], []).append(row["what"])
        for answer_name, ids in answers.items():
            tx.update(t.access_review_items, i.id.in_(ids), answer=answer_name, answered_at=tx.now)
        tx.audit(
            *(
                _event(tx, CALENDAR, "access-review.lapsed", id_)
                for id_ in answers.get(Answer.LAPSED.value, ())
            )
        )
        for person, things in lost.items():
            notify(
                tx,
                person,
                "access-review",
                f"Nobody said that you still need it, so it has ended: {_few(things)}. "
                "Ask for it again if you do.",
                resource=("access-review", campaign["id"]),
            )
        d = t.agent_definitions.c
        tx.update(
            t.agent_definitions, d.ends_at <= tx.now, d.retired_at.is_(None), retired_at=d.ends_at
        )
        tx.update(t.access_campaigns, c.id == campaign["id"], closed_at=tx.now)
        _record(tx, CALENDAR, "access-review.closed", campaign["id"])
        return str(campaign["id"])


_SHOWN: Final = 3


def _few(things: list[str]) -> str:
    left = len(things) - _SHOWN
    return ", ".join(things[:_SHOWN]) + (f" and {left} more" if left > 0 else "")


def _by_silence(tx: Tx, campaign: Row, row: Row) -> Answer:
    """What silence meant for one item; takes a platform admin's role away, if another is left."""
    ended_before = row["ended_at"] is not None and row["ended_at"] < campaign["due_at"]
    if ended_before or is_gone(tx, row, campaign["due_at"]):
        return Answer.GONE
    if ends_by_silence(item_of(row), row["scope_kind"]):
        return Answer.LAPSED
    binding = t.role_bindings.c.id == row["target_id"]
    try:
        keep_one_admin(tx, without=binding)
    except ConflictError:
        notify(
            tx,
            row["holder_id"],
            "access-review",
            "Nobody answered for your role of platform admin. You keep it, because you are the "
            "last one: give it to somebody else as well.",
            resource=("access-review", campaign["id"]),
        )
        return Answer.KEEP
    tx.update(t.role_bindings, binding, revoked_at=tx.now)
    return Answer.LAPSED


def is_gone(tx: Tx, row: Row, due_at: datetime) -> bool:
    """Whether it was taken away by something else before the deadline."""
    kind = Kind(row["kind"])
    if kind is Kind.AGENT:
        table, column = t.agents, t.agents.c.ended_at
    else:
        table = ENDS[kind][0]
        column = table.c.retired_at if kind is Kind.DEFINITION else table.c.revoked_at
    found = tx.one(sa.select(column.label("at")).where(table.c.id == row["target_id"]))
    return found is None or (found["at"] is not None and found["at"] < due_at)


def _event(tx: Tx, actor: ActorRef, action: str, id_: str) -> AuditEvent:
    return AuditEvent(
        id=tx.new_id("event"),
        at=tx.now,
        actor=actor,
        action=action,
        resource_kind="access-review",
        resource_id=id_,
        outcome=Outcome.DONE,
    )


def _record(tx: Tx, actor: ActorRef, action: str, id_: str) -> None:
    tx.audit(_event(tx, actor, action, id_))


def put_back(tx: Tx, row: Row) -> None:
    """Give a kept thing the end that it had before the campaign."""
    table, column = ENDS[Kind(row["kind"])]
    key = table.c.agent_id if row["kind"] == Kind.AGENT else table.c.id
    tx.update(table, key == row["target_id"], **{column: row["ended_at"]})
