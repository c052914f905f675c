"""Attacks on credentials that are bound to a key: each has one answer, and it is no."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from starlette.testclient import TestClient

from charter.api.app import build_api
from charter.services import proofs
from tests.agents import Key, bound, exchange, sponsored, with_proof
from tests.conftest import fresh_world
from tests.spec import spec
from tests.support import World

ME = "/api/v1/me"


@pytest.fixture(scope="module")
def world(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for all of this module: each test has an agent of its own."""
    with fresh_world(postgres_url, tmp_path_factory.mktemp("proofs")) as world:
        world.cast()
        yield world


@pytest.fixture(scope="module")
def http(world: World) -> Iterator[TestClient]:
    with TestClient(build_api(world.rt), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def key() -> Key:
    return Key()


@pytest.fixture
def token(world: World, http: TestClient, key: Key) -> str:
    return bound(http, world, key, sponsored(world)["credential"]["token"])


def shown(http: TestClient, token: str, proof: str, *, method: str = "GET", path: str = ME):
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
    return http.request(method, path, headers=headers)


@spec("ID-6")
@pytest.mark.parametrize("algorithm", ["Ed25519", "ES256"])
def test_a_bound_credential_works_with_a_proof_of_its_key(
    world: World, http: TestClient, algorithm: str
) -> None:
    key = Key(algorithm)
    token = bound(http, world, key, sponsored(world)["credential"]["token"])
    answer = with_proof(http, world, key, token, "GET", f"{ME}?x=1")
    assert answer.status_code == 200, answer.text
    assert answer.json()["kind"] == "agent"


@spec("ID-6")
def test_a_bound_credential_is_no_bearer_token(http: TestClient, token: str) -> None:
    answer = http.get(ME, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "proof-required")
    assert 'DPoP algs="Ed25519 ES256", error="invalid_token"' in answer.headers["www-authenticate"]
    answer = http.get(ME, headers={"Authorization": f"DPoP {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "proof-required")


@spec("ID-6")
def test_a_bearer_credential_and_a_persons_token_take_no_proof(
    world: World, http: TestClient, key: Key
) -> None:
    for name, text in (
        ("agent", sponsored(world)["credential"]["token"]),
        ("dana", world.tokens["dana"]),
    ):
        answer = with_proof(http, world, key, text, "GET", ME)
        assert answer.status_code == 401, name


@spec("ID-6")
def test_a_proof_counts_once_at_every_replica(
    world: World, http: TestClient, key: Key, token: str
) -> None:
    proof = key.proof(world, "GET", ME, token=token)
    assert shown(http, token, proof).status_code == 200
    again = shown(http, token, proof)
    assert (again.status_code, again.json()["code"]) == (401, "invalid-proof")
    assert 'error="invalid_dpop_proof"' in again.headers["www-authenticate"]
    with TestClient(build_api(world.rt)) as replica:
        assert shown(replica, token, proof).status_code == 401
    # It was used up by a request that was refused for another reason, too.
    proof = key.proof(world, "POST", "/api/v1/teams", token=token)
    for _ in range(2):
        answer = shown(http, token, proof, method="POST", path="/api/v1/teams")
    assert answer.json()["code"] == "invalid-proof"


@spec("ID-6")
def test_old_proofs_are_forgotten_only_when_their_age_refuses_them(
    world: World, http: TestClient, key: Key, token: str
) -> None:
    proof = key.proof(world, "GET", ME, token=token)
    assert shown(http, token, proof).status_code == 200
    world.clock.advance(seconds=60)
    proofs.forget_old(world.rt)
    assert "used already" in shown(http, token, proof).json()["detail"]
    world.clock.advance(seconds=10)
    assert proofs.forget_old(world.rt) > 0
    assert proofs.forget_old(world.rt) == 0
    assert "within the last" in shown(http, token, proof).json()["detail"]


@spec("ID-6")
@pytest.mark.parametrize(
    "wrong",
    [
        {"htm": "POST"},
        {"htm": None},
        {"htu": "http://127.0.0.1:8470/api/v1/tokens"},
        {"htu": "https://127.0.0.1:8470/api/v1/me"},
        {"htu": "http://elsewhere.example.org/api/v1/me"},
        {"htu": "http://127.0.0.1:8470@elsewhere.example.org/api/v1/me"},
        {"htu": None},
        {"ath": "A" * 43},
        {"ath": None},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 200},
        {"jti": 7},
        {"iat": None},
        {"iat": "now"},
        {"iat": True},
        {"iat": float("nan")},
    ],
    ids=str,
)
def test_a_proof_for_something_else_is_none(
    world: World, http: TestClient, key: Key, token: str, wrong: dict[str, object]
) -> None:
    answer = shown(http, token, key.proof(world, "GET", ME, token=token, **wrong))
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid-proof")


@spec("ID-6")
@pytest.mark.parametrize(("age", "status"), [(61, 401), (60, 200), (-5, 200), (-6, 401)])
def test_a_proof_is_fresh(
    world: World, http: TestClient, key: Key, token: str, age: int, status: int
) -> None:
    made_at = int(world.rt.now().timestamp()) - age
    proof = key.proof(world, "GET", ME, token=token, iat=made_at)
    assert shown(http, token, proof).status_code == status


@spec("ID-6")
def test_another_key_proves_nothing(world: World, http: TestClient, key: Key, token: str) -> None:
    other = Key()
    for proof in (
        other.proof(world, "GET", ME, token=token),
        # Signed by the one, carrying the other.
        other.proof(world, "GET", ME, token=token, header={"jwk": key.public}),
    ):
        assert shown(http, token, proof).status_code == 401


@spec("ID-6")
def test_types_algorithms_and_keys_that_are_not_accepted(
    world: World, http: TestClient, key: Key, token: str
) -> None:
    def made(**header: object) -> str:
        return key.proof(world, "GET", ME, token=token, header=header)

    secret = OctKey.import_key("s" * 32)
    claims = {"jti": "1", "htm": "GET", "htu": f"{world.rt.settings.url}{ME}"}
    private = key.private.as_dict(private=True)
    for proof in (
        made(typ="JWT"),
        made(jwk={k: v for k, v in private.items() if k != "kid"}),
        made(jwk={"kty": "oct", "k": "c2VjcmV0"}),
        jwt.encode({"alg": "HS256", "typ": "dpop+jwt", "jwk": key.public}, claims, secret),
        made().rsplit(".", 1)[0] + ".",
        f"{made()},{made()}",
        "not.a.proof",
        "x" * 5000,
    ):
        answer = shown(http, token, proof)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-proof"), proof[:80]
    headers = [("Authorization", f"DPoP {token}"), ("DPoP", made()), ("DPoP", made())]
    assert http.get(ME, headers=headers).status_code == 401


@spec("ID-6")
def test_a_proof_of_no_algorithm_is_none(
    world: World, http: TestClient, key: Key, token: str
) -> None:
    proof = key.proof(world, "GET", ME, token=token)
    _, payload, _ = proof.split(".")
    from charter.core.agents.proofs import encoded  # noqa: PLC0415

    for algorithm in ("none", "None", "EdDSA", "RS256", "ES384"):
        header = f'{{"alg":"{algorithm}","typ":"dpop+jwt","jwk":{{"kty":"OKP"}}}}'
        for signature in ("", "AAAA"):
            forged = f"{encoded(header.encode())}.{payload}.{signature}"
            assert shown(http, token, forged).status_code == 401


@spec("ID-6")
def test_tiers_with_a_network_prove_their_key(world: World, http: TestClient, key: Key) -> None:
    made = sponsored(world, tier="standard")
    first = made["credential"]
    assert first["exchange_only"]
    answer = http.get(ME, headers={"Authorization": f"Bearer {first['token']}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "proof-required")
    # It cannot be exchanged for a bearer token either, nor renewed into one.
    refused = exchange(http, first["token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof")
    token = bound(http, world, key, first["token"])
    assert with_proof(http, world, key, token, "GET", ME).status_code == 200


@spec("ID-6")
def test_a_credential_bound_by_its_sponsor_is_the_agents_from_the_start(
    world: World, http: TestClient, key: Key
) -> None:
    made = sponsored(world, tier="standard", thumbprint=key.thumbprint)["credential"]
    assert (made["token_type"], made["exchange_only"]) == ("DPoP", False)
    assert with_proof(http, world, key, made["token"], "GET", ME).status_code == 200
    assert with_proof(http, world, Key(), made["token"], "GET", ME).status_code == 401


@spec("ID-6")
def test_the_address_in_a_proof_may_be_spelt_in_other_ways(
    world: World, http: TestClient, key: Key, token: str
) -> None:
    for htu in (
        "http://localhost:8470/api/v1/me",
        "HTTP://127.0.0.1:8470/api/v1/me?query=1#part",
        "http://127.0.0.1:8470/api/v1/%6De",
    ):
        proof = key.proof(world, "GET", ME, token=token, htu=htu)
        assert shown(http, token, proof).status_code == 200, htu
