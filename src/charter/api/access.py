"""Who may do what, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Filter, RuntimeDep
from charter.services import access_views, networks

router = APIRouter(tags=["access"], responses=PROBLEMS)

Subject = Annotated[
    s.Reference, Query(description="A handle, an agent's name or id, or `me`.", examples=["dana"])
]
Action = Annotated[str, Query(max_length=64, examples=["workspace.stop"])]
Resource = Annotated[
    str | None,
    Query(
        pattern=r"^[a-z][a-z-]{0,39}(:[A-Za-z0-9][A-Za-z0-9._-]{0,99})?$",
        description="`kind:name` of one thing, or a kind alone for a new one or all of them.",
        examples=["workspace:api"],
    ),
]
Address = Annotated[
    str | None,
    Query(max_length=45, description="An address to be held against the lists."),
]


@router.get("/access/why")
def why(
    rt: RuntimeDep,
    caller: CallerDep,
    subject: Subject,
    action: Action,
    resource: Resource = None,
    team: Filter = None,
    project: Filter = None,
) -> s.AccessWhyOut:
    """Whether somebody may do something now, with all that was looked at."""
    aim = access_views.Aim(resource, team, project)
    return s.AccessWhyOut.model_validate(
        access_views.why(rt, caller, subject=subject, action=action, aim=aim)
    )


@router.get("/access/matrix")
def matrix(rt: RuntimeDep, caller: CallerDep) -> s.AccessMatrixOut:
    """Every action and role under the rules in force."""
    return s.AccessMatrixOut.model_validate(access_views.matrix(rt, caller))


@router.get("/access/networks")
def show_networks(
    rt: RuntimeDep, caller: CallerDep, address: Address = None, digest: Filter = None
) -> s.AccessNetworksOut:
    """From where requests may come, who would be let in, and whether an administrator would be."""
    return s.AccessNetworksOut.model_validate(
        networks.view(rt, caller, address=address, digest=digest)
    )
