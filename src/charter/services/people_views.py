"""People as administrators look at them: where they come from, where they belong, what they hold.

Source: Spec ID-1, ID-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.services import lookup, paging
from charter.services.access import missing
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_SHOWN: Final = (
    "id",
    "handle",
    "display_name",
    "email",
    "time_zone",
    "source",
    "directory",
    "external_id",
    "created_at",
    "deactivated_at",
    "removed_at",
)
STATES: Final = ("active", "deactivated")


def visible(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    """The filter that gives exactly the people whom the caller may see."""
    c = t.people.c
    reach = reach_set(caller.subject, Permission.PEOPLE_VIEW, tx.now)
    if reach.everything:
        return sa.true()
    members = t.team_members.c
    mates = sa.select(members.person_id).where(members.team_id.in_(reach.teams))
    return sa.or_(c.id == caller.person.id, c.id.in_(mates))


def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    search: str | None = None,
    state: str | None = None,
    source: str | None = None,
    team: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """People whom the caller may see, newest first, with teams, roles and last sign-in.

    `search` is looked for in handle, name and e-mail address.
    """
    with rt.database.reading() as tx:
        c = t.people.c
        query = sa.select(t.people).where(visible(tx, caller))
        if search:
            query = query.where(
                sa.or_(
                    *(
                        column.icontains(search, autoescape=True)
                        for column in (c.handle, c.display_name, c.email)
                    )
                )
            )
        if state in STATES:
            off = c.deactivated_at.is_not(None)
            query = query.where(off if state == "deactivated" else sa.not_(off))
        if source is not None:
            query = query.where(c.source == source)
        if team is not None:
            members = t.team_members.c
            query = query.where(
                c.id.in_(
                    sa.select(members.person_id)
                    .join(t.teams, t.teams.c.id == members.team_id)
                    .where(sa.or_(t.teams.c.id == team, t.teams.c.name == team))
                )
            )
        page = paging.newest_first(tx, query, c.id, dict, cursor, limit)
        return {**page, "items": _views(tx, page["items"])}


def get(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """One person whom the caller may see."""
    with rt.database.reading() as tx:
        c = t.people.c
        row = tx.one(
            sa.select(t.people)
            .where(sa.or_(c.id == ref, c.handle == ref), visible(tx, caller))
            .order_by((c.id == ref).desc())
            .limit(1)
        )
        if row is None:
            raise missing("person")
        return _views(tx, [row])[0]


def _views(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    ids = [row["id"] for row in rows]
    teams, roles, seen = _teams(tx, ids), _roles(tx, ids), _last_seen(tx, ids)
    providers = _providers(tx, ids)
    names = lookup.subject_names(tx, {row["manager_id"] for row in rows if row["manager_id"]})
    return [
        {
            **{name: row[name] for name in _SHOWN},
            "manager": names.get(row["manager_id"]),
            "teams": teams.get(row["id"], []),
            "roles": roles.get(row["id"], []),
            "signs_in_with": providers.get(row["id"], []),
            "last_sign_in_at": seen.get(row["id"]),
        }
        for row in rows
    ]


def _teams(tx: Tx, ids: Sequence[str]) -> dict[str, list[str]]:
    members = t.team_members.c
    found: dict[str, list[str]] = {}
    for line in tx.all(
        sa.select(members.person_id, t.teams.c.name)
        .join(t.teams, t.teams.c.id == members.team_id)
        .where(members.person_id.in_(ids))
        .order_by(t.teams.c.name)
    ):
        found.setdefault(line["person_id"], []).append(line["name"])
    return found


def _roles(tx: Tx, ids: Sequence[str]) -> dict[str, list[str]]:
    """Of each person, the roles that hold now, as `developer` or `team-lead in payments`."""
    c = t.role_bindings.c
    lines = tx.all(
        sa.select(
            c.person_id,
            c.role,
            sa.func.coalesce(t.teams.c.name, t.projects.c.name).label("place"),
        )
        .join(t.teams, t.teams.c.id == c.scope_id, isouter=True)
        .join(t.projects, t.projects.c.id == c.scope_id, isouter=True)
        .where(
            c.person_id.in_(ids),
            c.revoked_at.is_(None),
            sa.or_(c.expires_at.is_(None), c.expires_at > tx.now),
        )
        .order_by(c.id)
    )
    found: dict[str, list[str]] = {}
    for line in lines:
        where = "" if line["place"] is None else f" in {line['place']}"
        found.setdefault(line["person_id"], []).append(f"{line['role']}{where}")
    return found


def _providers(tx: Tx, ids: Sequence[str]) -> dict[str, list[str]]:
    c = t.external_identities.c
    found: dict[str, list[str]] = {}
    for line in tx.all(
        sa.select(c.person_id, c.provider).where(c.person_id.in_(ids)).order_by(c.provider)
    ):
        found.setdefault(line["person_id"], []).append(line["provider"])
    return found


def _last_seen(tx: Tx, ids: Sequence[str]) -> dict[str, Any]:
    """Of each person, when they last proved who they are, in a browser or for a command line."""
    proofs = sa.union_all(
        *(
            sa.select(table.c.person_id, table.c.authenticated_at).where(
                table.c.person_id.in_(ids), table.c.method.is_not(None)
            )
            for table in (t.sessions, t.api_tokens)
        )
    ).subquery()
    return {
        line["person_id"]: line["at"]
        for line in tx.all(
            sa.select(
                proofs.c.person_id, sa.func.max(proofs.c.authenticated_at).label("at")
            ).group_by(proofs.c.person_id)
        )
    }
