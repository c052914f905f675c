"""Signing in through a real OpenID provider, as a browser does it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import sqlalchemy as sa

from charter.core.access.sign_in_attempt import challenge_of
from charter.core.kernel.errors import UnauthenticatedError
from charter.services import identity, people, roles
from charter.store import tables as t
from tests.portal.instance import link_of
from tests.portal.markup import text_of
from tests.spec import spec
from tests.sso import Sso, running_sso


@pytest.fixture(scope="module")
def sso(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sso]:
    folder: Path = tmp_path_factory.mktemp("sso")
    folder.chmod(0o755)
    with running_sso(postgres_url, folder) as running:
        yield running


def person(sso: Sso, handle: str) -> Any:
    with sso.world.rt.database.reading() as tx:
        return tx.one(sa.select(t.people).where(t.people.c.handle == handle))


def give_email(sso: Sso, handle: str, email: str) -> None:
    with sso.world.rt.database.unit_of_work() as tx:
        tx.update(t.people, t.people.c.handle == handle, email=email)


def held(sso: Sso, browser: Any) -> set[tuple[str, str]]:
    return {(str(b.role), str(b.scope.kind)) for b in sso.caller(browser).person.bindings}


# --- who it is --------------------------------------------------------------------------------
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
    assert held(sso, browser) == {("developer", "team")}
    assert len(caller.person.teams) == 1
    assert caller.person.session is not None
    assert (caller.person.session.method, caller.person.session.mfa) == ("oidc", False)
    row = person(sso, "nora.n")
    assert (row["display_name"], row["email"], row["source"]) == (
        "Nora N.",
        "nora@example.org",
        "oidc",
    )
    # The next time it is the same person, whatever they are called by then.
    sso.provider.account("u-nora", preferred_username="renamed", groups=[])
    again = sso.browser()
    again.login("u-nora")
    assert sso.handle(again) == "nora.n"
    assert again.session != browser.session


@pytest.mark.slow
def test_a_taken_name_is_not_taken_over(sso: Sso) -> None:
    sso.provider.account("u-admin", preferred_username="admin", email="a@x.org", groups=[])
    browser = sso.browser()
    browser.login("u-admin")
    assert sso.handle(browser) == "admin-2"
    assert held(sso, browser) == set()
    assert person(sso, "admin-2")["email"] is None  # the provider had not checked it


@spec("ID-1", "ID-3")
def test_groups_are_brought_in_line_and_what_was_given_by_hand_is_left_alone(sso: Sso) -> None:
    world = sso.world
    sso.provider.account("u-pia", preferred_username="pia", groups=["payments-dev", "everybody"])
    browser = sso.browser()
    browser.login("u-pia")
    assert held(sso, browser) == {("developer", "team"), ("read-only", "organisation")}
    people.add_member(world.rt, world.admin, "search", "pia")
    roles.bind_role(
        world.rt, world.admin, person="pia", role="team-lead", scope_kind="team", scope="search"
    )
    sso.provider.account("u-pia", preferred_username="pia", groups=["everybody"])
    browser.login("u-pia")
    assert held(sso, browser) == {("team-lead", "team"), ("read-only", "organisation")}
    assert len(sso.caller(browser).person.teams) == 1
    pia = person(sso, "pia")["id"]
    for action, count in (("role.revoked", 1), ("team.member-removed", 1)):
        mine = [e for e in sso.events(action) if e["resource"]["id"] == pia]
        assert len(mine) == count
        assert mine[0]["actor"]["id"] == "oidc:corp"
    # In a team by a group and by hand: the hand's word stays.
    sso.provider.account("u-pia", preferred_username="pia", groups=["payments-dev"])
    browser.login("u-pia")
    people.add_member(world.rt, world.admin, "payments", "pia")
    sso.provider.account("u-pia", preferred_username="pia", groups=[])
    browser.login("u-pia")
    assert len(sso.caller(browser).person.teams) == 2
    assert held(sso, browser) == {("team-lead", "team")}


@pytest.mark.slow
@spec("ID-9")
def test_roles_that_clash_are_withheld(sso: Sso) -> None:
    sso.provider.account("u-max", preferred_username="max", groups=["operators", "watchers"])
    browser = sso.browser()
    browser.login("u-max")
    assert held(sso, browser) == set()
    why = [e["facts"] for e in sso.events("role.withheld")]
    assert {"platform-admin", "security-admin"} <= {facts["role"] for facts in why}
    sso.provider.account("u-max", preferred_username="max", groups=["watchers"])
    browser.login("u-max")
    assert held(sso, browser) == {("security-admin", "organisation")}
    sso.provider.account("u-max", preferred_username="max", groups=["operators", "watchers"])
    browser.login("u-max")
    assert held(sso, browser) == {("security-admin", "organisation")}  # what stays, stays


@pytest.mark.slow
def test_a_mapping_to_what_is_not_there_is_said(sso: Sso) -> None:
    sso.provider.account("u-gil", preferred_username="gil", groups=["ghosts"])
    browser = sso.browser()
    assert browser.login("u-gil").status_code == 200
    assert held(sso, browser) == set()
    assert sso.events("team.membership-withheld")[-1]["facts"]["why"] == "There is no team ghosts."


@spec("ID-3")
def test_a_verified_address_opens_the_account_that_has_it(sso: Sso) -> None:
    give_email(sso, "dana", "Dana@Example.org")
    sso.provider.account("u-dana", email="dana@example.org", email_verified=False)
    browser = sso.browser()
    page = browser.login("u-dana", "mail")
    assert page.status_code == 403
    assert "person-unknown" in page.text
    sso.provider.account("u-dana", email="dana@example.org", email_verified=True)
    assert browser.login("u-dana", "mail").status_code == 200
    assert sso.handle(browser) == "dana"
    # Whoever gets that address next does not get the account.
    sso.provider.account("u-next", email="dana@example.org", email_verified=True)
    page = sso.browser().login("u-next", "mail")
    assert (page.status_code, "identity-taken" in page.text) == (409, True)


@pytest.mark.slow
def test_an_address_of_two_accounts_opens_neither(sso: Sso) -> None:
    give_email(sso, "otto", "shared@example.org")
    give_email(sso, "ria", "shared@example.org")
    sso.provider.account("u-shared", email="shared@example.org", email_verified=True)
    page = sso.browser().login("u-shared", "mail")
    assert (page.status_code, "email-ambiguous" in page.text) == (409, True)


@pytest.mark.slow
def test_a_provider_that_policy_trusts_with_nothing_brings_in_nobody(sso: Sso) -> None:
    sso.provider.account("u-zoe", preferred_username="zoe", groups=["operators"])
    browser = sso.browser()
    page = browser.login("u-zoe", "closed")
    assert page.status_code == 403
    assert "data/single_sign_on.json" in text_of(page.text)
    assert "Sign in with Corp" in text_of(page.text)  # the other ways stay open
    assert browser.session is None
    assert sso.events("session.refused")[-1]["facts"]["code"] == "person-unknown"


@pytest.mark.slow
def test_only_members_of_the_named_groups_come_in(sso: Sso) -> None:
    sso.provider.account("u-kim", preferred_username="kim", groups=["others"])
    page = sso.browser().login("u-kim", "club")
    assert (page.status_code, "not-in-allowed-group" in page.text) == (403, True)
    assert person(sso, "kim") is None
    sso.provider.account("u-kim", preferred_username="kim", groups=["members"])
    assert sso.browser().login("u-kim", "club").status_code == 200


@pytest.mark.slow
def test_groups_that_the_provider_does_not_say_are_not_no_groups(sso: Sso) -> None:
    # The provider of the tests sends what its accounts hold; a number is no list.
    sso.provider.account("u-odd", preferred_username="odd", groups={"a": 1})
    page = sso.browser().login("u-odd")
    assert (page.status_code, "groups-unknown" in page.text) == (409, True)


@pytest.mark.slow
@spec("ID-3")
def test_a_deactivated_person_is_refused(sso: Sso) -> None:
    sso.provider.account("u-lou", preferred_username="lou", groups=[])
    browser = sso.browser()
    browser.login("u-lou")
    people.deactivate(sso.world.rt, sso.world.admin, "lou")
    page = browser.login("u-lou")
    assert (page.status_code, "person-deactivated" in page.text) == (403, True)
    with pytest.raises(UnauthenticatedError):
        sso.caller(browser)
    give_email(sso, "lou", "lou@example.org")
    sso.provider.account("u-lou2", email="lou@example.org", email_verified=True)
    page = sso.browser().login("u-lou2", "mail")
    assert (page.status_code, "person-deactivated" in page.text) == (403, True)


# --- how strongly, and how fresh --------------------------------------------------------------
@pytest.mark.slow
@spec("ID-4")
@pytest.mark.parametrize(
    ("said", "mfa"),
    [
        ({}, False),
        ({"acr": "phr"}, True),
        ({"acr": "pwd"}, False),
        ({"amr": ["pwd"]}, False),
        ({"amr": ["pwd", "otp"]}, True),
        ({"amr": ["mfa"]}, True),
    ],
)
def test_policy_says_what_counts_as_a_second_factor(
    sso: Sso, said: dict[str, Any], mfa: bool
) -> None:
    sso.provider.account("u-mia", preferred_username="mia", groups=[])
    sso.provider.report(**said)
    browser = sso.browser()
    browser.login("u-mia")
    sso.provider.report()
    session = sso.caller(browser).person.session
    assert session is not None
    assert session.mfa is mfa


@spec("ID-4")
def test_step_up_makes_the_provider_ask_again(sso: Sso) -> None:
    sso.provider.account("u-tom", preferred_username="tom", groups=["everybody"])
    sso.provider.account("u-eve", preferred_username="eve", groups=[])
    browser = sso.browser()
    hour_ago = int(sso.world.clock().timestamp()) - 3600
    sso.provider.report(ts=hour_ago)
    browser.login("u-tom")
    before, cookie = sso.caller(browser), browser.session
    assert before.person.session is not None
    assert int(before.person.session.authenticated_at.timestamp()) == hour_ago
    # A usual sign-in is done without a question, and does not make the proof newer.
    assert browser.go("/sign-in/oidc/corp/start").status_code == 200
    assert int(sso.caller(browser).person.session.authenticated_at.timestamp()) == hour_ago  # type: ignore[union-attr]
    # A provider that lets its memory pass for a proof is not believed.
    page = browser.login("u-tom", query="?fresh=1&next=/approvals")
    assert (page.status_code, "proof-too-old" in page.text) == (401, True)
    sso.provider.report()
    # Neither is another person's proof.
    browser.forget_provider()
    page = browser.login("u-eve", query="?fresh=1")
    assert (page.status_code, "other-person" in page.text) == (403, True)
    assert sso.handle(browser) == "tom"
    browser.forget_provider()
    form = browser.go("/sign-in/oidc/corp/start?fresh=1&next=/approvals")
    assert "Who are you?" in form.text
    assert str(browser.fill_in(form, "u-tom").url) == f"{sso.url}/approvals"
    session = sso.caller(browser).person.session
    assert session is not None
    assert (sso.world.clock() - session.authenticated_at).total_seconds() < 60
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(sso.world.rt, cookie or "")


# --- a command line ---------------------------------------------------------------------------
@spec("ID-3")
def test_a_command_line_is_signed_in_from_the_browser(sso: Sso) -> None:
    rt = sso.world.rt
    sso.provider.account("u-cleo", preferred_username="cleo", groups=["payments-dev"])
    browser = sso.browser()
    verifier = "v" * 43
    here = f"/sign-in/command-line?challenge={challenge_of(verifier)}"
    door = browser.go(here)
    button = re.search(r'href="(/sign-in/oidc/corp/start[^"]+)"', door.text)
    assert button is not None
    form = browser.go(button[1].replace("&amp;", "&"))
    asks = browser.fill_in(form, "u-cleo")
    assert str(asks.url) == sso.url + here
    fields = dict(re.findall(r'name="(_csrf|challenge)" value="([^"]+)"', asks.text))
    code = re.search(r"charter_lnk_[\w-]+", browser.send("/sign-in/command-line", fields).text)
    assert code is not None
    for wrong in (None, "w" * 43):
        with pytest.raises(UnauthenticatedError):
            identity.exchange_link_for_token(rt, code[0], "stolen", verifier=wrong)
    with pytest.raises(UnauthenticatedError):
        identity.exchange_link(rt, code[0])
    token = identity.exchange_link_for_token(rt, code[0], "mine", verifier=verifier)["secret"]
    caller = identity.authenticate_bearer(rt, token)
    assert caller.person.handle == "cleo"
    assert caller.person.session is not None
    assert caller.person.session.method == "oidc"
    # What was handed on ends with the session at the provider, and an unused code with it.
    unused = re.search(r"charter_lnk_[\w-]+", browser.send("/sign-in/command-line", fields).text)
    assert unused is not None
    sso.log_out("u-cleo")
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_bearer(rt, token)
    with pytest.raises(UnauthenticatedError):
        identity.exchange_link_for_token(rt, unused[0], "late", verifier=verifier)


def test_an_incomplete_address_of_a_command_line(sso: Sso) -> None:
    for query in ("", "?challenge=short", "?challenge=" + "x" * 44):
        assert sso.browser().go(f"/sign-in/command-line{query}").status_code == 422


# --- the end ----------------------------------------------------------------------------------
@spec("ID-3")
def test_a_logout_at_the_provider_ends_the_session_at_once(sso: Sso) -> None:
    sso.provider.account("u-ben", preferred_username="ben", groups=["everybody"])
    browser, elsewhere = sso.browser(), sso.browser()
    browser.login("u-ben")
    elsewhere.login("u-ben")
    by_link = sso.browser()
    by_link.send("/sign-in", {"link": link_of(sso.world, "ben")})
    # Sign out of Charter: the page offers the provider's own sign-out, which asks.
    csrf = re.search(r'name="_csrf" value="([^"]+)"', browser.go("/").text)
    assert csrf is not None
    cookie = browser.session
    page = browser.send("/sign-out", {"_csrf": csrf[1]})
    assert "Sign out of Corp too" in text_of(page.text)
    browser.login("u-ben")  # the provider still remembers
    leave = re.search(r'href="([^"]+/session/end[^"]+)"', page.text)
    assert leave is not None
    asks = browser.go(leave[1].replace("&amp;", "&"))
    form = re.search(r'name="xsrf" value="([^"]+)"', asks.text)
    action = re.search(r'action="([^"]+)"', asks.text)
    assert form is not None
    assert action is not None
    kept = browser.session
    back = browser.send(urljoin(str(asks.url), action[1]), {"xsrf": form[1], "logout": "yes"})
    assert str(back.url) == f"{sso.url}/sign-in"
    for dead in (cookie, kept):
        with pytest.raises(UnauthenticatedError):
            identity.authenticate_session(sso.world.rt, dead or "")
    assert sso.handle(elsewhere) == "ben"  # another session at the provider
    assert sso.handle(by_link) == "ben"  # opened without the provider
    assert sso.events("session.closed")[-1]["facts"]["why"] == "ended by the provider"


# --- the provider -----------------------------------------------------------------------------
@pytest.mark.slow
@spec("ID-3")
def test_the_provider_may_change_its_keys(sso: Sso) -> None:
    sso.provider.account("u-roy", preferred_username="roy", groups=[])
    sso.browser().login("u-roy")
    sso.provider.stop()
    sso.provider.keys = ("second",)
    sso.provider.start()
    sso.world.clock.advance(seconds=31)
    browser = sso.browser()
    assert browser.login("u-roy").status_code == 200
    assert sso.handle(browser) == "roy"


@pytest.mark.slow
@spec("ID-3")
def test_while_the_provider_is_down_other_ways_work(sso: Sso) -> None:
    sso.provider.account("u-sue", preferred_username="sue", groups=[])
    browser, link = sso.browser(), link_of(sso.world, "lee")
    back = browser.callback("u-sue")
    sso.provider.stop()
    page = browser.go(back)
    assert (page.status_code, "provider-unavailable" in page.text) == (503, True)
    sso.world.clock.advance(minutes=60)
    page = sso.browser().go("/sign-in/oidc/corp/start")
    assert (page.status_code, "one-time link" in text_of(page.text)) == (503, True)
    by_link = sso.browser()
    sso.world.clock.advance(minutes=-60)  # links are short-lived
    by_link.send("/sign-in", {"link": link})
    assert sso.handle(by_link) == "lee"
    sso.provider.start()
    assert sso.browser().login("u-sue").status_code == 200


@pytest.mark.slow
def test_the_sign_in_page_shows_every_way(sso: Sso) -> None:
    page = text_of(sso.browser().go("/sign-in").text)
    assert "Sign in with Corp" in page
    assert "one-time link" in page
    assert sso.browser().go("/sign-in/oidc/nobody/start").status_code == 404
