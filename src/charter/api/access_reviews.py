"""Access reviews: campaigns, what they ask about, keep or revoke, the evidence."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import access_campaigns, access_evidence, access_reviews

router = APIRouter(tags=["access reviews"], responses=PROBLEMS)

Campaign = Annotated[
    str,
    Path(pattern=r"^[A-Za-z0-9_-]{1,60}$", description="Id or name.", examples=["2026-Q4"]),
]


class CampaignIn(s.In):
    """Open a campaign outside the calendar."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class CampaignOut(BaseModel):
    """A campaign; `counts` is how many items the caller sees, by answer."""

    id: str
    name: str
    state: Literal["open", "closed"]
    opened_by: str
    reason: str | None
    opened_at: datetime
    due_at: datetime
    closed_at: datetime | None
    counts: dict[str, int]


class ReviewItemOut(BaseModel):
    """One thing that somebody holds, and what became of it."""

    id: str
    campaign_id: str
    kind: Literal["role", "grant", "agent", "definition", "token"]
    target_id: str
    what: str
    holder: str
    team: str | None
    privileged: bool
    since: datetime
    last_used_at: datetime | None
    unused: bool
    reviewers: list[str]
    place: Literal["team", "organisation", "watchers"]
    answer: Literal["keep", "revoke", "lapsed", "gone"] | None
    answered_by: str | None
    answered_at: datetime | None
    comment: str | None
    may_answer: bool


class ReviewAnswerIn(s.In):
    """Keep it, or take it away at once."""

    answer: Literal["keep", "revoke"]
    comment: Annotated[str | None, Field(max_length=500)] = None


class EvidenceOut(BaseModel):
    """The evidence of a campaign: every item as CSV, and the digest that the trail holds of it."""

    campaign: CampaignOut
    rules: dict[str, object]
    digest: str
    csv: str


class UnusedItemOut(BaseModel):
    """Something that is held and that nobody uses."""

    kind: Literal["role", "grant", "agent", "definition", "token"]
    target_id: str
    what: str
    holder: str
    privileged: bool
    since: datetime
    last_used_at: datetime | None


class UnusedOut(BaseModel):
    """What was not used for `days`."""

    days: int
    items: list[UnusedItemOut]


@router.get("/access/reviews")
def list_campaigns(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[CampaignOut]:
    """Campaigns in which something is yours, or yours to see."""
    return s.Page[CampaignOut].model_validate(
        access_reviews.list_campaigns(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/access/reviews", status_code=201)
def open_campaign(rt: RuntimeDep, caller: CallerDep, body: CampaignIn) -> CampaignOut:
    """Open a campaign now, about everything that is held."""
    id_ = access_campaigns.open_by(rt, caller, reason=body.reason)
    return CampaignOut.model_validate(access_reviews.get_campaign(rt, caller, id_))


@router.get("/access/reviews/{campaign}")
def get_campaign(rt: RuntimeDep, caller: CallerDep, campaign: Campaign) -> CampaignOut:
    """One campaign."""
    return CampaignOut.model_validate(access_reviews.get_campaign(rt, caller, campaign))


@router.get("/access/reviews/{campaign}/items")
def list_items(
    rt: RuntimeDep,
    caller: CallerDep,
    campaign: Campaign,
    state: Annotated[Literal["waiting", "keep", "revoke", "lapsed", "gone"] | None, Query()] = None,
    for_me: Annotated[bool, Query(description="Only what waits for your answer.")] = False,
    unused: Annotated[bool, Query(description="Only what nobody uses.")] = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[ReviewItemOut]:
    """What a campaign asks about."""
    return s.Page[ReviewItemOut].model_validate(
        access_reviews.list_items(
            rt,
            caller,
            campaign,
            state=state,
            for_me=for_me,
            unused_only=unused,
            cursor=cursor,
            limit=limit,
        )
    )


@router.post("/access/review-items/{item}/answer")
def answer(
    rt: RuntimeDep, caller: CallerDep, item: s.Reference, body: ReviewAnswerIn
) -> ReviewItemOut:
    """Keep it, or revoke it at once."""
    return ReviewItemOut.model_validate(
        access_reviews.answer(rt, caller, item, body.answer, body.comment)
    )


@router.post("/access/reviews/{campaign}/evidence")
def export(rt: RuntimeDep, caller: CallerDep, campaign: Campaign) -> EvidenceOut:
    """The evidence for an auditor; that it was taken is on record, with its digest."""
    return EvidenceOut.model_validate(access_evidence.export(rt, caller, campaign))


@router.get("/access/unused")
def list_unused(rt: RuntimeDep, caller: CallerDep) -> UnusedOut:
    """What is held and was not used for as long as the policy calls stale."""
    return UnusedOut.model_validate(access_evidence.list_unused(rt, caller))
