"""Signing in with a provider in Debian's Chromium: links, redirects, cookies, policies of both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.portal.browser import CHROMIUM, accessibility_problems, chromium, visitor
from tests.spec import spec
from tests.sso import Sso, running_sso

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
]
_PICTURES = os.environ.get("CHARTER_PICTURES")


@pytest.fixture(scope="module")
def sso(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sso]:
    folder: Path = tmp_path_factory.mktemp("sso")
    folder.chmod(0o755)
    with running_sso(postgres_url, folder) as running:
        yield running


def look(page: Page, name: str) -> None:
    """No serious finding of axe, nothing wider than the screen; a picture where one is wanted."""
    assert accessibility_problems(page) == [], name
    width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1], name
    if _PICTURES:
        page.screenshot(path=Path(_PICTURES) / f"{name}.png", full_page=True)


@spec("ID-3", "UX-1")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_in_and_out_again(sso: Sso, scheme: str, width: int) -> None:
    sso.provider.account("u-ivy", preferred_username="ivy", groups=["payments-dev"])
    sso.provider.account("u-stranger")
    with chromium() as browser, visitor(browser, scheme=scheme, width=width) as context:  # type: ignore[arg-type]
        page = context.new_page()
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        # What the provider's own pages miss is not ours.
        page.on(
            "console",
            lambda m: (
                said.append(m.text)
                if m.type == "error" and m.location["url"].startswith(sso.url)
                else None
            ),
        )
        page.goto(f"{sso.url}/sign-in/command-line?challenge={'c' * 43}")
        look(page, f"door-{scheme}-{width}")
        page.get_by_role("link", name="Sign in with Corp").click()
        page.get_by_label("Login").fill("u-ivy")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="Sign in a command line").wait_for()
        look(page, f"command-line-{scheme}-{width}")
        page.get_by_role("button", name="Show the code").click()
        assert page.get_by_label("Code").input_value().startswith("charter_lnk_")
        look(page, f"code-{scheme}-{width}")
        page.goto(f"{sso.url}/sign-in/oidc/corp/start?fresh=1&next=/workspaces")
        page.get_by_label("Login").fill("u-ivy")
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/workspaces")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("link", name="Sign out of Corp too").wait_for()
        look(page, f"signed-out-{scheme}-{width}")
        page.get_by_role("link", name="Sign out of Corp too").click()
        page.get_by_role("button", name="Yes, sign me out").click()
        page.wait_for_url(f"{sso.url}/sign-in")
        page.goto(f"{sso.url}/sign-in/oidc/closed/start")
        page.get_by_label("Login").fill("u-stranger")
        assert said == []
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("Nobody in Charter is known").wait_for()
        look(page, f"refused-{scheme}-{width}")
