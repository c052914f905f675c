"""Signing in through a real OpenID provider, as a browser does it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.portal.markup import text_of
from tests.spec import spec
from tests.sso import Sso, running_sso


@pytest.fixture(scope="module")
def sso(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sso]:
    folder: Path = tmp_path_factory.mktemp("sso")
    folder.chmod(0o755)
    with running_sso(postgres_url, folder) as running:
        yield running


@spec("ID-3")
def test_somebody_new_signs_in_and_holds_what_their_groups_give(sso: Sso) -> None:
    sso.provider.account(
        "u-nora",
        name="Nora N.",
        preferred_username="Nora.N",
        email="nora@example.org",
        email_verified=True,
        groups=["payments-dev", "unmapped"],
    )
    browser = sso.browser()
    page = browser.login("u-nora", query="?next=/workspaces")
    assert page.status_code == 200
    assert str(page.url) == f"{sso.url}/workspaces"
    caller = sso.caller(browser)
    assert caller.person.handle == "nora.n"
    assert [b.role for b in caller.person.bindings] == ["developer"]
    assert len(caller.person.teams) == 1
    assert caller.person.session is not None
    assert (caller.person.session.method, caller.person.session.mfa) == ("oidc", False)


def test_the_sign_in_page_shows_every_way(sso: Sso) -> None:
    page = text_of(sso.browser().go("/sign-in").text)
    assert "Sign in with Corp" in page
    assert "one-time link" in page
