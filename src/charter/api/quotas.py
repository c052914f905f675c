"""Quotas: more of one for a while."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import AwareDatetime, BaseModel, Field

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import quota_overrides

router = APIRouter(tags=["quotas"], responses=PROBLEMS)


class OverrideIn(s.In):
    """More of a quota, until when, and what for."""

    scope: Literal["user", "team", "project"] = "user"
    of: s.Reference | None = Field(
        default=None, description="The team or project; for your own: the team that it is for."
    )
    dimension: Literal["vcpu", "memory_mib", "disk_mib", "gpu", "workspaces"]
    amount: s.Positive = Field(description="How much more; memory and disk in MiB.")
    until: AwareDatetime
    reason: s.Justification | None = None


class OverrideOut(BaseModel):
    """More of a quota for a while; `expired` and `revoked` ones add nothing."""

    id: str
    scope: str
    dimension: str
    amount: int
    requester: str
    state: Literal["active", "expired", "revoked"]
    approval_id: str | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class OverrideOutcomeOut(BaseModel):
    """What became of the request: an approval to wait for, or the override."""

    decision: s.DecisionOut
    override: OverrideOut | None
    approval: s.ApprovalOut | None


@router.get("/quotas/overrides")
def list_overrides(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[OverrideOut]:
    """Overrides that you asked for or may see, newest first."""
    return s.Page[OverrideOut].model_validate(
        quota_overrides.list_page(rt, caller, cursor=cursor, limit=limit)
    )


@router.post(
    "/quotas/overrides",
    status_code=201,
    responses={202: {"model": OverrideOutcomeOut, "description": "It waits for an approval."}},
)
def request(
    rt: RuntimeDep, caller: CallerDep, body: OverrideIn, response: Response
) -> OverrideOutcomeOut:
    """Ask for more of a quota until some time; it then falls back by itself."""
    outcome = quota_overrides.request(rt, caller, **body.model_dump())
    response.status_code = 202 if outcome["approval"] is not None else 201
    return OverrideOutcomeOut.model_validate(outcome)


@router.post("/quotas/overrides/{override}/revoke")
def revoke(rt: RuntimeDep, caller: CallerDep, override: s.Reference) -> OverrideOut:
    """Give it back before its end; what is in use goes on, and nothing new starts."""
    return OverrideOut.model_validate(quota_overrides.revoke(rt, caller, override))
