"""Agents: sponsor, credentials, end of the task, kill switch."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from charter.api import schemas as s
from charter.api.deps import (
    PROBLEMS,
    CallerDep,
    Cursor,
    Filter,
    Key,
    Limit,
    RuntimeDep,
    caller_of,
    runtime_of,
    token_of,
)
from charter.core.kernel.errors import UnauthenticatedError
from charter.services import agent_credentials, agents, elevations
from charter.services.agent_identity import SUPERSEDED
from charter.services.runtime import Caller

router = APIRouter(tags=["agents"], responses=PROBLEMS)


@router.get("/agents")
def list_agents(
    rt: RuntimeDep,
    caller: CallerDep,
    state: Filter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.AgentOut]:
    """Agents that you may see, newest first."""
    return s.Page[s.AgentOut].model_validate(
        agents.list_page(rt, caller, state=state, cursor=cursor, limit=limit)
    )


@router.post(
    "/agents",
    status_code=201,
    responses={202: {"model": s.AgentCreatedOut, "description": "It waits for an approval."}},
)
def create(
    rt: RuntimeDep, caller: CallerDep, body: s.AgentIn, response: Response, key: Key = None
) -> s.AgentCreatedOut:
    """Sponsor an agent for a task; its first credential is in this answer and never again."""
    outcome = agents.create(rt, caller, body.model_dump(), key)
    response.status_code = 202 if outcome["approval"] is not None else 201
    return s.AgentCreatedOut.model_validate(outcome)


@router.get("/agents/{agent}")
def get(rt: RuntimeDep, caller: CallerDep, agent: s.Reference) -> s.AgentOut:
    """One agent. An agent names itself `self`."""
    return s.AgentOut.model_validate(agents.get(rt, caller, agent))


def _renewing(request: Request) -> Caller:
    """The caller, who may be an agent that renews: whoever does so with an old credential tells
    that there is a copy of it.
    """
    try:
        return caller_of(request)
    except UnauthenticatedError as error:
        given = token_of(request)
        if given is not None and error.code == SUPERSEDED:
            agent_credentials.report_shown(runtime_of(request), *given)
        raise


@router.post("/agents/{agent}/credential", status_code=201)
def credential(
    request: Request,
    rt: RuntimeDep,
    caller: Annotated[Caller, Depends(_renewing)],
    agent: s.Reference,
    body: s.CredentialIn | None = None,
) -> s.CredentialOut:
    """A fresh credential, for the sponsor to hand over or for the agent (`self`) to carry on.

    The one before ends half a minute later.
    """
    thumbprint = None if body is None else body.thumbprint
    try:
        made = agent_credentials.issue_credential(rt, caller, agent, thumbprint)
    except UnauthenticatedError as error:
        given = token_of(request)
        if given is not None and error.code == SUPERSEDED:
            agent_credentials.report_reuse(rt, given[0], caller.key)
        raise
    return s.CredentialOut(**made)


@router.post("/agents/{agent}/end")
def end(rt: RuntimeDep, caller: CallerDep, agent: s.Reference, body: s.TaskEndIn) -> s.AgentOut:
    """The task is completed or has failed; all that hangs on it ends."""
    return s.AgentOut.model_validate(agents.end(rt, caller, agent, body.outcome))


@router.post("/agents/{agent}/kill")
def kill(rt: RuntimeDep, caller: CallerDep, agent: s.Reference, body: s.KillIn) -> s.KillOut:
    """Stop it at once: credentials dead, processes gone, workspaces stopped and kept."""
    return s.KillOut.model_validate(agents.kill(rt, caller, agent, body.reason))


@router.post(
    "/agents/{agent}/elevations",
    status_code=201,
    responses={202: {"model": s.ElevationOutcomeOut, "description": "It waits for an approval."}},
)
def elevate(
    rt: RuntimeDep, caller: CallerDep, agent: s.Reference, body: s.ElevationIn, response: Response
) -> s.ElevationOutcomeOut:
    """Ask for more room for its task: as its sponsor, or as the agent (`self`)."""
    outcome = elevations.request(rt, caller, agent, **body.model_dump())
    response.status_code = 202 if outcome["approval"] is not None else 201
    return s.ElevationOutcomeOut.model_validate(outcome)


@router.post("/agents/{agent}/elevations/{elevation}/revoke")
def lower(
    rt: RuntimeDep, caller: CallerDep, agent: s.Reference, elevation: s.Reference
) -> s.AgentOut:
    """Take back what it was given; what runs beyond its own tier is stopped."""
    return s.AgentOut.model_validate(elevations.revoke(rt, caller, agent, elevation))
