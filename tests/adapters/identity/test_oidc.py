"""What an OpenID provider may and may not make us believe."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import RSAKey

from charter.adapters.identity.oidc import OidcProvider
from charter.adapters.identity.tokens import SignedIn
from charter.core.kernel.errors import CharterError, ForbiddenError
from tests.adapters.identity import hostile as h
from tests.adapters.identity.hostile import Hostile, key, sign
from tests.spec import spec


@pytest.fixture
def op() -> Iterator[Hostile]:
    with h.running() as running:
        running.discovery()
        running.publish(key("one"))
        yield running


@pytest.fixture
def make(op: Hostile) -> Iterator[Callable[..., OidcProvider]]:
    """Providers that are closed at the end."""
    made: list[OidcProvider] = []

    def one(**changes: Any) -> OidcProvider:
        made.append(op.provider(**changes))
        return made[-1]

    yield one
    for each in made:
        each.close()


@pytest.fixture
def provider(make: Callable[..., OidcProvider]) -> OidcProvider:
    return make()


def exchange(op: Hostile, provider: OidcProvider, token: str) -> SignedIn:
    op.answer_with(token)
    return provider.exchange("code", op.attempt())


def refusal(op: Hostile, provider: OidcProvider, token: str) -> str:
    with pytest.raises(CharterError) as error:
        exchange(op, provider, token)
    assert error.value.fix
    return error.value.code


@spec("ID-3")
def test_a_good_token_says_who_signed_in(op: Hostile, provider: OidcProvider) -> None:
    who = exchange(op, provider, sign(op.claims(acr="phr", amr=["pwd", "otp"]), key("one")))
    assert (who.subject, who.acr, who.amr) == ("u-1", "phr", ("pwd", "otp"))
    assert who.authenticated_at is not None
    headers, form = op.forms[-1]
    assert "authorization" not in headers
    assert f"code_verifier={op.attempt().verifier}" in form


WRONG: dict[str, dict[str, Any]] = {
    "another client": {"aud": "other"},
    "no audience": {"aud": None},
    "two audiences without azp": {"aud": ["charter", "other"]},
    "issued to another client": {"azp": "other"},
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "another nonce": {"nonce": "other"},
    "no nonce": {"nonce": None},
    "expired": {"exp": int(h.NOW.timestamp()) - 61},
    "never expires": {"exp": None},
    "from the future": {"iat": int(h.NOW.timestamp()) + 120},
    "not yet valid": {"nbf": int(h.NOW.timestamp()) + 120},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is a number": {"sub": 7},
    "a subject that is too long": {"sub": "x" * 256},
    "a time that is no number": {"auth_time": "yesterday"},
    "a time that cannot be": {"auth_time": 1e30},
    "another access token": {"at_hash": "AAAA"},
}


@spec("ID-3")
@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_a_token_with_a_wrong_claim_is_refused(
    op: Hostile, provider: OidcProvider, changes: dict[str, Any]
) -> None:
    token = sign(op.claims(**changes), key("one"))
    assert refusal(op, provider, token) == "provider-token-invalid"


def _public_pem() -> bytes:
    return key("one").as_pem(private=False)


def _public_jwk() -> bytes:
    return json.dumps(key("one").as_dict(private=False)).encode()


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _by_hand(
    claims: dict[str, Any], signed: Callable[[bytes], bytes], algorithm: str, **header: Any
) -> str:
    """What the library would not make."""
    said = json.dumps({"alg": algorithm, "kid": "one", **header}).encode()
    text = f"{_part(said)}.{_part(json.dumps(claims).encode())}"
    return f"{text}.{_part(signed(text.encode()))}"


def _unsigned(claims: dict[str, Any], algorithm: str) -> str:
    return _by_hand(claims, lambda _: b"", algorithm)


def _elliptic(text: bytes) -> bytes:
    private = key("one").private_key
    r, s = decode_dss_signature(private.sign(text, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


FORGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "no signature": lambda c: _unsigned(c, "none"),
    "no signature, odd spelling": lambda c: _unsigned(c, "NoNe"),
    "a signature that is missing": lambda c: _unsigned(c, "ES256"),
    "the public key as secret": lambda c: _by_hand(
        c, lambda text: hmac.digest(_public_pem(), text, "sha256"), "HS256"
    ),
    "the published key as secret": lambda c: sign(
        c, h.shared_secret(_public_jwk()), "HS256", kid="one"
    ),
    "a foreign key": lambda c: sign(c, key("foreign")),
    "a foreign key under a known id": lambda c: sign(c, key("foreign"), kid="one"),
    "a foreign key without id": lambda c: sign(c, key("foreign"), kid=None),
    "a key that it brings along": lambda c: sign(
        c, key("foreign"), kid="one", jwk=key("foreign").as_dict(private=False)
    ),
    "the address of a key": lambda c: sign(
        c, key("foreign"), kid="foreign", jku="http://127.0.0.1:1/keys"
    ),
    "an extension that nobody knows": lambda c: _by_hand(
        c, _elliptic, "ES256", crit=["of-another-world"], **{"of-another-world": 1}
    ),
    "another kind of token": lambda c: sign(c, key("one"), typ="at+jwt"),
    "a logout token": lambda c: sign(c, key("one"), typ="logout+jwt"),
    "no token": lambda _: "nothing.at.all",
    "an encrypted token": lambda _: "a.b.c.d.e",
}


@spec("ID-3")
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_a_forged_token_is_refused(
    op: Hostile, provider: OidcProvider, forge: Callable[[dict[str, Any]], str]
) -> None:
    assert exchange(op, provider, _by_hand(op.claims(), _elliptic, "ES256")).subject == "u-1"
    assert refusal(op, provider, forge(op.claims())) == "provider-token-invalid"


def test_a_token_that_was_changed_is_refused(op: Hostile, provider: OidcProvider) -> None:
    header, _, signature = sign(op.claims(), key("one")).split(".")
    body = base64.urlsafe_b64encode(json.dumps(op.claims(sub="root")).encode()).rstrip(b"=")
    assert refusal(op, provider, f"{header}.{body.decode()}.{signature}")


def test_other_algorithms_that_are_listed_work(op: Hostile, provider: OidcProvider) -> None:
    op.publish(h.edwards_key())
    token = sign(op.claims(), h.edwards_key(), "Ed25519")
    assert exchange(op, provider, token).subject == "u-1"


def test_a_key_for_encryption_or_a_secret_checks_nothing(
    op: Hostile, make: Callable[..., OidcProvider]
) -> None:
    op.publish(key("one"), use="enc")
    assert refusal(op, make(), sign(op.claims(), key("one"))) == "provider-unavailable"
    secret = h.shared_secret(b"x" * 32)
    op.on("/keys", {"keys": [secret.as_dict(private=True), "no key", {"kty": "EC"}]})
    assert refusal(op, make(), sign(op.claims(), secret, "HS256")) == "provider-unavailable"


def test_without_an_id_the_key_must_be_the_only_one(
    op: Hostile, make: Callable[..., OidcProvider]
) -> None:
    token = sign(op.claims(), key("one"), kid=None)
    assert exchange(op, make(), token).subject == "u-1"
    op.publish(key("one"), key("two"))
    assert refusal(op, make(), token) == "provider-token-invalid"


@spec("ID-3")
def test_a_new_key_is_known_at_once_and_a_made_up_one_asks_for_nothing(
    op: Hostile, provider: OidcProvider
) -> None:
    exchange(op, provider, sign(op.claims(), key("one")))
    op.publish(key("two"))
    op.later(seconds=31)
    assert exchange(op, provider, sign(op.claims(), key("two"))).subject == "u-1"
    assert op.asked["/keys"] == 2
    # The old key was withdrawn with that.
    assert refusal(op, provider, sign(op.claims(), key("one")))
    for _ in range(20):
        assert refusal(op, provider, sign(op.claims(), key("foreign")))
    assert op.asked["/keys"] == 2
    op.later(seconds=31)
    for _ in range(20):
        assert refusal(op, provider, sign(op.claims(), key("foreign")))
    assert op.asked["/keys"] == 3


def test_a_withdrawn_key_is_believed_for_an_hour_at_most(
    op: Hostile, provider: OidcProvider
) -> None:
    exchange(op, provider, sign(op.claims(), key("one")))
    op.publish(key("two"))
    op.later(hours=1)
    assert refusal(op, provider, sign(op.claims(), key("one")))


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "http://login.example.org/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": "http://keys.example.org/"},
        {"jwks_uri": None},
    ],
)
def test_a_discovery_document_that_cannot_be_trusted(
    op: Hostile, provider: OidcProvider, changes: dict[str, Any]
) -> None:
    op.discovery(**changes)
    with pytest.raises(CharterError) as error:
        provider.authorization_url(op.attempt(), 60)
    assert error.value.code == "provider-unavailable"


def test_it_is_not_led_elsewhere_and_not_flooded(
    op: Hostile, make: Callable[..., OidcProvider]
) -> None:
    document = "/.well-known/openid-configuration"
    op.on(document, b"", 302, Location=f"{op.url}/elsewhere")
    assert not make().state().usable
    assert op.asked["/elsewhere"] == 0
    op.on(document, b"[" + b" " * 2_000_000 + b"]")
    assert "too large" in make().state().message
    op.on(document, b"\xff")
    assert not make().state().usable


def test_a_provider_that_is_down_is_left_alone_for_some_seconds(
    op: Hostile, provider: OidcProvider
) -> None:
    document = "/.well-known/openid-configuration"
    op.on(document, {}, 500)
    for _ in range(10):
        assert not provider.state().usable
    assert op.asked[document] == 1
    op.discovery()
    assert not provider.state().usable
    op.later(seconds=6)
    assert provider.state().usable


def test_its_state_is_the_present_one_and_people_need_not_wait_for_it(
    op: Hostile, provider: OidcProvider
) -> None:
    assert provider.state().usable
    op.on("/.well-known/openid-configuration", {}, 500)
    op.later(seconds=6)
    assert not provider.state().usable
    assert provider.authorization_url(op.attempt(), 60).startswith(op.url)


def test_how_charter_proves_to_be_the_client(
    op: Hostile, make: Callable[..., OidcProvider], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a:b c%é\n")
    token = sign(op.claims(), key("one"))
    exchange(op, make(client_secret_file=secret), token)
    headers, form = op.forms[-1]
    shown = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
    assert shown == "charter:a%3Ab+c%25%C3%A9"
    assert "client_secret" not in form
    op.discovery(token_endpoint_auth_methods_supported=["client_secret_post"])
    exchange(op, make(client_secret_file=secret), token)
    headers, form = op.forms[-1]
    assert "authorization" not in headers
    assert "client_secret=a%3Ab+c%25%C3%A9" in form
    for path in (tmp_path / "missing", tmp_path):
        assert refusal(op, make(client_secret_file=path), token) == "provider-unavailable"


def test_a_refused_client_secret_is_the_operators_business(
    op: Hostile, provider: OidcProvider
) -> None:
    op.on("/token", {"error": "invalid_client"}, 401)
    with pytest.raises(CharterError) as error:
        provider.exchange("code", op.attempt())
    assert (error.value.code, error.value.status) == ("provider-unavailable", 503)


def test_userinfo_completes_what_the_token_does_not_say(
    op: Hostile, make: Callable[..., OidcProvider]
) -> None:
    op.discovery(userinfo_endpoint=f"{op.url}/me")
    op.on("/me", {"sub": "u-1", "groups": ["a"], "acr": "phr", "amr": ["mfa"], "name": "other"})
    who = exchange(op, make(), sign(op.claims(name="Nora"), key("one")))
    assert who.claims["groups"] == ["a"]
    assert who.claims["name"] == "Nora"
    assert (who.acr, who.amr) == (None, ())
    op.on("/me", {"sub": "u-2", "groups": ["admins"]})
    assert refusal(op, make(), sign(op.claims(), key("one"))) == "provider-token-invalid"


def test_another_claim_may_name_people(op: Hostile, make: Callable[..., OidcProvider]) -> None:
    provider = make(subject_claim="oid")
    who = exchange(op, provider, sign(op.claims(oid="o-1"), key("one")))
    assert (who.subject, who.provider_subject) == ("o-1", "u-1")
    assert refusal(op, provider, sign(op.claims(), key("one")))


@spec("ID-3")
@pytest.mark.parametrize("promised", [True, False])
def test_an_answer_of_another_provider_is_refused(
    op: Hostile, provider: OidcProvider, promised: bool
) -> None:
    op.discovery(authorization_response_iss_parameter_supported=promised)
    provider.check_issuer(op.url)
    with pytest.raises(ForbiddenError):
        provider.check_issuer("https://evil.example")
    with pytest.raises(ForbiddenError):
        provider.check_issuer("")
    if promised:
        with pytest.raises(ForbiddenError):
            provider.check_issuer(None)
    else:
        provider.check_issuer(None)


LOGOUT_WRONG: dict[str, dict[str, Any]] = {
    "another client": {"aud": "other"},
    "another issuer": {"iss": "https://evil.example"},
    "no id": {"jti": None},
    "no event": {"events": None},
    "another event": {"events": {"http://schemas.openid.net/event/other": {}}},
    "an event that is no object": {
        "events": {"http://schemas.openid.net/event/backchannel-logout": "yes"}
    },
    "nobody": {"sid": None, "sub": None},
    "a nonce": {"nonce": "n"},
    "held back": {"iat": int(h.NOW.timestamp()) - 601, "exp": None},
    "expired": {"exp": int(h.NOW.timestamp()) - 61},
    "from the future": {"iat": int(h.NOW.timestamp()) + 120},
    "a session that is a list": {"sid": ["a"]},
}


@spec("ID-3")
@pytest.mark.parametrize("changes", LOGOUT_WRONG.values(), ids=LOGOUT_WRONG.keys())
def test_a_logout_token_with_a_wrong_claim_is_refused(
    op: Hostile, provider: OidcProvider, changes: dict[str, Any]
) -> None:
    assert provider.logged_out(sign(op.logout_claims(), key("one"))).sid == "sid-1"
    with pytest.raises(CharterError):
        provider.logged_out(sign(op.logout_claims(**changes), key("one")))


def test_an_id_token_is_no_logout_token(op: Hostile, provider: OidcProvider) -> None:
    for token in (sign(op.claims(), key("one")), sign(op.claims(nonce=None), key("one"))):
        with pytest.raises(CharterError):
            provider.logged_out(token)


def test_a_weak_key_does_not_stop_the_others(op: Hostile, provider: OidcProvider) -> None:
    rsa = RSAKey.generate_key(2048, {"kid": "rsa"})
    op.publish(key("one"), rsa)
    assert exchange(op, provider, sign(op.claims(), rsa, "RS256")).subject == "u-1"
    # An RSA key of the same id does not check a signature of another kind.
    assert refusal(op, provider, sign(op.claims(), key("foreign"), kid="rsa"))
