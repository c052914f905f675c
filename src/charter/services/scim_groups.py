"""Groups by SCIM: a directory's groups are teams, and their members are people of the directory.

Who else is in such a team (put there by hand) is no business of the directory: it neither sees nor
removes them. A removed group is an empty team that SCIM does not know; projects, workspaces and
decisions go on naming it.

Source: Spec ID-3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from scim2_models import InvalidValueException, UniquenessException

from charter.adapters.identity.scim import Group
from charter.core.access.directory import first_free, team_name_for
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.kernel.errors import InvalidInputError
from charter.services import group_access, quotas
from charter.services import scim_resources as resources
from charter.services.access import carry_out, note, simple
from charter.services.decisions import Answer
from charter.services.roles import lock_admins
from charter.services.runtime import Provisioner, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_KIND: Final = "Groups"


# --- reading ----------------------------------------------------------------------------------
def _mine(who: Provisioner) -> sa.Select[Any]:
    c = t.teams.c
    return sa.select(t.teams).where(c.directory == who.directory, c.removed_at.is_(None))


def _find(tx: Tx, who: Provisioner, id_: str, *, lock: bool = False) -> Row:
    query = _mine(who).where(t.teams.c.id == id_)
    row = tx.one(query.with_for_update(key_share=True) if lock else query)
    if row is None:
        raise resources.no_such("group")
    return row


def _members(tx: Tx, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Of each of these teams, the members whom the same directory keeps."""
    people, members = t.people.c, t.team_members.c
    found: dict[str, list[Row]] = {row["id"]: [] for row in rows}
    for line in tx.all(
        sa.select(members.team_id, people.id)
        .join(t.people, people.id == members.person_id)
        .where(
            members.team_id.in_(list(found)),
            people.directory.in_({row["directory"] for row in rows}),
            people.removed_at.is_(None),
        )
        .order_by(people.id)
    ):
        found[line["team_id"]].append(line)
    return found


def _version(row: Row, members: Sequence[Row]) -> str:
    return resources.version_of(row, members=[member["id"] for member in members])


def get(rt: Runtime, who: Provisioner, id_: str) -> Any:
    """One group."""
    with rt.database.reading() as tx:
        return _shown(rt, tx, [_find(tx, who, id_)])[0]


def list_page(rt: Runtime, who: Provisioner, query: resources.Query) -> resources.Found:
    """The groups of the directory that the query asks for."""
    with rt.database.reading() as tx:
        total, rows = resources.page(tx, Group, _mine(who), t.teams.c.id, query)
        return resources.Found(total, query.start, _shown(rt, tx, rows))


def _shown(rt: Runtime, tx: Tx, rows: Sequence[Row]) -> list[Any]:
    members = _members(tx, rows)
    return [
        Group.model_validate(
            {
                **(row["scim"] or {}),
                "id": row["id"],
                "externalId": row["external_id"],
                "members": [
                    {
                        "value": member["id"],
                        "$ref": resources.location(rt, "Users", member["id"]),
                        "type": "User",
                    }
                    for member in members[row["id"]]
                ]
                or None,
                "meta": {
                    "resourceType": "Group",
                    "created": row["created_at"],
                    "lastModified": row["updated_at"] or row["created_at"],
                    "location": resources.location(rt, _KIND, row["id"]),
                    "version": _version(row, members[row["id"]]),
                },
            }
        )
        for row in rows
    ]


# --- changing ---------------------------------------------------------------------------------
def create(rt: Runtime, who: Provisioner, wanted: Any) -> Any:
    """A new team of this directory, with the quota that policy gives to teams."""

    def act(tx: Tx, answer: Answer) -> str:
        team_id = tx.new_id("team")
        tx.insert(
            t.teams,
            id=team_id,
            directory=who.directory,
            created_at=tx.now,
            updated_at=tx.now,
            **_columns(tx, who, wanted, None),
        )
        quotas.ensure(rt, tx, [f"team:{team_id}"])
        note(
            tx,
            who,
            "team.created",
            "team",
            team_id,
            decision_id=answer.id,
            facts={"directory": who.directory},
        )
        _roles_follow(rt, tx, who, _set_members(tx, who, _find(tx, who, team_id), wanted, answer))
        return team_id

    return get(rt, who, carry_out(rt, lambda _: _question(who, None), act))


def change(
    rt: Runtime,
    who: Provisioner,
    id_: str,
    alter: Callable[[Any], Any],
    if_match: str | None = None,
) -> Any:
    """The group after `alter` (which gets the present resource and returns the wanted one).

    `if_match` is the If-Match header: 412 when the group has changed since.
    """

    def act(tx: Tx, answer: Answer) -> None:
        lock_admins(tx)
        row = _find(tx, who, id_, lock=True)
        present = _shown(rt, tx, [row])[0]
        resources.check_version(present.meta.version, if_match)
        wanted = alter(present.model_copy(deep=True))
        columns = _columns(tx, who, wanted, row)
        fields = sorted(key for key, value in columns.items() if row[key] != value)
        if fields:
            note(
                tx,
                who,
                "team.changed",
                "team",
                id_,
                decision_id=answer.id,
                facts={"fields": ", ".join(fields)},
            )
        moved = _set_members(tx, who, row, wanted, answer)
        if moved or fields:
            tx.update(t.teams, t.teams.c.id == id_, updated_at=tx.now, **columns)
        if fields:  # another name may give other roles to everybody in it
            moved |= {member["id"] for member in _members(tx, [row])[id_]}
        _roles_follow(rt, tx, who, moved)

    carry_out(rt, lambda _: _question(who, id_), act)
    return get(rt, who, id_)


def remove(rt: Runtime, who: Provisioner, id_: str, if_match: str | None = None) -> None:
    """Empty the team and take it out of the directory."""

    def act(tx: Tx, answer: Answer) -> None:
        lock_admins(tx)
        row = _find(tx, who, id_, lock=True)
        members = _members(tx, [row])[id_]
        resources.check_version(_version(row, members), if_match)
        gone = sa.delete(t.team_members).where(t.team_members.c.team_id == id_)
        left = tx.conn.execute(gone).rowcount
        tx.update(t.teams, t.teams.c.id == id_, removed_at=tx.now, updated_at=tx.now)
        note(tx, who, "team.removed", "team", id_, decision_id=answer.id, facts={"members": left})
        _roles_follow(rt, tx, who, {member["id"] for member in members})

    carry_out(rt, lambda _: _question(who, id_), act)


def _question(who: Provisioner, id_: str | None) -> Any:
    return simple(who, Permission.TEAM_MANAGE, ResourceRef("team", id=id_, team_id=id_))


def _columns(tx: Tx, who: Provisioner, wanted: Any, row: Row | None) -> dict[str, Any]:
    kept = resources.checked({"displayName": wanted.display_name, "externalId": wanted.external_id})
    return {
        "scim": {"displayName": kept["displayName"]},
        "external_id": kept["externalId"],
        "name": _name(tx, who, kept["displayName"] or "", row),
    }


def _name(tx: Tx, who: Provisioner, display_name: str, row: Row | None) -> str:
    """The short name that belongs to the display name; `UniquenessException` when it is taken."""
    if row is not None and (row["scim"] or {}).get("displayName") == display_name:
        return str(row["name"])
    try:
        wanted = team_name_for(display_name)
    except InvalidInputError as error:
        raise InvalidValueException(detail=f"{error.message} {error.fix}") from error
    resources.hold_names(tx)
    c = t.teams.c
    other = sa.true() if row is None else c.id != row["id"]
    holder = tx.one(sa.select(c.directory, c.removed_at).where(c.name == wanted, other))
    if holder is not None and holder["removed_at"] is None:
        known = holder["directory"] == who.directory
        raise UniquenessException(
            detail="This directory has a group whose short name is the same already."
            if known
            else "This name belongs to a team that this directory does not keep. An administrator "
            "can hand it over: charter scim adopt."
        )
    return first_free(
        wanted, lambda name: tx.one(sa.select(c.id).where(c.name == name, other)) is not None
    )


def _set_members(tx: Tx, who: Provisioner, row: Row, wanted: Any, answer: Answer) -> set[str]:
    """Make the directory's members those of the wanted resource; who came or went."""
    ids = {member.value for member in wanted.members or [] if member.value}
    if any(member.type not in (None, "User") for member in wanted.members or []):
        raise InvalidValueException(detail="A group has users as members, and no groups.")
    held = {member["id"] for member in _members(tx, [row])[row["id"]]}
    coming, going = sorted(ids - held), sorted(held - ids)
    c = t.people.c
    known = tx.all(
        sa.select(c.id).where(
            c.id.in_(coming), c.directory == who.directory, c.removed_at.is_(None)
        )
    )
    if len(known) < len(coming):
        raise InvalidValueException(detail="A member is no user of this directory.")
    members = t.team_members.c
    tx.insert_all(
        t.team_members,
        [
            {
                "team_id": row["id"],
                "person_id": id_,
                "since": tx.now,
                "source": f"scim:{who.directory}",
            }
            for id_ in coming
        ],
    )
    tx.conn.execute(
        sa.delete(t.team_members).where(members.team_id == row["id"], members.person_id.in_(going))
    )
    for action, ids_ in (("team.member-added", coming), ("team.member-removed", going)):
        for id_ in ids_:
            note(tx, who, action, "team", row["id"], decision_id=answer.id, facts={"person": id_})
    return {*coming, *going}


def _roles_follow(rt: Runtime, tx: Tx, who: Provisioner, moved: set[str]) -> None:
    """Bring the roles of these people in line with the groups in which they are now."""
    people, members, teams = t.people.c, t.team_members.c, t.teams.c
    for id_ in sorted(moved):
        if tx.one(sa.select(people.id).where(people.id == id_, people.deactivated_at.is_(None))):
            lines = tx.all(
                sa.select(teams.scim)
                .join(t.team_members, members.team_id == teams.id)
                .where(
                    members.person_id == id_,
                    teams.directory == who.directory,
                    teams.removed_at.is_(None),
                )
            )
            names = [line["scim"]["displayName"] for line in lines if line["scim"]]
            group_access.directory_in_line(rt, tx, id_, who.directory, names)
