"""Policies: the bundle in force, its rules with their source, and the bundles that are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import policies, policy_bundles, policy_diffs, policy_rules

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


_FACETS = ("folder", "effect", "severity", "mode", "concerns", "control", "environment")


@router.get("/policies")
def show_policies(visit: Signed) -> Response:
    """The rules of the bundle in force."""
    asked = visit.asked("q", *_FACETS)
    every = policy_rules.list_rules(visit.rt, visit.caller)
    found = [rule for rule in every if _wanted(rule, asked)]
    there = asked["environment"]
    return visit.page(
        "policies.html",
        {
            "active": policies.active(visit.rt, visit.caller),
            "rules": [
                {**rule, "mode": rule["environments"].get(there, rule["mode"])} for rule in found
            ],
            "total": len(every),
            "folders": _choices(rule["file"].partition("/")[0] for rule in every),
            "controls": _choices(control for rule in every for control in rule["controls"]),
            "environments": _choices(name for rule in every for name in rule["environments"]),
            "asked": asked,
        },
        block="table",
    )


def _choices(values: Iterable[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in sorted(set(values))]


def _wanted(rule: dict[str, Any], asked: dict[str, str | None]) -> bool:
    there = asked["environment"]
    mode = rule["environments"].get(there, rule["mode"]) if there else rule["mode"]
    return (
        (asked["q"] or "").lower() in f"{rule['id']} {rule['title']}".lower()
        and rule["file"].startswith(f"{asked['folder']}/" if asked["folder"] else "")
        and asked["effect"] in (None, rule["effect"])
        and asked["severity"] in (None, rule["severity"])
        and asked["mode"] in (None, mode)
        and asked["concerns"] in (None, rule["concerns"])
        and (asked["control"] is None or asked["control"] in rule["controls"])
    )


@router.get("/policies/bundles")
def show_bundles(visit: Signed) -> Response:
    """What was in force when, by whose word and why."""
    cursor = visit.asked("cursor")["cursor"]
    return visit.page(
        "bundles.html",
        {
            "history": policy_bundles.list_history(visit.rt, visit.caller, cursor=cursor),
            "cursor": cursor,
            "watched": visit.rt.settings.policy_repository is not None,
        },
    )


@router.get("/policies/rollback")
def ask_rollback(visit: Signed) -> Response:
    """Is that meant?"""
    digest = visit.asked("digest")["digest"]
    which = f"the bundle {digest[7:19]}" if digest else "the bundle that was in force before"
    return visit.page(
        "ask.html",
        {
            "action": "/policies/rollback" + (f"?digest={digest}" if digest else ""),
            "back": "/policies/bundles",
            "title": "Roll back?",
            "text": f"From the next decision on, {which} decides again, on every replica.",
            "label": "Roll back",
            "kind": "danger",
            "reason_name": "why",
            "reason_label": "Why",
            "reason_required": True,
        },
        block="ask",
    )


@router.post("/policies/rollback")
def roll_back(visit: Signed) -> Response:
    """Put an earlier bundle in force again."""
    digest = visit.asked("digest")["digest"]
    policies.go_back(visit.rt, visit.caller, digest, visit.form.get("why", "").strip()[:200])
    return visit.redirect("/policies/bundles", "The earlier bundle is in force again.")


@router.get("/policies/bundles/diff")
def show_diff(visit: Signed) -> Response:
    """What changes between two bundles."""
    asked = visit.asked("before", "after")
    found = policy_diffs.get_diff(
        visit.rt, visit.caller, asked["before"] or "", asked["after"] or ""
    )
    return visit.page("bundle_diff.html", {"d": found})


@router.get("/policies/rules/{rule_id:path}")
def show_rule(visit: Signed, rule_id: str) -> Response:
    """One rule, marked in the source of its file."""
    return visit.page("rule.html", {"r": policy_rules.get_rule(visit.rt, visit.caller, rule_id)})
