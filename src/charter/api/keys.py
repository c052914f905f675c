"""The keys that sign agents' credentials, and their rotation."""

from __future__ import annotations

from fastapi import APIRouter

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, RuntimeDep
from charter.services import keys

router = APIRouter(tags=["keys"], responses=PROBLEMS)


@router.get("/keys")
def list_keys(rt: RuntimeDep, caller: CallerDep) -> s.Page[s.KeyOut]:
    """Every signing key of every replica, newest first."""
    return s.Page[s.KeyOut](
        items=[s.KeyOut.model_validate(key) for key in keys.list_keys(rt, caller)]
    )


@router.post("/keys/rotate")
def rotate(rt: RuntimeDep, caller: CallerDep, body: s.KeyRotateIn) -> s.KeyRotatedOut:
    """Retire all signing keys; each replica makes a new one when it signs next."""
    return s.KeyRotatedOut.model_validate(keys.rotate(rt, caller, compromised=body.compromised))
