"""Roles and where they are held."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Filter, Limit, RuntimeDep
from charter.services import custom_roles, roles

router = APIRouter(tags=["people"], responses=PROBLEMS)

Name = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,39}$", examples=["release-manager"])]


@router.get("/role-bindings")
def list_bindings(
    rt: RuntimeDep,
    caller: CallerDep,
    person: Filter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.BindingOut]:
    """Roles that are held."""
    return s.Page[s.BindingOut].model_validate(
        roles.list_bindings(rt, caller, person=person, cursor=cursor, limit=limit)
    )


@router.post("/role-bindings", status_code=201)
def bind_role(rt: RuntimeDep, caller: CallerDep, body: s.BindingIn) -> s.BindingOut:
    """Give a role within a scope."""
    return s.BindingOut(**roles.bind_role(rt, caller, **body.model_dump()))


@router.delete("/role-bindings/{binding}", status_code=204)
def revoke_role(rt: RuntimeDep, caller: CallerDep, binding: s.Reference) -> Response:
    """Take a role away; it counts from the next request on."""
    roles.revoke_role(rt, caller, binding)
    return Response(status_code=204)


@router.get("/roles")
def catalogue(rt: RuntimeDep, caller: CallerDep) -> s.Page[s.RoleOut]:
    """Every role, built-in and own, with what it holds."""
    return s.Page[s.RoleOut].model_validate({"items": custom_roles.catalogue(rt, caller)})


@router.get("/roles/{name}")
def get_role(rt: RuntimeDep, caller: CallerDep, name: Name) -> s.RoleOut:
    """One role."""
    return s.RoleOut.model_validate(custom_roles.get(rt, caller, name))


@router.put("/roles/{name}")
def define_role(rt: RuntimeDep, caller: CallerDep, name: Name, body: s.RoleIn) -> s.RoleOut:
    """Make an own role, or change what it holds for everybody who holds it."""
    made = custom_roles.define(rt, caller, name, title=body.title, permissions=body.permissions)
    return s.RoleOut.model_validate(made)


@router.delete("/roles/{name}", status_code=204)
def retire_role(rt: RuntimeDep, caller: CallerDep, name: Name) -> Response:
    """Take an own role away for good; refused while anybody holds it."""
    custom_roles.retire(rt, caller, name)
    return Response(status_code=204)
