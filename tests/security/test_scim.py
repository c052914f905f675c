"""What a directory, or whoever has its token, wants and may not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any, Final

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from charter.api.app import build_api
from charter.services import (
    agents,
    enforcement_points,
    overview,
    people,
    people_views,
    roles,
    scim,
    tokens,
)
from charter.store import tables as t
from tests.api.requests import API
from tests.conftest import fresh_world
from tests.passkeys import in_browser
from tests.scim import ENTERPRISE, GROUP, USER, Directory, connect
from tests.services.test_agents import ASKED
from tests.spec import spec
from tests.sso import put_policy
from tests.support import World


@pytest.fixture(scope="module")
def world(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for all attacks; each uses names of its own."""
    with fresh_world(postgres_url, tmp_path_factory.mktemp("scim")) as world:
        world.cast()
        yield world


@pytest.fixture(scope="module")
def okta(world: World) -> Directory:
    """The directory of the attacker."""
    return connect(world)


@pytest.fixture(scope="module")
def corp(world: World, okta: Directory) -> Directory:
    """Another directory, whose people are not the attacker's."""
    return connect(world, "corp", okta.client.app)  # type: ignore[arg-type]


def person_id(world: World, handle: str) -> str:
    return str(people_views.get(world.rt, world.admin, handle)["id"])


INJECTIONS: Final = (
    "' OR 1=1 --",
    '"; DROP TABLE people; --',
    "%",
    "_____",
    "\\",
    'x\\" or userName pr or userName eq \\"x',
    "') OR scim IS NOT NULL OR ('",
    "\u0027\uff07",
    "$1",
    ":param_1",
)


@spec("ID-3")
@pytest.mark.parametrize("text", INJECTIONS)
def test_a_value_in_a_filter_stays_a_value(okta: Directory, corp: Directory, text: str) -> None:
    corp.ok("POST", "/.search", {"filter": 'userName eq "x"'})
    quoted = text if '\\"' in text else text.replace("\\", "\\\\").replace('"', '\\"')
    for operator in ("eq", "co", "sw", "ew", "gt"):
        params = {"filter": f'userName {operator} "{quoted}" and externalId eq "{quoted}"'}
        answer = okta.client.get("/scim/v2/Users", params=params)
        assert answer.status_code == 200, answer.text
        assert answer.json()["totalResults"] == 0


@spec("ID-3")
def test_no_filter_reaches_beyond_the_directory_or_to_what_is_not_shown(
    world: World, okta: Directory, corp: Directory
) -> None:
    own = okta.user("reach")
    corp.user("beyond")
    everything = f'id pr or userName pr or not (userName eq "{"x" * 50}") or active eq true'
    found = okta.client.get("/scim/v2/Users", params={"filter": everything}).json()
    local = {person_id(world, handle) for handle in ("admin", "dana", "sam")}
    theirs = {each["id"] for each in corp.ok("GET", "/Users")["Resources"]}
    ids = {each["id"] for each in found["Resources"]}
    assert own["id"] in ids
    assert not ids & (local | theirs)
    for text in (
        'handle eq "admin"',
        "password pr",
        'secret_hash sw "a"',
        'directory eq "corp"',
        'meta.version eq "1"',
        'emails[secret eq "x"]',
        'members.value eq "x"',
        'people.id eq "x"',
        'urn:ietf:params:scim:schemas:core:2.0:Group:displayName eq "x"',
        'userName eq "a\\u0000b"',
        "userName eq true",
        "active gt true",
        'meta.created gt "yesterday"',
        "(" * 200 + "title pr" + ")" * 200,
        " or ".join(["title pr"] * 2000),
        "title pr" + " and not (title pr" * 40 + ")" * 40,
    ):
        answer = okta.client.get("/scim/v2/Users", params={"filter": text})
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidFilter"), text
        assert "people." not in answer.json()["detail"].replace("'people.id'", "")


@spec("ID-3")
def test_what_another_directory_or_nobody_keeps_is_not_there(
    world: World, okta: Directory, corp: Directory
) -> None:
    victim = corp.user("victim", title="Keeper")
    team = corp.group("Vault", victim["id"])
    with world.rt.database.reading() as tx:
        payments = tx.one(sa.select(t.teams.c.id).where(t.teams.c.name == "payments"))
    assert payments is not None
    own = okta.user("thief")
    change = {"op": "replace", "path": "active", "value": False}
    for path in (
        f"/Users/{victim['id']}",
        f"/Users/{person_id(world, 'admin')}",
        "/Users/admin",
        f"/Users/{team['id']}",
        f"/Groups/{team['id']}",
        f"/Groups/{payments['id']}",
        f"/Groups/{own['id']}",
    ):
        kind = USER if "Users" in path else GROUP
        body = {"schemas": [kind], "userName": "x", "displayName": "x"}
        for answer in (
            okta.send("GET", path),
            okta.send("PUT", path, body),
            okta.patch(path, change if "Users" in path else {**change, "path": "displayName"}),
            okta.send("DELETE", path),
        ):
            assert answer.status_code == 404, (path, answer.text)
    assert corp.ok("GET", f"/Users/{victim['id']}")["active"] is True
    group = okta.group("Burglars", own["id"])
    for stranger in (victim["id"], person_id(world, "sam"), "per_" + "0" * 26):
        member = {"op": "add", "path": "members", "value": [{"value": stranger}]}
        manager = {"op": "add", "path": f"{ENTERPRISE}:manager", "value": stranger}
        for answer in (
            okta.patch(f"/Groups/{group['id']}", member),
            okta.patch(f"/Users/{own['id']}", manager),
        ):
            assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
    # Nor by name: an account that is there already is nobody's to take.
    for name in ("victim", "admin", "ADMIN"):
        taken = okta.send("POST", "/Users", {"schemas": [USER], "userName": name})
        assert taken.json()["scimType"] == "uniqueness"
    renamed = {"op": "replace", "path": "userName", "value": "admin"}
    assert okta.patch(f"/Users/{own['id']}", renamed).status_code == 409
    taken = okta.send("POST", "/Groups", {"schemas": [GROUP], "displayName": "PAYMENTS!"})
    assert taken.json()["scimType"] == "uniqueness"


@spec("ID-3")
def test_a_provisioning_token_opens_nothing_but_scim_and_nothing_else_opens_scim(
    world: World, okta: Directory
) -> None:
    client: TestClient = okta.client
    for method, path in (
        ("GET", "/me"),
        ("GET", "/people"),
        ("POST", "/people"),
        ("POST", "/people/dana/deactivate"),
        ("POST", "/role-bindings"),
        ("GET", "/scim/tokens"),
        ("POST", "/scim/tokens"),
        ("GET", "/audit/events"),
        ("POST", "/workspaces"),
        ("POST", "/sign-out"),
    ):
        assert client.request(method, f"{API}{path}", json={}).status_code == 401, path
    assert client.post("/access/v1/evaluation", json={}).status_code == 401
    agent = agents.create(world.rt, world.caller("dana"), dict(ASKED))["credential"]["token"]
    point = enforcement_points.register(
        world.rt, world.admin, kind="authzen", name="edge-scim", settings={}
    )["token"]
    _, cookie = in_browser(world, "admin")
    others = [
        {"Authorization": f"Bearer {secret}"}
        for secret in (world.tokens["admin"], agent, point, okta.secret[:-1] + "A", "x" * 9000)
    ]
    others += [{}, {"Cookie": f"charter_session={cookie}"}, {"Authorization": "Basic YTpi"}]
    bare = TestClient(client.app)
    for headers in others:
        for path in ("Users", "Groups", "ServiceProviderConfig", "Schemas", "nothing"):
            answer = bare.get(f"/scim/v2/{path}", headers=headers)
            assert answer.status_code == 401, (headers, path)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["schemas"][0].endswith(":Error")


@spec("ID-3")
def test_a_token_that_ended_is_no_token(world: World) -> None:
    short = connect(world, "short")
    assert short.send("GET", "/Users").status_code == 200
    scim.revoke_token(world.rt, world.admin, "short")
    assert short.send("GET", "/Users").status_code == 401
    late = connect(world, "late")
    with world.rt.database.unit_of_work() as tx:
        where = t.scim_tokens.c.id == late.token_id
        tx.update(t.scim_tokens, where, expires_at=tx.now - timedelta(seconds=1))
    assert late.send("GET", "/Users").status_code == 401
    shown = scim.list_tokens(world.rt, world.admin)["items"]
    assert late.secret not in str(shown)
    assert "hash" not in str(shown)


@spec("ID-3")
def test_somebody_is_told_before_a_directory_is_cut_off_in_silence(world: World) -> None:
    def told() -> list[str]:
        found = overview.notices(world.rt, world.admin, limit=200)["items"]
        return [n["message"] for n in found if "of the directory fading" in n["message"]]

    fading = connect(world, "fading")
    where = t.scim_tokens.c.id == fading.token_id
    for ends_in, count, word in ((40, 0, ""), (29, 1, "ends"), (29, 1, "ends"), (-1, 2, "ended")):
        with world.rt.database.unit_of_work() as tx:
            tx.update(t.scim_tokens, where, expires_at=tx.now + timedelta(days=ends_in))
        scim.warn_of_ends(world.rt)
        assert len(told()) == count
        assert not word or any(word in message for message in told())
    # Another token that lasts is as good.
    scim.create_token(world.rt, world.admin, name="fading-2", directory="fading", days=90)
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.scim_tokens, where, expires_at=tx.now + timedelta(days=1))
    assert scim.warn_of_ends(world.rt) == 0


@spec("ID-1", "ID-3")
def test_a_group_gives_no_role_that_policy_does_not_give(
    world: World, okta: Directory, corp: Directory
) -> None:
    mapped = {
        "charter-admins": {"teams": [], "roles": [{"role": "platform-admin"}]},
        "owners": {"teams": [], "roles": [{"role": "platform-admin"}]},
        "auditors": {"teams": [], "roles": [{"role": "security-admin"}]},
        "coders": {"teams": ["payments"], "roles": [{"role": "developer"}]},
    }
    shown = {"second_factor": {"acr": [], "amr": []}, "allowed_groups": []}
    trust = {"create_people": False, "link_by_verified_email": False, **shown}
    put_policy(
        world,
        {
            "default": {**trust, "groups": mapped},
            "providers": {"corp": {**trust, "groups": mapped}},
        },
    )

    def held(who: str) -> list[str]:
        return list(people_views.get(world.rt, world.admin, who)["roles"])

    # A directory that policy does not name gives no role, whatever its groups are called.
    climber = okta.user("climber", roles=[{"value": "platform-admin"}], entitlements=["*"])
    okta.group("charter-admins", climber["id"])
    assert held("climber") == []
    # One that it names gives what it says, keeps duties apart, and takes what ends.
    ann = corp.user("ann")
    coders = corp.group("coders", ann["id"])
    assert held("ann") == ["developer"]
    assert "payments" in people_views.get(world.rt, world.admin, "ann")["teams"]
    sec = corp.group("auditors", ann["id"])
    admins = corp.group("owners")
    both = {"op": "add", "path": "members", "value": [{"value": ann["id"]}]}
    corp.patch(f"/Groups/{admins['id']}", both)
    assert not {"platform-admin", "security-admin"} <= set(held("ann"))
    corp.ok("DELETE", f"/Groups/{sec['id']}")
    corp.ok("DELETE", f"/Groups/{coders['id']}")
    assert "security-admin" not in held("ann")
    assert "developer" not in held("ann")
    # A person who is off holds nothing, and gets nothing by being put into a group.
    off = corp.user("sleeper", active=False)
    corp.group("coders", off["id"])
    assert held("sleeper") == []


@spec("ID-3")
def test_what_is_charters_to_say_cannot_be_said_by_a_directory(
    world: World, okta: Directory
) -> None:
    extra: dict[str, Any] = {
        "id": person_id(world, "admin"),
        "meta": {"version": 'W/"1"', "resourceType": "Admin", "created": "1999-01-01T00:00:00Z"},
        "groups": [{"value": "x", "display": "admins"}],
        "directory": "corp",
        "source": "local",
        "handle": "admin",
        "deactivated_by": None,
        "removed_at": None,
        "scim": {"directory": "corp"},
        "password": "hunter2",
    }
    made = okta.user("honest", **extra)
    assert made["id"] != extra["id"]
    put = okta.ok("PUT", f"/Users/{made['id']}", {**extra, "schemas": [USER], "userName": "honest"})
    for document in (made, put):
        assert document["meta"]["resourceType"] == "User"
        assert not document["meta"]["created"].startswith("1999")
        assert "groups" not in document
    row = people_views.get(world.rt, world.admin, made["id"])
    assert (row["handle"], row["directory"], row["source"]) == ("honest", "okta", "scim")
    with world.rt.database.reading() as tx:
        kept = tx.one(sa.select(t.people.c.scim).where(t.people.c.id == made["id"]))
    assert kept is not None
    assert set(kept["scim"]) == {"userName"}
    for path, value in (
        ("id", extra["id"]),
        ("meta.version", "x"),
        ("groups", []),
        ('groups[value eq "x"].display', "x"),
    ):
        answer = okta.patch(f"/Users/{made['id']}", {"op": "replace", "path": path, "value": value})
        assert answer.status_code == 400, path


@spec("ID-3")
def test_what_is_too_much_is_refused_before_it_is_worked_on(okta: Directory) -> None:
    path = f"/Users/{okta.user('heavy')['id']}"
    whole = okta.client.patch(f"/scim/v2{path}", content=b"[" * 1_100_000)
    assert whole.status_code == 413
    assert whole.headers["content-type"] == "application/scim+json"
    many = okta.patch(path, *({"op": "add", "path": "title", "value": "x"} for _ in range(201)))
    assert (many.status_code, many.json()["scimType"]) == (400, "tooMany")
    for value in ("x" * 501, "a\x1b[31mb", "line\nbreak"):
        answer = okta.patch(path, {"op": "add", "path": "displayName", "value": value})
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
    emails = [{"value": f"{'a' * 40}{n}@example.com"} for n in range(400)]
    answer = okta.patch(path, {"op": "add", "path": "emails", "value": emails})
    assert answer.status_code == 400
    for address in ("a@b.example\r\nBcc: c@d.example", "nobody", "@", "a@b.example, c@d.example"):
        answer = okta.patch(path, {"op": "add", "path": "emails", "value": [{"value": address}]})
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue"), address
    deep = '{"schemas":[],"Operations":' + "[" * 5000 + "]" * 5000 + "}"
    assert okta.client.patch(f"/scim/v2{path}", content=deep).status_code == 400


def both(act: Callable[[int], Any]) -> list[Any]:
    """What two get who begin at the same moment."""
    start = Barrier(2)

    def one(number: int) -> Any:
        start.wait(20)
        return act(number)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(2)))


@spec("ID-3")
def test_of_two_with_one_version_one_comes_too_late(okta: Directory) -> None:
    made = okta.user("raced")
    path, tag = f"/Users/{made['id']}", made["meta"]["version"]

    def change(number: int) -> int:
        operation = {"op": "replace", "path": "title", "value": f"T{number}"}
        return int(okta.patch(path, operation, If_Match=tag).status_code)

    assert sorted(both(change)) == [200, 412]
    members = [okta.user(f"member{n}")["id"] for n in range(2)]
    group = okta.group("Raced")

    def join(number: int) -> int:
        value = [{"value": members[number]}]
        operation = {"op": "add", "path": "members", "value": value}
        target = f"/Groups/{group['id']}"
        return int(okta.patch(target, operation, If_Match=group["meta"]["version"]).status_code)

    assert sorted(both(join)) == [200, 412]


@spec("ID-3")
def test_of_two_with_one_name_one_is_told_that_it_is_taken(okta: Directory) -> None:
    bodies = [{"schemas": [USER], "userName": name} for name in ("twin", "TWIN")]
    found = both(lambda n: okta.send("POST", "/Users", bodies[n]).status_code)
    assert sorted(found) == [201, 409]
    group = {"schemas": [GROUP], "displayName": "Twins"}
    assert sorted(both(lambda _: okta.send("POST", "/Groups", group).status_code)) == [201, 409]


@spec("ID-3", "AU-1")
def test_every_change_is_on_record_as_the_directorys(world: World, okta: Directory) -> None:
    made = okta.user("recorded")
    okta.ok("DELETE", f"/Users/{made['id']}")
    with world.rt.database.reading() as tx:
        c = t.decisions.c
        decided = tx.all(sa.select(c.subject_kind, c.action).where(c.subject_id == okta.token_id))
        leaves = [bytes(row["leaf"]) for row in tx.all(sa.select(t.audit_pending.c.leaf))]
    assert {row["subject_kind"] for row in decided} == {"system"}
    assert {row["action"] for row in decided} <= {"people.manage", "team.manage"}
    about = [leaf for leaf in leaves if made["id"].encode() in leaf]
    named = b'"kind":"system"'
    assert about
    assert all(named in leaf and okta.token_id.encode() in leaf for leaf in about)
    for word in (b"person.created", b"person.deactivated", b"person.removed"):
        assert any(word in leaf for leaf in about), word
    assert not any(b"recorded" in leaf for leaf in about)  # names are personal


@spec("ID-3")
def test_nobody_hands_out_what_they_do_not_have(world: World) -> None:
    for who in ("dana", "lee", "sam", "ria"):
        client = world.client(build_api(world.rt), who)
        for path, body in (
            ("/scim/tokens", {"name": f"of-{who}", "directory": "okta"}),
            ("/scim/adoptions", {"directory": "okta", "kind": "person", "ref": "admin"}),
        ):
            assert client.post(f"{API}{path}", json=body).status_code == 403
    # An administrator does not put their own account, or one of another directory, at its mercy.
    admin = world.client(build_api(world.rt), "admin")
    body = {"directory": "okta", "kind": "person", "ref": "admin"}
    assert admin.post(f"{API}/scim/adoptions", json=body).status_code == 403
    assert tokens.list_tokens(world.rt, world.admin)
    assert people.list_people(world.rt, world.admin)["items"]
    assert roles.list_bindings(world.rt, world.admin)["items"]
