"""Templates and sizes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import templates

router = APIRouter(tags=["catalogue"], responses=PROBLEMS)


@router.get("/templates")
def list_templates(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.TemplateOut]:
    """The catalogue of templates."""
    return s.Page[s.TemplateOut].model_validate(
        templates.list_page(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/templates", status_code=201)
def create_template(rt: RuntimeDep, caller: CallerDep, body: s.TemplateIn) -> s.TemplateOut:
    """A new template version; it starts unapproved."""
    return s.TemplateOut(**templates.create(rt, caller, **body.model_dump()))


@router.post("/templates/{template}/approval")
def approve_template(
    rt: RuntimeDep,
    caller: CallerDep,
    template: Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}@\d{1,4}\.\d{1,4}\.\d{1,4}$")],
    body: s.TemplateApprovalIn,
) -> s.TemplateOut:
    """Approve a version, or withdraw its approval."""
    return s.TemplateOut(**templates.approve(rt, caller, template, **body.model_dump()))


@router.get("/sizes")
def list_sizes(rt: RuntimeDep, caller: CallerDep) -> s.Page[s.SizeOut]:
    """The sizes that the active policy knows."""
    del caller
    return s.Page[s.SizeOut].model_validate({"items": templates.sizes(rt)})
