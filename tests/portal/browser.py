"""Debian's Chromium, driven by Playwright, and what tests do with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.portal.instance import Instance, link_of

CHROMIUM = Path("/usr/bin/chromium")
_ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
]
_AXE = Path(__file__).parent / "vendor" / "axe.min.js"


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """One browser, closed at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def visitor(
    browser: Browser,
    *,
    scheme: Literal["light", "dark"] = "light",
    width: int = 1280,
    height: int = 800,
    scripts: bool = True,
) -> Iterator[BrowserContext]:
    """A browser of its own: cookies, colour scheme, size."""
    context = browser.new_context(
        color_scheme=scheme,
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
        java_script_enabled=scripts,
    )
    try:
        yield context
    finally:
        context.close()


def sign_in(instance: Instance, page: Page, handle: str) -> None:
    """Follow a fresh one-time link and press its button."""
    page.goto(link_of(instance.world, handle))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()


def accessibility_problems(page: Page) -> list[str]:
    """What axe finds that is serious or critical, one line for each element."""
    page.evaluate(_AXE.read_text())  # through the debugger, past the page's policy on scripts
    report: dict[str, Any] = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['target']} {node.get('failureSummary', '')}"
        for violation in report["violations"]
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]
