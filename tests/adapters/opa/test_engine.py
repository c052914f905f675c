"""A real OPA as the engine: it decides like the built-in one, and a failure is a deny."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from bench.decisions import documents
from charter.adapters.opa.client import OpaClient, OpaError
from charter.adapters.opa.engine import OpaEngine
from charter.adapters.opa.parity import compare
from charter.adapters.opa.prefix import moved
from charter.adapters.rego.engine import RegorusEngine
from charter.adapters.rego.load import shipped_bundle
from charter.adapters.rego.syntax import PolicyRefusedError
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import Bundle
from charter.core.policy.decide import decide
from charter.core.policy.result import PolicyFailure, PolicyOutcome, parse_outcome
from tests.peers import running_opa
from tests.spec import spec

SHIPPED = shipped_bundle()


def small(rule: str, *, test: str = "", **files: str) -> Bundle:
    """The aggregator and data as shipped, with one rule module and perhaps a test."""
    kept = {
        path: SHIPPED.text(path) for path in SHIPPED.files if path.startswith(("lib/", "data/"))
    }
    for document in ("enforcement", "exemptions", "approvals"):
        text = json.loads(kept[f"data/{document}.json"])
        if document == "exemptions":
            text["exemptions"] = []
        elif document == "enforcement":
            text = {"rules": {}}
        else:
            text["rules"] = {}
        kept[f"data/{document}.json"] = json.dumps(text)
    kept["admission/own.rego"] = f"package admission.own\n\nimport rego.v1\n{rule}"
    if test:
        kept["tests/own_test.rego"] = f"package admission.own_test\n\nimport rego.v1\n{test}"
    return Bundle({**kept, **files})


@spec("PC-12")
# OPA compiles everything again for each module that it is given.
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_opa_decides_every_kind_of_document_like_the_builtin_engine(opa_client: OpaClient) -> None:
    builtin = RegorusEngine(SHIPPED)
    with OpaEngine(SHIPPED, opa_client) as engine:
        assert (engine.name, engine.digest) == ("opa", SHIPPED.digest)
        assert engine.version[0].isdigit()
        for document in documents()[::4]:
            ours, theirs = builtin.evaluate(document), engine.evaluate(document)
            assert isinstance(ours, str)
            assert isinstance(theirs, str)
            facts = json.loads(document)
            assert decide(facts, (), parse_outcome(ours)) == decide(
                facts, (), parse_outcome(theirs)
            )
    assert opa_client.json("GET", "/v1/policies")["result"] == []
    assert isinstance(engine.evaluate("{}"), PolicyFailure)


def test_two_bundles_stand_side_by_side(opa_client: OpaClient) -> None:
    says = small('deny contains "A says no." if input.x == 1')
    other = small('deny contains "B says no." if input.x == 1')
    with OpaEngine(says, opa_client) as first, OpaEngine(other, opa_client) as second:
        for engine, word in ((first, "A"), (second, "B")):
            outcome = parse_outcome(str(engine.evaluate('{"x":1}')))
            assert isinstance(outcome, PolicyOutcome)
            assert [v.message for v in outcome.violations] == [f"{word} says no."]


@spec("PC-2")
def test_an_opa_that_lost_the_policy_is_given_it_again(opa_client: OpaClient) -> None:
    with OpaEngine(small('deny contains "No." if input.x == 1'), opa_client) as engine:
        there = [entry["id"] for entry in opa_client.json("GET", "/v1/policies")["result"]]
        deciding = next(name for name in there if name.endswith("sources.rego"))
        opa_client.send("DELETE", f"/v1/policies/{deciding}")
        outcome = parse_outcome(str(engine.evaluate('{"x":1}')))
        assert isinstance(outcome, PolicyOutcome)
        assert len(outcome.violations) == 1


@spec("PC-2")
def test_an_opa_that_is_gone_is_a_deny(opa: Path) -> None:
    with running_opa(opa) as url:
        engine = OpaEngine(small('deny contains "No." if input.x == 1'), OpaClient(url))
    failure = engine.evaluate('{"x":2}')
    assert isinstance(failure, PolicyFailure)
    assert failure.code == "policy-engine-unreachable"
    assert not decide({}, (), failure).allowed
    engine.close()


@spec("PC-2")
def test_a_failing_builtin_is_a_failure_that_quotes_nothing(opa_client: OpaClient) -> None:
    bundle = small('deny contains "No." if to_number(input.secret) > 1')
    with OpaEngine(bundle, opa_client) as engine:
        failure = engine.evaluate('{"secret":"hunter2"}')
    assert isinstance(failure, PolicyFailure)
    assert "hunter2" not in failure.message


def test_what_opa_refuses_is_refused_by_file(opa_client: OpaClient) -> None:
    with pytest.raises(PolicyRefusedError) as refused:
        OpaEngine(small('deny contains "No." if strings.no_such_thing(input.x)'), opa_client)
    assert "own.rego" in str(refused.value.message)
    assert "charter_bundles" not in str(refused.value.message)
    assert opa_client.json("GET", "/v1/policies")["result"] == []


@spec("PC-12")
# OPA compiles everything again for each module that it is given.
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_shipped_bundle_is_the_same_to_both_engines(opa_client: OpaClient) -> None:
    facts = {
        "document": json.loads(documents()[0]), "subject": None, "resource": None, "quota": None,
        "grants": [], "known_obligations": [], "enforcement_point": {"own_agents": True},
    }  # fmt: skip
    found = compare(SHIPPED, opa_client, [("dec_1", facts)])
    assert found.differences == ()
    assert found.tests > 100
    assert found.decisions == 1
    assert found.engine.startswith("opa 1.")


@spec("PC-12")
def test_a_difference_names_test_rule_and_decision(
    opa_client: OpaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the future keyword `not` means another thing in each engine for what is undefined. The
    # loader refuses every place that is known to be read differently; this is one more.
    monkeypatch.setattr("charter.adapters.rego.assemble.misread", lambda _: [])
    bundle = small(
        'deny contains "No image." if not startswith(input.image, "good/")',
        test='test_it if { count(data.admission.own.deny) == 1 with input as {"other": 1} }',
    )
    facts = {
        "document": {
            "subject": {"id": "x"}, "action": {"name": "y"}, "resource": {"kind": "z"},
            "context": {"now": "2026-03-02T09:00:00.000000Z"},
        },
        "subject": None, "resource": None, "quota": None, "grants": [], "known_obligations": [],
        "enforcement_point": {"own_agents": True},
    }  # fmt: skip
    found = compare(bundle, opa_client, [("dec_7", facts)])
    assert not found.agrees
    assert [(d.kind, d.name) for d in found.differences] == [
        ("test", "data.admission.own_test.test_it"),
        ("decision", "dec_7"),
    ]
    assert found.differences[1].rules == ("admission.own/deny",)
    assert found.differences[1].show() == (
        "decision dec_7 (admission.own/deny): here deny, OPA allow"
    )


def test_only_names_of_the_language_are_moved() -> None:
    text = (
        "# package data.x\npackage admission.own\nimport data.charter.facts\n"
        'x := data["a"].data if { input.data == "data.b" } # data\ny := `data.c`\nz := metadata\n'
    )
    assert moved(text, "p.q") == (
        "# package data.x\npackage p.q.admission.own\nimport data.p.q.charter.facts\n"
        'x := data.p.q["a"].data if { input.data == "data.b" } # data\ny := `data.c`\n'
        "z := metadata\n"
    )


# --- the client ---------------------------------------------------------------------------------
class Handler(http.server.BaseHTTPRequestHandler):
    seen: ClassVar[list[str | None]] = []
    body: ClassVar[bytes] = b"not json"

    def do_GET(self) -> None:
        self.seen.append(self.headers["Authorization"])
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def stranger() -> Iterator[str]:
    """Something that answers and is no OPA."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_token_is_read_anew_and_strangers_are_no_engine(stranger: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    client = OpaClient(stranger, token_file=token)
    with pytest.raises(OpaError):
        client.version()
    for secret in ("one", "two"):
        token.write_text(f"{secret}\n")
        with pytest.raises(OpaError):
            client.version()
    assert Handler.seen[-2:] == ["Bearer one", "Bearer two"]
    client.close()


@pytest.mark.parametrize("url", ["ftp://x", "http://", "127.0.0.1:8181", "http://x/?a=b"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        OpaClient(url)
