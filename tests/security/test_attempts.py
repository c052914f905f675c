"""Guessing gets nobody in, costs the guesser their patience, and shuts nobody else out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from charter.core.kernel.errors import CharterError, TooManyError, UnauthenticatedError
from charter.server import build_app
from charter.services import (
    attempts,
    enforcement_points,
    identity,
    overview,
    people,
    secrets,
    tokens,
)
from charter.services.attempts import Door, WrongCredentialError
from charter.store import tables as t
from tests.conftest import fresh_world
from tests.spec import spec
from tests.support import World

HERE, ELSEWHERE = "203.0.113.9", "198.51.100.1"
MOST_OF_ADDRESS, MOST_OF_CREDENTIAL = 50, 10


def wrong(text: str) -> str:
    """The same credential with another secret."""
    return text[:-43] + "A" * 43


def made_up(text: str) -> str:
    """A credential that there is not, in the same form."""
    head, _, rest = text.rpartition("_01")
    return f"{head}_01{'z' * 24}{rest[24:]}" if head else text


def link(world: World, handle: str = "dana") -> str:
    return str(people.sign_in_link(world.rt, world.admin, handle)["url"])


Attempt = Callable[[World, str, str | None], object]


def by_token(world: World, text: str, ip: str | None) -> object:
    return identity.authenticate_bearer(world.rt, text, ip)


def by_session(world: World, text: str, ip: str | None) -> object:
    return identity.authenticate_session(world.rt, text, ip)


def by_link(world: World, text: str, ip: str | None) -> object:
    return identity.exchange_link(world.rt, text, ip)


def by_point(world: World, text: str, ip: str | None) -> object:
    return enforcement_points.authenticate_point(world.rt, text, "opa", ip)


def shown(world: World, door: str) -> tuple[Attempt, str]:
    """How a credential is shown at a door, and a right one."""
    match door:
        case "token":
            return by_token, world.tokens["dana"]
        case "session":
            return by_session, str(identity.exchange_link(world.rt, link(world), HERE)["secret"])
        case "link":
            return by_link, link(world)
        case _:
            point = enforcement_points.register(
                world.rt, world.admin, kind="opa", name="edge", settings={}
            )
            return by_point, str(point["token"])


def code_of(attempt: Attempt, world: World, text: str, ip: str | None) -> str:
    try:
        attempt(world, text, ip)
    except CharterError as error:
        return error.code
    return "in"


def events(world: World, prefix: str) -> list[dict[str, Any]]:
    with world.rt.database.reading() as tx:
        rows = tx.all(sa.select(t.audit_pending.c.leaf)) + tx.all(sa.select(t.audit_log.c.leaf))
    leaves = [json.loads(bytes(row["leaf"])) for row in rows]
    return [leaf for leaf in leaves if leaf["action"].startswith(prefix)]


# --- the same for known and unknown -------------------------------------------------------------
@contextmanager
def work(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """What happens in the block: statements by kind and table, and comparisons of hashes."""
    seen: dict[str, int] = {}

    def statement(_conn: Any, _cursor: Any, text: str, *_rest: Any) -> None:
        words = text.split()
        tables = [w for w in words if w in t.metadata.tables]
        name = f"{words[0]} {tables[0] if tables else ''}"
        seen[name] = seen.get(name, 0) + 1

    original = secrets.hmac.compare_digest

    def compare(a: Any, b: Any) -> bool:
        seen["compare"] = seen.get("compare", 0) + 1
        return original(a, b)

    sa.event.listen(world.rt.database.engine, "before_cursor_execute", statement)
    with monkeypatch.context() as patched:
        patched.setattr(secrets.hmac, "compare_digest", compare)
        try:
            yield seen
        finally:
            sa.event.remove(world.rt.database.engine, "before_cursor_execute", statement)


@spec("ID-5")
@pytest.mark.parametrize("door", ["token", "session", "link", "point"])
def test_an_unknown_credential_gets_the_answer_and_the_work_of_a_wrong_one(
    world: World, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    attempt, right = shown(world, door)
    seen: list[tuple[str, str, dict[str, int]]] = []
    for text in (wrong(right), made_up(right)):
        assert secrets.parse(text.rsplit("link=", 1)[-1]) is not None
        with work(world, monkeypatch) as done, pytest.raises(UnauthenticatedError) as refused:
            attempt(world, text, HERE)
        seen.append((refused.value.message, refused.value.code, done))
    assert seen[0] == seen[1]
    assert seen[0][2]["compare"] >= 1
    assert seen[0][2]["SELECT failed_attempts"] >= 1


# --- shut, and to whom --------------------------------------------------------------------------
@spec("ID-5")
@pytest.mark.parametrize("door", ["token", "session", "link", "point"])
def test_a_credential_that_is_guessed_at_answers_429_there_and_counts_elsewhere(
    world: World, door: str
) -> None:
    attempt, right = shown(world, door)
    found = [code_of(attempt, world, wrong(right), HERE) for _ in range(MOST_OF_CREDENTIAL + 2)]
    assert set(found[: MOST_OF_CREDENTIAL - 1]) == {"unauthenticated"}
    assert set(found[MOST_OF_CREDENTIAL - 1 :]) == {"too-many-attempts"}
    assert code_of(attempt, world, right, ELSEWHERE) == "in"
    (event,) = events(world, "attempts.credential-locked")
    assert event["outcome"] == "denied"
    assert HERE not in json.dumps(event)


@spec("ID-5")
@pytest.mark.parametrize("door", ["token", "session", "point"])
def test_who_has_the_right_secret_gets_in_however_much_their_neighbours_guess(
    world: World, door: str
) -> None:
    attempt, right = shown(world, door)
    for _ in range(MOST_OF_ADDRESS + 5):
        code_of(attempt, world, wrong(right), HERE)
        code_of(attempt, world, "charter_pat_garbage", HERE)
    assert code_of(attempt, world, wrong(right), HERE) == "too-many-attempts"
    assert code_of(attempt, world, right, HERE) == "in"


@spec("ID-5")
def test_an_address_that_guesses_links_waits_and_everybody_else_signs_in(world: World) -> None:
    for number in range(MOST_OF_ADDRESS):
        text = f"charter_lnk_{number:026d}_{'A' * 43}"
        code_of(by_link, world, text, HERE)
    right = link(world)
    with pytest.raises(TooManyError) as refused:
        by_link(world, right, HERE)
    wait = refused.value.details["retry_after_seconds"]
    assert wait == 300
    assert refused.value.headers == {"Retry-After": "300"}
    # Who is signed in already is not concerned, nor is anybody at another address.
    assert code_of(by_token, world, world.tokens["dana"], HERE) == "in"
    assert code_of(by_link, world, link(world, "otto"), ELSEWHERE) == "in"
    world.clock.advance(seconds=300)
    assert code_of(by_link, world, right, HERE) == "in"
    (event,) = events(world, "attempts.address-locked")
    assert event["facts"] == {"door": "sign-in", "failures": MOST_OF_ADDRESS}


@spec("ID-5")
def test_a_site_with_ipv6_is_one_guesser(world: World) -> None:
    for number in range(MOST_OF_ADDRESS):
        code_of(by_link, world, f"charter_lnk_{number:026d}_{'A' * 43}", f"2001:db8::{number:x}")
    assert code_of(by_link, world, link(world), "2001:db8::ffff") == "too-many-attempts"
    assert code_of(by_link, world, link(world), "2001:db8:0:1::1") == "in"
    # The IPv4 address inside IPv6 is the IPv4 address, not another guesser.
    for _ in range(MOST_OF_ADDRESS):
        code_of(by_link, world, "garbage", "::ffff:203.0.113.9")
    assert code_of(by_link, world, link(world), HERE) == "too-many-attempts"


@spec("ID-5")
def test_nobody_is_shut_out_by_name(world: World) -> None:
    """Whoever knows ids of dana's credentials cannot keep her out: no count is about a person."""
    session = str(identity.exchange_link(world.rt, link(world), ELSEWHERE)["secret"])
    for number in range(200):
        ip = f"203.0.113.{number}"
        code_of(by_token, world, wrong(world.tokens["dana"]), ip)
        code_of(by_session, world, wrong(session), ip)
    assert code_of(by_token, world, world.tokens["dana"], ELSEWHERE) == "in"
    assert code_of(by_session, world, session, ELSEWHERE) == "in"
    assert code_of(by_link, world, link(world), ELSEWHERE) == "in"


@spec("ID-5")
def test_the_person_is_told_once_a_day(world: World) -> None:
    for ip in (HERE, ELSEWHERE):
        for _ in range(MOST_OF_CREDENTIAL):
            code_of(by_token, world, wrong(world.tokens["dana"]), ip)
    told = [
        notice["message"]
        for notice in overview.notices(world.rt, world.caller("dana"))["items"]
        if notice["kind"] == "credential-guessed"
    ]
    (message,) = told
    assert "10 wrong secrets were shown for a token of yours" in message
    assert world.tokens["dana"][-43:] not in message


@spec("ID-5")
def test_what_is_over_is_no_guess(world: World) -> None:
    """An expired token with the right secret says whose mistake it is: its owner's program's."""
    old = tokens.create_token(world.rt, world.caller("dana"), "old", 1)
    world.clock.advance(days=2)
    for _ in range(MOST_OF_ADDRESS + 10):
        assert code_of(by_token, world, old["secret"], HERE) == "unauthenticated"
    used = link(world_signed_in(world))
    by_link(world, used, HERE)
    for _ in range(MOST_OF_ADDRESS + 10):
        assert code_of(by_link, world, used, HERE) == "unauthenticated"


def world_signed_in(world: World) -> World:
    world.sign_in_again()
    return world


@spec("ID-5")
def test_a_shut_door_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(MOST_OF_ADDRESS):
        code_of(by_token, world, "charter_pat_garbage", HERE)
    with work(world, monkeypatch) as done:
        assert code_of(by_token, world, "charter_pat_garbage", HERE) == "too-many-attempts"
    assert {name.split()[0] for name in done} <= {"SELECT", "SET", "compare"}, done


def test_counts_are_forgotten(world: World) -> None:
    code_of(by_token, world, "garbage", HERE)
    with world.rt.database.unit_of_work() as tx:
        assert attempts.forget(tx, 100) == 0
    world.clock.advance(seconds=600)
    with world.rt.database.unit_of_work() as tx:
        assert attempts.forget(tx, 100) == 1


@spec("ID-5")
def test_two_first_failures_at_one_moment_count_as_two(world: World) -> None:
    def fail() -> None:
        with attempts.counted(world.rt, Door.SIGN_IN, HERE):
            raise WrongCredentialError("No.", fix="None.")

    def guess(_: int) -> str:
        try:
            fail()
        except CharterError as error:
            return error.code
        raise AssertionError("it cannot succeed")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(guess, range(MOST_OF_ADDRESS + 20)))
    assert found.count("unauthenticated") == MOST_OF_ADDRESS - 1


# --- over HTTP ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def shared(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An empty instance for all doors: each test sets the counts that it begins with."""
    with fresh_world(postgres_url, tmp_path_factory.mktemp("doors")) as found:
        yield found


@pytest.fixture(scope="module")
def app(shared: World) -> FastAPI:
    return build_app(shared.rt)


DOORS: dict[str, Callable[[TestClient], Any]] = {
    "api": lambda c: c.get("/api/v1/me", headers={"Authorization": "Bearer charter_pat_no"}),
    "cookie": lambda c: c.get("/api/v1/me", headers={"Cookie": "charter_session=nonsense"}),
    "sign-in": lambda c: c.post("/api/v1/sign-in", json={"link": "nonsense"}),
    "portal": lambda c: c.post("/sign-in", data={"link": "nonsense"}),
    "page": lambda c: c.get(
        "/", headers={"Cookie": "charter_session=nonsense"}, follow_redirects=False
    ),
    "opa": lambda c: c.get(
        "/opa/v1/bundles/charter.tar.gz", headers={"Authorization": "Bearer cep_no"}
    ),
    "authzen": lambda c: c.post(
        "/access/v1/evaluation", json={}, headers={"Authorization": "Bearer cep_no"}
    ),
    "kubernetes": lambda c: c.post("/kubernetes/v1/admit/workloads/cep_no", content=b"{}"),
    "exchange": lambda c: c.post(
        "/oauth/token",
        data={
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": "nonsense",
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        },
    ),
}


@spec("ID-5")
@pytest.mark.parametrize("door", DOORS)
def test_every_door_says_429_and_when_to_try_again(app: FastAPI, shared: World, door: str) -> None:
    with shared.rt.database.unit_of_work() as tx:
        tx.conn.execute(sa.delete(t.failed_attempts))
        for kind in Door:
            tx.insert(
                t.failed_attempts,
                key=f"address:{kind}:{HERE}",
                failures=MOST_OF_ADDRESS - 1,
                since=tx.now,
                forget_at=tx.now,
            )
    client = TestClient(app, client=(HERE, 1), raise_server_exceptions=False)
    answer = DOORS[door](client)
    assert answer.status_code == 429, answer.text
    assert answer.headers["Retry-After"] == "300"
    other = TestClient(app, client=(ELSEWHERE, 1), raise_server_exceptions=False)
    assert DOORS[door](other).status_code != 429
