"""Grants: what approvals gave, until when; taking it back, and asking for it again in time."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import grants

router = APIRouter(tags=["approvals"], responses=PROBLEMS)


class GrantOut(BaseModel):
    """A yes that was given, and how it stands."""

    id: str
    approval_id: str
    state: str = Field(
        description="active, or what ended it: expired, used, revoked, task-ended, role-lost."
    )
    subject_id: str
    holder: str
    holder_kind: str
    sponsor: str = Field(description="The person who answers for it.")
    action: str
    summary: str
    rules: list[str] = Field(description="The rules whose call for an approval it answers.")
    team_id: str
    team: str | None
    approvers: list[str | None]
    created_at: datetime
    expires_at: datetime
    single_use: bool
    task_id: str | None = Field(description="The task with which it ends.")
    used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    revoke_reason: str | None
    justification: str | None
    ticket: str | None
    renewal_id: str | None = Field(description="The request that is to follow it, if there is one.")
    renewable: bool = Field(description="Whether you can ask for it again now.")


class RevokeIn(s.In):
    """Why a grant is taken back."""

    reason: s.Words | None = None


class RenewIn(s.In):
    """What a renewal carries; what is left out is as in the request before."""

    justification: s.Justification | None = None
    ticket: s.Ticket | None = None
    duration_seconds: s.Seconds | None = None


@router.get("/grants")
def list_grants(
    rt: RuntimeDep,
    caller: CallerDep,
    mine: bool = False,
    holds: bool = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[GrantOut]:
    """Grants that you may see, newest first; `mine=true` your own and those of your agents.

    `holds=true` leaves out those that ran out, were used or were taken back.
    """
    return s.Page[GrantOut].model_validate(
        grants.list_page(rt, caller, mine=mine, holds=holds, cursor=cursor, limit=limit)
    )


@router.get("/grants/{grant}")
def get(rt: RuntimeDep, caller: CallerDep, grant: s.Reference) -> GrantOut:
    """One grant."""
    return GrantOut.model_validate(grants.get(rt, caller, grant))


@router.post("/grants/{grant}/revoke")
def revoke(
    rt: RuntimeDep, caller: CallerDep, grant: s.Reference, body: RevokeIn | None = None
) -> GrantOut:
    """End it now. What runs by it is stopped."""
    reason = None if body is None else body.reason
    return GrantOut.model_validate(grants.revoke(rt, caller, grant, reason))


@router.post("/grants/{grant}/renew", status_code=201)
def renew(
    rt: RuntimeDep, caller: CallerDep, grant: s.Reference, body: RenewIn | None = None
) -> s.ApprovalOut:
    """Ask for the same again before it ends; answers with the new request."""
    asked = body or RenewIn()
    wanted = grants.Renewal(asked.justification, asked.ticket, asked.duration_seconds)
    return s.ApprovalOut.model_validate(grants.renew(rt, caller, grant, wanted))
