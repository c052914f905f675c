"""Policy changes on their way into force, and the Git repository that they come from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.core.policy.pipeline import ChangeState
from charter.services import policy_changes, policy_source

router = APIRouter(tags=["policies"], responses=PROBLEMS)

ChangeId = Annotated[str, Path(pattern=r"^chg_[0-9a-z]{26}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_STATES = ("open", *(state.value for state in ChangeState))


class ChangeIn(s.In):
    """A proposal: all files of the bundle as they should be, and what for."""

    files: dict[Annotated[str, Field(max_length=200)], Annotated[str, Field(max_length=262_144)]]
    title: Annotated[s.Line, Field(min_length=1)]
    description: s.Words = ""


class ReviewIn(s.In):
    """A word on the candidate with this digest, for a side of which the reviewer is."""

    digest: Digest
    comment: s.Words = ""
    side: Literal["security", "platform"] | None = None


class WithdrawIn(s.In):
    """Why a change is withdrawn."""

    why: s.Line = ""


class ChangeSummaryOut(BaseModel):
    """A change in a list; `files` is how many it touches."""

    id: str
    source: str
    branch: str | None
    commit: str | None
    title: str
    author: str
    state: str
    reason: str
    since: datetime
    created_at: datetime
    digest: str | None
    base_digest: str | None
    files: int


class ChangedFileOut(BaseModel):
    """A file that a change adds, changes or deletes."""

    path: str
    kind: str


class ReviewOut(BaseModel):
    """A review; one that does not count was of another candidate, or was taken back."""

    id: str
    reviewer_id: str
    handle: str
    side: str
    verdict: str
    comment: str
    impact_id: str | None
    at: datetime
    counts: bool


class StageOut(BaseModel):
    """How long a change has been staged, for which environments, and what it has decided there."""

    since: datetime
    until: datetime
    environments: list[str]
    decisions_made: int
    decisions_needed: int


class ChangeOut(ChangeSummaryOut):
    """A change with everything that is known about it.

    `not_promotable` says what stands between it and promotion; null when nothing does. `monitor`
    holds the refusals before and after the promotion.
    """

    description: str
    author_ids: list[str]
    changed: list[ChangedFileOut]
    diff: str
    checks: dict[str, Any] | None
    impact_id: str | None
    reviews: list[ReviewOut]
    missing_reviews: list[str]
    waits_for: str | None
    not_promotable: str | None
    stage: StageOut | None
    promoted_at: datetime | None
    previous_digest: str | None
    monitor: dict[str, Any] | None
    monitored_until: datetime | None
    closed_at: datetime | None
    active: bool


class HeadOut(BaseModel):
    """A branch as it was last seen, and what became of its commit."""

    branch: str
    commit: str
    change_id: str | None
    outcome: str
    seen_at: datetime


class SourceOut(BaseModel):
    """The repository that is watched (null: none), and how the last fetch went."""

    repository: str | None
    branch: str
    path: str
    poll_seconds: float
    webhook: bool
    fetched_at: datetime | None
    error: str | None
    failing_since: datetime | None
    heads: list[HeadOut]


@router.get("/policies/changes")
def changes(
    rt: RuntimeDep,
    caller: CallerDep,
    state: Annotated[str | None, Query(pattern=f"^({'|'.join(_STATES)})$")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[ChangeSummaryOut]:
    """Policy changes, newest first; `state=open` leaves out those that have ended."""
    return s.Page[ChangeSummaryOut].model_validate(
        policy_changes.list_page(rt, caller, state=state, cursor=cursor, limit=limit)
    )


@router.post("/policies/changes", status_code=201)
def propose(rt: RuntimeDep, caller: CallerDep, body: ChangeIn) -> ChangeOut:
    """Propose a bundle; it takes the way of checks, impact, reviews and stage."""
    return ChangeOut.model_validate(
        policy_changes.propose(rt, caller, body.files, body.title, body.description)
    )


@router.get("/policies/changes/{change}")
def change(rt: RuntimeDep, caller: CallerDep, change: ChangeId) -> ChangeOut:
    """One change: diff, checks, impact, reviews, stage, monitoring."""
    return ChangeOut.model_validate(policy_changes.get(rt, caller, change))


@router.post("/policies/changes/{change}/approve")
def approve(rt: RuntimeDep, caller: CallerDep, change: ChangeId, body: ReviewIn) -> ChangeOut:
    """Agree to the candidate that you looked at."""
    return _review(rt, caller, change, body, approves=True)


@router.post("/policies/changes/{change}/reject")
def reject(rt: RuntimeDep, caller: CallerDep, change: ChangeId, body: ReviewIn) -> ChangeOut:
    """Refuse it, with a reason; that ends the change."""
    return _review(rt, caller, change, body, approves=False)


def _review(
    rt: RuntimeDep, caller: CallerDep, change_id: str, body: ReviewIn, *, approves: bool
) -> ChangeOut:
    found = policy_changes.review(
        rt,
        caller,
        change_id,
        approves=approves,
        digest=body.digest,
        comment=body.comment,
        side=body.side,
    )
    return ChangeOut.model_validate(found)


@router.post("/policies/changes/{change}/promote")
def promote(rt: RuntimeDep, caller: CallerDep, change: ChangeId) -> ChangeOut:
    """Put a staged change in force; a spike of refusals takes it back by itself."""
    return ChangeOut.model_validate(policy_changes.promote(rt, caller, change))


@router.post("/policies/changes/{change}/withdraw")
def withdraw(rt: RuntimeDep, caller: CallerDep, change: ChangeId, body: WithdrawIn) -> ChangeOut:
    """End a change that is not in force yet."""
    return ChangeOut.model_validate(policy_changes.withdraw(rt, caller, change, body.why))


@router.get("/policies/source")
def source(rt: RuntimeDep, caller: CallerDep) -> SourceOut:
    """The Git repository that is watched, and what became of each branch."""
    return SourceOut.model_validate(policy_source.state(rt, caller))


@router.post("/policies/source/webhook", status_code=202)
async def webhook(rt: RuntimeDep, request: Request) -> Response:
    """Fetch soon, because somebody pushed; shows a signature or the secret of the webhook."""
    body = await request.body()
    await run_in_threadpool(policy_source.ring, rt, body, dict(request.headers))
    return Response(status_code=202)
