"""Agents: the list, sponsoring one (its credential is shown once), one of them, the kill switch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import agent_definitions, agents, elevations, overview, people

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_KEY_BYTES: Final = 16
_CHOICES: Final = 200


@router.get("/agents")
def show_agents(visit: Signed) -> Response:
    """The list."""
    asked = visit.asked("state")
    cursor = visit.asked("cursor")["cursor"]
    page = agents.list_page(visit.rt, visit.caller, state=asked["state"], cursor=cursor)
    return visit.page(
        "agents.html", {"page": page, "asked": asked, "cursor": cursor}, block="table"
    )


def _new_page(
    visit: Signed, form: Mapping[str, str], error: CharterError | None = None
) -> Response:
    known = agent_definitions.list_page(visit.rt, visit.caller, state="active", limit=_CHOICES)[
        "items"
    ]
    return visit.page(
        "agent_new.html",
        {
            "form": form,
            "error": error,
            "key": form.get("key") or visit.rt.randomness(_KEY_BYTES).hex(),
            "definitions": [d for d in known if d["runnable"]],
            "teams": overview.me(visit.rt, visit.caller)["teams"],
            "projects": people.list_projects(visit.rt, visit.caller, limit=_CHOICES)["items"],
        },
        status=200 if error is None else error.status,
    )


@router.get("/agents/new")
def new_agent(visit: Signed) -> Response:
    """The form."""
    asked = visit.asked("definition")["definition"]
    return _new_page(visit, {} if asked is None else {"definition": asked})


@router.post("/agents")
def create_agent(visit: Signed) -> Response:
    """Sponsor it. The answer itself shows the credential, which is kept nowhere."""
    try:
        form = forms.read(forms.AgentForm, visit.form)
        outcome = agents.create(visit.rt, visit.caller, form.model_dump(exclude={"key"}), form.key)
    except CharterError as error:
        return _new_page(visit, visit.form, error)
    if outcome["approval"] is not None:
        return visit.redirect(
            f"/approvals/{outcome['approval']['id']}", "Sent for approval. You are told the result."
        )
    return _page(visit, outcome["agent"], credential=outcome["credential"])


def _page(visit: Signed, agent: Mapping[str, Any], **values: Any) -> Response:
    return visit.page("agent.html", {"a": agent, "credential": None, "killed": None, **values})


@router.get("/agents/{ref}")
def show_agent(visit: Signed, ref: str) -> Response:
    """One agent."""
    return _page(visit, agents.get(visit.rt, visit.caller, ref))


@router.post("/agents/{ref}/end")
def end_agent(visit: Signed, ref: str) -> Response:
    """The task is over."""
    outcome = forms.read(forms.EndForm, visit.form).outcome
    after = agents.end(visit.rt, visit.caller, ref, outcome)
    return visit.redirect(f"/agents/{after['id']}", "The task was closed.")


@router.get("/agents/{ref}/kill")
def ask_kill(visit: Signed, ref: str) -> Response:
    """The page that asks for a reason before the kill switch is thrown."""
    a = agents.get(visit.rt, visit.caller, ref)
    return visit.page(
        "ask.html",
        {
            "title": f"Kill {a['name']}?",
            "text": "Its credentials die, its processes are killed and its workspaces are stopped, "
            "at once. The task cannot be taken up again.",
            "action": f"/agents/{a['id']}/kill",
            "label": "Kill the agent",
            "kind": "danger",
            "back": f"/agents/{a['id']}",
            "reason_name": "reason",
            "reason_label": "Reason, for the audit trail",
            "reason_required": True,
        },
        block="ask",
    )


@router.post("/agents/{ref}/kill")
def kill_agent(visit: Signed, ref: str) -> Response:
    """Throw the kill switch, and show how long each part took."""
    reason = forms.read(forms.KillForm, visit.form).reason
    report = agents.kill(visit.rt, visit.caller, ref, reason)
    return _page(visit, agents.get(visit.rt, visit.caller, report["agent_id"]), killed=report)


@router.get("/agents/{ref}/elevate")
def ask_elevation(visit: Signed, ref: str) -> Response:
    """The form to ask for more room for its task."""
    a = agents.get(visit.rt, visit.caller, ref)
    return visit.page("agent_elevate.html", {"a": a}, block="ask")


@router.post("/agents/{ref}/elevations")
def elevate_agent(visit: Signed, ref: str) -> Response:
    """Ask for it."""
    form = forms.read(forms.ElevationForm, visit.form)
    outcome = elevations.request(visit.rt, visit.caller, ref, permissions=[], **form.model_dump())
    if outcome["approval"] is not None:
        return visit.redirect(f"/approvals/{outcome['approval']['id']}", "Sent to the team lead.")
    return visit.redirect(f"/agents/{ref}", "The agent has it for its task.")


@router.post("/agents/{ref}/elevations/{elevation_id}/revoke")
def lower_agent(visit: Signed, ref: str, elevation_id: str) -> Response:
    """Take it back."""
    after = elevations.revoke(visit.rt, visit.caller, ref, elevation_id)
    return visit.redirect(f"/agents/{after['id']}", "It was taken back.")
