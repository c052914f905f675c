"""OpenID AuthZEN 1.0, as its specification words it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from charter.api.app import build_api
from charter.services import decisions, enforcement_points
from tests.policies.documents import base, merged
from tests.policies.documents import spec as spec_of
from tests.spec import spec
from tests.support import World

DOCUMENT = base("person creates")
ONE = "/access/v1/evaluation"
MANY = "/access/v1/evaluations"


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    """The API as a gateway sees it that is registered as a point."""
    made = enforcement_points.register(
        world.rt, world.admin, kind="authzen", name="gateway", settings={}
    )
    headers = {"Authorization": f"Bearer {made['token']}"}
    with TestClient(build_api(world.rt), headers=headers) as client:
        yield client


def request(
    subject: str = "someone", action: str = "workspace.create", **resource: Any
) -> dict[str, Any]:
    """A stranger's request to create a small workspace, in AuthZEN's words."""
    known = {k: v for k, v in DOCUMENT["resource"].items() if k not in {"id", "kind"}}
    return {
        "subject": {
            "type": "user",
            "id": subject,
            "properties": {"roles": ["developer"], "teams": ["team_1"]},
        },
        "action": {"name": action},
        "resource": {"type": "workspace", "id": "new", "properties": {**known, **resource}},
        "context": {**DOCUMENT["context"], "request": DOCUMENT["request"]},
    }


def big() -> dict[str, Any]:
    """One that needs an approval."""
    document = merged(DOCUMENT, spec_of(resources={"cpu": 40}))
    asked = request()
    return {**asked, "context": {**asked["context"], "request": document["request"]}}


@spec("PC-12")
def test_one_evaluation_with_its_reasons_and_its_record(world: World, client: TestClient) -> None:
    answer = client.post(ONE, json=request(action="no.such"), headers={"X-Request-ID": "r-1"})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "r-1"
    body = answer.json()
    assert body["decision"] is False
    rules = {reason["rule"] for reason in body["context"]["reasons"]}
    assert "admission/unknown-action" in rules
    assert body["context"]["reason"]
    stored = decisions.get(world.rt, world.admin, body["context"]["id"])
    assert stored["effect"] == "deny"
    assert stored["facts"]["document"]["context"]["enforcement_point"]["name"] == "gateway"


@spec("PC-12", "ID-1")
def test_a_known_subject_is_held_against_their_roles(client: TestClient) -> None:
    body = client.post(ONE, json=request("ria")).json()
    assert body["decision"] is False
    assert "invariant/permission" in {r["rule"] for r in body["context"]["reasons"]}


@spec("PC-12", "AP-1")
def test_a_missing_approval_is_a_no_that_says_so(client: TestClient) -> None:
    body = client.post(ONE, json=big()).json()
    if body["context"]["effect"] == "require_approval":
        assert body["decision"] is False
        assert body["context"]["approval"]["required"] is True
        assert body["context"]["approval"]["approvers"]
    else:
        pytest.fail(f"not an approval: {body}")


@spec("PC-12")
def test_defaults_and_the_three_semantics(client: TestClient) -> None:
    good, bad = {}, {"action": {"name": "no.such"}}
    defaults = request()
    expected = {
        None: [True, False, True],
        "execute_all": [True, False, True],
        "deny_on_first_deny": [True, False],
        "permit_on_first_permit": [True],
    }
    for semantic, decided in expected.items():
        body = {**defaults, "evaluations": [good, bad, good]}
        if semantic is not None:
            body["options"] = {"evaluations_semantic": semantic}
        answers = client.post(MANY, json=body).json()["evaluations"]
        assert [a["decision"] for a in answers] == decided, semantic
    body = {**defaults, "options": {"evaluations_semantic": "guess"}, "evaluations": [good]}
    assert client.post(MANY, json=body).status_code == 400


def test_without_a_list_it_is_one_evaluation(client: TestClient) -> None:
    for extra in ({}, {"evaluations": []}):
        assert client.post(MANY, json={**request(), **extra}).json()["decision"] is True


def test_an_item_that_makes_no_sense_is_a_no_of_its_own(client: TestClient) -> None:
    items = [{}, {"subject": {"type": "user"}}, 7]
    answers = client.post(MANY, json={**request(), "evaluations": items}).json()["evaluations"]
    assert [a["decision"] for a in answers] == [True, False, False]
    assert answers[1]["context"]["error"]["status"] == 400


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {**request(), "subject": {"type": "user"}},
        {**request(), "action": "x"},
        {**request(), "resource": {"type": "workspace", "id": 7}},
        {**request(), "context": []},
        {**request(), "evaluations": {}},
        {**request(), "evaluations": [{}] * 101},
    ],
)
def test_what_is_no_request_is_a_400(client: TestClient, body: Any) -> None:
    path = MANY if isinstance(body, dict) and "evaluations" in body else ONE
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"] == "authzen-request"


@spec("ID-1")
def test_a_person_asks_about_themselves_only_and_nothing_is_stored(world: World) -> None:
    with TestClient(build_api(world.rt)) as client:
        mine = {"Authorization": f"Bearer {world.tokens['dana']}"}
        about_me = client.post(ONE, json=request("dana"), headers=mine)
        assert about_me.status_code == 200
        assert about_me.json()["context"]["id"] is None
        assert client.post(ONE, json=request("lee"), headers=mine).status_code == 403
        items = {**request("dana"), "evaluations": [{}, {"subject": {"type": "user", "id": "lee"}}]}
        answers = client.post(MANY, json=items, headers=mine).json()["evaluations"]
        assert answers[1]["context"]["error"]["status"] == 403


def test_only_who_may_ask_is_answered(world: World) -> None:
    other = enforcement_points.register(world.rt, world.admin, kind="opa", name="edge", settings={})
    with TestClient(build_api(world.rt)) as client:
        for credential in (None, "nonsense", other["token"]):
            headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
            answer = client.post(ONE, json=request(), headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_metadata_names_what_is_there(client: TestClient) -> None:
    found = client.get("/.well-known/authzen-configuration").json()
    base_url = found["policy_decision_point"]
    for name, path in (("evaluation", ONE), ("evaluations", MANY)):
        assert found[f"access_{name}_endpoint"] == f"{base_url}{path}"
        assert client.post(path, json=request()).status_code == 200
