"""Policies: the bundle in force, its rules with their source, and the bundles that are kept."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import policies

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/policies")
def show_policies(visit: Signed) -> Response:
    """The rules of the bundle in force."""
    asked = visit.asked("q", "folder", "effect", "severity")
    every = policies.rules(visit.rt, visit.caller)
    found = [
        rule
        for rule in every
        if (asked["q"] or "").lower() in f"{rule['id']} {rule['title']}".lower()
        and rule["file"].startswith(f"{asked['folder']}/" if asked["folder"] else "")
        and asked["effect"] in (None, rule["effect"])
        and asked["severity"] in (None, rule["severity"])
    ]
    folders = sorted({rule["file"].partition("/")[0] for rule in every})
    return visit.page(
        "policies.html",
        {
            "active": policies.active(visit.rt, visit.caller),
            "rules": found,
            "folders": [(folder, folder) for folder in folders],
            "asked": asked,
        },
        block="table",
    )


@router.get("/policies/bundles")
def show_bundles(visit: Signed) -> Response:
    """The bundles that are kept."""
    page = policies.bundles(visit.rt, visit.caller)
    return visit.page("bundles.html", {"bundles": page["items"]})


@router.get("/policies/rules/{rule_id:path}")
def show_rule(visit: Signed, rule_id: str) -> Response:
    """One rule, marked in the source of its file."""
    return visit.page("rule.html", {"r": policies.rule(visit.rt, visit.caller, rule_id)})
