"""From the name or id that a person types to the row that it means."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from charter.core.access.subjects import Human
from charter.core.kernel.errors import InvalidInputError, NotFoundError
from charter.services.runtime import Caller
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


def _find(tx: Tx, table: sa.Table, column: str, ref: str, noun: str) -> Row:
    # An id comes first: somebody may be called by what is the id of somebody else.
    by_id = table.c.id == ref
    query = sa.select(table).where(sa.or_(by_id, table.c[column] == ref))
    row = tx.one(query.order_by(by_id.desc()).limit(1))
    if row is None:
        raise NotFoundError(
            f"There is no {noun} {ref!r}.", fix=f"charter {noun} list shows all that you may see."
        )
    return row


def person(tx: Tx, ref: str) -> Row:
    """The person with this id or handle."""
    return _find(tx, t.people, "handle", ref, "person")


def team(tx: Tx, ref: str) -> Row:
    """The team with this id or name."""
    return _find(tx, t.teams, "name", ref, "team")


def project(tx: Tx, ref: str) -> Row:
    """The project with this id or name."""
    return _find(tx, t.projects, "name", ref, "project")


def subject_names(tx: Tx, ids: Iterable[str]) -> dict[str, str]:
    """Handles of people, names of agents and of directories' tokens, by id; others are left out."""
    wanted = set(ids)
    found: dict[str, str] = {}
    for table, column in (
        (t.people, "handle"),
        (t.agents, "name"),
        (t.scim_tokens, "name"),
    ):
        rows = tx.all(sa.select(table.c.id, table.c[column]).where(table.c.id.in_(wanted)))
        found |= {row["id"]: row[column] for row in rows}
    return found


def subject_name(tx: Tx, id_: str) -> str:
    """The handle or name behind an id; the id itself where there is none."""
    return subject_names(tx, [id_]).get(id_, id_)


def place(
    tx: Tx, caller: Caller, team_ref: str | None, project_ref: str | None
) -> tuple[Row, Row | None]:
    """The team and project in which something new is put.

    A project brings its team along; without either, a person's only team is meant, and an agent's
    things go to the agent's team.
    """
    found = None if project_ref is None else project(tx, project_ref)
    if found is not None:
        home = team(tx, found["team_id"])
        if team_ref is not None and team(tx, team_ref)["id"] != home["id"]:
            raise InvalidInputError(
                f"The project {found['name']} belongs to the team {home['name']}.",
                fix="Leave the team out, or name that one.",
            )
        return home, found
    if team_ref is not None:
        return team(tx, team_ref), None
    subject = caller.subject
    if not isinstance(subject, Human):
        if subject.team_id is None:
            raise InvalidInputError("The agent has no team.", fix="Name the team.")
        return team(tx, subject.team_id), None
    if len(subject.teams) == 1:
        return team(tx, next(iter(subject.teams))), None
    if not subject.teams:
        raise InvalidInputError(
            "You are in no team yet, and every workspace belongs to one.",
            fix="Ask a team lead or platform admin to add you: charter team add TEAM HANDLE.",
            code="no-team",
        )
    raise InvalidInputError(
        "You are in several teams.", fix="Name the one that this is for.", code="team-needed"
    )
