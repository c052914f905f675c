"""The supervisor, with real processes: one at a time, nothing left behind, all started again."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from charter.adapters.workspaces.local.provider import LocalProvider
from charter.adapters.workspaces.port import SandboxSpec
from charter.core.kernel.errors import ConflictError
from charter.processes import start_of, wait_until
from charter.supervisor import SystemStatus, down, reset, status
from charter.supervisor.supervise import bound_log, is_healthy, refuse_taken_port

PATIENCE_SECONDS = 90  # how long a condition may take on a busy machine; usually milliseconds


def start(state_dir: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.supervisor.system", str(state_dir), *words],
        stderr=subprocess.PIPE,
        text=True,
    )


def run(state_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.supervisor.system", str(state_dir), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def eventually(state_dir: Path, *, ready: bool = True) -> SystemStatus:
    assert wait_until(lambda: status(state_dir).ready is ready, PATIENCE_SECONDS)
    return status(state_dir)


def pids(found: SystemStatus) -> dict[str, int]:
    return {process.name: process.pid for process in found.processes if process.pid is not None}


def gone(numbers: dict[str, int]) -> bool:
    return wait_until(
        lambda: all(start_of(number) is None for number in numbers.values()), PATIENCE_SECONDS
    )


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "state"
    yield directory
    down(directory, write=lambda _: None)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_detached_start_is_ready_when_it_returns_and_down_leaves_nothing(
    state_dir: Path, port: int
) -> None:
    done = run(state_dir, str(port), "detach")
    assert done.returncode == 0, done.stderr
    assert is_healthy("127.0.0.1", port)
    for line in ("Starting the database … ", "Preparing … ", "Starting first, second … "):
        assert line in done.stderr
    assert "the link: only once" in done.stderr
    found = status(state_dir)
    assert found.ready
    assert found.url == f"http://127.0.0.1:{port}"
    assert set(pids(found)) == {"database", "supervisor", "first", "second"}
    assert json.loads(json.dumps(found.as_json()))["ready"] is True
    url = (state_dir / "logs" / "first.log").read_text().split()[2]
    with psycopg.connect(url.replace("+psycopg", "")) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    assert "the link" not in "".join(log.read_text() for log in (state_dir / "logs").iterdir())
    assert down(state_dir, write=lambda _: None)
    assert gone(pids(found))
    assert not down(state_dir, write=lambda _: None)
    assert [process.state for process in status(state_dir).processes] == ["stopped"]


def test_a_second_supervisor_is_refused(state_dir: Path) -> None:
    first = start(state_dir, "no-database")
    eventually(state_dir)
    second = run(state_dir, "no-database")
    assert second.returncode == 1
    assert f"already runs on {state_dir} (pid {first.pid})" in second.stderr
    assert status(state_dir).ready
    first.terminate()
    first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 0


def test_a_child_that_dies_is_started_again(state_dir: Path) -> None:
    supervisor = start(state_dir, "no-database")
    before = pids(eventually(state_dir))
    os.kill(before["first"], signal.SIGKILL)
    assert wait_until(
        lambda: pids(status(state_dir)).get("first", before["first"]) != before["first"],
        PATIENCE_SECONDS,
    )
    after = eventually(state_dir)
    assert pids(after)["second"] == before["second"]
    assert [process.restarts for process in after.processes if process.name == "first"] == [1]
    supervisor.send_signal(signal.SIGINT)
    _, said = supervisor.communicate(timeout=PATIENCE_SECONDS)
    assert "first ended with signal SIGKILL; it is started again in 0.2 s" in said
    assert gone(pids(after))


def test_children_die_with_a_killed_supervisor_and_the_next_start_is_clean(
    state_dir: Path, port: int
) -> None:
    supervisor = start(state_dir, str(port))
    before = pids(eventually(state_dir))
    supervisor.kill()
    supervisor.communicate()
    assert gone({name: before[name] for name in ("first", "second")})
    found = status(state_dir)
    assert not found.ready
    assert found.url is None
    assert run(state_dir, str(port), "detach").returncode == 0
    after = pids(status(state_dir))
    assert after["database"] == before["database"]  # adopted, not started anew
    assert after["first"] != before["first"]


def test_down_ends_what_a_killed_supervisor_left(state_dir: Path) -> None:
    supervisor = start(state_dir)
    before = pids(eventually(state_dir))
    supervisor.kill()
    supervisor.communicate()
    assert down(state_dir, write=lambda _: None)
    assert gone(before)


def test_a_killed_database_is_recovered(state_dir: Path) -> None:
    supervisor = start(state_dir)
    before = pids(eventually(state_dir))["database"]
    os.kill(before, signal.SIGKILL)
    assert wait_until(
        lambda: pids(status(state_dir)).get("database", before) != before, PATIENCE_SECONDS
    )
    eventually(state_dir)
    supervisor.terminate()
    _, said = supervisor.communicate(timeout=PATIENCE_SECONDS)
    assert "The database had ended; recovering it" in said


def test_a_child_that_cannot_start_fails_the_start_with_its_last_words(
    state_dir: Path, port: int
) -> None:
    done = run(state_dir, "no-database", "fail", str(port), "detach")
    assert done.returncode == 1
    assert "first ended with exit code 1" in done.stderr
    assert "no key in the keyhole" in done.stderr
    assert status(state_dir).processes == ()


def test_a_preparation_that_raises_is_told_and_leaves_nothing_running(state_dir: Path) -> None:
    done = run(state_dir, "broken", "detach")
    assert done.returncode == 1
    assert "Charter did not start: the preparation is broken" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in (state_dir / "logs" / "supervisor.log").read_text()
    assert [process.state for process in status(state_dir).processes] == ["stopped"]


def test_a_taken_port_is_refused_before_anything_starts(state_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match=f"port {port}"):
            refuse_taken_port("127.0.0.1", port)
        done = run(state_dir, "no-database", str(port), "detach")
    assert done.returncode == 1
    assert "CHARTER_PORT" in done.stderr


def test_reset_deletes_only_what_charter_made(state_dir: Path, tmp_path: Path) -> None:
    assert run(state_dir, "detach").returncode == 0
    running = pids(status(state_dir))
    reset(state_dir, write=lambda _: None)
    assert not state_dir.exists()
    assert gone(running)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter").write_text("keep me")
    with pytest.raises(ConflictError, match="nothing was deleted"):
        reset(foreign)
    assert (foreign / "letter").read_text() == "keep me"


def test_reset_leaves_no_sandbox_behind(state_dir: Path) -> None:
    assert run(state_dir, "detach").returncode == 0
    provider = LocalProvider(state_dir / "workspaces")
    spec = SandboxSpec(
        "ws_left",
        "left",
        vcpu=1,
        memory_mib=256,
        disk_mib=64,
        max_processes=64,
        writable=True,
        network="none",
    )
    provider.ensure_running(spec, 1)
    holder = json.loads((state_dir / "workspaces" / "ws_left" / "holder.json").read_text())
    reset(state_dir, write=lambda _: None)
    assert not state_dir.exists()
    assert gone({name: holder[name]["pid"] for name in ("holder", "init")})


def test_a_log_is_bounded_without_its_writer_knowing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charter.supervisor.supervise._MAX_LOG_BYTES", 100)
    log = tmp_path / "serve.log"
    with log.open("a") as writer:
        print("x" * 200, file=writer, flush=True)
        bound_log(log)
        print("afterwards", file=writer, flush=True)
        bound_log(log)
    assert log.read_text() == "afterwards\n"
    assert (tmp_path / "serve.log.1").stat().st_size == 201
