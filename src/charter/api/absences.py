"""Absences: who answers approvals in your stead, and for whom you do."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, RuntimeDep
from charter.services import absences

router = APIRouter(tags=["approvals"], responses=PROBLEMS)


class AbsenceOut(BaseModel):
    """Somebody is away, and somebody answers for them."""

    id: str
    person_id: str
    person: str
    delegate_id: str
    delegate: str
    starts_at: datetime
    ends_at: datetime
    reason: str | None
    state: str = Field(description="planned, now, over or ended.")
    mine: bool = Field(description="Whether it is you who is away.")
    created_at: datetime
    revoked_at: datetime | None


class AbsenceIn(s.In):
    """Name who votes in your stead."""

    delegate: s.Reference
    starts_at: AwareDatetime | None = Field(default=None, description="Now, if left out.")
    ends_at: AwareDatetime
    reason: s.Words | None = None


@router.get("/absences")
def list_absences(rt: RuntimeDep, caller: CallerDep, past: bool = False) -> s.Page[AbsenceOut]:
    """Yours, and those in which you answer for somebody; `past=true` also those that are over."""
    found = absences.list_mine(rt, caller, past=past)
    return s.Page[AbsenceOut].model_validate({"items": found, "next": None})


@router.post("/absences", status_code=201)
def enter(rt: RuntimeDep, caller: CallerDep, body: AbsenceIn) -> AbsenceOut:
    """Name a delegate for a span of time."""
    return AbsenceOut.model_validate(
        absences.enter(
            rt,
            caller,
            delegate=body.delegate,
            starts_at=body.starts_at,
            ends_at=body.ends_at,
            reason=body.reason,
        )
    )


@router.post("/absences/{absence}/end")
def end(rt: RuntimeDep, caller: CallerDep, absence: s.Reference) -> AbsenceOut:
    """End it now, because you are back, or because you would rather not answer for somebody."""
    return AbsenceOut.model_validate(absences.end(rt, caller, absence))
