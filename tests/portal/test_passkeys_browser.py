"""Passkeys in Debian's Chromium, with the browser's own virtual authenticator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext, Page

from charter.services import custom_roles
from charter.store import tables as t
from tests.portal.browser import CHROMIUM, accessibility_problems, chromium, visitor
from tests.portal.instance import Instance
from tests.portal.test_account import a_link
from tests.spec import spec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def authenticator(context: BrowserContext, page: Page, **turned: Any) -> tuple[Any, str]:
    """A device of the browser's own that verifies its user; the line to it, and its id."""
    line = context.new_cdp_session(page)
    line.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
        **turned,
    }
    made = line.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return line, made["authenticatorId"]


def at_name(instance: Instance) -> str:
    return instance.url.replace("127.0.0.1", "localhost")


def sign_in(instance: Instance, page: Page, handle: str) -> None:
    link = a_link(instance.world, handle).replace("127.0.0.1", "localhost")
    page.goto(link)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Overview").wait_for()


def add_passkey(instance: Instance, page: Page, name: str) -> None:
    page.goto(f"{at_name(instance)}/account")
    page.get_by_label("Name of the device").fill(name)
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_text("The passkey is added.").wait_for()


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()


def let_time_pass(instance: Instance, handle: str) -> None:
    """As if somebody's sessions had been confirmed two hours ago."""
    with instance.world.rt.database.unit_of_work() as tx:
        who = sa.select(t.people.c.id).where(t.people.c.handle == handle).scalar_subquery()
        tx.update(
            t.sessions,
            t.sessions.c.person_id == who,
            authenticated_at=tx.now - timedelta(hours=2),
        )


@spec("ID-3", "ID-4")
def test_add_a_passkey_sign_in_without_a_name_and_remove_it(
    instance: Instance, browser: Browser
) -> None:
    with visitor(browser) as context:
        page = context.new_page()
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        line, device = authenticator(context, page)
        sign_in(instance, page, "dana")
        add_passkey(instance, page, "laptop")
        kept = line.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"]
        assert [each["isResidentCredential"] for each in kept] == [True]
        assert accessibility_problems(page) == []
        page.get_by_label("Name of the device").fill("laptop again")
        page.get_by_role("button", name="Add a passkey").click()
        page.get_by_role("heading", name="Confirm that it is you").wait_for()  # one factor so far
        page.get_by_role("button", name="Use a passkey").click()
        page.get_by_role("heading", name="Add a passkey").wait_for()
        assert page.get_by_label("Name of the device").input_value() == "laptop again"
        page.get_by_role("button", name="Add a passkey").click()
        page.get_by_text("already has a passkey").wait_for()
        sign_out(page)
        assert accessibility_problems(page) == []
        page.get_by_role("button", name="Sign in with a passkey").click()
        page.get_by_role("heading", name="Overview").wait_for()
        page.goto(f"{at_name(instance)}/account")
        page.get_by_text("with two factors").wait_for()
        page.get_by_role("link", name="Remove laptop").click()
        page.get_by_text("It is your last one").wait_for()
        page.get_by_role("button", name="Remove the passkey").click()
        page.get_by_text("The passkey is removed.").wait_for()
        sign_out(page)
        page.get_by_role("button", name="Sign in with a passkey").click()
        page.get_by_text("This passkey was not accepted.").wait_for()
        assert said == []


@spec("ID-4")
def test_a_form_waits_while_the_passkey_is_shown(instance: Instance, browser: Browser) -> None:
    with visitor(browser) as context:
        page = context.new_page()
        authenticator(context, page)
        sign_in(instance, page, "admin")
        add_passkey(instance, page, "key")
        let_time_pass(instance, "admin")
        page.goto(f"{at_name(instance)}/access/roles/new?from=developer")
        page.get_by_label("Name", exact=True).fill("release-helper")
        page.get_by_label("What it is for").fill("Helps with releases")
        page.get_by_role("button", name="Define the role").click()
        page.get_by_role("heading", name="Confirm that it is you").wait_for()
        assert accessibility_problems(page) == []
        page.get_by_role("button", name="Use a passkey").click()
        page.get_by_text("release-helper is kept.").wait_for()
        made = custom_roles.get(instance.world.rt, instance.world.admin, "release-helper")
        assert made["title"] == "Helps with releases"


@spec("ID-3", "ID-4")
def test_a_device_that_verifies_nobody_is_refused(instance: Instance, browser: Browser) -> None:
    with visitor(browser) as context:
        page = context.new_page()
        authenticator(context, page, isUserVerified=False)
        sign_in(instance, page, "otto")
        page.goto(f"{at_name(instance)}/account")
        page.get_by_label("Name of the device").fill("stranger's")
        page.get_by_role("button", name="Add a passkey").click()
        page.get_by_text("The browser showed no passkey").wait_for()
        page.reload()
        page.get_by_text("No passkey yet").wait_for()


@spec("ID-3")
def test_at_an_address_the_browser_is_sent_to_the_name(
    instance: Instance, browser: Browser
) -> None:
    with visitor(browser) as context:
        page = context.new_page()
        page.goto(a_link(instance.world, "lee"))
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.goto(f"{instance.url}/account")
        page.get_by_text("cannot work at an address of numbers").wait_for()
        page.get_by_role("button", name="Make a link").click()
        page.get_by_role("link", name="sign in with it at").click()
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("heading", name="Overview").wait_for()
        page.goto(f"{at_name(instance)}/account")
        page.get_by_role("button", name="Add a passkey").wait_for()
