"""Who is meant by an approver's word, who may therefore vote, and in whose stead.

A request is put to *addressees*: a role, `manager`, `person:ID`, `team:ID`, each from a moment on.
They are what `core.approvals.request.put_to` says, written down after each vote, so that an inbox
of thousands is one query. The words themselves are judged when they are read: whoever holds the
role now, whoever is the manager now.

A *voice* is somebody in whose name a vote can be given: oneself, or a person one stands in for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.reach import voting_roles
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import Binding, Reach, ScopeKind
from charter.core.access.separation import RoleConflict
from charter.core.access.subjects import Human
from charter.core.approvals.delegation import Absence, lent, stood_in_for
from charter.core.approvals.request import ApprovalRequest, course, put_to
from charter.core.approvals.rules import APPROVER_MANAGER, MANAGER
from charter.services.subjects import load_human
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


@dataclass(frozen=True, slots=True)
class Voice:
    """A person in whose name `voter_id` may vote, with what of theirs counts for it."""

    human: Human
    voter_id: str
    reports: frozenset[str]

    @property
    def for_id(self) -> str | None:
        """The absent person; None when the voter speaks for themselves."""
        return None if self.human.id == self.voter_id else self.human.id


def voices(tx: Tx, human: Human) -> tuple[Voice, ...]:
    """The person's own voice, and those of all whom they stand in for now."""
    lenders: list[Human] = []
    if human.active and any(binding.live(tx.now) for binding in human.bindings):
        rows = _absences(tx)
        kept_apart = tuple(
            RoleConflict(frozenset(pair), "policy keeps them apart")
            for row in rows
            for pair in row["kept_apart"]
        )
        for person_id in stood_in_for(human.id, map(as_absence, rows), tx.now):
            absent = load_human(tx, person_id)
            if absent is not None and absent.active:
                own = lent(absent.bindings, human, tx.now, kept_apart)
                lenders.append(replace(absent, bindings=own))
    people = [human, *lenders]
    c = t.people.c
    reports: dict[str, set[str]] = {person.id: set() for person in people}
    for row in tx.all(sa.select(c.id, c.manager_id).where(c.manager_id.in_(reports))):
        reports[row["manager_id"]].add(row["id"])
    return tuple(Voice(each, human.id, frozenset(reports[each.id])) for each in people)


def own_voice(tx: Tx, human: Human) -> Voice:
    """The person's own voice alone."""
    c = t.people.c
    reports = tx.all(sa.select(c.id).where(c.manager_id == human.id))
    return Voice(human, human.id, frozenset(row["id"] for row in reports))


def _absences(tx: Tx) -> Sequence[Row]:
    """Those that hold now: a handful in any organisation."""
    c = t.absences.c
    return tx.all(
        sa.select(t.absences)
        .where(c.revoked_at.is_(None), c.starts_at <= tx.now, c.ends_at > tx.now)
        .order_by(c.id)
    )


def as_absence(row: Row) -> Absence:
    """The core's view of a stored absence."""
    return Absence(
        id=row["id"],
        person_id=row["person_id"],
        delegate_id=row["delegate_id"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        max_depth=row["max_depth"],
        revoked_at=row["revoked_at"],
    )


def place_of(request: ApprovalRequest) -> ResourceRef:
    """Where the thing would be: the roles that count are those held there."""
    return ResourceRef(
        request.resource_kind, team_id=request.team_id, project_id=request.project_id
    )


def words_of(voice: Voice, request: ApprovalRequest, now: datetime) -> frozenset[str]:
    """The approvers' words that are true of this voice for this request now."""
    human = voice.human
    if not human.active:
        return frozenset()
    words = set(voting_roles(human, place_of(request), now))
    words |= {f"person:{human.id}", *(f"team:{team}" for team in human.teams)}
    if (request.sponsor_id or request.requester_id) in voice.reports:
        words.add(MANAGER)
    return frozenset(words)


def entitled_beside_role(
    heard: Iterable[Voice], request: ApprovalRequest, now: datetime
) -> frozenset[str]:
    """The voter's id when the request is put to them otherwise than by a role of their own.

    That is what lets a manager, a named person or a delegate see it and vote on it who holds no
    role for that here.
    """
    put = frozenset().union(*(standing.asked for standing in course(request, now).standings))
    for voice in heard:
        own = voice.for_id is None
        roles = voting_roles(voice.human, place_of(request), now) if own else frozenset()
        if words_of(voice, request, now) & put - roles:
            return frozenset({voice.voter_id})
    return frozenset()


# --- in SQL -----------------------------------------------------------------------------------
def put_to_me(tx: Tx, heard: Iterable[Voice]) -> sa.ColumnElement[bool]:
    """The filter of requests that are put to one of these voices by now, open or not."""
    return sa.or_(sa.false(), *(_put_to(tx, voice) for voice in heard))


def open_to_me(tx: Tx, heard: Iterable[Voice]) -> sa.ColumnElement[bool]:
    """The filter of requests on which one of these voices can still be raised.

    It says in SQL what `core.approvals.voting.may_vote` says of one request.
    """
    return sa.or_(sa.false(), *(_open_to(tx, voice) for voice in heard))


def _open_to(tx: Tx, voice: Voice) -> sa.ColumnElement[bool]:
    c, v = t.approvals.c, t.approval_votes.c
    people = {voice.human.id, voice.voter_id}
    voted = (
        sa.exists()
        .where(v.approval_id == c.id, sa.or_(v.approver_id.in_(people), v.counts_as.in_(people)))
        .correlate(t.approvals)
    )
    return sa.and_(
        _put_to(tx, voice, t.approval_addressees.c.open),
        c.requester_id.not_in(people),
        c.sponsor_id.not_in(people),
        ~voted,
    )


def _put_to(tx: Tx, voice: Voice, *also: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    c, a, human = t.approvals.c, t.approval_addressees.c, voice.human
    if not human.active:
        return sa.false()
    named = [f"person:{human.id}", *(f"team:{team}" for team in sorted(human.teams))]
    words = set(named)
    ways: list[sa.ColumnElement[bool]] = [a.addressee.in_(named)]
    if voice.reports:
        words.add(MANAGER)
        ways.append(sa.and_(a.addressee == MANAGER, c.sponsor_id.in_(voice.reports)))
    for binding in human.bindings:
        place = _votes_in(human, binding)
        if binding.live(tx.now) and binding.break_glass is None and place is not None:
            words.add(binding.role)
            ways.append(sa.and_(a.addressee == binding.role, place))
    # The words once more as one list: that is what an index can be asked for.
    meant = sa.and_(a.addressee.in_(sorted(words)), sa.or_(*ways))
    put = sa.exists().where(a.approval_id == c.id, a.since <= tx.now, meant, *also)
    return put.correlate(t.approvals)


def _votes_in(human: Human, binding: Binding) -> sa.ColumnElement[bool] | None:
    """Where a binding lets its holder vote; None for a role that does not."""
    reach = binding.reach_of(Permission.APPROVAL_VOTE)
    c = t.approvals.c
    match binding.scope.kind:
        case _ if reach not in (Reach.ALL, Reach.TEAM):
            return None
        case ScopeKind.TEAM:
            return c.team_id == binding.scope.id
        case ScopeKind.PROJECT:
            return c.project_id == binding.scope.id
        case _:
            return sa.true() if reach is Reach.ALL else c.team_id.in_(human.teams)


# --- writing down to whom a request is put ----------------------------------------------------
def address(tx: Tx, request: ApprovalRequest) -> frozenset[str]:
    """Write down to whom the request is put as things stand; the words that are asked anew now."""
    wanted = put_to(request, tx.now)
    roles = frozenset().union(*(s.asked for s in course(request, tx.now).standings))
    c = t.approval_addressees.c
    rows = tx.all(sa.select(t.approval_addressees).where(c.approval_id == request.id))
    before = {row["addressee"]: row for row in rows}
    for word, row in before.items():
        # What was put to somebody stays so; only what had not come to pass yet can be called off.
        if word not in wanted and row["since"] > tx.now:
            tx.conn.execute(
                sa.delete(t.approval_addressees).where(
                    c.approval_id == request.id, c.addressee == word
                )
            )
    new = [word for word, since in wanted.items() if word not in before and since <= tx.now]
    tx.insert_all(
        t.approval_addressees,
        [
            {
                "approval_id": request.id,
                "addressee": word,
                "since": since,
                "escalation": word not in roles,
                "told_at": tx.now if since <= tx.now else None,
            }
            for word, since in wanted.items()
            if word not in before
        ],
    )
    for word, since in wanted.items():
        if word in before and before[word]["since"] > since:
            told = tx.now if since <= tx.now else None
            tx.update(
                t.approval_addressees,
                c.approval_id == request.id,
                c.addressee == word,
                since=since,
                told_at=told,
            )
            new += [word] if told is not None else []
    return frozenset(new)


def call_off(tx: Tx, approval_ids: Sequence[str]) -> None:
    """Nobody is asked or told any more of these: they are settled."""
    c = t.approval_addressees.c
    tx.update(t.approval_addressees, c.approval_id.in_(approval_ids), open=False)
    tx.conn.execute(
        sa.delete(t.approval_addressees).where(c.approval_id.in_(approval_ids), c.told_at.is_(None))
    )


def approvers(
    tx: Tx, words: AbstractSet[str], team_id: str, project_id: str | None, *, but: str
) -> list[str]:
    """The ids of all of whom one of these words is true where the request is, and their delegates.

    `but` is the person who asked, or who answers for the agent that did: never among them.
    """
    named = {word.removeprefix("person:") for word in words if word.startswith("person:")}
    teams = {word.removeprefix("team:") for word in words if word.startswith("team:")}
    if MANAGER in words:
        manager = tx.one(sa.select(t.people.c.manager_id).where(t.people.c.id == but))
        named |= set() if manager is None else {manager["manager_id"]}
    c = t.role_bindings.c
    holders = sa.select(c.person_id).where(
        c.role.in_(words),
        c.revoked_at.is_(None),
        c.break_glass_id.is_(None),
        sa.or_(c.expires_at.is_(None), c.expires_at > tx.now),
        sa.or_(
            c.scope_kind == "organisation",
            sa.and_(c.scope_kind == "team", c.scope_id == team_id),
            sa.and_(c.scope_kind == "project", c.scope_id == project_id),
        ),
    )
    members = sa.select(t.team_members.c.person_id).where(t.team_members.c.team_id.in_(teams))
    p = t.people.c
    rows = tx.all(
        sa.select(p.id)
        .where(
            p.deactivated_at.is_(None),
            p.id != but,
            sa.or_(p.id.in_(holders), p.id.in_(members), p.id.in_(named)),
        )
        .order_by(p.id)
    )
    found = [row["id"] for row in rows]
    away = {row["person_id"]: row["delegate_id"] for row in _absences(tx)}
    standing_in = {away[person] for person in found if person in away} - {but}
    return [*found, *sorted(standing_in - set(found))]


def resolved(tx: Tx, words: Iterable[str]) -> frozenset[str]:
    """The words with handles and names of teams replaced by ids; what is unknown stays nobody."""
    found: set[str] = set()
    for word in words:
        kind, _, name = word.partition(":")
        table, column = (t.people, "handle") if kind == "person" else (t.teams, "name")
        if not name:
            found.add(word)
            continue
        row = tx.one(sa.select(table.c.id).where(table.c[column] == name))
        found.add(f"{kind}:{row['id']}" if row is not None else f"{kind}:?{name}")
    return frozenset(found)


def managers_of(tx: Tx, people: Iterable[str]) -> frozenset[str]:
    """The words for the active managers of these people."""
    boss = t.people.alias()
    rows = tx.all(
        sa.select(boss.c.id)
        .distinct()
        .join(t.people, t.people.c.manager_id == boss.c.id)
        .where(t.people.c.id.in_(set(people)), boss.c.deactivated_at.is_(None))
    )
    return frozenset(f"person:{row['id']}" for row in rows)


def names_behind(tx: Tx, words: Iterable[str]) -> Mapping[str, str]:
    """How the words are shown to people: ids replaced by handles and names."""
    wanted = set(words)
    ids = {word.partition(":")[2]: word for word in wanted if ":" in word}
    shown: dict[str, Any] = {word: word.replace(":?", " ") for word in wanted}
    for table, column, kind in ((t.people, "handle", ""), (t.teams, "name", "team ")):
        rows = tx.all(sa.select(table.c.id, table.c[column]).where(table.c.id.in_(ids)))
        shown |= {ids[row["id"]]: f"{kind}{row[column]}" for row in rows}
    return {**shown, APPROVER_MANAGER: "an approver's manager"}
