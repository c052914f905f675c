"""People, teams, projects, and who holds which role where."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.subjects import SessionFacts
from charter.core.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from charter.core.resources.amounts import DIMENSIONS
from charter.services import (
    deactivation,
    lookup,
    paging,
    people_views,
    quotas,
    role_bounds,
    secrets,
)
from charter.services.access import carry_out, missing, note, or_unknown, simple
from charter.services.approval_requests import notify
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_time_zones = cache(available_timezones)  # it walks a thousand files
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")  # only a mail can tell more
_PERSON = ("id", "handle", "display_name", "email", "time_zone", "created_at", "deactivated_at")


def known_time_zone(name: str) -> bool:
    """Whether there is such a time zone."""
    return name in _time_zones()


def _person_view(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _PERSON}


def list_people(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """People that the caller may see: everybody, those of the caller's teams, or oneself."""
    with rt.database.reading() as tx:
        query = sa.select(t.people).where(people_views.visible(tx, caller))
        return paging.newest_first(tx, query, t.people.c.id, _person_view, cursor, limit)


def create_person(
    rt: Runtime,
    caller: Caller,
    *,
    handle: str,
    display_name: str | None,
    email: str | None,
    time_zone: str,
) -> dict[str, Any]:
    """A new person with a local account; they sign in by a one-time link."""
    if not known_time_zone(time_zone):
        raise InvalidInputError(
            f"{time_zone!r} is no time zone.", fix="Use a name such as Europe/Berlin or UTC."
        )

    if email is not None and not _ADDRESS.fullmatch(email):
        raise InvalidInputError(f"{email!r} is no e-mail address.", fix="Give one, or none.")

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        person_id = tx.new_id("person")
        row = {
            "id": person_id,
            "handle": handle,
            "display_name": display_name or handle,
            "email": email,
            "time_zone": time_zone,
            "created_at": tx.now,
            "deactivated_at": None,
        }
        if not tx.insert_new(t.people, **row):
            raise ConflictError(
                f"The handle {handle} is taken.", fix="Choose another.", code="handle-taken"
            )
        note(
            tx,
            caller,
            "person.created",
            "person",
            person_id,
            decision_id=answer.id,
            private={"handle": handle, "email": email},
        )
        return row

    return carry_out(
        rt, lambda _: simple(caller, Permission.PEOPLE_MANAGE, ResourceRef("person")), act
    )


def sign_in_link(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """A one-time link with which that person signs in."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = lookup.person(tx, ref)
        if row["deactivated_at"] is not None:
            raise ConflictError(
                f"{row['handle']} is deactivated.", fix="Links are for active people only."
            )
        role_bounds.check_not_above(tx, caller, row["id"])
        made = make_link(rt, tx, row["id"], made_by=caller.id)
        # Whoever holds a link signs in as that person, so the person learns of each.
        notify(tx, row["id"], "sign-in-link", "A sign-in link was made for your account.")
        note(tx, caller, "person.link-made", "person", row["id"], decision_id=answer.id)
        return made

    return carry_out(
        rt, lambda _: simple(caller, Permission.PEOPLE_MANAGE, ResourceRef("person")), act
    )


def make_link(
    rt: Runtime,
    tx: Tx,
    person_id: str,
    *,
    made_by: str,
    shown: SessionFacts | None = None,
    challenge: str | None = None,
) -> dict[str, Any]:
    """Store a new link for the person; the caller has decided that it may be made.

    With `shown`, the link hands on how and when the person had proved who they are, and ends with
    that session. With `challenge`, only the command line that has its verifier can use it.
    """
    link_id = tx.new_id("link")
    text, secret_hash = secrets.make("lnk", link_id, rt.randomness)
    lifetime = rt.policy.active(tx).data.credentials.one_time_link_seconds
    expires_at = tx.now + timedelta(seconds=lifetime)
    tx.insert(
        t.sign_in_links,
        id=link_id,
        person_id=person_id,
        secret_hash=secret_hash,
        made_by=made_by,
        method=None if shown is None else shown.method,
        authenticated_at=None if shown is None else shown.authenticated_at,
        mfa=None if shown is None else shown.mfa,
        session_id=None if shown is None else shown.id,
        challenge=challenge,
        created_at=tx.now,
        expires_at=expires_at,
    )
    return {"url": f"{rt.settings.url}/sign-in?link={text}", "expires_at": expires_at}


def deactivate(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """Switch a person off; all that they can act with ends at once (`services/deactivation.py`)."""

    def act(tx: Tx, answer: Answer) -> tuple[deactivation.Ended, dict[str, Any]]:
        row = lookup.person(tx, ref)
        deactivation.refuse_own(caller, row)
        ended = deactivation.end(tx, caller, row, decision_id=answer.id)
        return ended, _person_view(lookup.person(tx, row["id"]))

    ended, shown = carry_out(
        rt, lambda _: simple(caller, Permission.PEOPLE_MANAGE, ResourceRef("person")), act
    )
    deactivation.stop(rt, caller, ended)
    return shown


def reactivate(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """Switch a person on again: the account comes back, without roles, tokens or anything else."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = lookup.person(tx, ref)
        if row["removed_at"] is not None:
            raise ConflictError(
                f"{row['handle']} was removed by the directory {row['directory']}.",
                fix="A new account is made for a person who comes back.",
                code="person-removed",
            )
        deactivation.reactivate(tx, caller, row, decision_id=answer.id)
        return _person_view(lookup.person(tx, row["id"]))

    return carry_out(
        rt, lambda _: simple(caller, Permission.PEOPLE_MANAGE, ResourceRef("person")), act
    )


# --- teams ------------------------------------------------------------------------------------
def _team_view(tx: Tx, row: Row) -> dict[str, Any]:
    members = tx.all(
        sa.select(t.people.c.handle)
        .join(t.team_members, t.team_members.c.person_id == t.people.c.id)
        .where(t.team_members.c.team_id == row["id"])
        .order_by(t.people.c.handle)
    )
    return {
        "id": row["id"],
        "name": row["name"],
        "created_at": row["created_at"],
        "members": [m["handle"] for m in members],
    }


def list_teams(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Teams that the caller may see: all, or their own."""
    with rt.database.reading() as tx:
        reach = reach_set(caller.subject, Permission.PEOPLE_VIEW, tx.now)
        query = sa.select(t.teams)
        if not reach.everything:
            query = query.where(t.teams.c.id.in_(caller.person.teams | reach.teams))
        return paging.newest_first(
            tx, query, t.teams.c.id, lambda row: _team_view(tx, row), cursor, limit
        )


def create_team(rt: Runtime, caller: Caller, name: str) -> dict[str, Any]:
    """A new team, with the quota that policy gives to teams."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = {"id": tx.new_id("team"), "name": name, "created_at": tx.now}
        if not tx.insert_new(t.teams, **row):
            raise ConflictError(
                f"There is a team {name} already.", fix="Choose another name.", code="name-taken"
            )
        quotas.ensure(rt, tx, [f"team:{row['id']}"])
        note(tx, caller, "team.created", "team", str(row["id"]), decision_id=answer.id)
        return {**row, "members": []}

    return carry_out(rt, lambda _: simple(caller, Permission.TEAM_MANAGE, ResourceRef("team")), act)


def add_member(rt: Runtime, caller: Caller, team_ref: str, person_ref: str) -> None:
    """Put a person into a team; doing it twice is no error."""

    def act(tx: Tx, answer: Answer) -> None:
        team, person = lookup.team(tx, team_ref), lookup.person(tx, person_ref)
        if team["directory"] is not None and person["directory"] == team["directory"]:
            # Its groups may give roles, which only who keeps the directory decides.
            raise ConflictError(
                f"Who of the directory {team['directory']} is in {team['name']} is kept there.",
                fix="Change the group at the identity provider.",
                code="kept-by-directory",
            )
        c = t.team_members.c
        new = tx.insert_new(
            t.team_members, team_id=team["id"], person_id=person["id"], since=tx.now
        )
        # Whom a provider's group put in stays from now on, whatever becomes of the group.
        kept = not new and tx.update(
            t.team_members,
            c.team_id == team["id"],
            c.person_id == person["id"],
            c.source.is_not(None),
            source=None,
        )
        if new or kept:
            note(
                tx,
                caller,
                "team.member-added",
                "team",
                team["id"],
                decision_id=answer.id,
                facts={"person": person["id"]},
            )

    carry_out(rt, lambda tx: simple(caller, Permission.TEAM_MANAGE, _team_ref(tx, team_ref)), act)


def remove_member(rt: Runtime, caller: Caller, team_ref: str, person_ref: str) -> None:
    """Take a person out of a team."""

    def act(tx: Tx, answer: Answer) -> None:
        team, person = lookup.team(tx, team_ref), lookup.person(tx, person_ref)
        members = t.team_members.c
        tx.conn.execute(
            sa.delete(t.team_members).where(
                members.team_id == team["id"], members.person_id == person["id"]
            )
        )
        note(
            tx,
            caller,
            "team.member-removed",
            "team",
            team["id"],
            decision_id=answer.id,
            facts={"person": person["id"]},
        )

    carry_out(rt, lambda tx: simple(caller, Permission.TEAM_MANAGE, _team_ref(tx, team_ref)), act)


def _team_ref(tx: Tx, ref: str) -> ResourceRef:
    def find() -> ResourceRef:
        row = lookup.team(tx, ref)
        return ResourceRef("team", id=row["id"], team_id=row["id"])

    return or_unknown(find, "team")


def team_quota(rt: Runtime, caller: Caller, ref: str) -> list[dict[str, Any]]:
    """What the team, and the caller in it, may use and use."""
    with rt.database.unit_of_work() as tx:
        reach = reach_set(caller.subject, Permission.QUOTA_VIEW, tx.now)
        try:
            row = lookup.team(tx, ref)
        except NotFoundError:  # as for a team that is not the caller's to know of
            raise missing("team") from None
        if not (reach.everything or row["id"] in reach.teams or row["id"] in caller.person.teams):
            raise missing("team")
        scopes = [f"team:{row['id']}", f"user:{caller.person.id}"]
        quotas.ensure(rt, tx, scopes)
        return [quota_view(line) for line in quotas.lines(tx, scopes)]


def quota_view(line: quotas.QuotaLine) -> dict[str, Any]:
    """A quota line for faces."""
    return {
        "scope": line.name,
        "limit": {d: line.limit.of(d) for d in DIMENSIONS},
        "used": {d: line.used.of(d) for d in DIMENSIONS},
        "raised": {d: line.raised.of(d) for d in DIMENSIONS},
    }


# --- projects ---------------------------------------------------------------------------------
_PROJECT = ("id", "name", "team_id", "data_class", "environment")


def list_projects(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Projects of the teams that the caller may see."""
    with rt.database.reading() as tx:
        reach = reach_set(caller.subject, Permission.PEOPLE_VIEW, tx.now)
        query = sa.select(t.projects)
        if not reach.everything:
            query = query.where(t.projects.c.team_id.in_(caller.person.teams | reach.teams))
        return paging.newest_first(
            tx, query, t.projects.c.id, lambda row: {n: row[n] for n in _PROJECT}, cursor, limit
        )


def create_project(
    rt: Runtime, caller: Caller, *, name: str, team: str, data_class: str, environment: str
) -> dict[str, Any]:
    """A new project of a team.

    Raises `InvalidInputError` for an environment of which the policy data says nothing: its rules
    would be as strict as nobody decided.
    """

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        known = rt.policy.active(tx).data.enforcement.environments
        if environment not in known:
            raise InvalidInputError(
                f"There is no environment {environment}.",
                fix=f"Use one of {', '.join(sorted(known))}.",
                code="environment-unknown",
            )
        row = {
            "id": tx.new_id("project"),
            "name": name,
            "team_id": lookup.team(tx, team)["id"],
            "data_class": data_class,
            "environment": environment,
            "created_at": tx.now,
        }
        if not tx.insert_new(t.projects, **row):
            raise ConflictError(
                f"There is a project {name} already.", fix="Choose another name.", code="name-taken"
            )
        note(
            tx,
            caller,
            "project.created",
            "project",
            row["id"],
            decision_id=answer.id,
            facts={"data_class": data_class, "environment": environment},
        )
        return {n: row[n] for n in _PROJECT}

    return carry_out(
        rt, lambda tx: simple(caller, Permission.TEAM_MANAGE, _team_ref(tx, team)), act
    )
