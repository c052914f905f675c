"""Roles and where they are held."""

from __future__ import annotations

from fastapi import APIRouter, Response

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Filter, Limit, RuntimeDep
from charter.services import roles

router = APIRouter(tags=["people"], responses=PROBLEMS)


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
