"""Passkeys: see, name and remove them. They are added, and used, in a browser."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Filter, RuntimeDep
from charter.services import passkeys

router = APIRouter(tags=["identity"], responses=PROBLEMS)


@router.get("/passkeys")
def list_passkeys(rt: RuntimeDep, caller: CallerDep, person: Filter = None) -> s.Page[s.PasskeyOut]:
    """Your passkeys; with `person`, somebody's, for those who manage people."""
    found = passkeys.list_passkeys(rt, caller, person)
    return s.Page[s.PasskeyOut](items=[s.PasskeyOut(**each) for each in found])


@router.put("/passkeys/{passkey}")
def rename_passkey(
    rt: RuntimeDep, caller: CallerDep, passkey: s.Reference, body: s.PasskeyIn
) -> s.PasskeyOut:
    """Give one of your passkeys another name."""
    return s.PasskeyOut(**passkeys.rename(rt, caller, passkey, body.name))


@router.delete("/passkeys/{passkey}", status_code=204)
def remove_passkey(
    rt: RuntimeDep,
    caller: CallerDep,
    passkey: s.Reference,
    last: Annotated[bool, Query(description="Remove it even if it is the account's last.")] = False,
) -> Response:
    """Remove a passkey, and end the sessions that it opened."""
    passkeys.remove(rt, caller, passkey, last=last)
    return Response(status_code=204)
