"""Pictures of every page, to be looked at: `python -m tests.portal.screenshots [FOLDER]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from charter.services import decisions, workspaces
from tests.portal.browser import accessibility_problems, chromium, sign_in, visitor
from tests.portal.instance import Instance, running_instance, until
from tests.portal.story import tell

_PHONE = 390


def pages(instance: Instance, ids: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Name of the picture → who looks at which path."""
    stored = decisions.list_page(instance.world.rt, instance.world.caller("dana"))["items"]
    asking = next(d["id"] for d in stored if d["effect"] == "require_approval")
    return {
        "overview": ("dana", "/"),
        "overview-lead": ("lee", "/"),
        "overview-admin": ("admin", "/"),
        "workspaces": ("dana", "/workspaces"),
        "workspaces-empty": ("dana", "/workspaces?q=nothing-like-this"),
        "workspace-new": ("dana", "/workspaces/new"),
        "workspace": ("dana", f"/workspaces/{ids['checkout-api']}"),
        "workspace-files": ("dana", f"/workspaces/{ids['checkout-api']}/files?path=."),
        "workspace-delete": ("dana", f"/workspaces/{ids['checkout-api']}/delete"),
        "approvals": ("lee", "/approvals"),
        "approvals-all": ("lee", "/approvals?show=all"),
        "grants": ("dana", "/approvals/grants"),
        "grant-renew": ("dana", f"/approvals/grants/{ids['grant']}/renew"),
        "waiting": ("lee", "/approvals/waiting"),
        "away": ("lee", "/approvals/away"),
        "approval": ("lee", f"/approvals/{ids['approval']}"),
        "approval-own": ("dana", f"/approvals/{ids['approval']}"),
        "approval-denied": ("dana", f"/approvals/{ids['denied']}"),
        "agents": ("dana", "/agents"),
        "agent-new": ("dana", "/agents/new?definition=test-mender"),
        "agent-definitions": ("lee", "/agents/definitions"),
        "agent-definition": ("lee", f"/agents/definitions/{ids['definition']}"),
        "agent-definition-new": ("lee", "/agents/definitions/new"),
        "agent-definition-change": ("lee", f"/agents/definitions/{ids['definition']}/change"),
        "keys": ("sam", "/keys"),
        "agent": ("dana", f"/agents/{ids['fix-flaky-tests']}"),
        "agent-kill": ("dana", f"/agents/{ids['fix-flaky-tests']}/kill"),
        "agent-killed": ("dana", f"/agents/{ids['read-the-docs']}"),
        "policies": ("dana", "/policies"),
        "policies-deny": ("dana", "/policies?effect=deny&q=template"),
        "bundles": ("dana", "/policies/bundles"),
        "decisions": ("dana", "/decisions"),
        "decision": ("dana", f"/decisions/{asking}"),
        "playground": ("sam", "/policies/playground?file=admission/workspace-limits.rego"),
        "people": ("admin", "/people"),
        "person": ("admin", "/people/dana"),
        "person-new": ("admin", "/people/new"),
        "directories": ("admin", "/people/directories"),
        "notifications": ("admin", "/notifications"),
        "channel-new": ("admin", "/notifications/channels/new"),
        "account-notifications": ("dana", "/account/notifications"),
        "access": ("sam", "/access?subject=dana&action=workspace.stop"),
        "access-reviews": ("sam", "/access/reviews"),
        "roles": ("admin", "/access/roles"),
        "role-new": ("admin", "/access/roles/new?from=team-lead"),
        "exemptions": ("sam", "/policies/exemptions"),
        "changes": ("sam", "/policies/changes"),
        "change": ("sam", f"/policies/changes/{ids['change']}"),
        "change-staged": ("admin", f"/policies/changes/{ids['staged_change']}"),
        "change-promote": ("admin", f"/policies/changes/{ids['staged_change']}/promote"),
        "rollback": ("sam", "/policies/rollback"),
        "bundle-diff": (
            "sam",
            f"/policies/bundles/diff?before={ids['digest']}&after={ids['candidate']}",
        ),
        "impact": ("sam", f"/policies/impact/{ids['impact']}"),
        "reviews": ("sam", "/policies/reviews"),
        "review": ("sam", f"/policies/reviews/{ids['review']}"),
        "review-closed": ("sam", f"/policies/reviews/{ids['review-closed']}"),
        "review-new": ("sam", "/policies/reviews/new"),
        "decision-explained": ("dana", f"/decisions/{asking}/explanation"),
        "audit": ("sam", "/audit"),
        "audit-forbidden": ("dana", "/audit"),
        "missing": ("dana", "/workspaces/none-of-that-name"),
    }


def _all_run(instance: Instance) -> bool:
    found = workspaces.list_page(instance.world.rt, instance.world.caller("dana"))["items"]
    return all(workspace["state"] == "running" for workspace in found)


def _picture(page: Page, folder: Path, name: str) -> None:
    page.screenshot(path=folder / f"{name}.png", full_page=True)
    wide = page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    for problem in [*accessibility_problems(page), *(["wider than the screen"] if wide else [])]:
        print(f"{name}: {problem}")  # noqa: T201 — a tool for people


def main(folder: Path) -> None:
    with running_instance() as instance, chromium() as browser:
        shown = pages(instance, tell(instance.world, lambda: until(lambda: _all_run(instance))))
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", _PHONE)):
            for handle in ("dana", "lee", "sam", "admin"):
                with visitor(browser, scheme=scheme, width=width) as context:
                    page = context.new_page()
                    sign_in(instance, page, handle)
                    for name, (who, path) in shown.items():
                        if who != handle:
                            continue
                        page.goto(instance.url + path)
                        page.wait_for_load_state("networkidle")
                        _picture(page, folder, f"{name}-{scheme}-{width}")
                    if handle == "dana":
                        _driven(instance, page, folder, f"{scheme}-{width}")
    print(folder)  # noqa: T201


def _driven(instance: Instance, page: Page, folder: Path, suffix: str) -> None:
    """States that only come about by using a page."""
    page.goto(f"{instance.url}/policies")
    page.locator("tbody th a").first.click()
    page.wait_for_load_state("networkidle")
    _picture(page, folder, f"rule-{suffix}")
    page.goto(f"{instance.url}/workspaces/new")
    page.get_by_label("Name", exact=True).fill("heavy-build")
    page.get_by_text("Custom amounts").click()
    page.get_by_label("vCPU", exact=True).fill("40")
    page.get_by_role("button", name="Request approval").wait_for()
    _picture(page, folder, f"workspace-new-approval-{suffix}")
    page.get_by_text("Scratch", exact=True).click()
    page.get_by_role("button", name="Not allowed").wait_for()
    _picture(page, folder, f"workspace-new-denied-{suffix}")
    page.goto(f"{instance.url}/workspaces")
    page.get_by_role("link", name="Delete checkout-api").click()
    page.get_by_role("dialog").wait_for()
    _picture(page, folder, f"workspaces-dialog-{suffix}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="portal-")))
