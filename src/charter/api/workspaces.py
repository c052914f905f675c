"""Workspaces: for people and, with an agent's credential, for agents alike."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Filter, Key, Limit, RuntimeDep
from charter.core.approvals.requirements import Carried
from charter.services import workspace_preview, workspace_use, workspaces
from charter.services.workspace_questions import WorkspaceRequest

router = APIRouter(tags=["workspaces"], responses=PROBLEMS)

FilePath = Annotated[
    str, Query(min_length=1, max_length=1024, description="Relative to /workspace.")
]
FolderPath = Annotated[str, Query(max_length=1024, description="Relative to /workspace.")]


def _request(body: s.WorkspaceIn) -> WorkspaceRequest:
    return WorkspaceRequest(**body.model_dump())


def _outcome(response: Response, outcome: dict[str, Any], done: int) -> s.WorkspaceOutcomeOut:
    response.status_code = 202 if outcome["approval"] is not None else done
    return s.WorkspaceOutcomeOut.model_validate(outcome)


@router.post("/workspaces/preview")
def preview(rt: RuntimeDep, caller: CallerDep, body: s.WorkspaceIn) -> s.PreviewOut:
    """What would be decided about this request now; nothing is stored or reserved."""
    return s.PreviewOut.model_validate(workspace_preview.preview(rt, caller, _request(body)))


@router.post(
    "/workspaces",
    status_code=201,
    responses={202: {"model": s.WorkspaceOutcomeOut, "description": "It waits for an approval."}},
)
def create(
    rt: RuntimeDep, caller: CallerDep, body: s.WorkspaceIn, response: Response, key: Key = None
) -> s.WorkspaceOutcomeOut:
    """Create a workspace, or open the approval request that it needs first."""
    return _outcome(response, workspaces.create(rt, caller, _request(body), key), 201)


@router.get("/workspaces")
def list_workspaces(
    rt: RuntimeDep,
    caller: CallerDep,
    state: Filter = None,
    owner: Filter = None,
    q: Filter = None,
    deleted: bool = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.WorkspaceOut]:
    """Workspaces that you may see, newest first. `owner=me` gives your own."""
    return s.Page[s.WorkspaceOut].model_validate(
        workspaces.list_page(
            rt,
            caller,
            state=state,
            owner=owner,
            q=q,
            deleted=deleted,
            cursor=cursor,
            limit=limit,
        )
    )


@router.get("/workspaces/{workspace}")
def get(rt: RuntimeDep, caller: CallerDep, workspace: s.Reference) -> s.WorkspaceOut:
    """One workspace, by id or by the name of one of yours."""
    return s.WorkspaceOut.model_validate(workspaces.get(rt, caller, workspace))


@router.delete("/workspaces/{workspace}")
def delete(
    rt: RuntimeDep, caller: CallerDep, workspace: s.Reference, response: Response
) -> s.WorkspaceOutcomeOut:
    """Delete it with its home; this cannot be undone."""
    return _outcome(response, workspaces.delete(rt, caller, workspace), 200)


@router.post(
    "/workspaces/{workspace}/start",
    responses={202: {"model": s.WorkspaceOutcomeOut, "description": "It waits for an approval."}},
)
def start(
    rt: RuntimeDep,
    caller: CallerDep,
    workspace: s.Reference,
    response: Response,
    body: s.StartIn | None = None,
) -> s.WorkspaceOutcomeOut:
    """Run it again; policy and quota are asked again."""
    asked = body or s.StartIn()
    carried = Carried(asked.justification or "", asked.ticket or "", asked.duration_seconds)
    return _outcome(response, workspaces.start(rt, caller, workspace, carried), 200)


@router.post("/workspaces/{workspace}/stop")
def stop(
    rt: RuntimeDep,
    caller: CallerDep,
    workspace: s.Reference,
    response: Response,
    body: s.JustifiedIn | None = None,
) -> s.WorkspaceOutcomeOut:
    """Stop it; its home is kept."""
    reason = None if body is None else body.justification
    return _outcome(response, workspaces.stop(rt, caller, workspace, reason), 200)


@router.post("/workspaces/{workspace}/extend")
def extend(
    rt: RuntimeDep,
    caller: CallerDep,
    workspace: s.Reference,
    response: Response,
    body: s.ExtendIn | None = None,
) -> s.WorkspaceOutcomeOut:
    """Push the idle stop away, up to the maximum runtime."""
    reason = None if body is None else body.justification
    return _outcome(response, workspaces.extend(rt, caller, workspace, reason), 200)


@router.post("/workspaces/{workspace}/execute")
def execute(
    rt: RuntimeDep, caller: CallerDep, workspace: s.Reference, body: s.ExecuteIn
) -> s.ExecuteOut:
    """Run a command inside and wait for it."""
    return s.ExecuteOut(
        **workspace_use.execute(
            rt, caller, workspace, body.command, body.timeout_seconds, body.stdin
        )
    )


@router.get("/workspaces/{workspace}/files")
def read_file(
    rt: RuntimeDep, caller: CallerDep, workspace: s.Reference, path: FilePath
) -> s.FileOut:
    """The content of a file."""
    return s.FileOut(**workspace_use.read_file(rt, caller, workspace, path))


@router.put("/workspaces/{workspace}/files", status_code=204)
def write_file(
    rt: RuntimeDep, caller: CallerDep, workspace: s.Reference, path: FilePath, body: s.FileIn
) -> Response:
    """Write a file, replacing what was there."""
    workspace_use.write_file(rt, caller, workspace, path, body.content)
    return Response(status_code=204)


@router.get("/workspaces/{workspace}/entries")
def list_files(
    rt: RuntimeDep, caller: CallerDep, workspace: s.Reference, path: FolderPath = "."
) -> s.Page[s.FileEntryOut]:
    """The entries of a folder."""
    return s.Page[s.FileEntryOut].model_validate(
        {"items": workspace_use.list_files(rt, caller, workspace, path)}
    )
