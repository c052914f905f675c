"""Exemptions: who is left out of which rule, and how often that counted."""

from __future__ import annotations

from fastapi import APIRouter

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, RuntimeDep
from charter.services import exemptions

router = APIRouter(tags=["policies"], responses=PROBLEMS)


@router.get("/policies/exemptions")
def list_exemptions(rt: RuntimeDep, caller: CallerDep) -> s.Page[s.ExemptionOut]:
    """The exemptions of the bundle in force, those that end first in front."""
    return s.Page[s.ExemptionOut].model_validate({"items": exemptions.list_all(rt, caller)})
