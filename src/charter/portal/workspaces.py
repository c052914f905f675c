"""Workspaces: the list, asking for one with its decision previewed, and work in one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import (
    overview,
    people,
    templates,
    workspace_preview,
    workspace_use,
    workspaces,
)

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_KEY_BYTES: Final = 16
_COMMAND_SECONDS: Final = 60  # as the page says
_CHOICES: Final = 200  # rows in a list of choices


@router.get("/workspaces")
def show_workspaces(visit: Signed) -> Response:
    """The list; htmx asks for the table alone, on each filter and every few seconds."""
    asked = visit.asked("q", "state", "owner")
    cursor = visit.asked("cursor")["cursor"]
    owner = asked["owner"] or "me"
    page = workspaces.list_page(
        visit.rt,
        visit.caller,
        q=asked["q"],
        state=asked["state"],
        owner=None if owner == "all" else owner,
        cursor=cursor,
    )
    return visit.page(
        "workspaces.html", {"page": page, "asked": asked, "cursor": cursor}, block="table"
    )


def _new_page(
    visit: Signed,
    *,
    form: Mapping[str, str],
    preview: Mapping[str, Any] | None = None,
    error: CharterError | None = None,
    status: int = 200,
) -> Response:
    rt, caller = visit.rt, visit.caller
    values: dict[str, Any] = {
        "form": form,
        "preview": preview,
        "error": error,
        "applicable": forms.suggested_fields,
    }
    if not visit.partial:
        offered = [
            t
            for t in templates.list_page(rt, caller, limit=_CHOICES)["items"]
            if "human" in t["for_kinds"]
        ]
        values |= {
            "key": form.get("key") or rt.randomness(_KEY_BYTES).hex(),
            "templates": sorted(offered, key=lambda t: (not t["approved"], t["name"])),
            "sizes": templates.sizes(rt),
            "teams": overview.me(rt, caller)["teams"],
            "projects": people.list_projects(rt, caller, limit=_CHOICES)["items"],
        }
    return visit.page("workspace_new.html", values, block="preview", status=status)


@router.get("/workspaces/new")
def new_workspace(visit: Signed) -> Response:
    """The form."""
    return _new_page(visit, form={})


@router.post("/workspaces/preview")
def preview_workspace(visit: Signed) -> Response:
    """What would be decided; nothing is stored. A name that is still missing is no obstacle.

    With `apply`, the fields of a suggestion are put into the form first.
    """
    form = forms.with_suggestion(visit.form)
    try:
        fields = {**form, "name": form.get("name", "").strip() or "unnamed"}
        asked = forms.read(forms.WorkspaceForm, fields).request()
        preview = workspace_preview.preview(visit.rt, visit.caller, asked)
    except CharterError as error:
        return _new_page(visit, form=form, error=error)
    return _new_page(visit, form=form, preview=preview)


@router.post("/workspaces")
def create_workspace(visit: Signed) -> Response:
    """Ask for it: a workspace, or an approval that it waits for; a refusal shows the form again."""
    try:
        form = forms.read(forms.WorkspaceForm, visit.form)
        outcome = workspaces.create(visit.rt, visit.caller, form.request(), form.key)
    except CharterError as error:
        return _new_page(visit, form=visit.form, error=error, status=error.status)
    return _after(visit, outcome, "Created.")


def _after(visit: Signed, outcome: Mapping[str, Any], done: str) -> Response:
    if outcome["approval"] is not None:
        return visit.redirect(
            f"/approvals/{outcome['approval']['id']}", "Sent for approval. You are told the result."
        )
    return visit.redirect(f"/workspaces/{outcome['workspace']['id']}", done)


def _page(visit: Signed, ref: str, *, block: str, status: int = 200, **values: Any) -> Response:
    workspace = workspaces.get(visit.rt, visit.caller, ref)
    empty = {
        "command": None,
        "result": None,
        "problem": None,
        "folder": None,
        "entries": None,
        "file": None,
        "files_problem": None,
    }
    return visit.page(
        "workspace.html",
        {
            "w": workspace,
            "mine": workspace["owner_id"] == visit.caller.id,
            **empty,
            **values,
        },
        block=block,
        status=status,
    )


@router.get("/workspaces/{ref}")
def show_workspace(visit: Signed, ref: str) -> Response:
    """One workspace; htmx asks for the facts alone every few seconds."""
    return _page(visit, ref, block="live")


@router.post("/workspaces/{ref}/start")
def start_workspace(visit: Signed, ref: str) -> Response:
    """Start it again."""
    carried = forms.read(forms.StartForm, visit.form).carried()
    return _after(visit, workspaces.start(visit.rt, visit.caller, ref, carried), "Starting.")


@router.post("/workspaces/{ref}/stop")
def stop_workspace(visit: Signed, ref: str) -> Response:
    """Stop it; its home is kept."""
    reason = forms.read(forms.ReasonForm, visit.form).justification
    return _after(visit, workspaces.stop(visit.rt, visit.caller, ref, reason), "Stopping.")


@router.get("/workspaces/{ref}/extend")
def ask_extend(visit: Signed, ref: str) -> Response:
    """The page that asks for a reason before the idle stop is pushed away."""
    w = workspaces.get(visit.rt, visit.caller, ref)
    return visit.page(
        "ask.html",
        {
            "title": f"Extend {w['name']}",
            "text": "The idle stop is pushed away. The first extensions are free; after them a "
            "reason is needed.",
            "action": f"/workspaces/{w['id']}/extend",
            "label": "Extend",
            "kind": "",
            "back": f"/workspaces/{w['id']}",
            "reason_name": "justification",
            "reason_label": "Reason",
            "reason_required": False,
        },
        block="ask",
    )


@router.post("/workspaces/{ref}/extend")
def extend_workspace(visit: Signed, ref: str) -> Response:
    """Push the idle stop away."""
    reason = forms.read(forms.ReasonForm, visit.form).justification
    return _after(visit, workspaces.extend(visit.rt, visit.caller, ref, reason), "Extended.")


@router.get("/workspaces/{ref}/delete")
def ask_delete(visit: Signed, ref: str) -> Response:
    """The page that asks before a workspace and its home are gone."""
    w = workspaces.get(visit.rt, visit.caller, ref)
    return visit.page(
        "ask.html",
        {
            "title": f"Delete {w['name']}?",
            "text": "The workspace and everything in its home are deleted. This cannot be undone.",
            "action": f"/workspaces/{w['id']}/delete",
            "label": "Delete workspace",
            "kind": "danger",
            "back": f"/workspaces/{w['id']}",
            "reason_name": None,
        },
        block="ask",
    )


@router.post("/workspaces/{ref}/delete")
def delete_workspace(visit: Signed, ref: str) -> Response:
    """Delete it with its home."""
    reason = forms.read(forms.ReasonForm, visit.form).justification
    deleted = workspaces.delete(visit.rt, visit.caller, ref, reason)["workspace"]
    return visit.redirect("/workspaces", f"{deleted['name']} is being deleted.")


@router.post("/workspaces/{ref}/execute")
def execute(visit: Signed, ref: str) -> Response:
    """Run a command in the workspace and show what it printed."""
    command = visit.form.get("command", "")
    try:
        text = forms.read(forms.CommandForm, visit.form).command
        result = workspace_use.execute(
            visit.rt, visit.caller, ref, ["/bin/sh", "-c", text], _COMMAND_SECONDS
        )
    except CharterError as error:
        return _page(
            visit, ref, block="output", command=command, problem=error, status=error.status
        )
    return _page(visit, ref, block="output", command=command, result=result)


@router.get("/workspaces/{ref}/files")
def files(visit: Signed, ref: str) -> Response:
    """A folder's entries, or a file's text."""
    asked = visit.asked("path", "kind")
    path = asked["path"] or "."
    try:
        if asked["kind"] == "file":
            content = workspace_use.read_file(visit.rt, visit.caller, ref, path)
            folder = path.rpartition("/")[0] or "."
            return _page(visit, ref, block="files", folder=folder, file=content)
        entries = workspace_use.list_files(visit.rt, visit.caller, ref, path)
    except CharterError as error:
        return _page(
            visit, ref, block="files", folder=path, files_problem=error, status=error.status
        )
    return _page(visit, ref, block="files", folder=path, entries=entries)
