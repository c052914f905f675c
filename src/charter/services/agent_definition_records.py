"""Definitions of agents as rows: find them, show them, and say who may see and run them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.subjects import Agent, Human
from charter.core.agents.definitions import EVERYBODY, TEAM, Definition, may_run
from charter.core.agents.tiers import Tier
from charter.core.kernel.errors import InvalidInputError, NotFoundError
from charter.services import lookup
from charter.services.runtime import Caller
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


def retired(now: datetime) -> sa.ColumnElement[datetime | None]:
    """Since when a definition is retired: by somebody, or by an access review that nobody answered.

    The latter is computed, whether or not the review has been closed yet.
    """
    d = t.agent_definitions.c
    return sa.func.coalesce(d.retired_at, sa.case((d.ends_at <= now, d.ends_at)))


def query_of(now: datetime, version: sa.ColumnElement[int] | None = None) -> sa.Select[Any]:
    """Definitions in their newest version, or in `version`."""
    d, v = t.agent_definitions.c, t.agent_definition_versions.c
    wanted = d.version if version is None else version
    return (
        sa.select(
            d.id,
            d.name,
            d.implied,
            d.version.label("latest"),
            d.created_by,
            d.created_at,
            retired(now).label("retired_at"),
            *(column for column in v if column.name != "definition_id"),
            t.teams.c.name.label("team"),
        )
        .join(t.agent_definition_versions, sa.and_(v.definition_id == d.id, v.version == wanted))
        .join(t.teams, t.teams.c.id == v.team_id)
    )


def as_definition(row: Row) -> Definition:
    """The definition as the rules see it."""
    return Definition(
        id=row["id"],
        version=row["version"],
        name=row["name"],
        team_id=row["team_id"],
        repositories=tuple(row["repositories"]),
        tier=Tier(row["tier"]),
        max_session_seconds=row["max_session_seconds"],
        run_by=frozenset(row["run_by"]),
        retired=row["retired_at"] is not None,
    )


def no_such(ref: str) -> NotFoundError:
    """The 404 of a definition."""
    return NotFoundError(
        f"There is no agent definition {ref!r}, or it is not yours to know of.",
        fix="charter agent definitions shows those that you may see.",
    )


def find(tx: Tx, caller: Caller, ref: str, *, lock: bool = False) -> Row:
    """The newest version of the definition with this id or name, if the caller may see it."""
    d = t.agent_definitions.c
    if lock:
        tx.all(sa.select(d.id).where(sa.or_(d.id == ref, d.name == ref)).with_for_update())
    rows = tx.all(
        query_of(tx.now)
        .where(sa.or_(d.id == ref, sa.and_(d.name == ref, sa.not_(d.implied))))
        .where(visible(tx, caller))
        .order_by((d.id == ref).desc(), d.retired_at.is_(None).desc(), d.id.desc())
        .limit(1)
    )
    if not rows:
        raise no_such(ref)
    return rows[0]


def visible(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    """Those of teams that the caller oversees or belongs to, and those that they may run."""
    d, v = t.agent_definitions.c, t.agent_definition_versions.c
    subject = caller.subject
    if isinstance(subject, Agent):
        own = sa.select(t.agents.c.definition_id).where(t.agents.c.id == subject.id)
        return d.id.in_(own)
    reach = reach_set(subject, Permission.AGENT_VIEW, tx.now)
    if reach.everything:
        return sa.true()
    named = [EVERYBODY, f"person:{subject.id}", *(f"team:{team}" for team in subject.teams)]
    runs = sa.or_(*(v.run_by.contains([name]) for name in named))
    listed = sa.and_(sa.not_(d.implied), sa.or_(v.team_id.in_(subject.teams), runs))
    return sa.or_(v.team_id.in_(reach.teams), d.created_by == subject.id, listed)


def view(tx: Tx, caller: Caller, row: Row) -> dict[str, Any]:
    """The definition for faces, with how many instances there are and whether one may be run."""
    names = ("id", "name", "implied", "version", "latest", "description", "team_id", "team")
    shown = (*names, "repositories", "tier", "max_session_seconds", "why", "created_at")
    a = t.agents.c
    counts = tx.one(
        sa.select(
            sa.func.count().label("instances"),
            sa.func.count().filter(a.state == "active").label("running"),
        ).where(a.definition_id == row["id"])
    )
    people = lookup.subject_names(tx, [row["created_by"], row["made_by"]])
    subject = caller.subject
    return {
        **{name: row[name] for name in shown},
        "run_by": run_by_names(tx, row["run_by"]),
        "created_by": people.get(row["created_by"], row["created_by"]),
        "changed_by": people.get(row["made_by"], row["made_by"]),
        "changed_at": row["made_at"],
        "retired_at": row["retired_at"],
        "state": "active" if row["retired_at"] is None else "retired",
        "instances": 0 if counts is None else counts["instances"],
        "running": 0 if counts is None else counts["running"],
        "runnable": isinstance(subject, Human)
        and row["retired_at"] is None
        and may_run(as_definition(row), subject.id, subject.teams),
    }


def run_by_ids(tx: Tx, given: Sequence[str]) -> list[str]:
    """What people write of who may run it, with ids in place of names."""
    found = []
    for text in given:
        kind, _, name = text.partition(":")
        if text in (TEAM, EVERYBODY):
            found.append(text)
        elif kind == "team" and name:
            found.append(f"team:{lookup.team(tx, name)['id']}")
        elif kind == "person" and name:
            found.append(f"person:{lookup.person(tx, name)['id']}")
        else:
            raise InvalidInputError(
                f"{text!r} does not say who may run it.",
                fix="Use team, everybody, team:NAME or person:HANDLE.",
            )
    return sorted(set(found))


def run_by_names(tx: Tx, stored: Sequence[str]) -> list[str]:
    """The same with names in place of ids, for people."""
    ids = [text.partition(":")[2] for text in stored if ":" in text]
    rows = tx.all(sa.select(t.teams.c.id, t.teams.c.name).where(t.teams.c.id.in_(ids)))
    names = {**lookup.subject_names(tx, ids), **{row["id"]: row["name"] for row in rows}}
    return [
        text if ":" not in text else f"{kind}:{names.get(id_, id_)}"
        for text in stored
        for kind, _, id_ in [text.partition(":")]
    ]
