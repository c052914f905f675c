"""Changes of the policy on their way into force: the list, one change, and people's words on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.core.policy.pipeline import ChangeState
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import impact, policy_changes

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

# The way of a change, as people follow it: state, title, what happens there.
_WAY: Final = (
    (ChangeState.RECEIVED, "Received", "Its edits are applied to the bundle in force"),
    (ChangeState.CHECKING, "Checked", "It is compiled, linted and tested"),
    (ChangeState.ANALYSING, "Analysed", "Recorded decisions are made again under it"),
    (ChangeState.IN_REVIEW, "Reviewed", "Security and platform look at it"),
    (ChangeState.APPROVED, "Approved", "It waits for its turn to be staged"),
    (ChangeState.STAGED, "Staged", "It shadows live decisions and decides for tests"),
    (ChangeState.MONITORED, "Promoted", "Refusals are compared with those before it"),
    (ChangeState.IN_FORCE, "In force", "It decides"),
)
_PLACES: Final = {state.value: number for number, (state, _, _) in enumerate(_WAY)}
# In these something runs by itself, and the page follows it.
_RUNNING: Final = frozenset(
    {
        ChangeState.RECEIVED.value,
        ChangeState.CHECKING.value,
        ChangeState.ANALYSING.value,
        ChangeState.APPROVED.value,
        ChangeState.STAGED.value,
        ChangeState.MONITORED.value,
    }
)


@router.get("/policies/changes")
def show_changes(visit: Signed) -> Response:
    """The list."""
    asked = visit.asked("state")
    cursor = visit.asked("cursor")["cursor"]
    page = policy_changes.list_page(visit.rt, visit.caller, state=asked["state"], cursor=cursor)
    return visit.page(
        "changes.html",
        {
            "page": page,
            "asked": asked,
            "cursor": cursor,
            "states": [("", "All"), ("open", "Open")]
            + [(state.value, state.value.replace("-", " ").capitalize()) for state in ChangeState],
        },
        block="table",
    )


def _steps(change: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The steps of the way: done, current, or to come; where it ended early, the end is one."""
    state = change["state"]
    here = _PLACES.get(state)
    for number, (_, title, text) in enumerate(_WAY):
        if here is None:
            continue
        last = number == len(_WAY) - 1
        status = "done" if number < here or (last and number == here) else "todo"
        yield {
            "title": title,
            "text": text,
            "status": "current" if number == here and not last else status,
        }
    if here is None:
        yield {"title": "Received", "text": "", "status": "done"}
        yield {
            "title": state.replace("-", " ").capitalize(),
            "text": change["reason"],
            "status": "ended",
        }


def _run_of(visit: Signed, change: dict[str, Any]) -> dict[str, Any] | None:
    """The impact analysis of a change, for who may read those."""
    if change["impact_id"] is None:
        return None
    try:
        return impact.get(visit.rt, visit.caller, change["impact_id"])
    except CharterError:
        return None


@router.get("/policies/changes/{change_id}")
def show_change(visit: Signed, change_id: str) -> Response:
    """One change: where it stands, what it changes, what it would do, and what people say."""
    change = policy_changes.get(visit.rt, visit.caller, change_id)
    run = _run_of(visit, change)
    return visit.page(
        "change.html",
        {
            "c": change,
            "steps": list(_steps(change)),
            "running": change["state"] in _RUNNING
            and (change["not_promotable"] is not None or change["state"] != "staged"),
            "run": run,
            "can_review": "policy.review" in visit.permissions
            and change["state"] in ("in-review", "approved", "staged")
            and visit.caller.id not in change["author_ids"],
            "can_promote": "policy.apply" in visit.permissions and change["state"] == "staged",
            "can_withdraw": "policy.propose" in visit.permissions
            and change["state"] in _PLACES
            and _PLACES[change["state"]] <= _PLACES["staged"],
            "can_roll_back": "policy.rollback" in visit.permissions
            and change["active"]
            and change["state"] in ("monitored", "in-force"),
        },
        block="progress",
    )


@router.post("/policies/changes/{change_id}/review")
def review(visit: Signed, change_id: str) -> Response:
    """A yes or a no to the candidate that the form showed."""
    form = forms.read(forms.ChangeReviewForm, visit.form)
    policy_changes.review(
        visit.rt,
        visit.caller,
        change_id,
        approves=form.verdict == "approve",
        digest=form.digest,
        comment=form.comment or "",
    )
    return visit.redirect(f"/policies/changes/{change_id}", "Your review was recorded.")


@router.get("/policies/changes/{change_id}/promote")
def ask_promote(visit: Signed, change_id: str) -> Response:
    """Is that meant?"""
    return _ask(
        visit,
        change_id,
        "promote",
        title="Promote this change?",
        text="It decides everywhere from the next decision on, and is watched: a spike of refusals"
        " rolls it back.",
        label="Promote",
    )


@router.post("/policies/changes/{change_id}/promote")
def promote(visit: Signed, change_id: str) -> Response:
    """Put it in force."""
    policy_changes.promote(visit.rt, visit.caller, change_id)
    return visit.redirect(f"/policies/changes/{change_id}", "The change is in force and watched.")


@router.get("/policies/changes/{change_id}/withdraw")
def ask_withdraw(visit: Signed, change_id: str) -> Response:
    """Is that meant?"""
    return _ask(
        visit,
        change_id,
        "withdraw",
        title="Withdraw this change?",
        text="It ends here. What is in force stays in force.",
        label="Withdraw",
        reason=True,
    )


@router.post("/policies/changes/{change_id}/withdraw")
def withdraw(visit: Signed, change_id: str) -> Response:
    """End it."""
    why = visit.form.get("why", "").strip()
    policy_changes.withdraw(visit.rt, visit.caller, change_id, why)
    return visit.redirect(f"/policies/changes/{change_id}", "The change was withdrawn.")


def _ask(
    visit: Signed,
    change_id: str,
    verb: str,
    *,
    title: str,
    text: str,
    label: str,
    reason: bool = False,
) -> Response:
    path = f"/policies/changes/{change_id}"
    return visit.page(
        "ask.html",
        {
            "action": f"{path}/{verb}",
            "back": path,
            "title": title,
            "text": text,
            "label": label,
            "kind": "danger" if reason else "",
            "reason_name": "why" if reason else None,
            "reason_label": "Why",
            "reason_required": False,
        },
        block="ask",
    )
