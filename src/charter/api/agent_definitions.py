"""Definitions of agents: what may be run, by whom, and what every version of it allowed."""

from __future__ import annotations

from fastapi import APIRouter

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Filter, Limit, RuntimeDep
from charter.services import agent_definitions

router = APIRouter(tags=["agents"], responses=PROBLEMS)


@router.get("/agent-definitions")
def list_definitions(
    rt: RuntimeDep,
    caller: CallerDep,
    state: Filter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.AgentDefinitionOut]:
    """Definitions that you may see: your teams', and those that you may run."""
    return s.Page[s.AgentDefinitionOut].model_validate(
        agent_definitions.list_page(rt, caller, state=state, cursor=cursor, limit=limit)
    )


@router.post("/agent-definitions", status_code=201)
def define(rt: RuntimeDep, caller: CallerDep, body: s.AgentDefinitionIn) -> s.AgentDefinitionOut:
    """Define an agent, for a team that answers for it."""
    made = agent_definitions.define(rt, caller, body.model_dump())
    return s.AgentDefinitionOut.model_validate(made)


@router.get("/agent-definitions/{definition}")
def get(rt: RuntimeDep, caller: CallerDep, definition: s.Reference) -> s.AgentDefinitionDetailOut:
    """One definition with all its versions."""
    return s.AgentDefinitionDetailOut.model_validate(agent_definitions.get(rt, caller, definition))


@router.patch("/agent-definitions/{definition}")
def change(
    rt: RuntimeDep,
    caller: CallerDep,
    definition: s.Reference,
    body: s.AgentDefinitionChangeIn,
) -> s.AgentDefinitionOut:
    """Make a new version. What is narrower now narrows running instances as well."""
    changed = agent_definitions.change(rt, caller, definition, body.model_dump())
    return s.AgentDefinitionOut.model_validate(changed)


@router.post("/agent-definitions/{definition}/retire")
def retire(
    rt: RuntimeDep, caller: CallerDep, definition: s.Reference, body: s.RetireIn
) -> s.AgentDefinitionOut:
    """Nothing new runs of it, and running instances get no more credentials."""
    retired = agent_definitions.retire(rt, caller, definition, body.why)
    return s.AgentDefinitionOut.model_validate(retired)
