"""From outside the listed networks nothing is read or done; no bundle shuts every admin out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from charter.core.access.networks import MESSAGE, RULE
from charter.core.kernel.errors import CharterError, ForbiddenError
from charter.core.policy.bundle import Bundle
from charter.core.policy.external import external_document
from charter.server import build_app
from charter.services import (
    agents,
    approvals,
    enforcement_points,
    identity,
    network_lockout,
    networks,
    overview,
    people,
    policies,
    workspaces,
)
from charter.services.decisions import actor
from charter.services.policy_bundles import Kind, put_in_force, store_bundle
from charter.services.runtime import Caller
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.agents import exchange
from tests.api.test_authorisation import ROWS
from tests.spec import spec
from tests.support import BRIEF, World

OFFICE, HOME = "192.0.2.7", "203.0.113.9"
LISTS: dict[str, Any] = {
    "organisation": ["192.0.2.0/24", "2001:db8::/32"],
    "kinds": {},
    "roles": {},
}
AGENT = {
    "name": "fixer",
    "task": "Mend the flaky test.",
    "repositories": ["git.example.org/payments/api"],
    "tier": "sandboxed",
    "minutes": 60,
}


def bundle(lists: object, **documents: object) -> Bundle:
    """The starter's rules with these lists."""
    access = {**json.loads(BRIEF.text("data/access.json")), "networks": lists}
    files = {"data/access.json": json.dumps(access)}
    files |= {f"data/{name}.json": json.dumps(found) for name, found in documents.items()}
    return BRIEF.with_files(files)


def enforce(world: World, lists: object = None, **documents: object) -> None:
    """Put the lists in force without asking who would be shut out."""
    made = bundle(LISTS if lists is None else lists, **documents)
    with world.rt.database.unit_of_work() as tx:
        store_bundle(tx, made, loaded_by="test", note_text="")
        by = networks.OPERATOR
        put_in_force(world.rt, tx, made.digest, kind=Kind.APPLY, by=by, why="A test.")


def coming(world: World, name: str, ip: str | None) -> Caller:
    return identity.authenticate_bearer(world.rt, world.tokens[name], ip)


def events(world: World, action: str) -> list[dict[str, Any]]:
    with world.rt.database.reading() as tx:
        rows = tx.all(sa.select(t.audit_pending.c.leaf)) + tx.all(sa.select(t.audit_log.c.leaf))
    leaves = [json.loads(bytes(row["leaf"])) for row in rows]
    return [leaf for leaf in leaves if leaf["action"] == action]


@pytest.fixture
def outside(world: World) -> Iterator[TestClient]:
    """A client that comes from elsewhere, through the trusted proxy that the test is."""
    enforce(world)
    app = build_app(world.rt)
    with TestClient(app, client=(HOME, 4711), raise_server_exceptions=False) as client:
        yield client


@spec("ID-5", "ID-6")
def test_no_token_is_exchanged_from_outside(world: World, outside: TestClient) -> None:
    """Neither a sponsor's nor an agent's own, which would else be renewed by whoever took it."""
    made = agents.create(world.rt, coming(world, "dana", OFFICE), AGENT)
    own = exchange(outside, made["credential"]["token"])
    sponsors = exchange(outside, world.tokens["dana"], client_id=made["agent"]["id"])
    for answer in (own, sponsors):
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"] == "invalid_request"
        assert MESSAGE in answer.json()["error_description"]


@spec("ID-5")
def test_every_route_with_a_caller_is_shut_from_outside(world: World, outside: TestClient) -> None:
    """Reads and all: each route of the table, and each page."""
    headers = {"Authorization": f"Bearer {world.tokens['admin']}"}
    asked = 0
    for row in ROWS:
        if row.expected["nobody"] != 401:
            continue
        method, path = row.route.split(" ", 1)
        answer = outside.request(method, path.replace("{", "").replace("}", ""), headers=headers)
        assert answer.status_code == 403, (row.route, answer.text)
        assert (answer.json()["code"], answer.json()["detail"]) == ("network-not-allowed", MESSAGE)
        assert answer.json()["details"] == {"rule": RULE}
        asked += 1
    assert asked > 80
    outside.cookies.set("charter_session", open_session(world, "admin", OFFICE))
    for path in ("/", "/workspaces", "/access", "/audit", "/policies"):
        page = outside.get(path, follow_redirects=False)
        assert page.status_code == 403
        assert MESSAGE in page.text


def open_session(world: World, handle: str, ip: str | None) -> str:
    link = people.sign_in_link(world.rt, coming(world, "admin", OFFICE), handle)["url"]
    return str(identity.exchange_link(world.rt, link, ip)["secret"])


@spec("ID-5")
def test_inside_everything_goes_on_and_decisions_say_from_where(world: World) -> None:
    enforce(world)
    for ip in (OFFICE, "2001:db8::7"):
        made = workspaces.create(
            world.rt, coming(world, "dana", ip), WorkspaceRequest(f"w-{len(ip)}", "python")
        )
        assert made["decision"]["effect"] in ("allow", "warn")
    with pytest.raises(ForbiddenError):
        coming(world, "dana", None)


@spec("ID-5")
def test_nobody_signs_in_from_outside_and_the_link_is_still_good(world: World) -> None:
    enforce(world)
    link = people.sign_in_link(world.rt, coming(world, "admin", OFFICE), "dana")["url"]
    for attempt in (
        lambda: identity.exchange_link(world.rt, link, HOME),
        lambda: identity.exchange_link_for_token(world.rt, link, "laptop", HOME),
        lambda: identity.exchange_link(world.rt, link, None),
    ):
        with pytest.raises(ForbiddenError) as refused:
            attempt()
        assert refused.value.code == "network-not-allowed"
    assert identity.exchange_link(world.rt, link, OFFICE)["secret"]


@spec("ID-5")
def test_a_session_that_moves_out_is_refused_where_it_is(world: World) -> None:
    enforce(world)
    session = open_session(world, "dana", OFFICE)
    with pytest.raises(ForbiddenError):
        identity.authenticate_session(world.rt, session, HOME)
    assert identity.authenticate_session(world.rt, session, OFFICE).id


@spec("ID-5")
def test_agents_and_services_have_lists_of_their_own(world: World) -> None:
    made = agents.create(world.rt, world.caller("dana"), dict(AGENT))
    token = made["credential"]["token"]
    point = enforcement_points.register(
        world.rt, world.admin, kind="authzen", name="door", settings={}
    )
    centre = "198.51.100.0/24"
    enforce(world, {**LISTS, "organisation": [], "kinds": {"agent": [centre], "service": [centre]}})
    assert coming(world, "dana", HOME).id
    for ip in (OFFICE, HOME, None):
        with pytest.raises(ForbiddenError):
            identity.authenticate_bearer(world.rt, token, ip)
        with pytest.raises(ForbiddenError):
            enforcement_points.authenticate_point(world.rt, point["token"], "authzen", ip)
    assert identity.authenticate_bearer(world.rt, token, "198.51.100.3").is_agent
    found = enforcement_points.authenticate_point(
        world.rt, point["token"], "authzen", "198.51.100.3"
    )
    assert found.id == point["id"]


@spec("ID-5")
def test_a_point_that_was_let_in_is_held_against_new_lists_with_its_next_question(
    world: World,
) -> None:
    point = enforcement_points.register(
        world.rt, world.admin, kind="kubernetes", name="cluster", settings={}
    )
    seen = enforcement_points.SeenPoints(world.rt, "kubernetes")
    found = seen.authenticate(point["token"], HOME)
    enforce(world)
    # From memory it is let in; the transaction that decides is what looks.
    assert seen.authenticate(point["token"], HOME) is found
    with world.rt.database.reading() as tx:
        lists = world.rt.policy.active(tx).data.networks
        with pytest.raises(ForbiddenError):
            enforcement_points.check_network(tx, lists, found)


@spec("ID-5")
def test_a_role_shuts_in_whoever_holds_it(world: World) -> None:
    enforce(world, {**LISTS, "organisation": [], "roles": {"security-admin": ["192.0.2.0/24"]}})
    assert coming(world, "dana", HOME).id
    assert coming(world, "sam", OFFICE).id
    with pytest.raises(ForbiddenError):
        coming(world, "sam", HOME)


@spec("ID-5", "AU-1")
def test_a_refused_request_is_on_record_once_for_a_while(world: World) -> None:
    enforce(world)
    for _ in range(5):
        with pytest.raises(ForbiddenError):
            coming(world, "dana", HOME)
    (event,) = events(world, "access.network-refused")
    assert event["outcome"] == "denied"
    assert HOME not in json.dumps(event)  # an address is personal: it stands in the side store
    with pytest.raises(ForbiddenError):
        coming(world, "dana", "203.0.113.10")
    assert len(events(world, "access.network-refused")) == 2


@spec("ID-5", "AP-1")
def test_what_an_approval_carries_out_comes_from_nowhere(world: World) -> None:
    """The requester is no longer there to have an address when somebody says yes."""
    enforce(world)
    dana = coming(world, "dana", OFFICE)
    asked = workspaces.create(world.rt, dana, WorkspaceRequest("big", "python", vcpu=40))
    settled = approvals.approve(world.rt, coming(world, "lee", OFFICE), asked["approval"]["id"])
    assert settled["result_id"] is not None, settled


# --- nobody shuts every administrator out -------------------------------------------------------
def bring(world: World, lists: object, ip: str | None) -> str:
    """The admin at `ip` puts these lists in force, by whichever way."""
    made = bundle(lists)
    with world.rt.database.unit_of_work() as tx:
        store_bundle(tx, made, loaded_by="test", note_text="")
        by = actor(coming(world, "admin", ip))
        put_in_force(world.rt, tx, made.digest, kind=Kind.PROMOTE, by=by, ip=ip, why="A test.")
    return made.digest


@spec("ID-5")
@pytest.mark.parametrize(
    "lists",
    [
        {**LISTS, "organisation": ["10.0.0.0/8"]},
        {**LISTS, "organisation": [], "kinds": {"human": ["10.0.0.0/8"]}},
        {**LISTS, "organisation": [], "roles": {"platform-admin": ["10.0.0.0/8"]}},
        ["10.0.0.0/8"],
    ],
)
def test_a_bundle_that_shuts_every_admin_out_is_refused(world: World, lists: object) -> None:
    with pytest.raises(CharterError) as refused:
        bring(world, lists, OFFICE)
    assert refused.value.code == "no-admin-inside"
    assert "admin: unknown" in refused.value.message
    assert coming(world, "dana", HOME).id  # nothing changed


@spec("ID-5")
def test_it_is_refused_to_whoever_applies_it_too(world: World) -> None:
    made = bundle({**LISTS, "organisation": ["10.0.0.0/8"]})
    files = {path: made.text(path) for path in made.files}
    with pytest.raises(CharterError) as refused:
        policies.apply(world.rt, coming(world, "admin", OFFICE), files, "New networks.")
    assert refused.value.code == "no-admin-inside"


@spec("ID-5")
def test_the_address_of_who_does_it_is_enough_and_so_is_another_admins_last(world: World) -> None:
    bring(world, LISTS, OFFICE)
    with pytest.raises(ForbiddenError):
        coming(world, "admin", HOME)
    # Another admin signed in from elsewhere; the first may shut themselves out.
    world.clock.advance(seconds=1)
    enforce(world, {**LISTS, "organisation": []})
    world.add_person("root", ("platform-admin", None), team=None)
    open_session(world, "root", HOME)
    bring(world, {**LISTS, "organisation": ["203.0.113.0/24"]}, OFFICE)
    with world.rt.database.reading() as tx:
        lists = world.rt.policy.active(tx).data.networks
        found = {a["person"]: a["inside"] for a in network_lockout.administrators(tx, lists)}
    assert found == {"admin": False, "root": True}


@spec("ID-5")
def test_who_has_left_or_was_demoted_is_no_admin_who_could_get_in(world: World) -> None:
    world.add_person("root", ("platform-admin", None), team=None)
    open_session(world, "root", HOME)
    home = {**LISTS, "organisation": ["203.0.113.0/24"]}
    people.deactivate(world.rt, world.admin, "root")
    with pytest.raises(CharterError) as refused:
        bring(world, home, OFFICE)
    assert refused.value.code == "no-admin-inside"


@spec("ID-5")
def test_going_back_to_stricter_lists_is_held_against_them_too(world: World) -> None:
    strict = bring(world, LISTS, OFFICE)
    world.clock.advance(seconds=1)
    bring(world, {**LISTS, "organisation": []}, OFFICE)
    sam = coming(world, "sam", HOME)
    with pytest.raises(CharterError) as refused:
        policies.go_back(world.rt, sam, strict, "Back.")
    assert refused.value.code == "no-admin-inside"
    open_session(world, "admin", OFFICE)
    assert policies.go_back(world.rt, sam, strict, "Back.")["active"]


@spec("ID-5")
def test_a_rule_that_only_warns_shuts_nobody_out(world: World) -> None:
    enforcement = json.loads(BRIEF.text("data/enforcement.json"))
    enforcement["rules"] = {**enforcement.get("rules", {}), RULE: "warn"}
    enforce(world, {**LISTS, "organisation": ["10.0.0.0/8"]}, enforcement=enforcement)
    made = workspaces.create(world.rt, coming(world, "dana", HOME), WorkspaceRequest("w", "python"))
    assert RULE in {v["rule"] for v in made["decision"]["violations"]}


# --- set aside on the machine itself ------------------------------------------------------------
@spec("ID-5", "ID-11")
def test_the_operator_sets_the_lists_aside_for_a_while(world: World) -> None:
    enforce(world, {**LISTS, "organisation": ["10.0.0.0/8"]})
    with pytest.raises(ForbiddenError):
        coming(world, "admin", OFFICE)
    networks.set_aside(world.rt, "The VPN has moved.", 15)
    admin = coming(world, "admin", OFFICE)
    world.clock.advance(seconds=1)
    # Not only the door: decisions let it pass as well, and say why in their facts.
    assert people.create_team(world.rt, admin, "rescue")["name"] == "rescue"
    with world.rt.database.reading() as tx:
        c = t.decisions.c
        facts = tx.conn.execute(sa.select(c.facts).order_by(c.id.desc()).limit(1)).scalar_one()
    assert json.loads(facts)["document"]["subject"]["networks"] == "set-aside"
    told = [n["kind"] for n in overview.notices(world.rt, admin)["items"]]
    assert "networks-opened" in told
    (event,) = events(world, "access.networks-opened")
    assert event["actor"]["id"] == "operator"
    world.clock.advance(minutes=15)
    with pytest.raises(ForbiddenError):
        coming(world, "admin", OFFICE)


@spec("ID-5", "ID-11")
def test_an_opening_needs_a_reason_has_a_bound_and_ends(world: World) -> None:
    for reason, minutes, code in (
        ("", 15, "reason-required"),
        ("  ", 15, "reason-required"),
        ("Why not.", 61, "opening-too-long"),
        ("Why not.", 0, "opening-too-long"),
    ):
        with pytest.raises(CharterError) as refused:
            networks.set_aside(world.rt, reason, minutes)
        assert refused.value.code == code
    with pytest.raises(CharterError) as refused:
        networks.put_back(world.rt)
    assert refused.value.code == "networks-not-open"
    enforce(world, {**LISTS, "organisation": ["10.0.0.0/8"]})
    networks.set_aside(world.rt, "A first time.", 60)
    networks.set_aside(world.rt, "Shorter.", 5)  # replaces the longer one
    networks.put_back(world.rt)
    with pytest.raises(ForbiddenError):
        coming(world, "admin", OFFICE)


@spec("ID-5")
def test_while_set_aside_an_admin_may_list_a_network_in_which_nobody_was_yet(world: World) -> None:
    networks.set_aside(world.rt, "We move to a new network.", 15)
    bring(world, {**LISTS, "organisation": ["10.0.0.0/8"]}, OFFICE)
    networks.put_back(world.rt)
    with pytest.raises(ForbiddenError):
        coming(world, "admin", OFFICE)


@spec("ID-5")
def test_no_request_over_the_network_sets_anything_aside(world: World) -> None:
    """No route, and no claim in a document, does what only the machine's operator may."""
    routes = {row.route for row in ROWS if "networks" in row.route}
    assert routes == {"GET /api/v1/access/networks"}
    point = {"id": "pep_1", "kind": "authzen", "name": "door"}
    claims = {"subject": {"id": "x", "networks": "set-aside"}}
    found = external_document(claims, point=point, now=world.rt.now())
    assert "networks" not in found["subject"]


@spec("ID-5")
def test_what_people_see_of_the_lists(world: World) -> None:
    enforce(world)
    open_session(world, "admin", OFFICE)
    seen = networks.view(world.rt, coming(world, "admin", OFFICE), address="::ffff:203.0.113.9")
    assert (seen["address"], seen["closed"]) == ("203.0.113.9", ["organisation"])
    (admin,) = seen["administrators"]
    assert (admin["person"], admin["address"], admin["inside"]) == ("admin", OFFICE, True)
    dana = networks.view(world.rt, coming(world, "dana", OFFICE))
    assert dana["administrators"] is None  # where somebody sits is not everybody's to know
    assert dana["your_address"] == OFFICE
    with pytest.raises(CharterError):
        networks.view(world.rt, world_admin(world), address="nowhere")
    strict = bundle({**LISTS, "organisation": ["10.0.0.0/8"]})
    with world.rt.database.unit_of_work() as tx:
        store_bundle(tx, strict, loaded_by="test", note_text="")
    asked = networks.view(world.rt, world_admin(world), digest=strict.digest)
    assert [a["inside"] for a in asked["administrators"]] == [False]


def world_admin(world: World) -> Caller:
    return coming(world, "admin", OFFICE)
