"""More of a quota for a while: ask, have it until the end, fall back.

An override adds to the limit of one scope in one dimension. Whether it counts is computed whenever
a limit is read, so it ends without anybody's doing. What is then in use above the limit goes on;
nothing new starts until enough was given back. The database keeps, beside each limit, the most that
may be above it (`raised`), so that its own check stands behind the decisions as before.

Source: Spec ID-8, RG-2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.approvals.grants import Grant
from charter.core.kernel.canonical import parse_rfc3339, rfc3339
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import InvalidInputError, NotFoundError
from charter.core.resources.amounts import DIMENSIONS, show
from charter.services import approval_records, approval_requests, lookup, paging, quotas
from charter.services.access import carry_out, missing, note
from charter.services.decisions import Answer, Question, ask, grants_of, refuse_unless_allowed
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_NOUN: Final = "quota-override"
SCOPES: Final = ("user", "team", "project")
_AT_ONCE: Final = 50


def request(
    rt: Runtime,
    caller: Caller,
    *,
    scope: str,
    of: str | None,
    dimension: str,
    amount: int,
    until: datetime,
    reason: str | None,
) -> dict[str, Any]:
    """Ask for `amount` more of `dimension` until then: `approval`, or `override` without one.

    `scope` is `user` (the caller; `of` names a team where the caller is in several), `team` or
    `project` (`of` names it).
    """
    asked = {
        "scope": scope,
        "of": of,
        "dimension": dimension,
        "amount": amount,
        "until": rfc3339(until),
    }
    with rt.database.unit_of_work() as tx:
        asked["seconds"] = max(0, int((until - tx.now).total_seconds()))
        question = _question(rt, tx, caller, asked, reason)
        answer = ask(rt, tx, question)
        made = None
        approval_id = None
        if answer.decision.allowed:
            made = _insert(tx, caller, question, asked, approval_id=None)
        elif answer.decision.effect is Effect.REQUIRE_APPROVAL and approval_requests.complete(
            answer, reason
        ):
            approval_id = approval_requests.open_request(
                rt,
                tx,
                caller,
                answer,
                summary=f"{show(dimension, amount)} more for {question.resource_facts['name']} "
                f"until {until:%Y-%m-%d %H:%M} UTC",
                pending={"action": "quota.request", "request": asked},
                justification=reason,
            )
        result = {
            "decision": answer.as_json(),
            "override": None if made is None else _views(tx, [_row(tx, made)])[0],
            "approval": None
            if approval_id is None
            else approval_records.view(tx, caller, approval_id),
        }
    approval_requests.check_complete(answer, reason)
    if approval_id is None:
        refuse_unless_allowed(answer)
    return result


def _question(
    rt: Runtime, tx: Tx, caller: Caller, asked: Mapping[str, Any], reason: str | None
) -> Question:
    if asked["dimension"] not in DIMENSIONS:
        raise InvalidInputError(
            f"There is no quota of {asked['dimension']!r}.",
            fix=f"Choose one of {', '.join(DIMENSIONS)}.",
        )
    project = None
    match asked["scope"]:
        case "project":
            team, project = lookup.place(tx, caller, None, _named(asked))
            key, name = f"project:{_id(project)}", f"project {asked['of']}"
        case "team":
            team = lookup.team(tx, _named(asked))
            key, name = f"team:{team['id']}", f"team {team['name']}"
        case "user":
            team, _ = lookup.place(tx, caller, asked["of"], None)
            key, name = f"user:{caller.person.id}", caller.person.handle
        case other:
            raise InvalidInputError(
                f"There is no quota of a {other}.", fix=f"Choose one of {', '.join(SCOPES)}."
            )
    quotas.ensure(rt, tx, [key])
    context: dict[str, Any] = {} if reason is None else {"justification": reason}
    return Question(
        caller=caller,
        action=Permission.QUOTA_REQUEST,
        resource=ResourceRef(
            _NOUN,
            owner_id=caller.id,
            owner_kind="agent" if caller.is_agent else "human",
            sponsor_id=caller.person.id if caller.is_agent else None,
            team_id=team["id"],
            project_id=None if project is None else project["id"],
        ),
        resource_facts={
            "name": name,
            "spec": {
                "scope": key,
                "dimension": asked["dimension"],
                "amount": asked["amount"],
                "seconds": asked["seconds"],
            },
        },
        context=context,
        grants=grants_of(tx, caller.id),
    )


def _named(asked: Mapping[str, Any]) -> str:
    if not asked["of"]:
        raise InvalidInputError(
            f"The quota of which {asked['scope']}?", fix=f"Name the {asked['scope']}."
        )
    return str(asked["of"])


def _id(project: Row | None) -> str:
    if project is None:  # place answers with the project that it was given
        raise missing("project")
    return str(project["id"])


def create_in(
    rt: Runtime, tx: Tx, requester: Caller, asked: Mapping[str, Any], grant: Grant
) -> tuple[str, str | None]:
    """After the yes: decided anew and given; what came of it, and the id when it was given."""
    a = t.approvals.c
    reason = tx.one(sa.select(a.justification).where(a.id == grant.request_id))
    question = _question(
        rt, tx, requester, asked, None if reason is None else reason["justification"]
    )
    answer = ask(rt, tx, question)
    if not answer.decision.allowed:
        return f"It could not be given: {answer.decision.explain()}", None
    if parse_rfc3339(asked["until"]) <= tx.now:
        return "The time for which it was asked is over.", None
    made = _insert(tx, requester, question, asked, approval_id=grant.request_id)
    return f"It holds until {asked['until'][:16].replace('T', ' ')} UTC and ends by itself.", made


def _insert(
    tx: Tx, caller: Caller, question: Question, asked: Mapping[str, Any], *, approval_id: str | None
) -> str:
    spec: Any = question.resource_facts["spec"]
    scope, dimension, amount = spec["scope"], spec["dimension"], spec["amount"]
    [line] = quotas.lines(tx, [scope], lock=True)
    made = tx.new_id(_NOUN)
    tx.insert(
        t.quota_overrides,
        id=made,
        scope=scope,
        dimension=dimension,
        amount=amount,
        team_id=question.resource.team_id,
        requested_by=caller.id,
        approval_id=approval_id,
        created_at=tx.now,
        expires_at=parse_rfc3339(asked["until"]),
    )
    c = t.quotas.c[f"{dimension}_raised"]
    more = line.raised.of(dimension) + amount
    tx.update(
        t.quotas, t.quotas.c.scope == scope, **{f"{dimension}_raised": sa.func.greatest(c, more)}
    )
    note(
        tx,
        caller,
        "quota.raised",
        _NOUN,
        made,
        facts={"scope": scope, "dimension": dimension, "amount": amount},
    )
    return made


# --- reading and ending -----------------------------------------------------------------------
def _row(tx: Tx, override_id: str, *, lock: bool = False) -> Row:
    query = sa.select(t.quota_overrides).where(t.quota_overrides.c.id == override_id)
    row = tx.one(query.with_for_update() if lock else query)
    if row is None:
        raise missing(_NOUN)
    return row


def _views(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    names = lookup.subject_names(tx, {row["requested_by"] for row in rows})
    lines = {line.scope: line for line in quotas.lines(tx, [row["scope"] for row in rows])}
    return [
        {
            **{name: row[name] for name in ("id", "dimension", "amount", "approval_id")},
            "scope": lines[row["scope"]].name,
            "requester": names.get(row["requested_by"], row["requested_by"]),
            "created_at": row["created_at"],
            "expires_at": row["expires_at"],
            "revoked_at": row["revoked_at"],
            "state": _state(row, tx.now),
        }
        for row in rows
    ]


def _state(row: Row, now: datetime) -> str:
    if row["revoked_at"] is not None:
        return "revoked"
    return "active" if now < row["expires_at"] else "expired"


def list_page(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Overrides that the caller asked for, or whose team's quota they may see; newest first."""
    with rt.database.reading() as tx:
        c = t.quota_overrides.c
        query = sa.select(t.quota_overrides)
        reach = reach_set(caller.subject, Permission.QUOTA_VIEW, tx.now)
        if not reach.everything:
            query = query.where(
                sa.or_(c.requested_by == caller.person.id, c.team_id.in_(reach.teams))
            )
        page = paging.newest_first(tx, query, c.id, dict, cursor, limit)
        return {**page, "items": _views(tx, page["items"])}


def revoke(rt: Runtime, caller: Caller, override_id: str) -> dict[str, Any]:
    """Give it back, or take it back as a platform admin; what is in use goes on."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        scope = _row(tx, override_id)["scope"]
        quotas.lines(tx, [scope], lock=True)  # in the order of everybody: first the line
        row = _row(tx, override_id, lock=True)
        if _state(row, tx.now) == "active":
            c = t.quota_overrides.c
            tx.update(t.quota_overrides, c.id == row["id"], revoked_at=tx.now)
            note(tx, caller, "quota.lowered", _NOUN, row["id"], decision_id=answer.id)
        return _views(tx, [_row(tx, override_id)])[0]

    def question(tx: Tx) -> Question:
        try:
            row = _row(tx, override_id)
        except NotFoundError:  # see `access.or_unknown`
            return Question(
                caller, Permission.QUOTA_RELEASE, ResourceRef(_NOUN, id="unknown"), {}, {}
            )
        kind, _, id_ = row["scope"].partition(":")
        return Question(
            caller,
            Permission.QUOTA_RELEASE,
            ResourceRef(
                _NOUN,
                id=row["id"],
                owner_id=row["requested_by"],
                owner_kind="human",
                team_id=row["team_id"],
                project_id=id_ if kind == "project" else None,
            ),
            {"spec": {"scope": row["scope"]}},
            {},
        )

    return carry_out(rt, question, act)


# --- what time does ---------------------------------------------------------------------------
def sweep(tx: Tx) -> int:
    """Lower what the database lets be above limits, and tell whoever asked; how many ended."""
    c = t.quota_overrides.c
    ended = tx.all(
        sa.select(t.quota_overrides)
        .where(c.told_at.is_(None), sa.or_(c.expires_at <= tx.now, c.revoked_at.is_not(None)))
        .order_by(c.id)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    if not ended:
        return 0
    for line in quotas.lines(tx, sorted({row["scope"] for row in ended}), lock=True):
        base = line.limit - line.raised
        above = {d: max(line.raised.of(d), line.used.of(d) - base.of(d), 0) for d in DIMENSIONS}
        tx.update(
            t.quotas,
            t.quotas.c.scope == line.scope,
            **{f"{d}_raised": above[d] for d in DIMENSIONS},
        )
    lines = {line.scope: line for line in quotas.lines(tx, [row["scope"] for row in ended])}
    for row in ended:
        line = lines[row["scope"]]
        over = row["dimension"] in line.used.exceeding(line.limit)
        rest = " What is in use above the limit goes on; nothing new starts." if over else ""
        approval_requests.notify(
            tx,
            row["requested_by"],
            "quota",
            f"The {show(row['dimension'], row['amount'])} more for {line.name} have ended.{rest}",
            dedupe_key=f"quota-ended:{row['id']}",
        )
        tx.update(t.quota_overrides, c.id == row["id"], told_at=tx.now)
    return len(ended)
