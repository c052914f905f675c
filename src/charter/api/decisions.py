"""Stored decisions and their replay."""

from __future__ import annotations

from fastapi import APIRouter

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Filter, Limit, RuntimeDep
from charter.services import decisions, explain
from charter.services import replay as replays

router = APIRouter(tags=["decisions"], responses=PROBLEMS)


@router.get("/decisions")
def list_decisions(
    rt: RuntimeDep,
    caller: CallerDep,
    subject: Filter = None,
    effect: Filter = None,
    action: Filter = None,
    resource: Filter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.DecisionRecordOut]:
    """Decisions that you may see, newest first."""
    return s.Page[s.DecisionRecordOut].model_validate(
        decisions.list_page(
            rt,
            caller,
            subject=subject,
            effect=effect,
            action=action,
            resource=resource,
            cursor=cursor,
            limit=limit,
        )
    )


@router.get("/decisions/{decision}")
def get(rt: RuntimeDep, caller: CallerDep, decision: s.Reference) -> s.DecisionRecordOut:
    """One decision with all the facts that it was made from."""
    return s.DecisionRecordOut.model_validate(decisions.get(rt, caller, decision))


@router.get("/decisions/{decision}/explanation")
def explanation(rt: RuntimeDep, caller: CallerDep, decision: s.Reference) -> s.ExplanationOut:
    """Why it came out so: rules with lines and values, near misses, the smallest change to pass.

    In place of an id, `last` means your newest request that was refused or needs an approval.
    """
    return s.ExplanationOut.model_validate(explain.explain(rt, caller, decision))


@router.post("/decisions/replay")
def replay(rt: RuntimeDep, caller: CallerDep, body: s.ReplayIn) -> s.ReplayOut:
    """Compute stored decisions again and compare; a difference is worth an incident."""
    return s.ReplayOut(
        **replays.replay(rt, caller, body.limit, cursor=body.cursor, processes=body.processes)
    )
