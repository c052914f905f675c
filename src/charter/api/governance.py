"""Governance: reviews of the policy and their calendar."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import governance

router = APIRouter(tags=["governance"], responses=PROBLEMS)

State = Annotated[Literal["open", "overdue", "closed"] | None, Query()]
Number = Annotated[int, Path(ge=1, le=100)]


@router.get("/governance/reviews")
def list_reviews(
    rt: RuntimeDep,
    caller: CallerDep,
    state: State = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.ReviewOut]:
    """Reviews, newest first."""
    return s.Page[s.ReviewOut].model_validate(
        governance.list_page(rt, caller, state=state, cursor=cursor, limit=limit)
    )


@router.get("/governance/calendar")
def calendar(rt: RuntimeDep, caller: CallerDep) -> s.Page[s.ReviewDueOut]:
    """When the next review of each scheduled kind is due."""
    return s.Page[s.ReviewDueOut].model_validate({"items": governance.list_due(rt, caller)})


@router.post("/governance/reviews", status_code=201)
def open_review(rt: RuntimeDep, caller: CallerDep, body: s.ReviewOpenIn) -> s.ReviewOut:
    """Open a review because of an event; its due date follows from the trigger."""
    return s.ReviewOut.model_validate(governance.open_review(rt, caller, body.trigger, body.reason))


@router.get("/governance/reviews/{review}")
def get(rt: RuntimeDep, caller: CallerDep, review: s.Reference) -> s.ReviewOut:
    """One review with the figures of its period."""
    return s.ReviewOut.model_validate(governance.get(rt, caller, review))


@router.post("/governance/reviews/{review}/hold")
def hold(
    rt: RuntimeDep, caller: CallerDep, review: s.Reference, body: s.ReviewHeldIn
) -> s.ReviewOut:
    """Note that it was held, and by which committee."""
    held = governance.Held(body.held_at, [(m.person, m.side) for m in body.committee])
    return s.ReviewOut.model_validate(governance.hold(rt, caller, review, held))


@router.put("/governance/reviews/{review}/minutes")
def minutes(
    rt: RuntimeDep, caller: CallerDep, review: s.Reference, body: s.MinutesIn
) -> s.ReviewOut:
    """Write the minutes and the findings."""
    findings = [governance.Action(f.text, f.owner, f.due_on) for f in body.findings]
    return s.ReviewOut.model_validate(
        governance.write_minutes(rt, caller, review, body.minutes, findings)
    )


@router.post("/governance/reviews/{review}/findings/{number}/done")
def done(rt: RuntimeDep, caller: CallerDep, review: s.Reference, number: Number) -> s.ReviewOut:
    """Note that a finding (from 1) is done; also after the review was closed."""
    return s.ReviewOut.model_validate(governance.finish_action(rt, caller, review, number))


@router.post("/governance/reviews/{review}/close")
def close(
    rt: RuntimeDep, caller: CallerDep, review: s.Reference, body: s.ReviewCloseIn
) -> s.ReviewOut:
    """Close it; the findings go to their owners."""
    return s.ReviewOut.model_validate(governance.close(rt, caller, review, body.outcome))
