"""Definitions of agents: the list, a new one, one of them with its versions, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import agent_definitions, overview

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_PATH: Final = "/agents/definitions"
_MINUTE: Final = 60


@router.get(_PATH)
def show_definitions(visit: Signed) -> Response:
    """The list."""
    asked = visit.asked("state")
    cursor = visit.asked("cursor")["cursor"]
    page = agent_definitions.list_page(visit.rt, visit.caller, state=asked["state"], cursor=cursor)
    return visit.page(
        "agent_definitions.html", {"page": page, "asked": asked, "cursor": cursor}, block="table"
    )


def _form_page(
    visit: Signed,
    form: Mapping[str, str],
    *,
    definition: Mapping[str, Any] | None = None,
    error: CharterError | None = None,
) -> Response:
    return visit.page(
        "agent_definition_form.html",
        {
            "form": form,
            "error": error,
            "definition": definition,
            "teams": overview.me(visit.rt, visit.caller)["teams"],
        },
        status=200 if error is None else error.status,
    )


@router.get(f"{_PATH}/new")
def new_definition(visit: Signed) -> Response:
    """The form."""
    return _form_page(visit, {})


@router.post(_PATH)
def create_definition(visit: Signed) -> Response:
    """Define it."""
    try:
        form = forms.read(forms.AgentDefinitionForm, visit.form)
        made = agent_definitions.define(visit.rt, visit.caller, form.bounds())
    except CharterError as error:
        return _form_page(visit, visit.form, error=error)
    return visit.redirect(f"{_PATH}/{made['id']}", f"{made['name']} is defined.")


@router.get(f"{_PATH}/{{ref}}")
def show_definition(visit: Signed, ref: str) -> Response:
    """One definition with its versions."""
    return visit.page(
        "agent_definition.html", {"d": agent_definitions.get(visit.rt, visit.caller, ref)}
    )


@router.get(f"{_PATH}/{{ref}}/change")
def ask_change(visit: Signed, ref: str) -> Response:
    """The form, filled with what holds now."""
    d = agent_definitions.get(visit.rt, visit.caller, ref)
    session = d["max_session_seconds"]
    form = {
        "name": d["name"],
        "description": d["description"],
        "repositories": "\n".join(d["repositories"]),
        "tier": d["tier"],
        "max_session_minutes": "" if session is None else str(session // _MINUTE),
        "run_by": "\n".join(d["run_by"]),
        "team": d["team"],
    }
    return _form_page(visit, form, definition=d)


@router.post(f"{_PATH}/{{ref}}/change")
def change_definition(visit: Signed, ref: str) -> Response:
    """Make a new version."""
    try:
        form = forms.read(forms.AgentDefinitionForm, visit.form)
        asked = form.bounds()
        asked["unlimited_session"] = asked["max_session_seconds"] is None
        made = agent_definitions.change(visit.rt, visit.caller, ref, asked)
    except CharterError as error:
        d = agent_definitions.get(visit.rt, visit.caller, ref)
        return _form_page(visit, visit.form, definition=d, error=error)
    return visit.redirect(f"{_PATH}/{made['id']}", f"Version {made['version']} holds now.")


@router.get(f"{_PATH}/{{ref}}/retire")
def ask_retire(visit: Signed, ref: str) -> Response:
    """The page that asks for a reason before."""
    d = agent_definitions.get(visit.rt, visit.caller, ref)
    return visit.page(
        "ask.html",
        {
            "title": f"Retire {d['name']}?",
            "text": f"Nothing new runs of it. Its {d['running']} running instances get no more "
            "credentials and end within minutes. It cannot be taken back; a new definition may "
            "have the name.",
            "action": f"{_PATH}/{d['id']}/retire",
            "label": "Retire the definition",
            "kind": "danger",
            "back": f"{_PATH}/{d['id']}",
            "reason_name": "reason",
            "reason_label": "Reason, for the audit trail",
            "reason_required": True,
        },
        block="ask",
    )


@router.post(f"{_PATH}/{{ref}}/retire")
def retire_definition(visit: Signed, ref: str) -> Response:
    """Retire it."""
    why = forms.read(forms.KillForm, visit.form).reason
    done = agent_definitions.retire(visit.rt, visit.caller, ref, why)
    return visit.redirect(f"{_PATH}/{done['id']}", f"{done['name']} is retired.")
