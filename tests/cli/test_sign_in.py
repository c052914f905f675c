"""Signing in and out, where the token is kept, and to whom it is shown."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from charter.api import schemas as s
from charter.cli import profile, session
from charter.core.access.sign_in_attempt import challenge_of
from tests.cli import answers as a
from tests.spec import spec

LINK_SECRET = "charter_lnk_" + "0" * 26 + "_" + "a" * 43
TOKEN_SECRET = "charter_pat_" + "0" * 26 + "_" + "b" * 43
MADE = a.TOKEN.model_copy(update={"secret": TOKEN_SECRET})


@pytest.fixture
def signed_out(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("CHARTER_TOKEN")
    server.on("POST /sign-in", a.wire(MADE), 201)
    server.on("GET /me", a.wire(a.ME))
    return server


def test_login_with_a_link(signed_out: Any, charter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHARTER_URL")
    link = f"{signed_out.url}/sign-in?link={LINK_SECRET}"
    ended = charter("login", "--link", link)
    assert ended.code == 0
    assert "as dana" in ended.out
    assert TOKEN_SECRET not in ended.out + ended.err
    sign_in = signed_out.requests[0]
    s.SignInIn.model_validate(sign_in.body)
    assert sign_in.body["link"] == LINK_SECRET
    assert "authorization" not in sign_in.headers
    assert profile.path().stat().st_mode & 0o777 == 0o600
    # Later commands need nothing more: the link's server is the current one now.
    assert charter("whoami").code == 0
    assert signed_out.last.headers["authorization"] == f"Bearer {TOKEN_SECRET}"


def test_login_json_tells_no_secret(signed_out: Any, charter: Any) -> None:
    ended = charter("login", "--link", LINK_SECRET, "--json")
    assert ended.document["handle"] == "dana"
    assert TOKEN_SECRET not in ended.out


def test_login_with_a_token_checks_it(signed_out: Any, charter: Any) -> None:
    assert charter("login", "--link", TOKEN_SECRET).code == 0
    assert [r.path for r in signed_out.requests] == ["/me"]
    signed_out.answers["GET /me"] = a.problem(401, "unauthenticated")
    other = TOKEN_SECRET[:-1] + "c"
    assert charter("login", "--link", other).code == 4
    assert (
        json.loads(profile.path().read_text())["servers"][signed_out.url]["token"] == TOKEN_SECRET
    )


def test_login_from_standard_input(
    signed_out: Any, charter: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "link").write_text(LINK_SECRET + "\n")
    with (tmp_path / "link").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert charter("login", "--link", "-").code == 0


@pytest.mark.parametrize("text", ["", "nonsense", LINK_SECRET[:-5]])
def test_an_incomplete_link_is_not_sent(text: str, signed_out: Any, charter: Any) -> None:
    ended = charter("login", "--link", text)
    assert ended.code == 2
    assert signed_out.requests == []


@spec("ID-3")
def test_login_offers_the_browser_where_people_sign_in_with_a_provider(
    signed_out: Any, charter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_out.on("GET /sign-in/providers", a.page(s.WayOut(name="corp", label="Corp")))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(session.getpass, "getpass", lambda _prompt: LINK_SECRET)
    ended = charter("login")
    assert ended.code == 0
    assert "To sign in with Corp" in ended.err
    shown = re.search(r"/sign-in/command-line\?challenge=(\S+)", ended.err)
    sent = next(r.body for r in signed_out.requests if r.path == "/sign-in")
    s.SignInIn.model_validate(sent)
    assert shown is not None
    assert challenge_of(sent["verifier"]) == shown[1]
    assert sent["verifier"] not in ended.err + ended.out


def test_login_asks_for_a_link_where_there_is_no_provider(
    signed_out: Any, charter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(session.getpass, "getpass", lambda _prompt: LINK_SECRET)
    for providers in (a.page(), None):  # none, or a server that knows no such question
        signed_out.answers.pop("GET /sign-in/providers", None)
        if providers is not None:
            signed_out.on("GET /sign-in/providers", providers)
        ended = charter("login")
        assert ended.code == 0
        assert "command-line" not in ended.err
        assert "verifier" not in next(r.body for r in signed_out.requests if r.path == "/sign-in")


def test_no_token_goes_unencrypted_to_another_machine(charter: Any) -> None:
    ended = charter("login", "--link", TOKEN_SECRET, "--url", "http://charter.example.org")
    assert ended.code == 1
    assert "insecure-url" in ended.err


def test_a_saved_token_is_shown_to_its_own_server_only(signed_out: Any, charter: Any) -> None:
    charter("login", "--link", LINK_SECRET)
    asked = len(signed_out.requests)
    same_machine = signed_out.url.replace("127.0.0.1", "localhost")
    ended = charter("whoami", "--url", same_machine)
    assert ended.code == 4
    assert len(signed_out.requests) == asked


def test_logout(signed_out: Any, charter: Any) -> None:
    charter("login", "--link", LINK_SECRET)
    signed_out.on("POST /sign-out", None, 204)
    ended = charter("logout", "--json")
    assert ended.document == {"url": signed_out.url, "signed_out": True, "revoked": True}
    assert TOKEN_SECRET not in profile.path().read_text()
    assert charter("whoami").code == 4
    assert charter("logout").out == f"No sign-in is saved for {signed_out.url}.\n"


def test_logout_without_a_server_still_forgets(signed_out: Any, charter: Any) -> None:
    charter("login", "--link", LINK_SECRET)
    signed_out.answers["POST /sign-out"] = a.problem(503, "unavailable")
    ended = charter("logout")
    assert ended.code == 0
    assert "valid until it expires" in ended.out
    assert TOKEN_SECRET not in profile.path().read_text()


def test_a_file_that_others_can_read_is_refused(signed_out: Any, charter: Any) -> None:
    charter("login", "--link", LINK_SECRET)
    profile.path().chmod(0o644)
    ended = charter("whoami")
    assert ended.code == 4
    assert "credentials-exposed" in ended.err
    assert "chmod 600" in ended.err


def test_a_damaged_file_is_a_sentence(signed_out: Any, charter: Any) -> None:
    charter("login", "--link", LINK_SECRET)
    for content in ("{", "[]"):
        profile.path().write_text(content)
        ended = charter("whoami")
        assert ended.code == 4
        assert ended.err.startswith("error: ")


def test_a_token_of_the_environment_goes_first(
    signed_out: Any, charter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    charter("login", "--link", LINK_SECRET)
    monkeypatch.setenv("CHARTER_TOKEN", "an.agents.token")
    assert charter("whoami").code == 0
    assert signed_out.last.headers["authorization"] == "Bearer an.agents.token"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://LOCALHOST:80/", "http://localhost"),
        ("https://charter.example.org:443", "https://charter.example.org"),
        ("https://example.org/charter/", "https://example.org/charter"),
        ("http://[::1]:8470", "http://[::1]:8470"),
    ],
)
def test_one_spelling_of_an_address(given: str, expected: str) -> None:
    assert profile.normalised(given) == expected


def test_the_default_follows_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert profile.target(None).url == "http://127.0.0.1:8470"
    monkeypatch.setenv("CHARTER_PORT", "9000")
    assert profile.target(None).url == "http://127.0.0.1:9000"


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: Any, charter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.on("GET /me", a.wire(a.ME))
    assert charter("whoami").code == 0


FRESH_SECRET = "charter_pat_" + "0" * 26 + "_" + "d" * 43


def test_a_step_up_puts_a_fresh_token_in_place_of_the_saved_one(
    signed_out: Any, charter: Any
) -> None:
    charter("login", "--link", LINK_SECRET)
    fresh = a.TOKEN.model_copy(update={"secret": FRESH_SECRET})
    signed_out.on("POST /sign-in", a.wire(fresh), 201)
    signed_out.on("POST /sign-out", None, 204)
    ended = charter("login", "--step-up", "--link", LINK_SECRET)
    assert ended.code == 0, ended.err
    assert signed_out.last.path == "/sign-out"
    assert signed_out.last.headers["authorization"] == f"Bearer {TOKEN_SECRET}"
    saved = json.loads(profile.path().read_text())["servers"][signed_out.url]["token"]
    assert saved == FRESH_SECRET


def test_a_step_up_with_somebody_elses_link_changes_nothing(signed_out: Any, charter: Any) -> None:
    charter("login", "--link", LINK_SECRET)
    fresh = a.TOKEN.model_copy(update={"secret": FRESH_SECRET})
    signed_out.on("POST /sign-in", a.wire(fresh), 201)
    signed_out.on("POST /sign-out", None, 204)
    signed_out.on("GET /me", a.wire(a.ME.model_copy(update={"handle": "lee"})))
    ended = charter("login", "--step-up", "--link", LINK_SECRET)
    assert ended.code == 1
    assert "link of lee" in ended.err
    # The token that was made for somebody else is ended, the saved one is kept.
    assert signed_out.last.headers["authorization"] == f"Bearer {FRESH_SECRET}"
    saved = json.loads(profile.path().read_text())["servers"][signed_out.url]["token"]
    assert saved == TOKEN_SECRET


def test_a_step_up_needs_a_saved_sign_in(
    signed_out: Any, charter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = charter("login", "--step-up", "--link", LINK_SECRET)
    assert ended.code == 2
    assert "nothing to confirm" in ended.err
    monkeypatch.setenv("CHARTER_TOKEN", TOKEN_SECRET)
    assert "CHARTER_TOKEN" in charter("login", "--step-up", "--link", LINK_SECRET).err
    assert signed_out.requests == []
