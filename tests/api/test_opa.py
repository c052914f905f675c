"""A real OPA works with Charter: it discovers, downloads, verifies, decides, logs, reports."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.testclient import TestClient

from charter.adapters.opa.bundle import opa_bundle
from charter.adapters.opa.client import OpaClient
from charter.adapters.rego.engine import EngineThread
from charter.api.app import build_api
from charter.core.policy.bundle import Bundle
from charter.core.policy.decide import decide
from charter.core.policy.result import parse_outcome
from charter.services import decisions, enforcement_points, opa_bundles, opa_reports, policies
from tests.api.served import served
from tests.peers import running_opa
from tests.policies.documents import base
from tests.spec import spec
from tests.support import STARTER, World

DOCUMENT = base("person creates")


def eventually(found: Callable[[], Any], seconds: float = 30) -> Any:
    """What `found` gives as soon as it is not None; another program takes its time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while (value := found()) is None:
        assert time.monotonic() < deadline, "it never happened"
        pause.wait(0.05)
    return value


@pytest.fixture
def token(world: World) -> str:
    made = enforcement_points.register(world.rt, world.admin, kind="opa", name="edge", settings={})
    return str(made["token"])


@pytest.fixture
def client(world: World, token: str) -> Iterator[TestClient]:
    """The API as the point sees it."""
    headers = {"Authorization": f"Bearer {token}"}
    with TestClient(build_api(world.rt), headers=headers) as client:
        yield client


def other_bundle() -> Bundle:
    """The starter policies with one more rule."""
    return STARTER.with_files(
        {
            "admission/extra.rego": "package admission.extra\n\nimport rego.v1\n\n"
            '# METADATA\n# title: "Closed"\n# custom:\n#   id: admission/closed\n'
            '#   severity: high\n#   fix: "Wait."\n'
            'deny contains {"id": "admission/closed", "message": "Closed today."} if '
            "input.context.closed\n"
        }
    )


@spec("PC-12")
@pytest.mark.slow
def test_a_real_opa_follows_charter_and_reports_to_it(
    world: World, token: str, opa: Path, tmp_path: Path
) -> None:
    with served(world) as here:
        secret, config = tmp_path / "token", tmp_path / "opa.json"
        secret.write_text(token)
        config.write_text(json.dumps(opa_bundles.first_configuration(here.rt, str(secret))))
        with (
            running_opa(opa, "--config-file", str(config), log=tmp_path / "log") as url,
            closing(OpaClient(url)) as client,
        ):

            def decided(document: dict[str, Any]) -> dict[str, Any] | None:
                body = json.dumps({"input": document}).encode()
                answer = client.json("POST", "/v1/data/charter/decision?provenance=true", body)
                return answer if "result" in answer else None

            answer = eventually(lambda: decided(DOCUMENT))
            assert answer["provenance"]["bundles"]["charter"]["revision"] == STARTER.digest
            for document in (DOCUMENT, {**DOCUMENT, "action": {"name": "no.such"}}, {}):
                theirs = parse_outcome(json.dumps((decided(document) or {})["result"]))
                with EngineThread(STARTER) as engine:
                    ours = engine.ask(document)
                assert decide(document, (), theirs) == decide(document, (), ours)

            eventually(lambda: _reported(world, STARTER.digest, {"allow", "deny"}))
            point = eventually(lambda: _status(world, STARTER.digest))
            assert point["drift"] is False
            assert point["last_status"]["errors"] == []

            # Another bundle is in force: OPA, which waits for it, decides by it at once, and so
            # does a rollback.
            closed = {**DOCUMENT, "context": {**DOCUMENT["context"], "closed": True}}
            bundle = other_bundle()
            files = {path: bundle.text(path) for path in bundle.files}
            policies.apply(world.rt, world.admin, files, "one more rule")
            started = time.monotonic()
            eventually(lambda: _effect(decided(closed), "deny"))
            followed = time.monotonic() - started
            eventually(lambda: _status(world, bundle.digest))
            policies.activate(world.rt, world.admin, STARTER.digest)
            eventually(lambda: _effect(decided(closed), "allow"))
            assert followed < 10


def _effect(answer: dict[str, Any] | None, wanted: str) -> bool | None:
    return True if answer is not None and answer["result"]["effect"] == wanted else None


def _reported(world: World, digest: str, effects: set[str]) -> bool | None:
    """Whether decisions with these effects were reported, made under that bundle."""
    items = opa_reports.list_page(world.rt, world.admin, "edge")["items"]
    found = {
        item["effect"]
        for item in items
        if item["revision"] == digest and item["path"] == "charter/decision"
    }
    return True if effects <= found else None


def _status(world: World, digest: str) -> dict[str, Any] | None:
    point = enforcement_points.get(world.rt, world.admin, "edge")
    status = point["last_status"]
    return point if status is not None and status["active_revision"] == digest else None


@spec("PC-12")
def test_a_real_opa_verifies_the_signature(world: World, opa: Path, tmp_path: Path) -> None:
    key = opa_bundles.signing_key(world.rt)
    public = tmp_path / "public.pem"
    public.write_text(opa_bundles.public_key(world.rt))
    good = tmp_path / "bundle.tar.gz"
    good.write_bytes(opa_bundle(STARTER, key))
    assert opa_bundle(STARTER, key) == good.read_bytes(), "the same bytes every time"
    unsigned, foreign = tmp_path / "unsigned.tar.gz", tmp_path / "foreign.tar.gz"
    unsigned.write_bytes(opa_bundle(STARTER))
    foreign.write_bytes(opa_bundle(STARTER, ec.generate_private_key(ec.SECP256R1())))
    for file, accepted in ((good, True), (unsigned, False), (foreign, False)):
        arguments = ("--bundle", str(file), "--verification-key", str(public), "--scope", "charter",
                     "--verification-key-id", "charter", "--signing-alg", "ES256")  # fmt: skip
        if not accepted:
            with pytest.raises(RuntimeError), running_opa(opa, *arguments):
                pass
            continue
        with running_opa(opa, *arguments) as url, closing(OpaClient(url)) as client:
            answer = client.json("GET", "/v1/data/charter/sources/evaluated")
            assert answer["result"] > 0


def test_the_bundle_is_there_once_and_waits_for_the_next(
    world: World, client: TestClient, token: str
) -> None:
    first = client.get("/opa/v1/bundles/charter.tar.gz")
    assert first.headers["etag"] == f'"{STARTER.digest}"'
    assert first.headers["content-type"] == "application/vnd.openpolicyagent.bundles"
    held = {"If-None-Match": first.headers["etag"]}
    assert client.get("/opa/v1/bundles/charter.tar.gz", headers=held).status_code == 304
    assert client.get("/opa/v1/bundles/other.tar.gz").json()["code"] == "resource_not_found"
    quick = {**held, "Prefer": "modes=snapshot,delta;wait=1"}
    assert client.get("/opa/v1/bundles/charter.tar.gz", headers=quick).status_code == 304
    bundle = other_bundle()
    files = {path: bundle.text(path) for path in bundle.files}
    policies.apply(world.rt, world.admin, files, "one more rule")
    patient = {**held, "Prefer": "wait=20"}
    assert client.get("/opa/v1/bundles/charter.tar.gz", headers=patient).headers["etag"] == (
        f'"{bundle.digest}"'
    )


# --- the data API -------------------------------------------------------------------------------
@spec("PC-12")
def test_the_data_api_decides_with_invariants_and_stores(world: World, client: TestClient) -> None:
    document = {**DOCUMENT, "subject": {"kind": "human", "id": "ria"}}
    answer = client.post("/opa/v1/data/charter/decision", json={"input": document}).json()
    assert answer["result"]["allow"] is False
    assert "invariant/permission" in {v["id"] for v in answer["result"]["violations"]}
    stored = decisions.get(world.rt, world.admin, answer["decision_id"])
    assert stored["effect"] == "deny"
    allow = client.post("/opa/v1/data/charter/allow", json={"input": document}).json()
    assert allow["result"] is False


def test_rules_and_settings_can_be_asked(client: TestClient) -> None:
    sizes = client.get("/opa/v1/data/settings/sizes").json()
    assert sizes["result"]
    assert sizes["warning"]["code"] == "api_usage_warning"
    given = json.dumps(DOCUMENT)
    facts = client.get("/opa/v1/data/charter/facts/action", params={"input": given}).json()
    assert facts == {"result": "workspace.create"}
    assert client.post("/opa/v1/data/no/such/thing", json={"input": {}}).json() == {}
    assert client.post("/opa/v0/data/charter/allow", json={}).json() is False
    missing = client.post("/opa/v0/data/no/such", json={})
    assert (missing.status_code, missing.json()["code"]) == (404, "undefined_document")
    assert client.get("/opa/health").json() == {}


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"input": NaN}', b'{"input": []}', b"\xff"])
def test_what_is_no_request_is_refused_in_opas_words(client: TestClient, body: bytes) -> None:
    answer = client.post("/opa/v1/data/charter/decision", content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_parameter"
    assert answer.json()["message"]


DOORS = (
    ("GET", "/opa/v1/discovery.tar.gz"),
    ("GET", "/opa/v1/bundles/charter.tar.gz"),
    ("POST", "/opa/v1/logs"),
    ("POST", "/opa/v1/status"),
    ("POST", "/opa/v1/data/charter/decision"),
    ("GET", "/opa/v1/data/settings"),
    ("POST", "/opa/v0/data/charter/allow"),
)


@pytest.mark.parametrize(("method", "path"), DOORS)
def test_only_the_token_of_a_point_of_this_kind_opens(world: World, method: str, path: str) -> None:
    other = enforcement_points.register(
        world.rt, world.admin, kind="authzen", name="gateway", settings={}
    )
    with TestClient(build_api(world.rt)) as client:
        for credential in (None, "nonsense", world.tokens["admin"], other["token"]):
            headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
            answer = client.request(method, path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["code"] == "unauthorized"
            assert answer.headers["www-authenticate"].startswith("Bearer")


# --- reports ------------------------------------------------------------------------------------
def entry(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "decision_id": f"d-{number}",
        "timestamp": "2026-03-02T08:59:59.123456789Z",
        "path": "/charter/decision",
        "bundles": {"charter": {"revision": STARTER.digest}},
        "input": {"subject": {"id": "x"}},
        "result": {"effect": "deny"},
        "erased": ["/input/secret"],
        "metrics": {"counter": 1},
        "something": "new",
        **fields,
    }


@spec("PC-12")
def test_logs_are_kept_once_and_without_what_nobody_needs(world: World, client: TestClient) -> None:
    packed = gzip.compress(json.dumps([entry(1), entry(2), entry(1), 7, {}]).encode())
    headers = {"Content-Encoding": "gzip"}
    assert client.post("/opa/v1/logs", content=packed, headers=headers).json()["kept"] == 2
    again = [entry(2), entry(3, result=True, input={"\ud800": "x" * 70_000})]
    plain = client.post("/opa/v1/logs", content=json.dumps(again))
    assert plain.json() == {"received": 2, "kept": 1}
    page = opa_reports.list_page(world.rt, world.admin, "edge", limit=2)
    assert [i["decision_id"] for i in page["items"]] == ["d-3", "d-2"]
    rest = opa_reports.list_page(world.rt, world.admin, "edge", cursor=page["next"])
    assert [i["decision_id"] for i in rest["items"]] == ["d-1"]
    first = rest["items"][0]
    assert (first["path"], first["effect"]) == ("charter/decision", "deny")
    assert first["erased"] == ["/input/secret"]
    assert set(first["entry"]) == {
        "bundles", "erased", "input", "path", "result", "timestamp"
    }  # fmt: skip
    assert page["items"][0]["entry"]["too_large"] is True


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"nonsense",
        gzip.compress(b"[" + b" " * 20_000_000 + b"]", mtime=0),
        gzip.compress(b"[]", mtime=0)[:-4],
        b"[" * 100_000,
    ],
)
def test_reports_that_are_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/opa/v1/logs", content=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "opa-report"


@spec("PC-12")
def test_a_status_leaves_a_summary_and_shows_drift(world: World, client: TestClient) -> None:
    status = {
        "labels": {"id": "i-1", "version": "1.22.2"},
        "bundles": {
            "charter": {
                "active_revision": "sha256:older",
                "code": "bundle_error",
                "message": "no space",
                "errors": [{"message": "x"}],
            }
        },
        "plugins": {"bundle": {"state": "OK"}},
        "metrics": {"prometheus": {"a": 1}},
    }
    assert client.post("/opa/v1/status", json=status).json() == {}
    point = enforcement_points.get(world.rt, world.admin, "edge")
    assert point["drift"] is True
    assert point["last_status"]["plugins"] == {"bundle": "OK"}
    assert point["last_status"]["errors"][0] == "charter: no space"
    assert "metrics" not in point["last_status"]
    assert client.post("/opa/v1/status", json=[]).status_code == 400
    for odd in ({}, {"bundles": 7, "plugins": [], "labels": "x"}, {"bundles": {"a": None}}):
        assert client.post("/opa/v1/status", json=odd).status_code == 200


def test_the_key_of_an_instance_is_made_once_and_kept_private(world: World) -> None:
    first = opa_bundles.public_key(world.rt)
    assert opa_bundles.public_key(world.rt) == first
    path = world.rt.state_dir / "keys" / "opa-bundles.key"
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = serialization.load_pem_public_key(first.encode())
    assert loaded.key_size == 256  # type: ignore[union-attr]
