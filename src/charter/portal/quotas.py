"""Quotas: what is raised for a while, and the form to ask for more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.core.kernel.units import MIB_PER_GIB
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import overview, people, quota_overrides

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_CHOICES = 200


def _page(visit: Signed, form: Mapping[str, str], error: CharterError | None = None) -> Response:
    cursor = visit.asked("cursor")["cursor"]
    return visit.page(
        "quotas.html",
        {
            "page": quota_overrides.list_page(visit.rt, visit.caller, cursor=cursor),
            "cursor": cursor,
            "teams": overview.me(visit.rt, visit.caller)["teams"],
            "projects": people.list_projects(visit.rt, visit.caller, limit=_CHOICES)["items"],
            "form": form,
            "error": error,
            "tomorrow": (visit.rt.now() + timedelta(days=1)).date().isoformat(),
        },
        block=None if error else "table",
        status=200 if error is None else error.status,
    )


@router.get("/elevation/quotas")
def show_overrides(visit: Signed) -> Response:
    """What is raised, and the form."""
    return _page(visit, {})


@router.post("/elevation/quotas")
def request_override(visit: Signed) -> Response:
    """Ask for more, until the end of a day."""
    try:
        form = forms.read(forms.QuotaForm, visit.form)
        scope, _, name = form.scope.partition(" ")
        in_gib = form.dimension.endswith("_mib")
        outcome = quota_overrides.request(
            visit.rt,
            visit.caller,
            scope=scope,
            of=name or None,
            dimension=form.dimension,
            amount=form.amount * MIB_PER_GIB if in_gib else form.amount,
            until=datetime.combine(form.until, time.max, UTC).replace(microsecond=0),
            reason=form.reason,
        )
    except CharterError as error:
        return _page(visit, visit.form, error)
    if outcome["approval"] is not None:
        return visit.redirect(
            f"/approvals/{outcome['approval']['id']}", "Sent for approval. You are told the result."
        )
    return visit.redirect("/elevation/quotas", "The quota is raised.")


@router.post("/elevation/quotas/{override_id}/revoke")
def revoke_override(visit: Signed, override_id: str) -> Response:
    """Give it back."""
    quota_overrides.revoke(visit.rt, visit.caller, override_id)
    return visit.redirect("/elevation/quotas", "The quota is what it was.")
