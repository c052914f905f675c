"""People: who there is, where they come from, what they hold, and letting them in or out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import people, people_views

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_CHOICES: Final = 200


class PersonForm(forms.Fields):
    """A new person with a local account."""

    handle: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    display_name: Annotated[str | None, Field(max_length=200)] = None
    email: Annotated[str | None, Field(max_length=200)] = None
    time_zone: Annotated[str, Field(max_length=64)] = "UTC"


@router.get("/people")
def show_people(visit: Signed) -> Response:
    """The list."""
    asked = visit.asked("q", "state", "source", "team")
    cursor = visit.asked("cursor")["cursor"]
    page = people_views.list_page(
        visit.rt,
        visit.caller,
        search=asked["q"],
        state=asked["state"],
        source=asked["source"],
        team=asked["team"],
        cursor=cursor,
    )
    teams = people.list_teams(visit.rt, visit.caller, limit=_CHOICES)["items"]
    return visit.page(
        "people.html",
        {"page": page, "asked": asked, "cursor": cursor, "teams": teams},
        block="table",
    )


@router.get("/people/new")
def new_person(visit: Signed) -> Response:
    """The form."""
    return _new_page(visit, {})


def _new_page(
    visit: Signed, form: Mapping[str, str], error: CharterError | None = None
) -> Response:
    status = 200 if error is None else error.status
    return visit.page("person_new.html", {"form": form, "error": error}, status=status)


@router.post("/people")
def create_person(visit: Signed) -> Response:
    """Add somebody; their page is where they are let in."""
    try:
        form = forms.read(PersonForm, visit.form)
        made = people.create_person(visit.rt, visit.caller, **form.model_dump())
    except CharterError as error:
        return _new_page(visit, visit.form, error)
    return visit.redirect(f"/people/{made['id']}", f"{made['handle']} is added.")


def _page(visit: Signed, ref: str, **values: Any) -> Response:
    person = people_views.get(visit.rt, visit.caller, ref)
    return visit.page("person.html", {"p": person, "link": None, **values})


@router.get("/people/{ref}")
def show_person(visit: Signed, ref: str) -> Response:
    """One person."""
    return _page(visit, ref)


@router.post("/people/{ref}/link")
def make_link(visit: Signed, ref: str) -> Response:
    """A sign-in link; the answer itself shows it, once."""
    return _page(visit, ref, link=people.sign_in_link(visit.rt, visit.caller, ref))


@router.get("/people/{ref}/deactivate")
def ask_deactivate(visit: Signed, ref: str) -> Response:
    """The page that says what ends before it does."""
    person = people_views.get(visit.rt, visit.caller, ref)
    return visit.page(
        "ask.html",
        {
            "title": f"Deactivate {person['handle']}?",
            "text": "At once and for good, sessions, tokens, passkeys, links, roles, grants and "
            "open requests end, agents are killed and workspaces stopped. A reactivated account "
            "comes back without them.",
            "action": f"/people/{person['id']}/deactivate",
            "label": "Deactivate",
            "kind": "danger",
            "back": f"/people/{person['id']}",
            "reason_name": None,
        },
        block="ask",
    )


@router.post("/people/{ref}/deactivate")
def deactivate(visit: Signed, ref: str) -> Response:
    """Switch them off."""
    gone = people.deactivate(visit.rt, visit.caller, ref)
    return visit.redirect(f"/people/{gone['id']}", f"{gone['handle']} is deactivated.")


@router.post("/people/{ref}/reactivate")
def reactivate(visit: Signed, ref: str) -> Response:
    """Switch them on again."""
    back = people.reactivate(visit.rt, visit.caller, ref)
    return visit.redirect(
        f"/people/{back['id']}", f"{back['handle']} is active again, without any role."
    )
