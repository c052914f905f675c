"""Directories that provision by SCIM: their tokens, and who is handed over to them."""

from __future__ import annotations

from fastapi import APIRouter

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import scim

router = APIRouter(tags=["people"], responses=PROBLEMS)


@router.get("/scim/tokens")
def list_tokens(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.ScimTokenOut]:
    """All provisioning tokens, ended ones too, newest first."""
    return s.Page[s.ScimTokenOut].model_validate(
        scim.list_tokens(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/scim/tokens", status_code=201)
def create_token(rt: RuntimeDep, caller: CallerDep, body: s.ScimTokenIn) -> s.ScimTokenMadeOut:
    """A token with which a directory provisions; its secret is in the answer, this once."""
    return s.ScimTokenMadeOut(
        **scim.create_token(rt, caller, name=body.name, directory=body.directory, days=body.days)
    )


@router.post("/scim/tokens/{token}/revoke")
def revoke_token(rt: RuntimeDep, caller: CallerDep, token: s.Reference) -> s.ScimTokenOut:
    """End a provisioning token for ever."""
    return s.ScimTokenOut(**scim.revoke_token(rt, caller, token))


@router.post("/scim/adoptions", status_code=201)
def adopt(rt: RuntimeDep, caller: CallerDep, body: s.AdoptionIn) -> s.AdoptionOut:
    """Hand a person or a team that is kept here over to a directory."""
    return s.AdoptionOut(
        **scim.adopt(rt, caller, directory=body.directory, kind=body.kind, ref=body.ref)
    )
