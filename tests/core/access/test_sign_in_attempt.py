"""What ties an answer to the browser that asked, and where a sign-in may lead."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.sign_in_attempt import Attempt, own_path, seal, unseal
from tests.spec import spec

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY = b"k" * 32


def attempt(secret: bytes = b"s" * 32) -> Attempt:
    return Attempt("corp", secret, NOW, "/approvals?show=all", fresh=True, person_id="per_1")


def test_a_cookie_brings_back_what_it_was_made_of() -> None:
    assert unseal(seal(attempt(), KEY), KEY) == attempt()
    assert unseal(seal(attempt(), KEY), b"other" * 7) is None
    assert unseal(None, KEY) is None


@spec("ID-3")
@given(st.binary(min_size=1, max_size=8), st.integers(min_value=0))
def test_a_changed_cookie_brings_back_nothing(noise: bytes, place: int) -> None:
    cookie = seal(attempt(), KEY)
    at = place % len(cookie)
    changed = cookie[:at] + noise.hex() + cookie[at + 1 :]
    assert changed == cookie or unseal(changed, KEY) is None


@given(st.text(max_size=300))
def test_no_text_is_a_cookie(text: str) -> None:
    assert unseal(text, KEY) is None


def test_what_is_derived_differs_and_follows_the_secret() -> None:
    one, other = attempt(), attempt(b"t" * 32)
    derived = [{a.id, a.state, a.nonce, a.verifier, a.challenge} for a in (one, other)]
    assert len(derived[0] | derived[1]) == 10
    assert 43 <= len(one.verifier) <= 128  # RFC 7636 §4.1
    expected = hashlib.sha256(one.verifier.encode()).digest()
    assert one.challenge == base64.urlsafe_b64encode(expected).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "path", ["/", "/workspaces", "/workspaces/ws_1?a=1&b=%2F", "/approvals?show=all", "/a/b/"]
)
def test_a_path_of_the_portal_is_kept(path: str) -> None:
    assert own_path(path) == path


@spec("ID-3")
@pytest.mark.parametrize(
    "path",
    [
        None,
        "",
        "workspaces",
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/a//evil.example",
        "/..//evil.example",
        "javascript:alert(1)",
        "/ok\r\nSet-Cookie: a=b",
        "/ok\n",
        "/#//evil.example",
        "/ok?next=<script>",
        "/" + "a" * 600,
        "/" + "a" * 480 + "!",
    ],
)
def test_anything_else_leads_to_the_overview(path: str | None) -> None:
    assert own_path(path) == "/"


@spec("ID-3")
@given(st.text(alphabet="/\\.:@?#%abc\t\n evil", max_size=30))
def test_no_path_leaves_this_site(text: str) -> None:
    base = "https://charter.example.org/sign-in"
    assert urlsplit(urljoin(base, own_path(text))).netloc == "charter.example.org"
