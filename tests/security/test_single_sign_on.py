"""Attacks on signing in with a provider: each ends without a session, and with a sentence."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from httpx2 import Response
from joserfc.jwk import OctKey

from charter.core.kernel.errors import UnauthenticatedError
from charter.services import identity
from tests.spec import spec
from tests.sso import Browser, Sso, parameters, running_sso, signed, signing_key


@pytest.fixture(scope="module")
def sso(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sso]:
    folder: Path = tmp_path_factory.mktemp("sso")
    folder.chmod(0o755)
    with running_sso(postgres_url, folder) as running:
        for login in ("victim", "attacker"):
            running.provider.account(login, preferred_username=login, groups=["everybody"])
        yield running


@pytest.fixture(scope="module")
def bystander(sso: Sso) -> Browser:
    """The victim, signed in."""
    browser = sso.browser()
    browser.login("victim")
    return browser


def refused(sso: Sso, browser: Browser, page: Response, code: str) -> None:
    assert 400 <= page.status_code < 500
    assert code in page.text
    assert "Sign in" in page.text
    with pytest.raises(UnauthenticatedError):
        sso.caller(browser)


def callback_with(sso: Sso, **fields: str) -> str:
    return f"{sso.url}/sign-in/oidc/corp/callback?{urlencode(fields)}"


# --- the way back -----------------------------------------------------------------------------
@spec("ID-3")
def test_a_code_counts_once(sso: Sso) -> None:
    browser = sso.browser()
    back = browser.callback("victim")
    cookie = browser.cookie("charter_sign_in")
    assert browser.go(back).status_code == 200
    assert browser.cookie("charter_sign_in") is None
    browser.http.cookies.delete("charter_session")
    refused(sso, browser, browser.go(back), "sign-in-foreign")
    browser.http.cookies.set("charter_sign_in", cookie or "", domain="127.0.0.1", path="/")
    refused(sso, browser, browser.go(back), "sign-in-used")


@spec("ID-3")
def test_an_answer_works_only_in_the_browser_that_asked(sso: Sso) -> None:
    victim, attacker = sso.browser(), sso.browser()
    stolen = victim.callback("victim")
    refused(sso, attacker, attacker.go(stolen), "sign-in-foreign")
    # Neither can the attacker have somebody else finish what they began.
    planted = attacker.callback("attacker")
    refused(sso, victim, victim.go(planted), "sign-in-foreign")
    # Their states swapped.
    mine, theirs = parameters(planted), parameters(stolen)
    swapped = callback_with(sso, **{**theirs, "state": mine["state"]})
    refused(sso, victim, victim.go(swapped), "sign-in-foreign")


@spec("ID-3")
def test_a_code_of_another_attempt_is_refused_by_its_verifier(sso: Sso) -> None:
    victim, attacker = sso.browser(), sso.browser()
    mine, theirs = (
        parameters(each.callback(who)) for each, who in ((victim, "victim"), (attacker, "attacker"))
    )
    injected = callback_with(sso, **{**mine, "code": theirs["code"]})
    refused(sso, victim, victim.go(injected), "provider-token-invalid")


@spec("ID-3")
def test_providers_are_not_mixed_up(sso: Sso) -> None:
    browser = sso.browser()
    back = browser.callback("victim")
    given = parameters(back)
    assert given["iss"] == sso.provider.issuer
    refused(sso, browser, browser.go(back.replace("/corp/", "/mail/")), "sign-in-foreign")
    for iss in ("https://evil.example", "", None):
        other = sso.browser()
        fields = parameters(other.callback("victim"))
        fields.pop("iss")
        page = other.go(callback_with(sso, **fields, **({} if iss is None else {"iss": iss})))
        refused(sso, other, page, "provider-mixed-up")


def test_an_answer_says_each_thing_once(sso: Sso) -> None:
    browser = sso.browser()
    back = browser.callback("victim")
    refused(sso, browser, browser.go(f"{back}&state=other"), "invalid-input")


@spec("ID-3")
@pytest.mark.parametrize("change", ["cut", "payload", "signature", "provider", "nonsense", "long"])
def test_a_cookie_that_was_not_made_here_is_worth_nothing(sso: Sso, change: str) -> None:
    browser = sso.browser()
    back = browser.callback("victim")
    payload, signature = str(browser.cookie("charter_sign_in")).split(".")
    document = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**document, "next": "//evil"}).encode())
    value = {
        "cut": payload,
        "payload": f"{forged.rstrip(b'=').decode()}.{signature}",
        "signature": f"{payload}.{signature[:-1]}",
        "provider": f"{payload}.",
        "nonsense": "a.b",
        "long": f"{payload}.{'x' * 3000}",
    }[change]
    browser.http.cookies.set("charter_sign_in", value, domain="127.0.0.1", path="/")
    refused(sso, browser, browser.go(back), "sign-in-foreign")


def test_an_attempt_ends_by_itself(sso: Sso) -> None:
    browser = sso.browser()
    back = browser.callback("victim")
    sso.world.clock.advance(minutes=15)
    try:
        refused(sso, browser, browser.go(back), "sign-in-expired")
    finally:
        sso.world.clock.advance(minutes=-15)


def test_a_refusal_of_the_provider_shows_none_of_its_text(sso: Sso) -> None:
    for error, code in (
        ("access_denied", "did not let you in"),
        ("server_error", "server_error"),
        ("<script>alert(1)</script>", "unknown error"),
    ):
        browser = sso.browser()
        state = parameters(browser.callback("victim"))["state"]
        page = browser.go(
            callback_with(
                sso,
                error=error,
                error_description="Call 555-0100 and say your password.",
                state=state,
                iss=sso.provider.issuer,
            )
        )
        refused(sso, browser, page, "provider-declined")
        assert code in page.text
        assert "555-0100" not in page.text
        assert "<script>alert" not in page.text


def test_a_cancelled_login_is_a_calm_page(sso: Sso) -> None:
    browser = sso.browser()
    form = browser.go("/sign-in/oidc/corp/start")
    page = browser.send(str(form.url), {"do": "cancel"})
    refused(sso, browser, page, "provider-declined")


# --- where it leads ---------------------------------------------------------------------------
@spec("ID-3")
@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_nobody_is_led_to_another_site(sso: Sso, target: str) -> None:
    browser = sso.browser()
    page = browser.login("victim", query=f"?next={quote(target)}")
    assert (page.status_code, str(page.url)) == (200, f"{sso.url}/")
    door = sso.browser().go(f"/sign-in?next={quote(target)}")
    assert "evil.example" not in door.text


@spec("ID-3")
def test_a_session_from_before_does_not_survive(sso: Sso) -> None:
    """Else somebody who planted a session in a browser would watch what is done in it."""
    attacker, victim = sso.browser(), sso.browser()
    attacker.login("attacker")
    planted = attacker.session or ""
    victim.http.cookies.set("charter_session", planted, domain="127.0.0.1", path="/")
    victim.login("victim")
    assert sso.handle(victim) == "victim"
    assert victim.session != planted
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(sso.world.rt, planted)


def test_the_cookies_stay_in_the_browser(sso: Sso) -> None:
    browser = sso.browser()
    start = browser.http.get(f"{sso.url}/sign-in/oidc/corp/start")
    [cookie] = start.headers.get_list("set-cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=900" in cookie
    assert "no-store" in start.headers["cache-control"]
    sent = parameters(start.headers["location"])
    assert sent["code_challenge_method"] == "S256"
    assert sent["redirect_uri"] == f"{sso.url}/sign-in/oidc/corp/callback"
    assert len({sent["state"], sent["nonce"], sent["code_challenge"]}) == 3
    again = parameters(browser.http.get(f"{sso.url}/sign-in/oidc/corp/start").headers["location"])
    assert not {sent["state"], sent["nonce"]} & {again["state"], again["nonce"]}


# --- logouts ----------------------------------------------------------------------------------
def post_logout(sso: Sso, token: str, name: str = "corp") -> Response:
    browser = sso.browser()
    return browser.http.post(f"{sso.url}/sign-in/oidc/{name}/logout", data={"logout_token": token})


FORGED: dict[str, Callable[[Sso], str]] = {
    "another client": lambda s: signed(s.logout_claims(aud="mail")),
    "another issuer": lambda s: signed(s.logout_claims(iss="https://evil.example")),
    "a foreign key": lambda s: signed(s.logout_claims(), signing_key("foreign"), kid="first"),
    "an unknown key": lambda s: signed(s.logout_claims(), signing_key("foreign"), kid="foreign"),
    "a nonce": lambda s: signed(s.logout_claims(nonce="n")),
    "no event": lambda s: signed(s.logout_claims(events=None)),
    "nobody": lambda s: signed(s.logout_claims(sub=None)),
    "no id": lambda s: signed(s.logout_claims(jti=None)),
    "held back": lambda s: signed(
        s.logout_claims(iat=int(s.world.clock().timestamp()) - 700, exp=None)
    ),
    "the public key as secret": lambda s: signed(
        s.logout_claims(),
        OctKey.import_key(json.dumps(signing_key("first").as_dict(private=False))),
        alg="HS256",
        kid="first",
    ),
    "nothing": lambda _: "",
    "nonsense": lambda _: "a.b.c",
    "too much": lambda _: "a" * 20_000,
}


@spec("ID-3")
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_a_forged_logout_ends_nothing(
    sso: Sso, bystander: Browser, forge: Callable[[Sso], str]
) -> None:
    answer = post_logout(sso, forge(sso))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "no-store" in answer.headers["cache-control"]
    assert sso.handle(bystander) == "victim"


@spec("ID-3")
def test_a_logout_counts_once_and_for_its_own_person(sso: Sso) -> None:
    browser, other, by_mail = sso.browser(), sso.browser(), sso.browser()
    browser.login("victim")
    other.login("attacker")
    at = int(sso.world.clock().timestamp()) - 5
    token = signed(sso.logout_claims(jti="once", iat=at))
    answer = post_logout(sso, token)
    assert (answer.status_code, answer.content) == (200, b"")
    with pytest.raises(UnauthenticatedError):
        sso.caller(browser)
    assert sso.handle(other) == "attacker"
    by_mail.login("victim")
    assert post_logout(sso, token).status_code == 400
    assert sso.handle(by_mail) == "victim"
    assert post_logout(sso, token, "nobody").status_code == 404


@spec("ID-3")
def test_a_logout_that_overtakes_its_sign_in_counts(sso: Sso) -> None:
    browser = sso.browser()
    back = browser.callback("victim")
    # The code is in the browser; at the provider the session ends before Charter sees it.
    sso.world.clock.advance(seconds=30)
    try:
        assert post_logout(sso, signed(sso.logout_claims(jti="overtakes"))).status_code == 200
        refused(sso, browser, browser.go(back), "provider-session-ended")
    finally:
        sso.world.clock.advance(seconds=-30)


def test_the_secrets_of_a_sign_in_are_nowhere(sso: Sso, capfd: pytest.CaptureFixture[str]) -> None:
    browser = sso.browser()
    back = browser.callback("victim")
    secret = str(browser.cookie("charter_sign_in"))
    browser.go(back)
    said = "".join(capfd.readouterr())
    for each in (parameters(back)["code"], parameters(back)["state"], secret, browser.session):
        assert str(each) not in said
