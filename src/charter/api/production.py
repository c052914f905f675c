"""Production just in time: ask, take the token, end it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import production

router = APIRouter(tags=["production"], responses=PROBLEMS)


class AccessIn(s.In):
    """The access that is asked for."""

    project: s.Reference
    minutes: Annotated[int, Field(ge=1, le=525_600, strict=True)]
    reason: s.Justification | None = None
    ticket: s.Line | None = None


class AccessOut(BaseModel):
    """An access: `approved` while its token waits to be taken, then `active` until it ends."""

    id: str
    person_id: str
    person: str
    team_id: str
    project_id: str
    project: str
    environment: str
    seconds: int = Field(description="How long it lasts from the moment the token is taken.")
    ticket: str | None
    state: Literal["approved", "active", "expired", "revoked"]
    approval_id: str | None
    created_at: datetime
    issued_at: datetime | None
    expires_at: datetime = Field(description="Until when to take the token; then, when it ends.")
    revoked_at: datetime | None
    uses: int
    last_used_at: datetime | None
    last_used_where: str | None


class AccessTokenOut(AccessOut):
    """The access with its token, which is shown this once."""

    token: str


class AccessOutcomeOut(BaseModel):
    """What became of the request: an approval to wait for, or the access."""

    decision: s.DecisionOut
    access: AccessOut | None
    approval: s.ApprovalOut | None


@router.get("/production/accesses")
def list_accesses(
    rt: RuntimeDep, caller: CallerDep, mine: bool = False, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[AccessOut]:
    """Accesses that you may see, newest first; `mine=true`: your own."""
    return s.Page[AccessOut].model_validate(
        production.list_page(rt, caller, mine=mine, cursor=cursor, limit=limit)
    )


@router.post(
    "/production/accesses",
    status_code=201,
    responses={202: {"model": AccessOutcomeOut, "description": "It waits for an approval."}},
)
def request(
    rt: RuntimeDep, caller: CallerDep, body: AccessIn, response: Response
) -> AccessOutcomeOut:
    """Ask for access to the production of a project, for some minutes."""
    outcome = production.request(rt, caller, **body.model_dump())
    response.status_code = 202 if outcome["approval"] is not None else 201
    return AccessOutcomeOut.model_validate(outcome)


@router.get("/production/accesses/{access}")
def get(rt: RuntimeDep, caller: CallerDep, access: s.Reference) -> AccessOut:
    """One access."""
    return AccessOut.model_validate(production.get(rt, caller, access))


@router.post("/production/accesses/{access}/token")
def take_token(rt: RuntimeDep, caller: CallerDep, access: s.Reference) -> AccessTokenOut:
    """Take the token of your approved access, once; from now on the time runs."""
    return AccessTokenOut.model_validate(production.take_token(rt, caller, access))


@router.post("/production/accesses/{access}/revoke")
def revoke(rt: RuntimeDep, caller: CallerDep, access: s.Reference) -> AccessOut:
    """End it at once."""
    return AccessOut.model_validate(production.revoke(rt, caller, access))
