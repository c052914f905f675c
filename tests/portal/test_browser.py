"""The portal in Debian's Chromium, as people use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.portal.browser import CHROMIUM, accessibility_problems, chromium, sign_in, visitor
from tests.portal.instance import Instance
from tests.services.approval_policy import ask
from tests.spec import spec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def _listen(page: Page) -> list[str]:
    """What the browser complains about: script errors, and breaches of the security policy."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda m: said.append(m.text) if m.type in {"error", "warning"} else None)
    return said


@spec("UX-1")
def test_a_developer_and_their_lead(instance: Instance, browser: Browser) -> None:
    with visitor(browser) as at_danas, visitor(browser, scheme="dark") as at_lees:
        dana, lee = at_danas.new_page(), at_lees.new_page()
        dana_said, lee_said = _listen(dana), _listen(lee)
        sign_in(instance, dana, "dana")

        dana.keyboard.press("g")
        dana.keyboard.press("w")
        dana.get_by_role("heading", name="No workspaces").wait_for()
        dana.get_by_role("link", name="New workspace").first.click()
        dana.get_by_label("Name", exact=True).fill("browser-made")
        dana.get_by_role("button", name="Create workspace").wait_for()
        dana.get_by_role("button", name="Create workspace").click()
        dana.get_by_role("heading", name="browser-made").wait_for()
        dana.get_by_text("Running", exact=True).wait_for()  # the page follows by itself
        dana.get_by_label("Command", exact=True).fill("echo hello from inside")
        dana.get_by_role("button", name="Run").click()
        dana.get_by_text("Exit code 0").wait_for()
        assert dana.locator("#output pre").inner_text().strip() == "hello from inside"

        dana.goto(f"{instance.url}/workspaces/new")
        dana.get_by_label("Name", exact=True).fill("heavy-build")
        dana.get_by_text("Custom amounts").click()
        dana.get_by_label("vCPU", exact=True).fill("40")
        dana.get_by_text("40 vCPU are more than").wait_for()
        dana.get_by_label("Justification").fill("The release build.")
        dana.get_by_role("button", name="Request approval").click()
        dana.get_by_text("Nobody approves their own request").wait_for()

        sign_in(instance, lee, "lee")
        lee.get_by_role("link", name="Approvals", exact=True).click()
        lee.get_by_role("link", name="workspace heavy-build").click()
        lee.get_by_role("textbox", name="Comment").fill("Until Friday.")
        lee.get_by_role("button", name="Approve").click()
        lee.get_by_text("Your approval was recorded.").wait_for()

        dana.goto(f"{instance.url}/workspaces")
        row = dana.get_by_role("row").filter(has_text="heavy-build")
        row.get_by_text("Running", exact=True).wait_for()
        assert "40 vCPU" in row.inner_text()
        assert dana_said + lee_said == []


@spec("UX-1")
def test_dialogs_filters_and_keys(instance: Instance, browser: Browser) -> None:
    with visitor(browser) as context:
        page = context.new_page()
        said = _listen(page)
        instance.world.add_person("pat", ("developer", None), team="search")
        sign_in(instance, page, "pat")
        for name in ("alpha", "beta"):
            page.goto(f"{instance.url}/workspaces/new")
            page.get_by_label("Name", exact=True).fill(name)
            page.get_by_role("button", name="Create workspace").click()
            page.wait_for_url("**/workspaces/ws_*")
        page.goto(f"{instance.url}/workspaces")
        page.keyboard.press("/")
        page.keyboard.type("alph")
        page.get_by_role("link", name="beta", exact=True).wait_for(state="detached")
        page.wait_for_url("**/workspaces?q=alph*")

        page.get_by_role("link", name="Delete alpha").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("heading", name="Delete alpha?").wait_for()
        page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
        page.get_by_role("link", name="Delete alpha").click()
        dialog.get_by_role("button", name="Delete workspace").click()
        page.get_by_text("alpha is being deleted.").wait_for()
        assert said == []


@spec("UX-1")
def test_it_works_without_scripts(instance: Instance, browser: Browser) -> None:
    with visitor(browser, scripts=False) as context:
        page = context.new_page()
        instance.world.add_person("quinn", ("developer", None), team="search")
        sign_in(instance, page, "quinn")
        page.goto(f"{instance.url}/workspaces/new")
        page.get_by_label("Name", exact=True).fill("plain")
        page.get_by_role("button", name="Preview the decision").click()
        page.get_by_text("Quota left after").wait_for()
        assert page.get_by_label("Name", exact=True).input_value() == "plain"
        page.get_by_role("button", name="Create workspace").click()
        page.get_by_role("heading", name="plain").wait_for()
        page.get_by_role("link", name="Delete").click()
        page.get_by_role("button", name="Delete workspace").click()
        page.get_by_text("plain is being deleted.").wait_for()
        page.get_by_role("button", name="Theme").click()
        assert page.locator("html").get_attribute("data-theme") == "light"


@spec("UX-1")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_nobody_is_kept_out(instance: Instance, browser: Browser, scheme: str, width: int) -> None:
    """No serious finding of axe, and nothing wider than the screen, on any kind of page."""
    paths = {
        "dana": (
            "/",
            "/workspaces",
            "/workspaces/new",
            "/approvals?show=all",
            "/agents",
            "/agents/new",
            "/agents/definitions",
            "/policies?q=cpu",
            "/policies/bundles",
            "/decisions",
            "/workspaces/none",
        ),
        "sam": (
            "/audit",
            "/keys",
            "/policies/changes",
            "/policies/playground?file=admission/workspace-limits.rego",
            "/access?subject=dana&action=workspace.stop",
            "/access/roles",
            "/access/reviews",
            "/account",
            "/account/confirm",
            "/policies/exemptions",
            "/policies/reviews",
            "/policies/reviews/new",
        ),
    }
    with visitor(browser, scheme=scheme, width=width) as context:
        page = context.new_page()
        for handle, each in paths.items():
            context.clear_cookies()
            page.goto(f"{instance.url}/sign-in")
            assert accessibility_problems(page) == []
            sign_in(instance, page, handle)
            for path in each:
                page.goto(instance.url + path)
                assert accessibility_problems(page) == [], path
                width_of = "document.documentElement.scrollWidth"
                assert page.evaluate(width_of) <= width, path


@spec("AP-7", "UX-1")
def test_the_inbox_from_the_keyboard(instance: Instance, browser: Browser) -> None:
    for name in ("first", "second"):
        ask(instance.world, "dana", f"{name}-of-two")
    with visitor(browser) as context:
        page = context.new_page()
        said = _listen(page)
        sign_in(instance, page, "lee")
        page.goto(f"{instance.url}/approvals?requester=dana")
        page.locator("[data-row]").nth(1).wait_for()
        page.keyboard.press("j")
        page.locator("#pane").get_by_role("link", name="second-of-two").wait_for()
        page.keyboard.press("j")
        page.locator("#pane").get_by_role("link", name="first-of-two").wait_for()
        page.route("**/approvals/apr_*", lambda _: None)  # an answer that does not come
        page.keyboard.press("k")
        page.wait_for_function("!document.querySelector('#pane [data-pane]')")
        page.keyboard.press("a")  # nothing of the request before is left to be approved
        assert page.evaluate("document.activeElement.matches('[data-row]')")
        page.unroute("**/approvals/apr_*")
        page.keyboard.press("j")
        page.locator("#pane").get_by_role("link", name="first-of-two").wait_for()
        page.keyboard.press("a")
        approve = page.locator("#pane").get_by_role("button", name="Approve")
        assert approve.evaluate("button => button === document.activeElement")
        page.keyboard.press("Escape")
        page.keyboard.press("k")
        page.locator("#pane").get_by_role("link", name="second-of-two").wait_for()
        page.keyboard.press("d")
        page.keyboard.type("Take the shared one, a and d and j are only letters here.")
        assert accessibility_problems(page) == []
        page.locator("#pane").get_by_role("button", name="Deny").click()
        page.get_by_text("Your denial was recorded.").wait_for()
        assert page.get_by_role("link", name="second-of-two").count() == 0
        assert said == []
