"""Access reviews for people: what waits for me, keep or revoke, the evidence, what nobody uses.

Whoever holds something sees that it is asked about; whoever may answer sees what waits; those who
watch see everything. Opening, reminding and closing stand in `access_campaigns`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.resource import ResourceRef
from charter.core.access.reviews import (
    Answer,
    Kind,
    ReviewRules,
    may_answer,
    place_of,
    reviewer_roles,
    unused,
)
from charter.core.agents.tasks import TaskEvent
from charter.core.kernel.decision import Violation
from charter.core.kernel.errors import ConflictError, ForbiddenError, NotFoundError
from charter.services import access_campaigns as campaigns
from charter.services import agent_records, lookup, paging
from charter.services.access import carry_out, note, simple
from charter.services.approval_requests import notify
from charter.services.decisions import Answer as DecisionAnswer
from charter.services.decisions import Question
from charter.services.lifecycle import recheck_granted
from charter.services.roles import keep_one_admin
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_STATES: Final = ("waiting", *Answer)


# --- seeing -------------------------------------------------------------------------------------
def _seen(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    """The filter that gives exactly the items which the caller may see."""
    c = t.access_review_items.c
    reach = reach_set(caller.subject, Permission.ACCESS_REVIEW_VIEW, tx.now)
    if reach.everything:
        return sa.true()
    return sa.or_(c.holder_id == caller.id, c.team_id.in_(reach.teams))


def list_campaigns(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Campaigns, newest first, with what of them the caller may see."""
    with rt.database.reading() as tx:
        seen = sa.exists().where(
            t.access_review_items.c.campaign_id == t.access_campaigns.c.id, _seen(tx, caller)
        )
        query = sa.select(t.access_campaigns).where(seen)
        page = paging.newest_first(tx, query, t.access_campaigns.c.id, dict, cursor, limit)
        return {**page, "items": campaign_views(tx, caller, page["items"])}


def get_campaign(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """One campaign, by id or name."""
    with rt.database.reading() as tx:
        return campaign_views(tx, caller, [find(tx, caller, ref)])[0]


def find(tx: Tx, caller: Caller, ref: str) -> dict[str, Any]:
    """The newest campaign with this id or name in which the caller may see something."""
    c = t.access_campaigns.c
    seen = sa.exists().where(t.access_review_items.c.campaign_id == c.id, _seen(tx, caller))
    row = tx.one(
        sa.select(t.access_campaigns)
        .where(sa.or_(c.id == ref, c.name == ref), seen)
        .order_by(c.opened_at.desc())
        .limit(1)
    )
    if row is None:
        raise NotFoundError(
            "There is no such review, or nothing in it is yours to see.",
            fix="charter review list shows those that you may see.",
        )
    return dict(row)


def campaign_views(
    tx: Tx, caller: Caller, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Campaigns for faces; counts are of what the caller may see."""
    c = t.access_review_items.c
    answer = sa.func.coalesce(c.answer, "waiting").label("answer")
    counts: dict[str, dict[str, int]] = {row["id"]: dict.fromkeys(_STATES, 0) for row in rows}
    for row in tx.all(
        sa.select(c.campaign_id, answer, sa.func.count().label("n"))
        .where(c.campaign_id.in_(counts), _seen(tx, caller))
        .group_by(c.campaign_id, answer)
    ):
        counts[row["campaign_id"]][row["answer"]] = row["n"]
    names = lookup.subject_names(tx, {row["opened_by"] for row in rows})
    return [
        {
            **{n: row[n] for n in ("id", "name", "reason", "opened_at", "due_at", "closed_at")},
            "opened_by": names.get(row["opened_by"], row["opened_by"]),
            "state": _state(tx, row),
            "counts": counts[row["id"]],
        }
        for row in rows
    ]


def _state(tx: Tx, row: Mapping[str, Any]) -> str:
    if row["closed_at"] is not None or row["due_at"] <= tx.now:
        return "closed"
    return "open"


def list_items(
    rt: Runtime,
    caller: Caller,
    ref: str,
    *,
    state: str | None = None,
    for_me: bool = False,
    unused_only: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """What a campaign asks about, as far as the caller may see it; `for_me` what waits for them."""
    with rt.database.reading() as tx:
        campaign = find(tx, caller, ref)
        rules = rt.policy.active(tx).data.access_reviews
        c = t.access_review_items.c
        query = sa.select(t.access_review_items).where(
            c.campaign_id == campaign["id"], _seen(tx, caller)
        )
        if for_me:
            query = query.where(c.answer.is_(None), c.holder_id != caller.id)
        if state is not None:
            query = query.where(c.answer.is_(None) if state == "waiting" else c.answer == state)
        if unused_only:
            stale = tx.now - timedelta(seconds=rules.unused_seconds)
            query = query.where(sa.func.coalesce(c.last_used_at, c.since) <= stale)
        if for_me:  # who may answer is a rule of the core, not of SQL: campaigns are read whole
            rows = [
                dict(row)
                for row in tx.all(query.order_by(c.id.desc()))
                if _objection(tx, caller, row, campaign, rules) is None
            ]
            if cursor is not None:
                rows = [row for row in rows if row["id"] < cursor]
            more = len(rows) > paging.checked_limit(limit)
            rows = rows[:limit]
            page: dict[str, Any] = {"items": rows, "next": rows[-1]["id"] if more else None}
        else:
            page = paging.newest_first(tx, query, c.id, dict, cursor, limit)
        items = item_views(tx, caller, page["items"] or (), campaign, rules)
        return {**page, "items": items}


def _objection(
    tx: Tx,
    caller: Caller,
    row: Row | Mapping[str, Any],
    campaign: Mapping[str, Any],
    rules: ReviewRules,
) -> Violation | None:
    return may_answer(
        caller.person,
        campaigns.item_of(row),
        rules,
        deadline=campaign["due_at"],
        now=tx.now,
    )


_ITEM: Final = (
    "id",
    "campaign_id",
    "kind",
    "target_id",
    "what",
    "privileged",
    "since",
    "last_used_at",
    "answer",
    "answered_at",
    "comment",
)


def item_views(
    tx: Tx,
    caller: Caller,
    rows: Sequence[Mapping[str, Any]],
    campaign: Mapping[str, Any],
    rules: ReviewRules,
) -> list[dict[str, Any]]:
    """Items for faces, with who may answer, and whether the caller is one of them."""
    people = {row["holder_id"] for row in rows} | {row["answered_by"] for row in rows}
    names = lookup.subject_names(tx, people - {None})
    teams = {row["team_id"] for row in rows} - {None}
    found = tx.all(sa.select(t.teams.c.id, t.teams.c.name).where(t.teams.c.id.in_(teams)))
    team_names = {row["id"]: row["name"] for row in found}
    return [
        {
            **{n: row[n] for n in _ITEM},
            "holder": names.get(row["holder_id"], row["holder_id"]),
            "team": team_names.get(row["team_id"]),
            "answered_by": names.get(row["answered_by"], row["answered_by"]),
            "unused": unused(row["since"], row["last_used_at"], rules, tx.now),
            "reviewers": sorted(reviewer_roles(item := campaigns.item_of(row), rules)),
            "place": place_of(item).value,
            "may_answer": not caller.is_agent
            and _objection(tx, caller, row, campaign, rules) is None,
        }
        for row in rows
    ]


# --- answering ----------------------------------------------------------------------------------
def answer(
    rt: Runtime, caller: Caller, item_id: str, verdict: str, comment: str | None = None
) -> dict[str, Any]:
    """Keep it, or revoke it at once. Raises `ForbiddenError` for whoever may not say."""
    said = Answer(verdict)

    def act(tx: Tx, decided: DecisionAnswer) -> dict[str, Any]:
        row, campaign = _load(tx, caller, item_id, lock=True)
        rules = rt.policy.active(tx).data.access_reviews
        objection = _objection(tx, caller, row, campaign, rules)
        if objection is not None:
            code = objection.rule.removeprefix("invariant/")
            error = ConflictError if code == "review-settled" else ForbiddenError
            raise error(objection.message, fix=objection.fix, code=code)
        if said is Answer.KEEP:
            if campaigns.is_gone(tx, row, tx.now):
                raise ConflictError(
                    "It has ended meanwhile, so there is nothing to keep.",
                    fix="If it is still needed, give it anew.",
                    code="review-settled",
                )
            campaigns.put_back(tx, row)
        else:
            _take_away(tx, row, comment)
        values = {
            "answer": said.value,
            "answered_by": caller.id,
            "answered_at": tx.now,
            "comment": comment,
        }
        tx.update(t.access_review_items, t.access_review_items.c.id == item_id, **values)
        note(
            tx,
            caller,
            f"access-review.{'kept' if said is Answer.KEEP else 'revoked'}",
            "access-review",
            item_id,
            decision_id=decided.id,
            facts={"kind": row["kind"], "target": row["target_id"]},
            private=None if not comment else {"comment": comment},
        )
        return item_views(tx, caller, [{**row, **values}], campaign, rules)[0]

    def question(tx: Tx) -> Question:
        row, _ = _load(tx, caller, item_id)
        return simple(
            caller,
            Permission.ACCESS_REVIEW_ANSWER,
            ResourceRef("access-review", id=item_id, team_id=row["team_id"]),
            {"spec": {"kind": row["kind"], "answer": said.value}},
        )

    return carry_out(rt, question, act)


def _load(
    tx: Tx, caller: Caller, item_id: str, *, lock: bool = False
) -> tuple[Row, dict[str, Any]]:
    c = t.access_review_items.c
    query = sa.select(t.access_review_items).where(c.id == item_id, _seen(tx, caller))
    row = tx.one(query.with_for_update() if lock else query)
    if row is None:
        raise NotFoundError(
            "There is no such item, or it is not yours to see.",
            fix="charter review show shows those that you may see.",
        )
    campaign = tx.one(
        sa.select(t.access_campaigns).where(t.access_campaigns.c.id == row["campaign_id"])
    )
    if campaign is None:
        raise AssertionError
    return row, dict(campaign)


def _take_away(tx: Tx, row: Row, comment: str | None) -> None:
    kind, target = Kind(row["kind"]), row["target_id"]
    if kind is Kind.AGENT:
        agent = agent_records.row_of(tx, target, lock=True)
        if agent["state"] == "active":
            reason = "An access review revoked it."
            agent_records.close(tx, agent, TaskEvent.CANCEL, reason, state="ended")
    else:
        table = campaigns.ENDS[kind][0]
        if kind is Kind.ROLE:
            keep_one_admin(tx, without=table.c.id == target)
        ended = "retired_at" if kind is Kind.DEFINITION else "revoked_at"
        tx.update(table, table.c.id == target, table.c[ended].is_(None), **{ended: tx.now})
        if kind is Kind.GRANT:
            found = tx.one(sa.select(table.c.subject_id).where(table.c.id == target))
            if found is not None:
                recheck_granted(tx, found["subject_id"])
    notify(
        tx,
        row["holder_id"],
        "access-review",
        f"An access review ended: {row['what']}." + (f" {comment}" if comment else ""),
        resource=("access-review", row["campaign_id"]),
    )
