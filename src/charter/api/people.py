"""People, teams, projects and roles."""

from __future__ import annotations

from fastapi import APIRouter, Response

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import people, people_views

router = APIRouter(tags=["people"], responses=PROBLEMS)


@router.get("/people")
def list_people(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.PersonOut]:
    """People whom you may see."""
    return s.Page[s.PersonOut].model_validate(
        people.list_people(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/people", status_code=201)
def create_person(rt: RuntimeDep, caller: CallerDep, body: s.PersonIn) -> s.PersonOut:
    """A new person with a local account."""
    return s.PersonOut(**people.create_person(rt, caller, **body.model_dump()))


@router.get("/people/{person}")
def get_person(rt: RuntimeDep, caller: CallerDep, person: s.Reference) -> s.PersonDetailOut:
    """One person: where they come from, where they belong, what they hold."""
    return s.PersonDetailOut(**people_views.get(rt, caller, person))


@router.post("/people/{person}/sign-in-link", status_code=201)
def sign_in_link(rt: RuntimeDep, caller: CallerDep, person: s.Reference) -> s.LinkOut:
    """A one-time link with which that person signs in."""
    return s.LinkOut(**people.sign_in_link(rt, caller, person))


@router.post("/people/{person}/deactivate")
def deactivate(rt: RuntimeDep, caller: CallerDep, person: s.Reference) -> s.PersonOut:
    """Switch a person off; all that they can act with ends at once."""
    return s.PersonOut(**people.deactivate(rt, caller, person))


@router.post("/people/{person}/reactivate")
def reactivate(rt: RuntimeDep, caller: CallerDep, person: s.Reference) -> s.PersonOut:
    """Switch a person on again: the account comes back, and nothing that it had."""
    return s.PersonOut(**people.reactivate(rt, caller, person))


@router.get("/teams")
def list_teams(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.TeamOut]:
    """Teams that you may see."""
    return s.Page[s.TeamOut].model_validate(
        people.list_teams(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/teams", status_code=201)
def create_team(rt: RuntimeDep, caller: CallerDep, body: s.TeamIn) -> s.TeamOut:
    """A new team with the quota that policy gives to teams."""
    return s.TeamOut(**people.create_team(rt, caller, body.name))


@router.post("/teams/{team}/members", status_code=204)
def add_member(rt: RuntimeDep, caller: CallerDep, team: s.Reference, body: s.MemberIn) -> Response:
    """Put a person into a team."""
    people.add_member(rt, caller, team, body.person)
    return Response(status_code=204)


@router.delete("/teams/{team}/members/{person}", status_code=204)
def remove_member(
    rt: RuntimeDep, caller: CallerDep, team: s.Reference, person: s.Reference
) -> Response:
    """Take a person out of a team."""
    people.remove_member(rt, caller, team, person)
    return Response(status_code=204)


@router.get("/teams/{team}/quota")
def team_quota(rt: RuntimeDep, caller: CallerDep, team: s.Reference) -> s.Page[s.QuotaLineOut]:
    """What the team, and you, may use and use."""
    return s.Page[s.QuotaLineOut].model_validate({"items": people.team_quota(rt, caller, team)})


@router.get("/projects")
def list_projects(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.ProjectOut]:
    """Projects of the teams that you may see."""
    return s.Page[s.ProjectOut].model_validate(
        people.list_projects(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/projects", status_code=201)
def create_project(rt: RuntimeDep, caller: CallerDep, body: s.ProjectIn) -> s.ProjectOut:
    """A new project of a team."""
    return s.ProjectOut(**people.create_project(rt, caller, **body.model_dump()))
