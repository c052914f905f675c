"""The audit trail: search, state, proofs, export."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fastapi import APIRouter, BackgroundTasks
from fastapi.responses import FileResponse, PlainTextResponse

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Filter, Limit, RuntimeDep
from charter.services import audit

router = APIRouter(tags=["audit"], responses=PROBLEMS)


@router.get("/audit/events")
def events(
    rt: RuntimeDep,
    caller: CallerDep,
    actor: Filter = None,
    action: Filter = None,
    resource: Filter = None,
    outcome: Filter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.AuditEventOut]:
    """Sealed events, newest first; `action` matches from the start."""
    return s.Page[s.AuditEventOut].model_validate(
        audit.events_page(
            rt,
            caller,
            actor=actor,
            action=action,
            resource=resource,
            outcome=outcome,
            cursor=cursor,
            limit=limit,
        )
    )


@router.get("/audit/state")
def state(rt: RuntimeDep, caller: CallerDep) -> s.AuditStateOut:
    """How far the trail is sealed, with the newest signed checkpoint."""
    return s.AuditStateOut(**audit.state(rt, caller))


@router.get("/audit/events/{event}/proof", response_class=PlainTextResponse)
def proof(rt: RuntimeDep, caller: CallerDep, event: s.Reference) -> PlainTextResponse:
    """The inclusion proof of one event (C2SP tlog-proof)."""
    return PlainTextResponse(audit.proof(rt, caller, event))


@router.get("/audit/export", response_class=FileResponse)
def export(rt: RuntimeDep, caller: CallerDep, background: BackgroundTasks) -> FileResponse:
    """The whole sealed trail as a zip that `charter audit verify` checks without a server."""
    folder = tempfile.TemporaryDirectory(prefix="charter-export-")
    background.add_task(folder.cleanup)
    target = Path(folder.name) / "audit.zip"
    try:
        audit.export_to(rt, caller, target)
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(target, media_type="application/zip", filename="charter-audit.zip")
