"""Governance: the calendar of reviews, and one review with its figures, committee and minutes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.reviews import AD_HOC_TRIGGERS, Outcome, Side, add_months
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import governance

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_MONTHS: Final = 12
_EMPTY_ROWS: Final = 2  # for findings to come
_MOST_FINDINGS: Final = 100


@router.get("/policies/reviews")
def show_reviews(visit: Signed) -> Response:
    """The calendar of a year, and the reviews."""
    asked = visit.asked("state")
    cursor = visit.asked("cursor")["cursor"]
    page = governance.list_page(visit.rt, visit.caller, state=asked["state"], cursor=cursor)
    due = governance.list_due(visit.rt, visit.caller)
    return visit.page(
        "reviews.html",
        {
            "page": page,
            "asked": asked,
            "cursor": cursor,
            "due": due,
            "months": list(_months(visit.rt.now(), due, page["items"])),
        },
        block="table",
    )


def _months(
    now: datetime, due: list[dict[str, Any]], reviews: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """A year from this month on: what is due in each, by the cadence and by open reviews."""
    marks: dict[str, list[dict[str, str]]] = {}
    for review in reviews:
        if review["closed_at"] is None:
            label = {"kind": review["kind"], "id": review["id"], "state": review["state"]}
            marks.setdefault(f"{review['due_at']:%Y-%m}", []).append(label)
    is_open = {r["kind"] for r in reviews if r["closed_at"] is None}
    for each in due:
        at = each["due_at"]
        for step in range(1 if each["kind"] in is_open else 0, _MONTHS + 1):
            later = add_months(at, step * each["every_months"])
            marks.setdefault(f"{later:%Y-%m}", []).append(
                {"kind": each["kind"], "id": "", "state": "due"}
            )
    first = now.replace(day=1)
    for number in range(_MONTHS):
        month = add_months(first, number)
        yield {"at": month, "marks": marks.get(f"{month:%Y-%m}", [])}


@router.get("/policies/reviews/new")
def ask_review(visit: Signed) -> Response:
    """What a review because of an event is about."""
    return visit.page("review_new.html", {"triggers": AD_HOC_TRIGGERS}, block="ask")


@router.post("/policies/reviews")
def open_review(visit: Signed) -> Response:
    """Open one."""
    form = forms.read(forms.ReviewForm, visit.form)
    made = governance.open_review(visit.rt, visit.caller, form.trigger, form.reason)
    return visit.redirect(f"/policies/reviews/{made['id']}", "The review was opened.")


@router.get("/policies/reviews/{review_id}")
def show_review(visit: Signed, review_id: str) -> Response:
    """One review."""
    r = governance.get(visit.rt, visit.caller, review_id)
    rows = [
        *r["findings"],
        *(dict.fromkeys(("text", "owner", "due_on")) for _ in range(_EMPTY_ROWS)),
    ]
    return visit.page(
        "review.html",
        {
            "r": r,
            "rows": rows,
            "sides": [
                (side.value, ", ".join(m["person"] for m in r["committee"] if m["side"] == side))
                for side in Side
            ],
            "outcomes": [outcome.value for outcome in Outcome],
            "most": max((each["count"] for each in r["figures"]["rules"]), default=0),
            "may": "governance.manage" in visit.permissions,
            "due_default": (visit.rt.now() + timedelta(days=30)).date().isoformat(),
        },
    )


@router.post("/policies/reviews/{review_id}/hold")
def hold(visit: Signed, review_id: str) -> Response:
    """Who sat in it, and when."""
    members = [
        (person.strip(), side.value)
        for side in Side
        for person in visit.form.get(f"side_{side.value}", "").split(",")
        if person.strip()
    ]
    held_at = _moment(visit.form.get("held_on", ""), visit.rt.now())
    governance.hold(visit.rt, visit.caller, review_id, governance.Held(held_at, members))
    return visit.redirect(f"/policies/reviews/{review_id}", "The committee is noted.")


def _moment(text: str, now: datetime) -> datetime | None:
    """The day that a form gives, as a moment; today means now."""
    if not text.strip():
        return None
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInputError(
            f"{text.strip()!r} is not a day.", fix="Write it as 2026-09-30."
        ) from None
    return now if day == now.date() else datetime(day.year, day.month, day.day, tzinfo=now.tzinfo)


@router.post("/policies/reviews/{review_id}/minutes")
def write_minutes(visit: Signed, review_id: str) -> Response:
    """Minutes and findings."""
    form = forms.read(forms.MinutesForm, visit.form)
    governance.write_minutes(
        visit.rt, visit.caller, review_id, form.minutes or "", list(_findings(visit.form))
    )
    return visit.redirect(f"/policies/reviews/{review_id}", "The minutes are kept.")


def _findings(form: Mapping[str, str]) -> Iterator[governance.Action]:
    """The rows of the form that have a text."""
    for number in range(1, _MOST_FINDINGS + 1):
        text = form.get(f"finding_{number}", "").strip()
        if not text:
            continue
        row = forms.read(
            forms.FindingForm,
            {
                "finding": text,
                "owner": form.get(f"owner_{number}", ""),
                "due": form.get(f"due_{number}", ""),
            },
        )
        yield governance.Action(row.finding, row.owner, row.due)


@router.post("/policies/reviews/{review_id}/findings/{number}/done")
def finish(visit: Signed, review_id: str, number: int) -> Response:
    """A finding is done."""
    governance.finish_action(visit.rt, visit.caller, review_id, number)
    return visit.redirect(f"/policies/reviews/{review_id}", "The finding is marked as done.")


@router.post("/policies/reviews/{review_id}/close")
def close(visit: Signed, review_id: str) -> Response:
    """The end of a review."""
    governance.close(visit.rt, visit.caller, review_id, visit.form.get("outcome", ""))
    return visit.redirect(f"/policies/reviews/{review_id}", "The review is closed.")
