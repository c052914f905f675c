"""The commands that act on this machine: status, down, reset, doctor, verify."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from charter.cli import doctor, machine
from charter.cli.errors import CommandError
from tests.cli import answers as a
from tests.cli import answers_access as aa
from tests.cli import answers_account as acc
from tests.spec import spec


def test_status_down_and_reset_where_nothing_runs(charter: Any, tmp_path: Path) -> None:
    ended = charter("status", "--json")
    assert ended.code == 5
    assert ended.document["ready"] is False
    ended = charter("down", "--json")
    assert (ended.code, ended.document) == (0, {"stopped": False})
    ended = charter("reset", "--yes", "--json")
    assert ended.code == 0
    assert ended.document["deleted"] is False


def test_reset_asks_and_refuses_a_folder_that_is_not_ours(charter: Any, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("keep me")
    assert charter("reset", "--state-dir", str(precious)).code == 2
    ended = charter("reset", "--yes", "--state-dir", str(precious), "--json")
    assert ended.code == 1
    assert json.loads(ended.err)["code"] == "not-a-state-directory"
    assert (precious / "file").read_text() == "keep me"


def test_a_bad_setting_is_a_sentence(charter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARTER_PORT", "high")
    ended = charter("status")
    assert ended.code == 2
    assert "CHARTER_PORT" in ended.err
    with pytest.raises(CommandError):
        machine.read_settings()


def test_verify_tells_the_truth(charter: Any, tmp_path: Path) -> None:
    broken = tmp_path / "export"
    broken.mkdir()
    (broken / "checkpoint").write_text("nothing of ours")
    ended = charter("audit", "verify", str(broken), "--json")
    assert ended.code == 1
    assert ended.document["ok"] is False
    assert ended.document["findings"]
    assert "NOT VERIFIED" in charter("audit", "verify", str(broken)).out
    assert charter("audit", "verify", str(tmp_path / "no")).code == 2


def healthy(server: Any) -> None:
    """A server on which all is well at this moment."""
    now = datetime.now(UTC)
    server.on("GET /readyz", {})
    server.on("GET /me", a.wire(a.ME))
    server.on("GET /controllers", a.page(a.CONTROLLER.model_copy(update={"last_run_at": now})))
    server.on("GET /audit/state", a.wire(a.STATE))
    server.on("GET /policies/active", a.wire(a.BUNDLE))
    server.on("GET /keys", a.page(aa.KEY.model_copy(update={"state": "signing"})))
    server.on("GET /sign-in/providers/state", a.page(acc.PROVIDER))


def states(ended: Any) -> dict[str, str]:
    return {check["name"]: check["state"] for check in ended.document["checks"]}


@spec("UX-2")
def test_doctor_finds_a_healthy_server(server: Any, charter: Any) -> None:
    healthy(server)
    found = states(charter("doctor", "--json"))
    for name in (
        "python",
        "server",
        "sign-in",
        "controllers",
        "audit trail",
        "policy",
        "signing keys",
        "providers",
    ):
        assert found[name] == "ok", name
    assert found["database"] == "ok"


def _old_controller() -> dict[str, Any]:
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    return a.page(a.CONTROLLER.model_copy(update={"last_run_at": long_ago}))


@pytest.mark.parametrize(
    ("route", "answer", "name", "state"),
    [
        ("GET /controllers", a.page(), "controllers", "fail"),
        ("GET /controllers", _old_controller(), "controllers", "fail"),
        (
            "GET /audit/state",
            a.wire(a.STATE.model_copy(update={"pending": 9, "sealed_at": None})),
            "audit trail",
            "fail",
        ),
        (
            "GET /policies/active",
            a.wire(a.BUNDLE.model_copy(update={"active": False})),
            "policy",
            "fail",
        ),
        ("GET /keys", a.page(aa.KEY), "signing keys", "warn"),
        (
            "GET /sign-in/providers/state",
            a.page(acc.PROVIDER.model_copy(update={"usable": False, "message": "It is down."})),
            "providers",
            "fail",
        ),
        ("GET /me", {"nonsense": 1}, "sign-in", "ok"),
    ],
)
def test_doctor_finds_what_is_wrong(
    route: str, answer: Any, name: str, state: str, server: Any, charter: Any
) -> None:
    healthy(server)
    server.on(route, answer)
    if name == "sign-in":
        server.answers[route] = a.problem(401, "unauthenticated")
        state = "warn"
    ended = charter("doctor", "--json")
    assert states(ended)[name] == state
    if state == "fail":
        assert ended.code == 1
        [check] = [c for c in ended.document["checks"] if c["name"] == name]
        assert check["fix"]


def test_doctor_skips_what_you_may_not_see(server: Any, charter: Any) -> None:
    healthy(server)
    for status in (403, 404):
        server.answers["GET /controllers"] = a.problem(status, "denied")
        assert states(charter("doctor", "--json"))["controllers"] == "skipped"


def test_doctor_without_a_server(charter: Any) -> None:
    ended = charter("doctor", "--json", "--url", "http://127.0.0.1:1")
    assert ended.code == 1
    found = states(ended)
    assert found["server"] == "fail"
    assert found["policy"] == "skipped"
    assert "skipped" in charter("doctor").out


@pytest.mark.parametrize(("free_mib", "state"), [(500, "fail"), (3000, "warn"), (90_000, "ok")])
def test_disk_space(free_mib: int, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = free_mib * 1024 * 1024

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _folder: Usage)
    assert doctor._disk(machine.read_settings()).state == state


def test_a_taken_port_is_told(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARTER_PORT", server.url.rsplit(":", 1)[1])
    assert doctor._port(machine.read_settings()).state == "warn"
