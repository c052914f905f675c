"""Break-glass: emergency roles, their end, their review."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import break_glass

router = APIRouter(tags=["break-glass"], responses=PROBLEMS)

Minutes = Annotated[int, Field(ge=1, le=1440, strict=True)]


class EmergencyIn(s.In):
    """The emergency role that is taken, and why."""

    role: s.Slug
    reason: s.Justification
    minutes: Minutes | None = Field(
        default=None, description="Less than the longest that policy lets it last."
    )


class EmergencyReviewIn(s.In):
    """What an emergency was, and what was found."""

    outcome: Literal["justified", "excessive", "misused"]
    findings: s.Justification


class DoneUnderOut(BaseModel):
    """A decision that was made under it."""

    id: str
    at: datetime
    action: str
    resource_kind: str
    resource_id: str | None
    effect: str


class EmergencyOut(BaseModel):
    """An emergency: whose, which role, until when, and its review."""

    id: str
    person_id: str
    person: str
    role: str
    reason: str
    state: Literal["active", "ended"]
    started_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    over_at: datetime = Field(description="When it ended, or ends if nobody ends it before.")
    review: Literal["open", "overdue", "done"]
    review_due_at: datetime
    reviewed_at: datetime | None
    reviewer: str | None
    outcome: str | None
    findings: str | None
    decisions: list[DoneUnderOut] | None = Field(
        default=None, description="What was done under it; only when one is asked for."
    )


class OfferedRoleOut(BaseModel):
    """An emergency role that you may take, and for how long at most."""

    role: str
    seconds: int


class OfferOut(BaseModel):
    """What you could take, what is in force, and what stands against another."""

    roles: list[OfferedRoleOut]
    active: EmergencyOut | None
    why_not: str | None


def _out(found: dict[str, Any]) -> EmergencyOut:
    return EmergencyOut.model_validate(found)


@router.get("/break-glass")
def list_emergencies(
    rt: RuntimeDep,
    caller: CallerDep,
    to_review: bool = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[EmergencyOut]:
    """Emergencies that you may see, newest first; `to_review=true`: not reviewed yet."""
    return s.Page[EmergencyOut].model_validate(
        break_glass.list_page(rt, caller, to_review=to_review, cursor=cursor, limit=limit)
    )


@router.get("/break-glass/offer")
def offer(rt: RuntimeDep, caller: CallerDep) -> OfferOut:
    """The emergency roles that policy names you for."""
    return OfferOut.model_validate(break_glass.get_offer(rt, caller))


@router.post("/break-glass", status_code=201)
def start(rt: RuntimeDep, caller: CallerDep, body: EmergencyIn) -> EmergencyOut:
    """Take an emergency role at once; everybody who has to know is told, and it is reviewed."""
    return _out(break_glass.start(rt, caller, **body.model_dump()))


@router.get("/break-glass/{emergency}")
def get(rt: RuntimeDep, caller: CallerDep, emergency: s.Reference) -> EmergencyOut:
    """One emergency, with the decisions that were made under it."""
    return _out(break_glass.get(rt, caller, emergency))


@router.post("/break-glass/{emergency}/end")
def end(rt: RuntimeDep, caller: CallerDep, emergency: s.Reference) -> EmergencyOut:
    """End it now."""
    return _out(break_glass.end(rt, caller, emergency))


@router.post("/break-glass/{emergency}/review")
def review(
    rt: RuntimeDep, caller: CallerDep, emergency: s.Reference, body: EmergencyReviewIn
) -> EmergencyOut:
    """Say what it was; somebody else's, once, and when it is over."""
    return _out(break_glass.review(rt, caller, emergency, **body.model_dump()))
