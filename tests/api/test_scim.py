"""SCIM as directories speak it: resources, filters, pages, versions, and the shapes of the big two.

The requests of Okta and Entra ID are those that their own documentation shows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from charter.services import people_views, roles
from tests.api.stage import Stage
from tests.scim import ENTERPRISE, GROUP, USER, Directory, connect
from tests.spec import spec
from tests.support import World


@pytest.fixture
def world(stage: Stage) -> Iterator[World]:
    """The shared instance, with whatever a test does undone."""
    with stage.undone():
        yield dataclasses.replace(stage.world, rt=stage.app.state.runtime)


@pytest.fixture
def okta(world: World, stage: Stage) -> Directory:
    """A connected directory."""
    return connect(world, "entra", app=stage.app)


def shown(world: World, ref: str) -> dict[str, Any]:
    """A person as an administrator sees them."""
    return people_views.get(world.rt, world.admin, ref)


def error(answer: Any) -> tuple[int, str | None]:
    """Status and scimType of a refusal, which must have SCIM's shape."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/scim+json"
    assert body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert body["status"] == str(answer.status_code)
    assert body["detail"]
    return answer.status_code, body.get("scimType")


@spec("ID-3")
def test_a_user_becomes_a_person_with_all_that_charter_uses(world: World, okta: Directory) -> None:
    boss = okta.user("Boss@Example.com")
    made = okta.user(
        "Erin@Example.com",
        externalId="00u1",
        name={"givenName": "Erin", "familyName": "Example"},
        emails=[{"value": "erin@example.com", "type": "work", "primary": True}],
        timezone="Europe/Paris",
        phoneNumbers=[{"value": "+49 30 1", "type": "work"}],
        **{ENTERPRISE: {"department": "Ledger", "manager": {"value": boss["id"]}}},
    )
    assert made["userName"] == "Erin@Example.com"
    assert made[ENTERPRISE]["manager"]["value"] == boss["id"]
    assert "phoneNumbers" not in made
    person = shown(world, "erin@example.com")
    assert person["id"] == made["id"]
    assert (person["display_name"], person["email"]) == ("Erin Example", "erin@example.com")
    assert (person["source"], person["directory"], person["external_id"]) == (
        "scim",
        "entra",
        "00u1",
    )
    assert (person["manager"], person["time_zone"]) == ("boss@example.com", "Europe/Paris")
    assert person["roles"] == []


@spec("ID-3")
def test_a_group_becomes_a_team(world: World, okta: Directory) -> None:
    erin, max_ = okta.user("erin"), okta.user("max")
    made = okta.group("Data Platform", erin["id"])
    assert shown(world, "erin")["teams"] == ["data-platform"]
    assert okta.ok("GET", f"/Users/{erin['id']}")["groups"][0]["display"] == "Data Platform"
    add = {"op": "add", "path": "members", "value": [{"value": max_["id"]}]}
    remove = {"op": "remove", "path": f'members[value eq "{erin["id"]}"]'}
    changed = okta.patch(f"/Groups/{made['id']}", add, remove).json()
    assert [member["value"] for member in changed["members"]] == [max_["id"]]
    assert shown(world, "erin")["teams"] == []
    assert error(okta.send("POST", "/Groups", {"schemas": [GROUP], "displayName": "Payments"})) == (
        409,
        "uniqueness",
    )
    okta.ok("DELETE", f"/Groups/{made['id']}")
    assert shown(world, "max")["teams"] == []
    assert error(okta.send("GET", f"/Groups/{made['id']}")) == (404, None)
    assert okta.group("Data Platform")["id"] != made["id"]


@spec("ID-3")
def test_filters_find_what_they_say_and_nothing_else(okta: Directory) -> None:
    erin = okta.user("erin", externalId="E-1", title="Engineer", emails=[{"value": "e@a.example"}])
    okta.user("max", externalId="e-1", displayName="Max %", emails=[{"value": "m@b.example"}])
    okta.patch(f"/Users/{erin['id']}", {"op": "replace", "path": "active", "value": False})
    team = okta.group("Ledger", erin["id"])
    for text, found in (
        ('userName eq "ERIN"', ["erin"]),
        ('externalId eq "e-1"', ["max"]),
        ('userName sw "m" or title co "gin"', ["erin", "max"]),
        ("title pr", ["erin"]),
        ("not (title pr)", ["max"]),
        ("active eq false", ["erin"]),
        ('emails[value ew "b.example"]', ["max"]),
        ('emails.value co "a.ex" and active eq "False"', ["erin"]),
        ('displayName co "%"', ["max"]),
        ('userName gt "erin"', ["max"]),
        ('meta.created gt "2020-01-01T00:00:00Z"', ["erin", "max"]),
        (f'groups.value eq "{team["id"]}"', ["erin"]),
        (f'id eq "{erin["id"]}"', ["erin"]),
        ('userName ne "erin"', ["max"]),
    ):
        assert okta.names(text) == found, text
    assert okta.names('displayName eq "ledger"', "Groups") == ["Ledger"]
    assert okta.names(f'members[value eq "{erin["id"]}"]', "Groups") == ["Ledger"]
    found = okta.ok(
        "POST",
        "/.search",
        {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
            "filter": 'displayName co "e" or userName eq "erin"',
        },
    )
    assert found["totalResults"] == 2


@spec("ID-3")
def test_lists_have_pages_and_an_order(okta: Directory) -> None:
    for name in ("c", "a", "b"):
        okta.user(name)
    page = okta.ok("GET", "/Users?startIndex=2&count=1&sortBy=userName&attributes=userName")
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (3, 2, 1)
    [one] = page["Resources"]
    assert one["userName"] == "b"
    assert set(one) == {"schemas", "id", "userName"}
    down = okta.ok("GET", "/Users?sortBy=userName&sortOrder=descending&excludedAttributes=meta")
    assert [each["userName"] for each in down["Resources"]] == ["c", "b", "a"]
    assert "meta" not in down["Resources"][0]
    assert okta.ok("GET", "/Users?count=0")["totalResults"] == 3
    assert okta.ok("GET", f"/Users?startIndex={10**30}")["Resources"] == []


@spec("ID-3")
def test_a_version_is_asked_for_and_kept(world: World, okta: Directory) -> None:
    made = okta.send("POST", "/Users", {"schemas": [USER], "userName": "erin"})
    path, tag = f"/Users/{made.json()['id']}", made.headers["etag"]
    assert made.headers["location"].endswith(path)
    assert made.json()["meta"]["version"] == tag
    assert okta.send("GET", path, If_None_Match=tag).status_code == 304
    change = {"op": "replace", "path": "title", "value": "Engineer"}
    assert okta.patch(path, change, If_Match='W/"other"').status_code == 412
    first = okta.patch(path, change, If_Match=tag)
    assert first.status_code == 200
    assert error(okta.patch(path, change, If_Match=tag)) == (412, None)
    assert okta.send("DELETE", path, If_Match=tag).status_code == 412
    assert okta.send("GET", path, If_None_Match=tag).status_code == 200


@spec("ID-3")
def test_what_okta_sends(world: World, okta: Directory) -> None:
    assert (
        okta.ok("GET", '/Users?filter=userName%20eq%20"erin@example.com"&startIndex=1&count=100')[
            "Resources"
        ]
        == []
    )
    made = okta.ok(
        "POST",
        "/Users",
        {
            "schemas": [USER],
            "userName": "erin@example.com",
            "name": {"givenName": "Erin", "familyName": "Example"},
            "emails": [{"primary": True, "value": "erin@example.com", "type": "work"}],
            "displayName": "Erin Example",
            "locale": "en-US",
            "externalId": "00ujl29u0le5T6Aj10h7",
            "groups": [],
            "password": "1mz050nq",
            "active": True,
        },
    )
    assert "password" not in made
    whole = {**made, "name": {"givenName": "Eve", "familyName": "Example"}, "active": True}
    assert okta.ok("PUT", f"/Users/{made['id']}", whole)["name"]["givenName"] == "Eve"
    off = okta.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"active": False}})
    assert off.json()["active"] is False
    assert shown(world, made["id"])["deactivated_at"] is not None
    on = okta.ok("PUT", f"/Users/{made['id']}", whole)
    assert on["active"] is True
    team = okta.group("Engineering")
    renamed = okta.patch(
        f"/Groups/{team['id']}",
        {"op": "replace", "value": {"id": team["id"], "displayName": "Builders"}},
    )
    assert renamed.json()["displayName"] == "Builders"
    member = {"value": made["id"], "display": "erin@example.com"}
    filled = okta.patch(
        f"/Groups/{team['id']}", {"op": "replace", "path": "members", "value": [member]}
    )
    assert [each["value"] for each in filled.json()["members"]] == [made["id"]]
    assert shown(world, made["id"])["teams"] == ["builders"]


@spec("ID-3")
def test_what_entra_sends(world: World, okta: Directory) -> None:
    boss = okta.user("boss@example.com")
    made = okta.ok(
        "POST",
        "/Users",
        {
            "schemas": [USER, ENTERPRISE],
            "externalId": "0a21f0f2",
            "userName": "erin@example.com",
            "active": True,
            "emails": [{"primary": True, "type": "work", "value": "erin@example.com"}],
            "meta": {"resourceType": "User"},
            "name": {"formatted": "Erin Example", "familyName": "Example", "givenName": "Erin"},
            "roles": [],
        },
    )
    path = f"/Users/{made['id']}"
    changed = okta.patch(
        path,
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "e@example.com"},
        {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": boss["id"]},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Ledger"},
        {"op": "Add", "path": 'addresses[type eq "work"].country', "value": "Germany"},
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+49"},
        {"op": "Add", "value": {"name.familyName": "Sample", f"{ENTERPRISE}:division": "East"}},
    )
    assert changed.status_code == 200, changed.text
    assert changed.json()["emails"][0]["value"] == "e@example.com"
    assert changed.json()["name"]["familyName"] == "Sample"
    assert changed.json()[ENTERPRISE]["division"] == "East"
    assert shown(world, made["id"])["manager"] == "boss@example.com"
    off = okta.patch(path, {"op": "Replace", "path": "active", "value": "False"})
    assert off.json()["active"] is False
    team = okta.group("Ledger", made["id"], boss["id"])
    gone = okta.patch(
        f"/Groups/{team['id']}",
        {"op": "Remove", "path": "members", "value": [{"value": boss["id"]}]},
    )
    assert [each["value"] for each in gone.json()["members"]] == [made["id"]]
    light = okta.ok("GET", f"/Groups/{team['id']}?excludedAttributes=members")
    assert "members" not in light


@spec("ID-3")
def test_a_removed_user_is_unknown_and_their_rows_stay(world: World, okta: Directory) -> None:
    made = okta.user("erin")
    okta.ok("DELETE", f"/Users/{made['id']}")
    assert error(okta.send("GET", f"/Users/{made['id']}")) == (404, None)
    assert error(okta.send("DELETE", f"/Users/{made['id']}")) == (404, None)
    assert okta.names("userName pr") == []
    assert shown(world, "erin")["removed_at"] is not None
    # Whoever comes next with the name is somebody else, in the trail as well.
    again = okta.user("erin")
    assert again["id"] != made["id"]
    assert shown(world, again["id"])["handle"] == "erin-2"
    assert shown(world, "erin")["id"] == made["id"]


@spec("ID-3")
def test_an_account_that_an_administrator_closed_is_not_opened_by_a_synchronisation(
    world: World, okta: Directory
) -> None:
    made = okta.user("erin")
    world.client(okta.client.app, "admin").post("/api/v1/people/erin/deactivate")  # type: ignore[arg-type]
    path = f"/Users/{made['id']}"
    assert okta.ok("GET", path)["active"] is False
    assert okta.patch(path, {"op": "add", "path": "title", "value": "x"}).status_code == 200
    refused = okta.patch(path, {"op": "replace", "path": "active", "value": True})
    assert error(refused) == (409, None)
    assert "charter person reactivate" in refused.json()["detail"]


@spec("ID-3")
def test_the_last_administrator_is_not_switched_off_by_a_directory(
    world: World, okta: Directory
) -> None:
    made = okta.user("root")
    roles.bind_role(
        world.rt, world.admin, person="root", role="platform-admin", scope_kind="organisation",
        scope=None,
    )  # fmt: skip
    [own] = [
        each
        for each in roles.list_bindings(world.rt, world.admin, person="admin")["items"]
        if each["role"] == "platform-admin"
    ]
    roles.revoke_role(world.rt, world.admin, own["id"])
    path = f"/Users/{made['id']}"
    for answer in (
        okta.patch(path, {"op": "replace", "path": "active", "value": False}),
        okta.send("DELETE", path),
    ):
        assert error(answer) == (409, None)
        assert "last platform admin" in answer.json()["detail"]
    assert okta.ok("GET", path)["active"] is True


@spec("ID-3")
def test_what_is_no_scim_is_refused_in_scims_words(okta: Directory) -> None:
    made = okta.user("erin")
    path = f"/Users/{made['id']}"
    for answer, expected in (
        (okta.send("POST", "/Users", {"schemas": [USER]}), (400, "invalidValue")),
        (okta.send("POST", "/Users", {"schemas": [USER], "userName": "ERIN"}), (409, "uniqueness")),
        (
            okta.send("POST", "/Users", {"schemas": [USER], "userName": "a b"}),
            (400, "invalidValue"),
        ),
        (okta.client.post("/scim/v2/Users", content=b"{"), (400, "invalidSyntax")),
        (okta.client.post("/scim/v2/Users", content=b"[]"), (400, "invalidSyntax")),
        (okta.client.post("/scim/v2/Users", data={"a": "b"}), (415, "invalidSyntax")),
        (
            okta.patch(path, {"op": "replace", "path": "activ", "value": False}),
            (400, "invalidPath"),
        ),
        (okta.patch(path, {"op": "move", "path": "title"}), (400, "invalidValue")),
        (okta.patch(path, {"op": "remove"}), (400, "noTarget")),
        (okta.patch(path, {"op": "remove", "path": "userName"}), (400, "mutability")),
        (okta.send("GET", "/Users?filter=userName%20eq"), (400, "invalidFilter")),
        (okta.send("GET", "/Users?sortBy=emails"), (400, "invalidPath")),
        (okta.send("GET", "/Nothing"), (404, None)),
        (okta.send("POST", "/Bulk", {"Operations": []}), (501, None)),
        (okta.send("POST", "/ResourceTypes", {"a": 1}), (405, None)),
        (okta.send("PUT", "/Users", {"a": 1}), (405, None)),
    ):
        assert error(answer) == expected
