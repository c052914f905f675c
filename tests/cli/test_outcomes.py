"""How commands end: exit codes, sentences, decisions, waiting, passing a command's output on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from charter.api import schemas as s
from charter.cli.errors import ExitCode
from tests.cli import answers as a
from tests.cli.conftest import Request
from tests.spec import spec

DENIED = a.reason(
    rule="admission/template-not-approved",
    effect="deny",
    message="The template scratch is not approved.",
    fix="Use python.",
    approvers=[],
    requires=[],
    grant_seconds=None,
)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "unauthenticated", ExitCode.NOT_SIGNED_IN),
        (403, "denied", ExitCode.REFUSED),
        (403, "approval-required", ExitCode.APPROVAL_REQUIRED),
        (404, "not-found", ExitCode.REFUSED),
        (409, "conflict", ExitCode.REFUSED),
        (422, "invalid-input", ExitCode.REFUSED),
        (429, "too-many", ExitCode.REFUSED),
        (500, "internal-error", ExitCode.REFUSED),
        (503, "unavailable", ExitCode.UNAVAILABLE),
    ],
)
def test_exit_codes(status: int, code: str, expected: ExitCode, server: Any, charter: Any) -> None:
    server.answers["GET /workspaces/api"] = a.problem(status, code)
    ended = charter("workspace", "show", "api")
    assert ended.code == expected
    assert ended.out == ""
    assert ended.err.splitlines() == [
        "error: It was refused.",
        "next:  Do something else.",
        f"code:  {code}",
    ]


def test_exit_codes_are_documented(charter: Any) -> None:
    shown = charter("--help").out
    for code in ExitCode:
        assert f"{code.value}  " in shown


def test_nobody_answers(charter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARTER_TOKEN", "t")
    ended = charter("overview", "--url", "http://127.0.0.1:1", "--json")
    assert ended.code == 5
    problem = json.loads(ended.err)
    assert problem["code"] == "server-unreachable"
    assert "./dev up" in problem["fix"]
    assert "status" not in problem


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (502, b"<html>"), (302, b""), (404, {"detail": "x"})]
)
def test_something_else_answers(status: int, body: Any, server: Any, charter: Any) -> None:
    server.on("GET /overview", body, status)
    ended = charter("overview")
    assert ended.code == 5
    assert "unexpected-answer" in ended.err


@pytest.mark.parametrize(
    "line",
    [
        ["nosuch"],
        ["worksapce", "list"],
        ["workspace", "create"],
        ["workspace", "show", ""],
        ["workspace", "show", ".."],
        ["workspace", "list", "--limit", "0"],
        ["workspace", "create", "x", "-t", "python", "--memory", "lots"],
        ["workspace", "create", "x", "-t", "python", "--label", "novalue"],
        ["workspace", "delete", "x"],
        ["agent", "create", "x", "--task", "t", "--for", "soon"],
        ["role", "grant", "x", "developer", "--team", "a", "--project", "b"],
        ["role", "grant", "x", "developer", "--until", "tomorrow"],
        ["role", "grant", "x", "developer", "--until", "2027-01-01", "--days", "3"],
        ["overview", "--url", "ftp://x"],
        ["overview", "--url", "http://x:port"],
        ["audit", "verify", "/nonexistent/file"],
        ["up", "--json"],
        [],
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_misuse_ends_with_2(line: list[str], as_json: bool, server: Any, charter: Any) -> None:
    ended = charter(*line, *(["--json"] if as_json else []))
    assert ended.code == 2
    assert ended.out == ""
    assert server.requests == []
    if as_json:
        assert json.loads(ended.err)["code"] == "usage"
    else:
        assert "Traceback" not in ended.err


def test_a_misspelt_command_is_answered_with_the_right_one(charter: Any) -> None:
    assert "'workspace'" in charter("worksapce", "list").err


def test_a_denial_names_rule_fix_and_source(server: Any, charter: Any) -> None:
    decision = a.wire(a.decision("deny", DENIED))
    server.answers["POST /workspaces"] = a.problem(
        403, "denied", detail=DENIED.message, fix=DENIED.fix, details={"decision": decision}
    )
    ended = charter("workspace", "create", "x", "-t", "scratch")
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.count(DENIED.message) == 1, "what was said is not said again"
    assert DENIED.rule in ended.err
    assert "admission/workspace-limits.rego:69" in ended.err
    assert "charter explain last (or: charter explain dec_1)" in ended.err


@spec("AP-7")
def test_an_approval_ends_with_3_and_says_who_may_give_it(server: Any, charter: Any) -> None:
    waits = a.outcome(decision=a.decision("require_approval", a.reason()), approval=a.approval())
    server.on("POST /workspaces", waits, 202)
    line = ["workspace", "create", "big", "-t", "python", "--vcpu", "40"]
    ended = charter(*line)
    assert ended.code == 3
    for expected in ("approval required", "team-lead, platform-admin", "apr_1", "justification"):
        assert expected in ended.out
    ended = charter(*line, "--json")
    assert ended.code == 3
    assert ended.document["approval"]["id"] == "apr_1"
    assert ended.err == ""


@pytest.mark.parametrize(
    ("effect", "code"), [("allow", 0), ("warn", 0), ("require_approval", 3), ("deny", 1)]
)
def test_preview_ends_as_the_request_would(
    effect: str, code: int, server: Any, charter: Any
) -> None:
    found = a.PREVIEW.model_copy(
        update={"decision": a.decision(effect, a.reason(effect=effect), id=None)}
    )
    server.on("POST /workspaces/preview", a.wire(found))
    ended = charter("workspace", "preview", "x", "-t", "python", "--json")
    assert ended.code == code
    assert ended.document["decision"]["effect"] == effect


def test_waiting_follows_the_workspace(server: Any, charter: Any) -> None:
    states = iter(["pending", "starting", "running"])
    server.on("POST /workspaces", a.outcome(workspace=a.workspace(state="pending")), 201)
    server.on("GET /workspaces/ws_1", lambda _r: (200, a.wire(a.workspace(state=next(states)))))
    ended = charter("workspace", "create", "api", "-t", "python", "--json")
    assert ended.code == 0
    assert ended.document["workspace"]["state"] == "running"
    assert next(states, None) is None
    assert ended.err == "", "no progress where there is no terminal"


def test_no_wait(server: Any, charter: Any) -> None:
    server.on("POST /workspaces", a.outcome(workspace=a.workspace(state="pending")), 201)
    ended = charter("workspace", "create", "api", "-t", "python", "--no-wait")
    assert "api is pending." in ended.out
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"state": "failed", "state_reason": "no space"}, "workspace-failed"),
        ({"state": "stopped", "desired": "stopped"}, "no-longer-wanted"),
        ({"state": "starting"}, "wait-timeout"),
    ],
)
def test_waiting_ends_badly(given: dict[str, str], code: str, server: Any, charter: Any) -> None:
    server.on("POST /workspaces", a.outcome(workspace=a.workspace(state="pending")), 201)
    server.on("GET /workspaces/ws_1", a.wire(a.workspace(**given)))
    ended = charter("workspace", "create", "api", "-t", "python", "--timeout", "0", "--json")
    assert ended.code == 1
    assert ended.out == ""
    assert json.loads(ended.err)["code"] == code


def test_a_deleted_workspace_may_be_gone_altogether(server: Any, charter: Any) -> None:
    server.on("GET /workspaces/api", a.wire(a.workspace()))
    server.on("DELETE /workspaces/ws_1", a.outcome(workspace=a.workspace(state="deleting")))
    server.answers["GET /workspaces/ws_1"] = a.problem(404, "not-found")
    ended = charter("workspace", "delete", "api", "-y")
    assert ended.code == 0
    assert ended.out == "api is deleted.\n"


def test_exec_passes_everything_through(server: Any, charter: Any) -> None:
    server.on("POST /workspaces/api/execute", a.wire(a.EXECUTED))
    ended = charter("workspace", "exec", "api", "--timeout", "5", "--", "sh", "-c", "x", "--json")
    assert (ended.code, ended.out, ended.err) == (7, "out\n", "err\n")
    assert server.last.body == {
        "command": ["sh", "-c", "x", "--json"],
        "timeout_seconds": 5.0,
        "stdin": "",
    }


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (137, 137), (256 + 5, 5)])
def test_exec_codes(code: int, expected: int, server: Any, charter: Any) -> None:
    server.on(
        "POST /workspaces/api/execute", a.wire(a.EXECUTED.model_copy(update={"exit_code": code}))
    )
    assert charter("workspace", "exec", "api", "--", "x").code == expected


def test_exec_timeout(server: Any, charter: Any) -> None:
    timed_out = a.EXECUTED.model_copy(update={"timed_out": True, "exit_code": 137})
    server.on("POST /workspaces/api/execute", a.wire(timed_out))
    ended = charter("workspace", "exec", "api", "--json", "--", "sleep", "9")
    assert ended.code == 124
    assert ended.document["timed_out"] is True


def test_pages_are_followed_up_to_the_limit(server: Any, charter: Any) -> None:
    def answer(request: Request) -> tuple[int, Any]:
        first = int(request.query.get("cursor", "0"))
        last = min(first + int(request.query["limit"]), 450)
        items = [a.workspace(id=f"ws_{n}", name=f"w{n}") for n in range(first, last)]
        return 200, a.page(*items, following=str(last) if last < 450 else None)

    server.on("GET /workspaces", answer)
    assert len(charter("workspace", "list", "--all", "--json").document["items"]) == 450
    assert [r.query["limit"] for r in server.requests] == ["200", "200", "200"]
    ended = charter("workspace", "list", "--limit", "250", "--json")
    assert len(ended.document["items"]) == 250
    assert ended.document["next"] == "250"
    ended = charter("workspace", "list", "-n", "3")
    assert len(ended.out.splitlines()) == 4
    assert "--all" in ended.err


@pytest.mark.parametrize(
    ("line", "route", "sentence"),
    [
        (
            ["workspace", "list"],
            "GET /workspaces",
            "No workspaces yet. Create one: charter workspace create NAME --template python",
        ),
        (["workspace", "list", "--mine"], "GET /workspaces", "No workspace matches."),
        (
            ["approval", "list"],
            "GET /approvals",
            "Nothing waits for an approval. What is settled: charter approval list --state all",
        ),
        (["team", "list"], "GET /teams", "No teams yet. Create one: charter team create NAME"),
        (["workspace", "ls", "api"], "GET /workspaces/api/entries", "The folder is empty."),
    ],
)
def test_empty_states(
    line: list[str], route: str, sentence: str, server: Any, charter: Any
) -> None:
    server.on(route, a.page())
    ended = charter(*line)
    assert (ended.code, ended.out, ended.err) == (0, sentence + "\n", "")


def test_a_lost_answer_to_a_create_is_asked_for_again_with_the_same_key(
    server: Any, charter: Any
) -> None:
    answers = iter([(0, None), (201, a.wire(a.TEAM))])
    server.on("POST /teams", lambda _request: next(answers))
    assert charter("team", "create", "web").code == 0
    keys = [r.headers["idempotency-key"] for r in server.requests]
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_a_lost_answer_to_anything_else_is_not(server: Any, charter: Any) -> None:
    server.on("POST /workspaces/api/execute", lambda _request: (0, None))
    ended = charter("workspace", "exec", "api", "--", "x")
    assert ended.code == 5
    assert len(server.requests) == 1


def test_what_others_wrote_cannot_steer_the_terminal(server: Any, charter: Any) -> None:
    evil = "\x1b]0;title\x07\u202egpj.exe\nnext line"
    server.on("GET /workspaces/api/entries", a.page(a.ENTRY.model_copy(update={"name": evil})))
    server.on("GET /workspaces/api", a.wire(a.workspace(state_reason=evil)))
    for line in (["ls", "api"], ["show", "api"]):
        ended = charter("workspace", *line)
        assert ended.code == 0
        assert not {"\x1b", "\x07", "\u202e"} & set(ended.out)
        assert "\\x1b" in ended.out
    assert charter("workspace", "ls", "api").out.count("\n") == 2
    assert charter("workspace", "ls", "api", "--json").out.isascii()


def test_replay_with_a_difference_fails(server: Any, charter: Any) -> None:
    found = s.ReplayOut(
        replayed=2,
        differences=1,
        differing=[{"id": "dec_1", "stored": "allow", "now": "deny"}],
        seconds=0.1,
    )
    server.on("POST /decisions/replay", a.wire(found))
    ended = charter("decisions", "replay")
    assert ended.code == 1
    assert "dec_1: was allow, now deny" in ended.out


@spec("UX-2", "PC-13")
@pytest.mark.parametrize(
    "line", [["explain", "dec_1"], ["explain", "decision", "dec_1"]], ids=["short", "long"]
)
def test_explain(line: list[str], server: Any, charter: Any) -> None:
    server.on("GET /decisions/dec_1/explanation", a.wire(a.EXPLANATION))
    ended = charter(*line)
    assert ended.out.startswith("approval required: dana asked for workspace.create on big.")
    for expected in (
        "admission/cpu-needs-approval (approval required)  admission/workspace-limits.rego:69",
        "40 vCPU are more than the 32",
        "74  facts.cpu > data.settings.limits.cpu_without_approval",
        "input.request.object.spec.resources.cpu = 40",
        "facts.placing has no value  (lib/facts.rego:13)",
        "network/host-for-humans (switched off)",
        "131072 > 131072 does not hold, by little",
        "With vCPU 32 (asked for: 40), it would be allowed.",
        "    charter workspace create big --template python@1.0.0 --vcpu 32",
        "next: Take fewer CPUs, or wait for the approval.",
        "note: The rules have changed since.",
        "note: 1 of 3 rule bodies",
    ):
        assert expected in ended.out, ended.out
    assert charter(*line, "--json").document == a.wire(a.EXPLANATION)


def test_the_last_refusal_is_explained_without_its_id(server: Any, charter: Any) -> None:
    server.on("GET /decisions/last/explanation", a.wire(a.EXPLANATION))
    assert charter("explain", "last").code == 0


def test_a_preview_shows_the_smallest_change_that_passes(server: Any, charter: Any) -> None:
    found = a.PREVIEW.model_copy(update={"suggestion": a.SUGGESTION})
    server.on("POST /workspaces/preview", a.wire(found))
    assert "With vCPU 32" in charter("workspace", "preview", "x", "-t", "python").out


def test_controllers_in_the_plural_is_the_noun(server: Any, charter: Any) -> None:
    server.on("GET /controllers", a.page(a.CONTROLLER))
    assert "outbox" in charter("controllers", "list").out


def test_credential_file(server: Any, charter: Any, tmp_path: Path) -> None:
    server.on("POST /agents/fixer/credential", a.wire(a.CREDENTIAL), 201)
    file = tmp_path / "agent.token"
    file.write_text("old")
    file.chmod(0o644)
    ended = charter("agent", "credential", "fixer", "--credential-file", str(file))
    assert "signature" not in ended.out
    assert file.read_text() == "header.body.signature"
    assert file.stat().st_mode & 0o777 == 0o600


def test_export_keeps_what_is_there(server: Any, charter: Any, tmp_path: Path) -> None:
    file = tmp_path / "trail.zip"
    server.on("GET /audit/export", b"PK new")
    assert charter("audit", "export", "-o", str(file)).code == 0
    assert charter("audit", "export", "-o", str(file)).code == 2
    server.answers["GET /audit/export"] = a.problem(403, "denied")
    assert charter("audit", "export", "-o", str(file), "--force").code == 1
    assert file.read_bytes() == b"PK new"
    assert list(tmp_path.glob(".charter-export-*")) == []


def test_write_reads_standard_input(
    server: Any, charter: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.on("PUT /workspaces/api/files", None, 204)
    for content, code in ((b"hello\n", 0), (b"\xff\xfe", 2), (b"x" * 524_289, 2)):
        (tmp_path / "in").write_bytes(content)
        with (tmp_path / "in").open() as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            assert charter("workspace", "write", "api", "a.txt").code == code
    assert server.last.body == {"content": "hello\n"}
    assert server.last.query == {"path": "a.txt"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [("4096", 4096), ("512MiB", 512), ("4GiB", 4096), ("4G", 4096), ("1T", 1_048_576)],
)
def test_amounts(given: str, expected: int, server: Any, charter: Any) -> None:
    server.on("POST /workspaces/preview", a.wire(a.PREVIEW))
    charter("workspace", "preview", "x", "-t", "python", "--memory", given)
    assert server.last.body["memory_mib"] == expected


def test_absent_options_are_absent_in_the_request(server: Any, charter: Any) -> None:
    """An allowlist that was not given is undefined to policy, which is not the same as empty."""
    server.on("POST /workspaces/preview", a.wire(a.PREVIEW))
    charter("workspace", "preview", "x", "-t", "python")
    assert server.last.body == {"name": "x", "template": "python", "size": "small"}
    charter("workspace", "preview", "x", "-t", "python", "--allow-egress", "git.example.org")
    assert server.last.body["egress_allowlist"] == ["git.example.org"]


def test_policy_test_runs_the_real_engine(charter: Any, tmp_path: Path) -> None:
    rule = 'package admission.x\nimport rego.v1\ndeny contains "no" if input.request.bad\n'
    tests = (
        "package admission.x_test\nimport rego.v1\nimport data.admission.x\n"
        'test_bad if "no" in x.deny with input as {"request": {"bad": true}}\n'
    )
    shipped = Path(sys.modules["charter"].__file__ or "").parent / "policies"
    ended = charter("policy", "test", str(shipped), "--json")
    assert ended.code == 0, ended.err
    assert ended.document["passed"] is True
    assert ended.document["tests"] > 20
    assert charter("policy", "check-load", str(shipped), "--json").document["rules"]
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "x.rego").write_text(rule + "deny contains if\n")
    (folder / "x_test.rego").write_text(tests)
    ended = charter("policy", "test", str(folder), "--json")
    assert ended.code == 1
    assert ended.out == ""
    assert json.loads(ended.err)["fix"]
    assert charter("policy", "test", str(tmp_path / "none")).code == 1


def test_output_that_nobody_reads(tmp_path: Path) -> None:
    """`charter … | head -1` ends quietly."""
    with subprocess.Popen(
        [sys.executable, "-m", "charter", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    script = "import sys; from charter.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("charter ")


def test_help_imports_neither_client_nor_tables_nor_the_rest_of_charter() -> None:
    """The cost of starting is the cost of importing: the heavy parts stay out of `--help`."""
    script = (
        "import sys\nfrom charter.cli.main import main\nmain(['--help'])\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in "
        "{'httpx2', 'rich', 'pydantic', 'sqlalchemy', 'fastapi', 'cryptography', 'regorus'}"
        " or m.startswith(('charter.cli.w', 'charter.services', 'charter.store'))),"
        " file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, charter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "_CHARTER_COMPLETE" in charter("completion", shell).out
    done = subprocess.run(
        [sys.executable, "-m", "charter"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "_CHARTER_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": "charter works",
            "COMP_CWORD": "1",
            "_TYPER_COMPLETE_ARGS": "charter works",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    )
    # `python -m charter` goes by its own name; what matters is that the names come from the table.
    assert "workspace" in done.stdout, done.stderr
