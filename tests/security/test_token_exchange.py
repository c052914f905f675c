"""Token exchange and renewal under attack, and two requests at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.testclient import TestClient

from charter.api.app import build_api
from charter.services import agent_credentials, agents, keys, overview, people
from charter.store import tables as t
from tests.agents import Key, bound, exchange, sponsored, with_proof
from tests.conftest import fresh_world
from tests.spec import spec
from tests.support import World

ME = "/api/v1/me"


@pytest.fixture(scope="module")
def world(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for all of this module: each test has agents of its own."""
    with fresh_world(postgres_url, tmp_path_factory.mktemp("exchange")) as world:
        world.cast()
        yield world


@pytest.fixture(scope="module")
def http(world: World) -> Iterator[TestClient]:
    with TestClient(build_api(world.rt), raise_server_exceptions=False) as client:
        yield client


def me(http: TestClient, token: str) -> int:
    return int(http.get(ME, headers={"Authorization": f"Bearer {token}"}).status_code)


def refused(answer: Any) -> str:
    assert answer.status_code == 400, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"error", "error_description"}
    return str(answer.json()["error"])


@spec("ID-6")
def test_a_sponsors_token_is_exchanged_for_a_credential_that_others_can_verify(
    world: World, http: TestClient
) -> None:
    made = sponsored(world)["agent"]
    key = Key()
    answer = exchange(
        http,
        world.tokens["dana"],
        client_id=made["id"],
        scope="workspace.view workspace.create",
        audience=f"{world.rt.settings.url}/api",
        proof=key.proof(world, "POST", "/oauth/token"),
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert (body["token_type"], body["expires_in"]) == ("DPoP", 900)
    assert body["scope"] == "workspace.create workspace.view"

    found = http.get("/.well-known/oauth-authorization-server").json()
    assert found["issuer"] == world.rt.settings.url
    published = KeySet.import_key_set(http.get(found["jwks_uri"].split(":8470")[1]).json())
    token = jwt.decode(body["access_token"], published, algorithms=["Ed25519"])
    dana = world.caller("dana").id
    assert token.header["typ"] == "charter-agent+jwt"
    assert token.claims["sub"] == dana
    assert token.claims["act"] == {"sub": made["id"]}
    assert token.claims["aud"] == f"{world.rt.settings.url}/api"
    assert token.claims["cnf"] == {"jkt": key.thumbprint}
    assert token.claims["exp"] - token.claims["iat"] == 900
    assert not any("d" in key for key in http.get("/oauth/jwks").json()["keys"])

    held = body["access_token"]
    assert with_proof(http, world, key, held, "GET", ME).json()["id"] == made["id"]
    # The scope holds: what the agent could do, its credential cannot.
    path = f"/api/v1/agents/{made['id']}/end"
    answer = with_proof(http, world, key, held, "POST", path, json={"outcome": "completed"})
    assert answer.status_code == 403
    assert "not in its scope" in answer.json()["detail"]


@spec("ID-6")
def test_a_request_that_is_none_is_refused_in_the_words_of_oauth(
    world: World, http: TestClient
) -> None:
    agent, dana = sponsored(world)["agent"]["id"], world.tokens["dana"]
    for error, fields in (
        ("unsupported_grant_type", {"grant_type": "client_credentials"}),
        ("unsupported_grant_type", {"grant_type": None}),
        ("invalid_request", {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}),
        (
            "invalid_request",
            {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        ),
        ("invalid_request", {"client_id": None}),
        ("invalid_request", {"client_id": "agt_" + "0" * 26}),
        ("invalid_request", {"subject_token": None}),
        ("invalid_request", {"subject_token": "x" * 9000}),
        ("invalid_request", {"actor_token": dana}),
        ("invalid_request", {"made_up": "1"}),
        ("invalid_request", {"dpop_jkt": "short"}),
        ("invalid_target", {"audience": "http://127.0.0.1:9999/api"}),
        ("invalid_target", {"resource": "https://elsewhere.example.org"}),
        ("invalid_scope", {"scope": "workspace.view everything"}),
        ("invalid_scope", {"scope": "policy.apply"}),
        ("invalid_scope", {"scope": "workspace.view  workspace.create"}),
    ):
        given = {"client_id": agent, "subject_token": dana, **fields}
        token = given.pop("subject_token") or ""
        assert refused(exchange(http, token, **given)) == error, fields
    for content, kind in ((b"{}", "application/json"), (b"a=1&a=2", None), (b"\xff", None)):
        headers = {"Content-Type": kind or "application/x-www-form-urlencoded"}
        answer = http.post("/oauth/token", content=content, headers=headers)
        assert refused(answer) == "invalid_request"


@spec("ID-6", "ID-7")
def test_nobody_takes_a_credential_for_somebody_elses_agent(world: World, http: TestClient) -> None:
    agent = sponsored(world)["agent"]["id"]
    answers = {
        who: exchange(http, world.tokens[who], client_id=agent)
        for who in ("otto", "lee", "admin", "sam", "ria")
    }
    assert {refused(answer) for answer in answers.values()} == {"invalid_request"}
    # Who may not know of it hears what is said of one that does not exist.
    made_up = exchange(http, world.tokens["otto"], client_id="agt_" + "0" * 26)
    assert answers["otto"].json() == made_up.json()
    # Another agent's credential is none for this one either.
    other = sponsored(world, name="other")["credential"]["token"]
    assert refused(exchange(http, other, client_id=agent)) == "invalid_request"
    for forged in ("charter_pat_0000", "a.b.c", world.tokens["dana"][:-1] + "A"):
        assert refused(exchange(http, forged, client_id=agent)) == "invalid_request"


@spec("ID-6")
def test_a_narrowed_credential_is_not_widened_by_renewing_it(
    world: World, http: TestClient
) -> None:
    agent = sponsored(world)["agent"]["id"]
    narrow = exchange(
        http, world.tokens["dana"], client_id=agent, scope="workspace.view agent.view"
    ).json()["access_token"]
    assert refused(exchange(http, narrow, scope="workspace.create")) == "invalid_scope"
    for again in (
        exchange(http, narrow).json(),
        exchange(http, narrow, scope="workspace.view").json(),
    ):
        assert set(again["scope"].split()) <= {"workspace.view", "agent.view"}
    rest = http.post(
        "/api/v1/agents/self/credential",
        headers={"Authorization": f"Bearer {again['access_token']}"},
    )
    assert rest.status_code == 201
    assert rest.json()["scope"] == ["workspace.view"]


@spec("ID-6")
def test_a_credential_of_another_charter_is_none_here(world: World, http: TestClient) -> None:
    import dataclasses  # noqa: PLC0415

    from charter.settings import Settings  # noqa: PLC0415

    other = dataclasses.replace(
        world.rt,
        settings=Settings(
            state_dir=world.rt.settings.state_dir,
            database_url=world.rt.settings.database_url,
            port=9471,
        ),
    )
    agent = sponsored(world)["agent"]["id"]
    made = agent_credentials.issue_credential(other, world.caller("dana"), agent)
    assert me(http, made["token"]) == 401
    assert refused(exchange(http, made["token"])) == "invalid_request"


# --- renewing -----------------------------------------------------------------------------------
@spec("ID-6")
def test_renewing_ends_the_one_before_after_a_short_overlap(world: World, http: TestClient) -> None:
    first = sponsored(world)["credential"]["token"]
    second = exchange(http, first).json()["access_token"]
    world.clock.advance(seconds=29)
    assert (me(http, first), me(http, second)) == (200, 200)
    world.clock.advance(seconds=1)
    assert (me(http, first), me(http, second)) == (401, 200)


@spec("ID-6")
def test_within_the_overlap_a_lost_answer_is_asked_for_again(
    world: World, http: TestClient
) -> None:
    first = sponsored(world)["credential"]["token"]
    lost = exchange(http, first).json()["access_token"]
    world.clock.advance(seconds=10)
    second = exchange(http, first).json()["access_token"]
    assert (me(http, lost), me(http, second)) == (401, 200)


def events(world: World, action: str, resource: str) -> int:
    world.settle()
    with world.rt.database.reading() as tx:
        rows = tx.all(sa.select(t.audit_log.c.leaf))
    return sum(action.encode() in row["leaf"] and resource.encode() in row["leaf"] for row in rows)


@spec("ID-6")
@pytest.mark.parametrize("way", ["exchange", "route"])
def test_a_copy_that_renews_after_the_overlap_ends_all_and_is_told(
    world: World, http: TestClient, way: str
) -> None:
    made = sponsored(world, name=f"copied-{way}")
    first = made["credential"]["token"]
    second = exchange(http, first).json()["access_token"]
    world.clock.advance(seconds=31)
    assert me(http, second) == 200
    if way == "exchange":
        assert refused(exchange(http, first)) == "invalid_request"
    else:
        answer = http.post(
            "/api/v1/agents/self/credential", headers={"Authorization": f"Bearer {first}"}
        )
        assert answer.status_code == 401
    assert me(http, second) == 401
    for who in ("dana", "sam"):
        told = overview.notices(world.rt, world.caller(who))["items"]
        assert any(f"copied-{way} was used again" in notice["message"] for notice in told), who
    assert events(world, "agent.credential-reused", made["agent"]["id"]) == 1
    # The sponsor, who has looked, lets it go on.
    fresh = agent_credentials.issue_credential(world.rt, world.caller("dana"), made["agent"]["id"])
    assert me(http, fresh["token"]) == 200


@spec("ID-6")
def test_looking_with_an_old_credential_ends_nothing(world: World, http: TestClient) -> None:
    first = sponsored(world)["credential"]["token"]
    second = exchange(http, first).json()["access_token"]
    world.clock.advance(seconds=31)
    assert (me(http, first), me(http, second)) == (401, 200)


@spec("ID-6")
def test_a_bound_token_without_its_key_ends_nothing(world: World, http: TestClient) -> None:
    key = Key()
    first = bound(http, world, key, sponsored(world)["credential"]["token"])
    second = bound(http, world, key, first)
    world.clock.advance(seconds=31)
    thief = Key()
    for proof in (None, thief.proof(world, "POST", "/oauth/token")):
        assert refused(exchange(http, first, proof=proof)) == "invalid_request"
        assert with_proof(http, world, key, second, "GET", ME).status_code == 200
    # Whoever has the key as well is a danger.
    exchange(http, first, proof=key.proof(world, "POST", "/oauth/token"))
    assert with_proof(http, world, key, second, "GET", ME).status_code == 401


@spec("ID-6")
def test_a_bound_credential_is_renewed_with_its_key_only(world: World, http: TestClient) -> None:
    key = Key()
    token = bound(http, world, key, sponsored(world)["credential"]["token"])
    assert refused(exchange(http, token)) == "invalid_dpop_proof"
    proof = Key().proof(world, "POST", "/oauth/token")
    assert refused(exchange(http, token, proof=proof)) == "invalid_dpop_proof"
    proof = key.proof(world, "POST", "/oauth/token")
    other = Key().thumbprint
    assert refused(exchange(http, token, proof=proof, dpop_jkt=other)) == "invalid_dpop_proof"
    assert bound(http, world, key, token) != token
    # A proof of the exchange counts once as well.
    assert refused(exchange(http, token, proof=proof)) == "invalid_dpop_proof"


@spec("ID-6")
def test_no_credential_outlives_task_or_session(world: World, http: TestClient) -> None:
    made = sponsored(world, minutes=20)
    token = made["credential"]["token"]
    world.clock.advance(minutes=14)
    answer = exchange(http, token).json()
    assert answer["expires_in"] == 360
    world.clock.advance(minutes=6)
    assert me(http, answer["access_token"]) == 401
    assert refused(exchange(http, answer["access_token"])) == "invalid_request"
    assert (
        refused(exchange(http, world.tokens["dana"], client_id=made["agent"]["id"]))
        == "invalid_request"
    )


# --- at the same moment -------------------------------------------------------------------------
def together(*acts: Callable[[], Any]) -> list[Any]:
    """Their results, begun at the same moment."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


@spec("ID-6")
def test_of_two_renewals_at_once_one_credential_lasts(world: World, http: TestClient) -> None:
    first = sponsored(world)["credential"]["token"]
    answers = together(*[lambda: exchange(http, first)] * 2)
    made = [answer.json()["access_token"] for answer in answers if answer.status_code == 200]
    assert len(made) == 2
    assert sorted(me(http, token) for token in made) == [200, 401]


@spec("AG-4", "ID-6")
def test_a_renewal_in_the_moment_of_the_kill_leaves_nothing_alive(
    world: World, http: TestClient
) -> None:
    made = sponsored(world)
    token = made["credential"]["token"]
    sam = world.caller("sam")
    renewed, _ = together(
        lambda: exchange(http, token),
        lambda: agents.kill(world.rt, sam, made["agent"]["id"], "It went astray."),
    )
    assert renewed.status_code in (200, 400)
    assert me(http, token) == 401
    if renewed.status_code == 200:
        assert me(http, renewed.json()["access_token"]) == 401
    assert alive(world, made["agent"]["id"]) == 0


@spec("AG-2", "ID-6")
def test_an_exchange_in_the_moment_of_the_tasks_end_leaves_nothing_alive(
    world: World, http: TestClient
) -> None:
    made = sponsored(world)
    dana = world.caller("dana")
    together(
        lambda: exchange(http, world.tokens["dana"], client_id=made["agent"]["id"]),
        lambda: agents.end(world.rt, dana, made["agent"]["id"], "completed"),
    )
    assert alive(world, made["agent"]["id"]) == 0


def alive(world: World, agent_id: str) -> int:
    c = t.agent_credentials.c
    with world.rt.database.reading() as tx:
        return len(
            tx.all(
                sa.select(c.id).where(
                    c.agent_id == agent_id, c.revoked_at.is_(None), c.expires_at > tx.now
                )
            )
        )


# --- keys ---------------------------------------------------------------------------------------
@spec("ID-6")
def test_a_rotation_changes_the_key_and_ends_no_credential(world: World, http: TestClient) -> None:
    made = sponsored(world)
    token = made["credential"]["token"]
    done = keys.rotate(world.rt, world.admin)
    listed = {key["id"]: key["state"] for key in keys.list_keys(world.rt, world.admin)}
    assert listed[done["key"]] == "signing"
    assert {listed[old] for old in done["retired"]} == {"verifying"}
    assert me(http, token) == 200
    renewed = exchange(http, token).json()["access_token"]
    assert (
        jwt.decode(renewed, _published(http), algorithms=["Ed25519"]).header["kid"] == done["key"]
    )
    world.clock.advance(minutes=17)
    states = {key["id"]: key["state"] for key in keys.list_keys(world.rt, world.admin)}
    assert {states[old] for old in done["retired"]} == {"retired"}
    assert not set(done["retired"]) & {k["kid"] for k in http.get("/oauth/jwks").json()["keys"]}


def _published(http: TestClient) -> KeySet:
    return KeySet.import_key_set(http.get("/oauth/jwks").json())


@spec("ID-6")
def test_what_a_stolen_key_has_signed_is_dead_at_once(world: World, http: TestClient) -> None:
    made = sponsored(world)
    token = made["credential"]["token"]
    keys.rotate(world.rt, world.caller("sam"), compromised=True)
    assert me(http, token) == 401
    assert refused(exchange(http, token)) == "invalid_request"
    fresh = agent_credentials.issue_credential(world.rt, world.caller("dana"), made["agent"]["id"])
    assert me(http, fresh["token"]) == 200


@spec("ID-6")
def test_another_replica_signs_with_a_key_of_its_own_and_is_believed(
    world: World, http: TestClient, tmp_path: Any
) -> None:
    import dataclasses  # noqa: PLC0415

    settings = world.rt.settings.model_copy(update={"state_dir": tmp_path})
    replica = dataclasses.replace(world.rt, settings=settings)
    agent = sponsored(world)["agent"]["id"]
    made = agent_credentials.issue_credential(replica, world.caller("dana"), agent)
    assert me(http, made["token"]) == 200
    before = {key["id"] for key in keys.list_keys(world.rt, world.admin)}
    keys.rotate(world.rt, world.admin)
    # The other replica has not been told, and yet signs with a new key from now on.
    made = agent_credentials.issue_credential(replica, world.caller("dana"), agent)
    kid = jwt.decode(made["token"], _published(http), algorithms=["Ed25519"]).header["kid"]
    assert kid not in before
    assert me(http, made["token"]) == 200


@spec("ID-6")
def test_a_key_warns_before_its_age_and_signs_nothing_after_it(
    world: World, http: TestClient
) -> None:
    keys.rotate(world.rt, world.admin)
    first = next(k for k in keys.list_keys(world.rt, world.admin) if k["state"] == "signing")
    world.clock.advance(days=75)
    world.sign_in_again()
    assert keys.keep_schedule(world.rt) is None
    world.clock.advance(days=2)
    world.sign_in_again()
    assert keys.keep_schedule(world.rt) == {"expired": 0, "told": 1, "forgotten": 0}
    assert keys.keep_schedule(world.rt) is None  # told once
    told = overview.notices(world.rt, world.admin)["items"]
    assert any("charter keys rotate" in notice["message"] for notice in told)
    world.clock.advance(days=13)
    world.sign_in_again()
    # No controller has run: the key is too old all the same.
    token = sponsored(world)["credential"]["token"]
    kid = jwt.decode(token, _published(http), algorithms=["Ed25519"]).header["kid"]
    assert kid != first["id"]
    done = keys.keep_schedule(world.rt)
    assert done is not None
    assert done["expired"] >= 1
    assert me(http, token) == 200


@spec("ID-7")
def test_a_deactivated_sponsor_ends_the_agent(world: World, http: TestClient) -> None:
    world.add_person("dora", ("developer", None), team="payments")
    made = sponsored(world, who="dora")
    token = made["credential"]["token"]
    assert me(http, token) == 200
    people.deactivate(world.rt, world.admin, "dora")
    assert me(http, token) == 401
    assert refused(exchange(http, token)) == "invalid_request"
