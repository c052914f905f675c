"""People by SCIM: a directory creates, changes, switches off and removes the accounts it keeps.

Every change is decided and recorded as the directory's. Switching off goes through `deactivation`,
like everywhere else; a removed person is switched off and unknown to SCIM from then on, and their
rows stay, because they are evidence.

Source: Spec ID-3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

import sqlalchemy as sa
from scim2_models import InvalidValueException, UniquenessException

from charter.adapters.identity.scim import ENTERPRISE, Person
from charter.core.access.directory import first_free, handle_for
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.kernel.errors import ConflictError, InvalidInputError
from charter.services import deactivation
from charter.services import scim_resources as resources
from charter.services.access import carry_out, note, simple
from charter.services.decisions import Answer
from charter.services.runtime import Provisioner, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_KIND: Final = "Users"
_time_zones = cache(available_timezones)
# What is kept in columns or made by Charter, and so not in the document as it was sent.
_APART: Final = frozenset({"schemas", "id", "externalId", "meta", "groups"})


# --- reading ----------------------------------------------------------------------------------
def _mine(who: Provisioner) -> sa.Select[Any]:
    c = t.people.c
    return sa.select(t.people).where(c.directory == who.directory, c.removed_at.is_(None))


def find(tx: Tx, who: Provisioner, id_: str, *, lock: bool = False) -> Row:
    """The live person of this directory; the same 404 for everybody else."""
    query = _mine(who).where(t.people.c.id == id_)
    row = tx.one(query.with_for_update(key_share=True) if lock else query)
    if row is None:
        raise resources.no_such("user")
    return row


def version(row: Row) -> str:
    """The entity tag of a person; their groups are the groups' own."""
    return resources.version_of(
        row, manager=row["manager_id"], off=row["deactivated_at"] is not None
    )


def get(rt: Runtime, who: Provisioner, id_: str) -> Any:
    """One person."""
    with rt.database.reading() as tx:
        return shown(rt, tx, [find(tx, who, id_)])[0]


def list_page(rt: Runtime, who: Provisioner, query: resources.Query) -> resources.Found:
    """The people of the directory that the query asks for."""
    with rt.database.reading() as tx:
        total, rows = resources.page(tx, Person, _mine(who), t.people.c.id, query)
        return resources.Found(total, query.start, shown(rt, tx, rows))


def shown(rt: Runtime, tx: Tx, rows: Sequence[Row]) -> list[Any]:
    """The rows as SCIM resources."""
    groups = _groups(rt, tx, rows)
    managers = _managers(rt, tx, rows)
    found = []
    for row in rows:
        document = {**(row["scim"] or {}), "id": row["id"], "externalId": row["external_id"]}
        if manager := managers.get(row["manager_id"] or ""):
            document[ENTERPRISE] = {**document.get(ENTERPRISE, {}), "manager": manager}
        document["groups"] = groups.get(row["id"])
        document["meta"] = {
            "resourceType": "User",
            "created": row["created_at"],
            "lastModified": row["updated_at"] or row["created_at"],
            "location": resources.location(rt, _KIND, row["id"]),
            "version": version(row),
        }
        found.append(Person.model_validate(document))
    return found


def _groups(rt: Runtime, tx: Tx, rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """Of each of these people, the groups of the same directory."""
    teams, members = t.teams.c, t.team_members.c
    found: dict[str, list[dict[str, Any]]] = {}
    directories = {row["directory"] for row in rows}
    for line in tx.all(
        sa.select(members.person_id, teams.id, teams.scim)
        .join(t.teams, teams.id == members.team_id)
        .where(
            members.person_id.in_([row["id"] for row in rows]),
            teams.directory.in_(directories),
            teams.removed_at.is_(None),
        )
        .order_by(teams.id)
    ):
        found.setdefault(line["person_id"], []).append(
            {
                "value": line["id"],
                "$ref": resources.location(rt, "Groups", line["id"]),
                "display": (line["scim"] or {}).get("displayName"),
                "type": "direct",
            }
        )
    return found


def _managers(rt: Runtime, tx: Tx, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    c = t.people.c
    wanted = {row["manager_id"] for row in rows if row["manager_id"]}
    if not wanted:
        return {}
    return {
        found["id"]: {
            "value": found["id"],
            "$ref": resources.location(rt, _KIND, found["id"]),
        }
        for found in tx.all(sa.select(c.id).where(c.id.in_(wanted), c.removed_at.is_(None)))
    }


# --- changing ---------------------------------------------------------------------------------
def create(rt: Runtime, who: Provisioner, wanted: Any) -> Any:
    """A new person of this directory; they hold no role."""

    def act(tx: Tx, answer: Answer) -> tuple[deactivation.Ended, str]:
        person_id = tx.new_id("person")
        tx.insert(
            t.people,
            id=person_id,
            source="scim",
            directory=who.directory,
            created_at=tx.now,
            updated_at=tx.now,
            **_columns(tx, who, wanted, None),
        )
        note(
            tx,
            who,
            "person.created",
            "person",
            person_id,
            decision_id=answer.id,
            facts={"directory": who.directory},
            private={"userName": wanted.user_name},
        )
        row = find(tx, who, person_id)
        ended = deactivation.Ended(person_id)
        if wanted.active is False:
            ended = deactivation.end(tx, who, row, decision_id=answer.id)
        return ended, person_id

    return _carried(rt, who, None, act)


def change(
    rt: Runtime,
    who: Provisioner,
    id_: str,
    alter: Callable[[Any], Any],
    if_match: str | None = None,
) -> Any:
    """The person after `alter` (which gets the present resource and returns the wanted one).

    `if_match` is the If-Match header: 412 when the person has changed since.
    """

    def act(tx: Tx, answer: Answer) -> tuple[deactivation.Ended, str]:
        deactivation.hold(tx, id_)
        row = find(tx, who, id_, lock=True)
        resources.check_version(version(row), if_match)
        present = shown(rt, tx, [row])[0]
        wanted = alter(present.model_copy(deep=True))
        columns = _columns(tx, who, wanted, row)
        changed = sorted(key for key, value in columns.items() if row[key] != value)
        if changed:
            tx.update(t.people, t.people.c.id == id_, updated_at=tx.now, **columns)
            note(
                tx,
                who,
                "person.changed",
                "person",
                id_,
                decision_id=answer.id,
                facts={"fields": ", ".join(changed)},
            )
        ended = deactivation.Ended(id_)
        if wanted.active is False:
            ended = deactivation.end(tx, who, row, decision_id=answer.id)
        elif wanted.active is True:
            _check_not_held(tx, row)
            deactivation.reactivate(tx, who, row, decision_id=answer.id)
        return ended, id_

    return _carried(rt, who, id_, act)


def _check_not_held(tx: Tx, row: Row) -> None:
    """Raise when a person switched the account off: a synchronisation does not undo that."""
    c = t.people.c
    by = row["deactivated_by"]
    if row["deactivated_at"] is None or tx.one(sa.select(c.id).where(c.id == by)) is None:
        return
    raise ConflictError(
        "An administrator of Charter switched this account off.",
        fix="An administrator switches it on again: charter person reactivate.",
        code="held-by-administrator",
    )


def remove(rt: Runtime, who: Provisioner, id_: str, if_match: str | None = None) -> None:
    """Switch the person off and take them out of the directory and its groups."""

    def act(tx: Tx, answer: Answer) -> deactivation.Ended:
        deactivation.hold(tx, id_)
        row = find(tx, who, id_, lock=True)
        resources.check_version(version(row), if_match)
        ended = deactivation.end(tx, who, row, decision_id=answer.id)
        members = t.team_members.c
        left = tx.conn.execute(sa.delete(t.team_members).where(members.person_id == id_)).rowcount
        tx.update(t.people, t.people.c.id == id_, removed_at=tx.now, updated_at=tx.now)
        note(tx, who, "person.removed", "person", id_, decision_id=answer.id, facts={"teams": left})
        return ended

    ended = carry_out(rt, lambda _: _question(who, id_), act)
    deactivation.stop(rt, who, ended)


def _question(who: Provisioner, id_: str | None) -> Any:
    return simple(who, Permission.PEOPLE_MANAGE, ResourceRef("person", id=id_))


def _carried(
    rt: Runtime,
    who: Provisioner,
    id_: str | None,
    act: Callable[[Tx, Answer], tuple[deactivation.Ended, str]],
) -> Any:
    ended, person_id = carry_out(rt, lambda _: _question(who, id_), act)
    deactivation.stop(rt, who, ended)
    return get(rt, who, person_id)


# --- from the resource to the row -------------------------------------------------------------
def _columns(tx: Tx, who: Provisioner, wanted: Any, row: Row | None) -> dict[str, Any]:
    """What is written of the wanted resource."""
    document = resources.checked(
        {
            name: value
            for name, value in wanted.model_dump(mode="json").items()
            if name not in _APART
        }
    )
    extension = {k: v for k, v in document.get(ENTERPRISE, {}).items() if k != "manager"}
    document.pop(ENTERPRISE, None)
    if extension:
        document[ENTERPRISE] = extension
    zone = wanted.timezone
    columns = {
        "scim": document,
        "external_id": resources.checked({"externalId": wanted.external_id})["externalId"],
        "handle": _handle(tx, who, wanted.user_name, row),
        "display_name": _display_name(wanted),
        "email": _email(wanted),
        "manager_id": _manager(tx, who, wanted, row),
    }
    if zone in _time_zones():
        columns["time_zone"] = zone
    return columns


def _handle(tx: Tx, who: Provisioner, user_name: str | None, row: Row | None) -> str:
    """The handle that belongs to the user name; raises `UniquenessException` when it is taken."""
    if row is not None and (row["scim"] or {}).get("userName", "").lower() == (
        (user_name or "").lower()
    ):
        return str(row["handle"])
    try:
        wanted = handle_for(user_name or "")
    except InvalidInputError as error:
        raise InvalidValueException(detail=f"{error.message} {error.fix}") from error
    resources.hold_names(tx)
    c = t.people.c
    same = sa.func.lower(sa.literal_column("people.scim ->> 'userName'", sa.Text)) == wanted
    other = sa.true() if row is None else c.id != row["id"]
    holder = tx.one(
        sa.select(c.directory)
        .where(sa.or_(c.handle == wanted, sa.and_(c.directory == who.directory, same)))
        .where(c.removed_at.is_(None), other)
        .limit(1)
    )
    if holder is not None:
        known = holder["directory"] == who.directory
        raise UniquenessException(
            detail="This directory has a user of this name already."
            if known
            else "This name belongs to somebody whom this directory does not keep. An "
            "administrator can hand them over: charter scim adopt."
        )
    return first_free(
        wanted, lambda name: tx.one(sa.select(c.id).where(c.handle == name, other)) is not None
    )


def _display_name(wanted: Any) -> str:
    name = wanted.name
    parts = [] if name is None else [name.given_name, name.family_name]
    return str(
        wanted.display_name
        or (name and name.formatted)
        or " ".join(part for part in parts if part)
        or wanted.user_name
    )


def _email(wanted: Any) -> str | None:
    emails = [email for email in wanted.emails or [] if email.value]
    first = next((email for email in emails if email.primary), emails[0] if emails else None)
    return None if first is None else str(first.value)


def _manager(tx: Tx, who: Provisioner, wanted: Any, row: Row | None) -> str | None:
    extension = wanted[ENTERPRISE]
    manager = None if extension is None else extension.manager
    if manager is None or not manager.value:
        return None
    if row is not None and manager.value == row["manager_id"]:
        return str(manager.value)
    found = tx.one(_mine(who).where(t.people.c.id == manager.value))
    if found is None:
        raise InvalidValueException(detail="The manager is no user of this directory.")
    if row is not None and found["id"] == row["id"]:
        raise InvalidValueException(detail="Nobody is their own manager.")
    return str(found["id"])
