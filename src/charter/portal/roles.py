"""Roles: what each holds, and the organisation's own ones to define, change and retire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import custom_roles

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_FIELD: Final = "reach:"  # what the field of a permission begins with


@router.get("/access/roles")
def show_roles(visit: Signed) -> Response:
    """Every role."""
    return visit.page("roles.html", {"roles": custom_roles.catalogue(visit.rt, visit.caller)})


def _form_page(
    visit: Signed,
    role: Mapping[str, Any],
    *,
    new: bool,
    error: CharterError | None = None,
) -> Response:
    return visit.page(
        "role_form.html",
        {"role": role, "choices": custom_roles.choices(), "new": new, "error": error},
        status=200 if error is None else error.status,
    )


@router.get("/access/roles/new")
def new_role(visit: Signed) -> Response:
    """The form; `from` begins with what another role holds."""
    base = visit.asked("from")["from"]
    role: dict[str, Any] = {"name": "", "title": "", "permissions": {}}
    if base is not None:
        held = custom_roles.get(visit.rt, visit.caller, base)
        role["permissions"] = held["permissions"]
    return _form_page(visit, role, new=True)


@router.get("/access/roles/{name}")
def show_role(visit: Signed, name: str) -> Response:
    """What it holds; an own one can be changed here by whoever may."""
    role = custom_roles.get(visit.rt, visit.caller, name)
    if role["built_in"] or "role.define" not in visit.permissions:
        return visit.page("role.html", {"role": role})
    return _form_page(visit, role, new=False)


@router.post("/access/roles")
def define_role(visit: Signed) -> Response:
    """Make it, or change it."""
    role: dict[str, Any] = {
        "name": visit.form.get("name", "").strip(),
        "title": visit.form.get("title", "").strip(),
        "permissions": {
            field.removeprefix(_FIELD): reach
            for field, reach in visit.form.items()
            if field.startswith(_FIELD) and reach
        },
    }
    new = visit.form.get("new") == "yes"
    try:
        made = custom_roles.define(
            visit.rt,
            visit.caller,
            role["name"],
            title=role["title"] or role["name"],
            permissions=role["permissions"],
            new=new,
        )
    except CharterError as error:
        return _form_page(visit, role, new=new, error=error)
    return visit.redirect("/access/roles", f"{made['name']} is kept.")


@router.get("/access/roles/{name}/retire")
def ask_retire(visit: Signed, name: str) -> Response:
    """The page that asks before a role goes."""
    role = custom_roles.get(visit.rt, visit.caller, name)
    return visit.page(
        "ask.html",
        {
            "title": f"Retire {role['name']}?",
            "text": "Nobody can be given it any more. It stays in the audit trail.",
            "action": f"/access/roles/{role['name']}/retire",
            "label": "Retire the role",
            "kind": "danger",
            "reason_name": None,
            "back": f"/access/roles/{role['name']}",
        },
        block="ask",
    )


@router.post("/access/roles/{name}/retire")
def retire_role(visit: Signed, name: str) -> Response:
    """Take it away for good."""
    custom_roles.retire(visit.rt, visit.caller, name)
    return visit.redirect("/access/roles", f"{name} is retired.")
