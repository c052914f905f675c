"""Whatever is sent, the answer is a 4xx problem document with a sentence, a code and a next step.

Never a 500 and never a stack trace. Each case is sent by somebody who could do it if it were right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

from tests.api.requests import API, WORKSPACE
from tests.api.stage import Stage
from tests.spec import spec

WS = f"{API}/workspaces"
NUL, SURROGATE = "a\x00b", '"\\ud800"'
_CODE = re.compile(r"^[a-z][a-z0-9-]+$")


def check(answer: Any, *statuses: int) -> dict[str, Any]:
    """The problem document of a refusal, after checking its shape."""
    assert answer.status_code in (statuses or range(400, 500)), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"type", "title", "status", "code", "detail", "fix", "details"}
    assert body["status"] == answer.status_code
    assert _CODE.match(body["code"])
    assert body["type"].endswith(body["code"])
    for sentence in (body["detail"], body["fix"]):
        assert len(sentence) > 10
        assert sentence.rstrip()[-1] in ".!?", sentence
    for leak in ("Traceback", 'File "', "psycopg", "sqlalchemy", "SELECT ", "/src/"):
        assert leak not in answer.text
    return body


def ask(**changes: object) -> dict[str, object]:
    return {**WORKSPACE, **changes}


HUGE = 10**30
BAD_WORKSPACES: dict[str, dict[str, object]] = {
    "unknown template": ask(template="nothing-like-it"),
    "unknown version": ask(template="python@9.9.9"),
    "path as template": ask(template="../../etc/passwd"),
    "unknown size": ask(size="gigantic"),
    "unknown team": ask(team="nobodys"),
    "unknown project": ask(project="nobodys"),
    "negative CPU": ask(vcpu=-1),
    "no CPU": ask(vcpu=0),
    "CPU as text": ask(vcpu="4"),
    "CPU as fraction": ask(vcpu=1.5),
    "CPU as truth": ask(vcpu=True),
    "huge CPU": ask(vcpu=HUGE),
    "largest CPU": ask(vcpu=2**31 - 1),
    "huge memory": ask(memory_mib=HUGE),
    "largest disk": ask(disk_mib=2**31 - 1),
    "negative GPU": ask(gpu=-1),
    "unknown field": ask(vcpus=2),
    "name missing": {"template": "python"},
    "name empty": ask(name=""),
    "name of capitals": ask(name="API"),
    "name with a line end": ask(name="api\n"),
    "name with NUL": ask(name=NUL),
    "name too long": ask(name="a" * 64),
    "name as number": ask(name=7),
    "name as list": ask(name=["api"]),
    "name null": ask(name=None),
    "network unknown": ask(network="everything"),
    "allowlist of a star": ask(egress_allowlist=["*"]),
    "allowlist of an address": ask(egress_allowlist=["http://git.example.org/"]),
    "allowlist of 1000": ask(egress_allowlist=["git.example.org"] * 1000),
    "allowlist as text": ask(egress_allowlist="git.example.org"),
    "label key of spaces": ask(labels={"a b": "c"}),
    "label as list": ask(labels=["a"]),
    "justification blank": ask(justification="   \n"),
    "justification with NUL": ask(justification=NUL),
    "justification too long": ask(justification="a" * 2001),
}


@spec("UX-3")
@pytest.mark.parametrize("body", BAD_WORKSPACES.values(), ids=BAD_WORKSPACES)
def test_a_workspace_that_cannot_be(stage: Stage, body: dict[str, object]) -> None:
    for route in (WS, f"{WS}/preview"):
        with stage.undone():
            answer = stage.send("dana", "POST", route, json=body)
        if answer.status_code == 200:  # a preview answers what would be decided
            assert answer.json()["decision"]["effect"] == "deny"
        else:
            check(answer, 403, 404, 409, 422)


MALFORMED = {
    "no JSON": b"{",
    "empty": b"",
    "text": b"hello",
    "null": b"null",
    "a list": b"[]",
    "a number": b"7",
    "two documents": b"{}{}",
    "invalid UTF-8": b'{"name": "\xff\xfe", "template": "python"}',
    "invalid UTF-8 outside text": b"\xff",
    "a lone surrogate": b'{"name": "api", "template": "python", "justification": "\\ud800"}',
    "a lone surrogate as key": b'{"name": "api", "template": "python", "\\ud800": 1}',
    "NUL": b'{"name": "a\\u0000b", "template": "python"}',
    "not a number": b'{"name": "api", "template": "python", "vcpu": NaN}',
    "infinite": b'{"name": "api", "template": "python", "vcpu": 1e999}',
    "4000 digits": b'{"name": "api", "template": "python", "vcpu": ' + b"9" * 4000 + b"}",
    "100000 digits": b'{"name": "api", "template": "python", "vcpu": ' + b"9" * 100_000 + b"}",
    "100000 brackets": b"[" * 100_000,
    "100000 objects": b'{"labels":' * 100_000,
    "UTF-16": '{"name": "api"}'.encode("utf-16"),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "", "application/json; x=\xff"])
def test_a_body_that_is_no_such_document(stage: Stage, body: bytes, kind: str) -> None:
    headers = {"content-type": kind.encode("latin-1")}
    for method, route in (("POST", WS), ("POST", f"{API}/agents"), ("POST", f"{API}/sign-in")):
        with stage.undone():
            check(stage.send("dana", method, route, content=body, headers=headers), 400, 415, 422)


def chunks(total: int) -> Iterator[bytes]:
    yield b'{"name": "'
    for _ in range(total // 65_536):
        yield b"a" * 65_536
    yield b'"}'


@pytest.mark.parametrize("who", ["dana", "nobody"])
@pytest.mark.parametrize("route", [WS, f"{API}/sign-in", f"{API}/nowhere"])
def test_ten_megabytes_are_refused_early(stage: Stage, who: str, route: str) -> None:
    ten = 10 * 1024 * 1024
    declared = stage.send(who, "POST", route, content=b"a" * ten)
    assert check(declared, 413)["code"] == "body-too-large"
    taken = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for piece in chunks(ten):
            taken += len(piece)
            yield piece

    chunked = stage.send(
        who, "POST", route, content=counted(), headers={"content-type": "application/json"}
    )
    check(chunked, 401, 404, 413)


ODD_PATHS = (
    f"{WS}/%FF",
    f"{WS}/%C3%28",
    f"{WS}/a%00b",
    f"{WS}/..%2F..%2Fetc",
    f"{WS}/" + "a" * 5000,
    f"{WS}/%20",
    f"{WS}/-",
    f"{WS}/a%0Ab",
    f"{WS}/%F0%9F%92%A9",
    f"{WS}?q=%FF",
    f"{WS}?q=%00",
    f"{WS}?cursor=%27%20OR%201%3D1",
    f"{WS}?limit=0",
    f"{WS}?limit=-5",
    f"{WS}?limit=201",
    f"{WS}?limit=" + "9" * 400,
    f"{WS}?limit=ten",
    f"{WS}?deleted=maybe",
    f"{API}/approvals?state=lost",
    f"{API}/audit/events?cursor=" + "9" * 101,
    f"{API}/policies/rules/%FF",
    f"{API}/policies/rules/admission/none-such",
    f"{API}/policies/rules/../../secrets",
    f"{API}/policies/bundles/sha256:xyz/activate",
    f"{API}/nowhere",
    "/api/v2/me",
    "/%FF",
)


@pytest.mark.parametrize("path", ODD_PATHS, ids=lambda path: path[-40:])
def test_a_path_or_query_that_means_nothing(stage: Stage, path: str) -> None:
    method = "POST" if path.endswith("activate") else "GET"
    for who in ("admin", "nobody"):
        check(stage.send(who, method, httpx.URL(path)))


def test_large_but_well_formed_numbers_in_cursors_find_nothing(stage: Stage) -> None:
    for cursor in ("9" * 100, "0", "-1", "x", "1.5"):
        answer = stage.send("admin", "GET", f"{API}/audit/events", params={"cursor": cursor})
        assert answer.status_code == 200 or check(answer, 422)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_a_route_does_not_have(stage: Stage, method: str) -> None:
    answer = stage.send("dana", method, f"{API}/sign-in")
    assert check(answer, 405)["code"] == "method-not-allowed"
    assert answer.headers["allow"] == "POST"


CREDENTIALS = {
    "no scheme": b"abc",
    "another scheme": b"Basic ZGFuYTpkYW5h",
    "an empty token": b"Bearer ",
    "a space in it": b"Bearer a b",
    "bytes": b"Bearer \xff\xfe",
    "half of one": b"Bearer charter_pat_",
    "a JWT without signature": b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZ3RfMSJ9.",
    "a JWT of another key": b"Bearer eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJhIn0." + b"A" * 86,
    "dots": b"Bearer ...",
    "200 kB": b"Bearer " + b"a" * 200_000,
}


@spec("ID-6")
@pytest.mark.parametrize("header", CREDENTIALS.values(), ids=CREDENTIALS)
def test_a_credential_that_is_none(stage: Stage, header: bytes) -> None:
    for method, path in (("GET", f"{API}/me"), ("POST", WS)):
        answer = stage.client.request(method, path, headers={"authorization": header})
        assert check(answer, 401)["code"] == "unauthenticated"


@pytest.mark.parametrize("cookie", ["", "x", "charter_ses_", "a" * 10_000, "%00", '"'])
def test_a_session_that_is_none(stage: Stage, cookie: str) -> None:
    answer = stage.client.get(f"{API}/me", headers={"cookie": f"charter_session={cookie}"})
    check(answer, 401)


def test_an_expired_token_says_how_to_go_on(stage: Stage) -> None:
    body = check(stage.send("expired", "GET", f"{API}/me"), 401)
    assert "expired" in body["detail"]
    assert "charter login" in body["fix"]


KEYS = {
    "empty": b"",
    "too long": b"k" * 201,
    "control": b"a\x01b",
    "not ASCII": b"\xff",
    "tab": b"a\tb",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_an_idempotency_key_that_is_none(stage: Stage, key: bytes) -> None:
    for route, body in ((WS, WORKSPACE), (f"{API}/agents", {"name": "x", "task": "y"})):
        with stage.undone():
            answer = stage.send("dana", "POST", route, json=body, headers={"idempotency-key": key})
        if answer.status_code < 400:
            assert answer.json()["workspace"]["name"] == "fresh"
        else:
            check(answer, 403, 422)


@spec("UX-3")
def test_an_idempotency_key_belongs_to_one_request_of_one_caller(stage: Stage) -> None:
    key = {"idempotency-key": "one"}
    with stage.undone():
        first = stage.send("dana", "POST", WS, json=WORKSPACE, headers=key)
        again = stage.send("dana", "POST", WS, json=WORKSPACE, headers=key)
        other = stage.send("dana", "POST", WS, json=ask(name="second"), headers=key)
        lees = stage.send("lee", "POST", WS, json=WORKSPACE, headers=key)
        sponsored = stage.send(
            "dana", "POST", f"{API}/agents", json={"name": "a", "task": "b"}, headers=key
        )
    assert first.status_code == again.status_code == lees.status_code == 201
    assert first.json()["workspace"]["id"] == again.json()["workspace"]["id"]
    assert lees.json()["workspace"]["id"] != first.json()["workspace"]["id"]
    assert check(other, 409)["code"] == "idempotency-key-reused"
    assert check(sponsored, 409)["code"] == "idempotency-key-reused"


FILE_PATHS = (
    "/etc/passwd",
    "../../../etc/passwd",
    "a/../../b",
    "note/../../../x",
    "./../x",
    "a\x00b",
    "a" * 2000,
    "",
    "a\nb/../..",
    "nothing-here/at-all",
)


@spec("PV-1")
@pytest.mark.parametrize("path", FILE_PATHS, ids=repr)
def test_a_file_outside_the_workspace(stage: Stage, path: str) -> None:
    files = f"{WS}/{stage.ids['workspace']}/files"
    with stage.undone():
        check(stage.send("dana", "GET", files, params={"path": path}), 400, 404, 409, 422)
        if "nothing-here" not in path:
            body = {"content": "x"}
            answer = stage.send("dana", "PUT", files, params={"path": path}, json=body)
            check(answer, 400, 409, 422)


def test_a_link_out_of_the_workspace_is_not_followed(stage: Stage) -> None:
    workspace = f"{WS}/{stage.ids['workspace']}"
    link = {"command": ["sh", "-c", "ln -sf /etc/passwd way-out; ln -sfn / root-of-all"]}
    with stage.undone():
        assert stage.send("dana", "POST", f"{workspace}/execute", json=link).status_code == 200
        for path in ("way-out", "root-of-all/etc/passwd"):
            answer = stage.send("dana", "GET", f"{workspace}/files", params={"path": path})
            if answer.status_code == 200:  # inside the confinement it is the sandbox's own file
                assert "dana" not in answer.json()["content"]
                assert "root:" in answer.json()["content"]
            else:
                check(answer, 404, 409, 422)


COMMANDS: dict[str, dict[str, object]] = {
    "none": {"command": []},
    "text": {"command": "ls"},
    "NUL": {"command": ["a\x00b"]},
    "too many": {"command": ["a"] * 300},
    "for ever": {"command": ["true"], "timeout_seconds": 10_000},
    "not long": {"command": ["true"], "timeout_seconds": 0},
    "NUL in stdin": {"command": ["true"], "stdin": "\x00"},
}


@pytest.mark.parametrize("body", COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_is_none(stage: Stage, body: dict[str, object]) -> None:
    with stage.undone():
        check(stage.send("dana", "POST", f"{WS}/{stage.ids['workspace']}/execute", json=body), 422)


def test_a_command_that_does_not_exist_is_a_result(stage: Stage) -> None:
    with stage.undone():
        answer = stage.send(
            "dana",
            "POST",
            f"{WS}/{stage.ids['workspace']}/execute",
            json={"command": ["no-such-program"]},
        )
    assert answer.status_code == 200
    assert answer.json()["exit_code"] == 127


POLICIES: dict[str, dict[str, object]] = {
    "no files": {"files": {}},
    "no Rego": {"files": {"admission/x.rego": "this is not Rego"}},
    "no JSON": {"files": {"data/limits.json": "{"}},
    "path out": {"files": {"../x.rego": "package x"}},
    "NUL": {"files": {"admission/x.rego": "package x\x00"}},
    "NUL in a path": {"files": {"admission/\x00.rego": "package x"}},
    "files as list": {"files": ["package x"]},
}


@spec("PC-3")
@pytest.mark.parametrize("body", POLICIES.values(), ids=POLICIES)
def test_a_bundle_that_cannot_decide(stage: Stage, body: dict[str, object]) -> None:
    with stage.undone():
        check(stage.send("admin", "POST", f"{API}/policies/bundles", json=body), 400, 422)
        state = stage.send("admin", "GET", f"{API}/policies/active")
    assert state.json()["digest"] == stage.ids["digest"]


PEOPLE: dict[str, tuple[str, dict[str, object]]] = {
    "handle of spaces": ("people", {"handle": "a b"}),
    "handle taken": ("people", {"handle": "dana"}),
    "no time zone": ("people", {"handle": "newcomer", "time_zone": "Moon/Base"}),
    "path as time zone": ("people", {"handle": "newcomer", "time_zone": "../../etc/passwd"}),
    "name with NUL": ("people", {"handle": "newcomer", "display_name": NUL}),
    "name empty": ("people", {"handle": "newcomer", "display_name": "a" * 201}),
    "team taken": ("teams", {"name": "payments"}),
    "member unknown": ("teams/payments/members", {"person": "nobody-here"}),
    "team unknown": ("teams/nowhere/members", {"person": "dana"}),
    "project taken": ("projects", {"name": "", "team": "payments"}),
    "project of no team": ("projects", {"name": "x", "team": "nowhere"}),
    "role unknown": ("role-bindings", {"person": "otto", "role": "owner"}),
    "role of agents": ("role-bindings", {"person": "otto", "role": "agent"}),
    "role of spaces": ("role-bindings", {"person": "otto", "role": "read only"}),
    "role of nobody": ("role-bindings", {"person": "nobody-here", "role": "developer"}),
    "role nowhere": (
        "role-bindings",
        {"person": "otto", "role": "developer", "scope_kind": "team", "scope": "nowhere"},
    ),
    "role in no team": (
        "role-bindings",
        {"person": "otto", "role": "developer", "scope_kind": "team"},
    ),
    "role that has ended": (
        "role-bindings",
        {"person": "otto", "role": "developer", "expires_at": "2020-01-01T00:00:00Z"},
    ),
    "role without a time zone": (
        "role-bindings",
        {"person": "otto", "role": "developer", "expires_at": "2030-01-01T00:00:00"},
    ),
    "role until the year 99999": (
        "role-bindings",
        {"person": "otto", "role": "developer", "expires_at": "+99999-01-01T00:00:00Z"},
    ),
    "role until the end of time": (
        "role-bindings",
        {"person": "otto", "role": "developer", "expires_at": 1e300},
    ),
    "template taken": ("templates", {"name": "python", "version": "1.0.0", "title": "Python"}),
    "template version": ("templates", {"name": "python", "version": "one", "title": "Python"}),
    "template variable": (
        "templates",
        {"name": "x", "version": "1.0.0", "title": "x", "environment": {"a=b": "c"}},
    ),
    "template approval": ("templates/none@1.0.0/approval", {"approved": True}),
    "token too long": ("tokens", {"name": "x", "days": 365}),
    "token for no time": ("tokens", {"name": "x", "days": 0}),
    "token name of lines": ("tokens", {"name": "a\nb"}),
    "replay of nothing": ("decisions/replay", {"limit": 0}),
    "replay of all": ("decisions/replay", {"limit": HUGE}),
    "impact of nothing": ("policies/impact", {}),
    "impact of two things": ("policies/impact", {"files": {}, "digest": "sha256:" + "0" * 64}),
    "impact of no bundle": ("policies/impact", {"digest": "sha256:" + "0" * 64}),
    "impact of a null character": ("policies/impact", {"files": {"a.rego": "package a\0"}}),
    "impact of a path outside": ("policies/impact", {"files": {"../a.rego": "package a"}}),
    "impact over no days": ("policies/impact", {"files": {}, "days": 0}),
    "impact run of nobody": ("policies/impact/imp_0/cancel", {}),
    "approval of nothing": ("approvals/apr_0/approve", {}),
    "notice of nobody": ("notices/ntc_0/read", {}),
}


@pytest.mark.parametrize(("path", "body"), PEOPLE.values(), ids=PEOPLE)
def test_what_an_admin_may_get_wrong(stage: Stage, path: str, body: dict[str, object]) -> None:
    with stage.undone():
        check(stage.send("admin", "POST", f"{API}/{path}", json=body), 404, 409, 422)


AGENTS: dict[str, dict[str, object]] = {
    "unknown tier": {"tier": "root"},
    "no time": {"minutes": 0},
    "a year": {"minutes": 525_600},
    "task of lines": {"task": "a\nb"},
    "repository of a star": {"repositories": ["git.example.org/*"]},
    "repository as option": {"repositories": ["--upload-pack=x"]},
    "51 repositories": {"repositories": ["a/b"] * 51},
}


@pytest.mark.parametrize("change", AGENTS.values(), ids=AGENTS)
def test_an_agent_that_cannot_be(stage: Stage, change: dict[str, object]) -> None:
    body = {"name": "helper", "task": "Tidy.", "repositories": ["a/b"], **change}
    with stage.undone():
        check(stage.send("dana", "POST", f"{API}/agents", json=body), 403, 422)


def test_the_openapi_document_is_json_and_names_every_error_as_a_problem(stage: Stage) -> None:
    answer = stage.client.get(f"{API}/openapi.json")
    document = json.loads(answer.text)
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")):
                    assert list(response["content"]) == ["application/problem+json"], operation
