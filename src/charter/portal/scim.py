"""Directories: the identity providers that provision people and teams, and their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import scim


class DirectoryForm(forms.Fields):
    """A provisioning token that is asked for."""

    name: forms.Slug
    directory: forms.Slug
    days: Annotated[int, Field(ge=1, le=3650)] = 365


class AdoptForm(forms.Fields):
    """To whom a person is handed over."""

    directory: forms.Slug


router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


def _page(
    visit: Signed,
    *,
    made: Mapping[str, Any] | None = None,
    error: CharterError | None = None,
) -> Response:
    cursor = visit.asked("cursor")["cursor"]
    return visit.page(
        "directories.html",
        {
            "page": scim.list_tokens(visit.rt, visit.caller, cursor=cursor),
            "cursor": cursor,
            "made": made,
            "error": error,
            "form": visit.form if error else {},
            "url": f"{visit.rt.settings.url}/scim/v2",
        },
        status=200 if error is None else error.status,
    )


@router.get("/people/directories")
def show_directories(visit: Signed) -> Response:
    """The tokens, and the form for another one."""
    return _page(visit)


@router.post("/people/directories")
def create_token(visit: Signed) -> Response:
    """A token for a directory; the answer itself shows its secret, once."""
    try:
        form = forms.read(DirectoryForm, visit.form)
        made = scim.create_token(visit.rt, visit.caller, **form.model_dump())
    except CharterError as error:
        return _page(visit, error=error)
    return _page(visit, made=made)


@router.get("/people/directories/{ref}/revoke")
def ask_revoke(visit: Signed, ref: str) -> Response:
    """The page that asks before a directory is cut off."""
    return visit.page(
        "ask.html",
        {
            "title": "Revoke this token?",
            "text": "The directory that uses it can no longer change anything here. People and "
            "teams stay as they are.",
            "action": f"/people/directories/{ref}/revoke",
            "label": "Revoke",
            "kind": "danger",
            "back": "/people/directories",
            "reason_name": None,
        },
        block="ask",
    )


@router.post("/people/directories/{ref}/revoke")
def revoke_token(visit: Signed, ref: str) -> Response:
    """Cut it off."""
    ended = scim.revoke_token(visit.rt, visit.caller, ref)
    return visit.redirect("/people/directories", f"{ended['name']} is revoked.")


@router.post("/people/{ref}/adopt")
def adopt(visit: Signed, ref: str) -> Response:
    """Hand a person over to a directory."""
    directory = forms.read(AdoptForm, visit.form).directory
    done = scim.adopt(visit.rt, visit.caller, directory=directory, kind="person", ref=ref)
    return visit.redirect(
        f"/people/{done['id']}", f"{done['name']} is kept by {done['directory']} from now on."
    )
