"""What is shown as a credential and is none: forged, altered, of another kind or place."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi.routing import iter_route_contexts
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey
from starlette.testclient import TestClient

from charter.server import build_app
from charter.services import agents, identity, keys, people
from charter.store import tables as t
from tests.conftest import fresh_world
from tests.spec import spec
from tests.support import World

AGENT = {
    "name": "fixer",
    "task": "Mend the flaky test.",
    "repositories": ["git.example.org/payments/api"],
    "tier": "read-only",
    "minutes": 60,
}


@pytest.fixture(scope="module")
def world(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for all: nothing that is tried here gets in, so nothing changes."""
    with fresh_world(postgres_url, tmp_path_factory.mktemp("credentials")) as made:
        made.cast()
        credential = agents.create(made.rt, made.caller("dana"), dict(AGENT))["credential"]
        made.tokens["agent"] = credential["token"]
        yield made


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient]:
    app = build_app(world.rt)
    with TestClient(app, client=("192.0.2.7", 1), raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(autouse=True)
def nobody_is_counted_out(world: World) -> None:
    """Each attack is tried by somebody who has not guessed before."""
    with world.rt.database.unit_of_work() as tx:
        tx.conn.execute(sa.delete(t.failed_attempts))


def me(client: TestClient, authorization: str) -> int:
    answer = client.get("/api/v1/me", headers={"Authorization": authorization})
    return int(answer.status_code)


# --- agents' tokens -----------------------------------------------------------------------------
def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class Token:
    """A right token taken apart, and ways to put it together wrongly."""

    def __init__(self, world: World) -> None:
        self.text = world.tokens["agent"]
        self.parts = self.text.split(".")
        self.header, self.claims = decoded(self.parts[0]), decoded(self.parts[1])
        with world.rt.database.unit_of_work() as tx:
            self.key = OKPKey.import_key(keys.signing_key(world.rt, tx).private)
        self.public = self.key.as_dict(private=False)

    def signed(self, header: object = None, claims: object = None, key: Any = None) -> str:
        """Signed by Charter's own key, unless another is given."""
        head = {**self.header, **(header or {})}  # type: ignore[dict-item]
        made: str = jwt.encode(
            head,
            {**self.claims, **(claims or {})},
            key or self.key,
            algorithms=[head["alg"]],  # type: ignore[dict-item]
        )
        return made

    def by_hand(self, header: dict[str, Any], signature: bytes, claims: Any = None) -> str:
        head, body = encoded(header), encoded(claims or self.claims)
        return f"{head}.{body}.{encoded(signature)}"

    def hmac(self, secret: bytes) -> str:
        header = {**self.header, "alg": "HS256"}
        signed = f"{encoded(header)}.{encoded(self.claims)}".encode()
        return self.by_hand(header, hmac.digest(secret, signed, hashlib.sha256))


def _other() -> OKPKey:
    return OKPKey.import_key(Ed25519PrivateKey.generate())


def _with_its_own_key(token: Token) -> str:
    other = _other()
    return token.signed({"jwk": other.as_dict(private=False)}, key=other)


FORGERIES: dict[str, Callable[[Token], str]] = {
    "none, unsigned": lambda k: k.by_hand({**k.header, "alg": "none"}, b""),
    "None, in capitals": lambda k: k.by_hand({**k.header, "alg": "NoNe"}, b""),
    "no algorithm": lambda k: k.by_hand(
        {"typ": k.header["typ"], "kid": k.header["kid"]}, b"x" * 64
    ),
    "HS256 with the public key": lambda k: k.hmac(base64.urlsafe_b64decode(k.public["x"] + "=")),
    "HS256 with the public JWK": lambda k: k.hmac(json.dumps(k.public).encode()),
    "HS256 with the key's id": lambda k: k.hmac(str(k.header["kid"]).encode()),
    "HS256 by the library": lambda k: jwt.encode(
        {**k.header, "alg": "HS256"},
        k.claims,
        OctKey.import_key("secret" * 8),
        algorithms=["HS256"],
    ),
    "another key": lambda k: k.signed(key=_other()),
    "another key in its own header": _with_its_own_key,
    "another key by address": lambda k: k.signed({"jku": "http://127.0.0.1:9/keys"}, key=_other()),
    "unknown key id": lambda k: k.signed({"kid": "k" * 43}),
    "key id that is a path": lambda k: k.signed({"kid": "../../../../dev/null"}),
    "key id that is a query": lambda k: k.signed({"kid": "' OR '1'='1"}),
    "key id that is no text": lambda k: k.signed({"kid": "7"}, key=_other()),
    "no key id": lambda k: k.by_hand({"alg": "Ed25519", "typ": k.header["typ"]}, b"x" * 64),
    "another type": lambda k: k.signed({"typ": "JWT"}),
    "no type": lambda k: k.signed({"typ": ""}),
    "a critical extension": lambda k: k.by_hand({**k.header, "crit": ["exp"]}, b"x" * 64),
    "another audience": lambda k: k.signed(claims={"aud": "https://elsewhere.example.org/api"}),
    "no audience": lambda k: k.signed(claims={"aud": ""}),
    "another issuer": lambda k: k.signed(claims={"iss": "https://elsewhere.example.org"}),
    "another task": lambda k: k.signed(claims={"task": "tsk_" + "0" * 26}),
    "an id that there is not": lambda k: k.signed(claims={"jti": "crd_" + "0" * 26}),
    "an id that is no text": lambda k: k.signed(claims={"jti": {"a": 1}}),
    "another agent": lambda k: k.signed(claims={"act": {"sub": "agt_" + "0" * 26}}),
    "nobody acts": lambda k: k.signed(claims={"act": None}),
    "altered claims": lambda k: ".".join(
        [k.parts[0], encoded({**k.claims, "tier": "trusted"}), k.parts[2]]
    ),
    "no signature": lambda k: f"{k.parts[0]}.{k.parts[1]}.",
    "two parts": lambda k: f"{k.parts[0]}.{k.parts[1]}",
    "four parts": lambda k: f"{k.text}.{k.parts[2]}",
    "truncated": lambda k: k.text[:-4],
    "one bit": lambda k: f"{k.parts[0]}.{k.parts[1]}.{_flipped(k.parts[2])}",
    "claims that are a list": lambda k: k.by_hand(k.header, b"x" * 64, claims=[1]),
    "not base64": lambda _: "a.b!.c",
    "dots": lambda _: "..",
    "very long": lambda k: k.text + "A" * 9000,
}


def _flipped(part: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    raw[10] ^= 1
    return encoded(bytes(raw))


@spec("ID-6")
def test_the_right_token_counts(world: World, client: TestClient) -> None:
    assert me(client, f"Bearer {world.tokens['agent']}") == 200
    token = Token(world)
    assert me(client, f"Bearer {token.signed()}") == 200  # what is tried below is one step from it


@spec("ID-6")
@pytest.mark.parametrize("how", FORGERIES)
def test_a_forged_token_is_nobodys(world: World, client: TestClient, how: str) -> None:
    forged = FORGERIES[how](Token(world))
    assert forged != world.tokens["agent"]
    answer = client.get("/api/v1/me", headers={"Authorization": f"Bearer {forged}"})
    assert answer.status_code == 401
    assert forged[:20] not in answer.text
    exchanged = client.post(
        "/oauth/token",
        data={
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": forged,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        },
    )
    assert exchanged.status_code == 400


@spec("ID-6")
def test_longer_life_in_the_claims_is_no_longer_life(world: World, client: TestClient) -> None:
    """Even what Charter's own key has signed lives as long as its row says."""
    token = Token(world)
    forever = token.signed(claims={"exp": token.claims["exp"] * 2})
    before = world.clock.moment
    try:
        world.clock.advance(minutes=16)
        assert me(client, f"Bearer {forever}") == 401
    finally:
        world.clock.moment = before


# --- kinds, places, headers ---------------------------------------------------------------------
def session_of(world: World, handle: str = "dana") -> dict[str, Any]:
    link = people.sign_in_link(world.rt, world.admin, handle)["url"]
    return identity.exchange_link(world.rt, link, "192.0.2.7")


@spec("ID-1")
def test_a_credential_counts_only_where_it_belongs(world: World, client: TestClient) -> None:
    session, token = session_of(world)["secret"], world.tokens["dana"]
    assert me(client, f"Bearer {session}") == 401
    for cookie in (token, world.tokens["agent"], "", "x"):
        answer = client.get("/api/v1/me", headers={"Cookie": f"charter_session={cookie}"})
        assert answer.status_code == 401
    for scheme in ("Basic", "Token", "", "bearer:", "Digest"):
        assert me(client, f"{scheme} {token}") == 401
    assert me(client, f"bearer {token}") == 200  # RFC 9110: the scheme's case does not matter
    assert me(client, f"Bearer  {token}") == 200


@spec("ID-1")
def test_a_token_in_a_query_or_a_body_is_no_token(world: World, client: TestClient) -> None:
    token = world.tokens["dana"]
    for parts in (
        {"params": {"access_token": token}},
        {"params": {"token": token}},
        {"headers": {"X-Api-Key": token, "X-Access-Token": token, "Proxy-Authorization": token}},
    ):
        assert client.get("/api/v1/me", **parts).status_code == 401
    assert (
        client.post("/api/v1/tokens", json={"name": "x", "access_token": token}).status_code == 401
    )


@spec("ID-1")
def test_two_credentials_in_one_request_are_never_mixed(world: World, client: TestClient) -> None:
    """The header wins and the cookie is not looked at: nothing falls back to the other."""
    session, lee = session_of(world)["secret"], world.tokens["lee"]
    cookie = {"Cookie": f"charter_session={session}"}
    seen = client.get("/api/v1/me", headers={"Authorization": f"Bearer {lee}", **cookie})
    assert seen.json()["handle"] == "lee"
    for wrong in ("Bearer charter_pat_no", "Bearer ", "Basic x", ""):
        answer = client.get("/api/v1/me", headers={"Authorization": wrong, **cookie})
        assert answer.status_code == 401, wrong


@spec("ID-1")
def test_two_authorization_headers_are_not_one_of_them(world: World, client: TestClient) -> None:
    dana, lee = world.tokens["dana"], world.tokens["lee"]
    for first, second in ((dana, lee), (dana, "charter_pat_no"), ("charter_pat_no", dana)):
        answer = client.get(
            "/api/v1/me",
            headers=[("Authorization", f"Bearer {first}"), ("Authorization", f"Bearer {second}")],
        )
        assert answer.status_code == 401


@spec("ID-1")
def test_two_session_cookies_are_not_a_choice(world: World, client: TestClient) -> None:
    """A cookie that a neighbouring host planted beside the right one gets nobody else in."""
    dana, lee = session_of(world)["secret"], session_of(world, "lee")["secret"]
    answer = client.get(
        "/api/v1/me", headers={"Cookie": f"charter_session={dana}; charter_session={lee}"}
    )
    assert answer.status_code == 401


# --- sessions and cookies -----------------------------------------------------------------------
@spec("ID-1")
def test_signing_in_makes_a_session_that_nobody_could_have_planted(
    world: World, client: TestClient
) -> None:
    planted = session_of(world, "otto")["secret"]
    link = people.sign_in_link(world.rt, world.admin, "dana")["url"].rsplit("link=", 1)[-1]
    answer = client.post(
        "/sign-in",
        data={"link": link},
        headers={"Cookie": f"charter_session={planted}"},
        follow_redirects=False,
    )
    assert answer.status_code == 303
    made = answer.cookies["charter_session"]
    client.cookies.clear()
    assert made != planted
    assert len(made) == len(planted)


@spec("ID-1")
@pytest.mark.parametrize("url", ["http://charter.example.org", "https://charter.example.org"])
def test_cookies_are_for_this_host_and_no_script(world: World, url: str) -> None:
    world.rt.settings.public_url = url
    try:
        app = build_app(world.rt)
        with TestClient(app, client=("192.0.2.7", 1)) as client:
            link = people.sign_in_link(world.rt, world.admin, "dana")["url"].rsplit("link=", 1)[-1]
            answer = client.post("/sign-in", data={"link": link}, follow_redirects=False)
        cookies = answer.headers.get_list("set-cookie")
        (session,) = [c for c in cookies if c.startswith(f"{world.rt.settings.session_cookie}=")]
        assert session.startswith("__Host-") is url.startswith("https:")
        flags = {part.strip().lower() for part in session.split(";")[1:]}
        assert {"httponly", "samesite=lax", "path=/"} <= flags
        assert ("secure" in flags) is url.startswith("https:")
        assert not any(flag.startswith("domain") for flag in flags)
    finally:
        world.rt.settings.public_url = None


def _unsafe_api(client: TestClient) -> set[tuple[str, str]]:
    return {
        (method, str(route.path))
        for route in iter_route_contexts(client.app.routes)  # type: ignore[attr-defined]
        for method in route.methods or ()
        if method not in {"GET", "HEAD", "OPTIONS"} and str(route.path).startswith("/api/v1")
    }


@spec("ID-1")
def test_every_unsafe_route_of_the_api_wants_the_sessions_token_with_a_cookie(
    world: World, client: TestClient
) -> None:
    """Another site can make a browser send the cookie, and cannot know the token."""
    session, other = session_of(world, "admin"), session_of(world, "lee")
    without = {"/api/v1/sign-in", "/api/v1/policies/source/webhook"}
    asked = 0
    for method, path in sorted(_unsafe_api(client)):
        if path in without or path.startswith(("/api/v1/sign-in", "/api/v1/single-sign-on")):
            continue
        for token in (None, "", other["csrf_token"], "0" * 48):
            headers = {"Cookie": f"charter_session={session['secret']}"}
            if token is not None:
                headers["X-CSRF-Token"] = token
            answer = client.request(
                method, path.replace("{", "").replace("}", ""), headers=headers, json={}
            )
            assert answer.status_code == 403, (method, path, answer.text)
            assert answer.json()["code"] == "csrf", (method, path)
        asked += 1
    assert asked > 60
