"""The overview, notices, controllers and the provider's capabilities."""

from __future__ import annotations

from fastapi import APIRouter, Response

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import overview as service

router = APIRouter(tags=["overview"], responses=PROBLEMS)


@router.get("/overview")
def overview(rt: RuntimeDep, caller: CallerDep) -> s.OverviewOut:
    """The platform at a glance, within what you may see."""
    return s.OverviewOut.model_validate(service.overview(rt, caller))


@router.get("/notices")
def notices(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.NoticeOut]:
    """What you should know, newest first."""
    return s.Page[s.NoticeOut].model_validate(
        service.notices(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/notices/{notice}/read", status_code=204)
def read_notice(rt: RuntimeDep, caller: CallerDep, notice: s.Reference) -> Response:
    """Mark a notice as read."""
    service.read_notice(rt, caller, notice)
    return Response(status_code=204)


@router.get("/controllers")
def controllers(rt: RuntimeDep, caller: CallerDep) -> s.Page[s.ControllerOut]:
    """What each controller did last, for operators."""
    return s.Page[s.ControllerOut].model_validate({"items": service.controllers(rt, caller)})


@router.get("/provider/capabilities")
def capabilities(rt: RuntimeDep, caller: CallerDep) -> s.CapabilitiesOut:
    """What the provider really enforces on this host."""
    return s.CapabilitiesOut.model_validate(service.capabilities(rt, caller))
