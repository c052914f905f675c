"""Enforcement points outside Charter: register, list, rotate the token, revoke."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import enforcement_points, opa_bundles, opa_reports

router = APIRouter(tags=["enforcement points"], responses=PROBLEMS)


@router.get("/enforcement-points")
def list_points(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.EnforcementPointOut]:
    """All points with what they reported last, newest first."""
    return s.Page[s.EnforcementPointOut].model_validate(
        enforcement_points.list_page(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/enforcement-points", status_code=201)
def register(
    rt: RuntimeDep, caller: CallerDep, body: s.EnforcementPointIn
) -> s.EnforcementPointTokenOut:
    """Register a point; its token is in the answer, this once."""
    return s.EnforcementPointTokenOut(
        **enforcement_points.register(
            rt, caller, kind=body.kind, name=body.name, settings=body.settings
        )
    )


@router.get("/enforcement-points/{point}")
def get(rt: RuntimeDep, caller: CallerDep, point: s.Reference) -> s.EnforcementPointOut:
    """One point."""
    return s.EnforcementPointOut(**enforcement_points.get(rt, caller, point))


@router.post("/enforcement-points/{point}/rotate")
def rotate(
    rt: RuntimeDep, caller: CallerDep, point: s.Reference, body: s.RotateIn
) -> s.EnforcementPointTokenOut:
    """Give the point a new token; the one before stays valid for the grace period."""
    return s.EnforcementPointTokenOut(
        **enforcement_points.rotate(rt, caller, point, body.grace_seconds)
    )


@router.post("/enforcement-points/{point}/revoke")
def revoke(rt: RuntimeDep, caller: CallerDep, point: s.Reference) -> s.EnforcementPointOut:
    """End a point for ever."""
    return s.EnforcementPointOut(**enforcement_points.revoke(rt, caller, point))


@router.get("/enforcement-points/{point}/decisions")
def reported(
    rt: RuntimeDep, caller: CallerDep, point: s.Reference, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.ReportedDecisionOut]:
    """What an OPA reported to have decided by itself, newest first."""
    return s.Page[s.ReportedDecisionOut].model_validate(
        opa_reports.list_page(rt, caller, point, cursor=cursor, limit=limit)
    )


@router.get("/enforcement-points/{point}/configuration")
def configuration(
    rt: RuntimeDep,
    caller: CallerDep,
    point: s.Reference,
    credential_file: Annotated[
        str,
        Query(
            alias="token_path",
            max_length=300,
            description="Where the point's token will lie on OPA's machine.",
        ),
    ] = "/etc/opa/charter-token",
) -> dict[str, Any]:
    """The configuration that an OPA is started with: address, token file, key to verify with."""
    return opa_bundles.get_configuration(rt, caller, point, credential_file)
