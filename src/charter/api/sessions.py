"""Sessions: who is signed in where, and ending them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Filter, RuntimeDep
from charter.services import sessions

router = APIRouter(tags=["identity"], responses=PROBLEMS)


@router.get("/sessions")
def list_sessions(rt: RuntimeDep, caller: CallerDep, person: Filter = None) -> s.Page[s.SessionOut]:
    """Your live sessions in browsers; with `person`, somebody's, for those who may end them."""
    found = sessions.list_sessions(rt, caller, person)
    return s.Page[s.SessionOut](items=[s.SessionOut(**each) for each in found])


@router.delete("/sessions/{session}", status_code=204)
def end_session(rt: RuntimeDep, caller: CallerDep, session: s.Reference) -> Response:
    """End a session of yours or, with `session.end`, of somebody else; it counts at once."""
    sessions.end(rt, caller, session)
    return Response(status_code=204)


@router.post("/sessions/end-others")
def end_other_sessions(rt: RuntimeDep, caller: CallerDep) -> s.EndedOut:
    """End all your sessions but the one that asks."""
    return s.EndedOut(sessions=sessions.end_others(rt, caller))


@router.post("/people/{person}/end-sessions")
def end_all_sessions(rt: RuntimeDep, caller: CallerDep, person: s.Reference) -> s.EndedOut:
    """End every session and personal token of somebody whose account may be in other hands."""
    return s.EndedOut(**sessions.end_all(rt, caller, person))
