"""Every process of the local provider may be killed at any moment; the outcome is defined."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator

import pytest

from charter.adapters.workspaces.local import cgroups, records
from charter.adapters.workspaces.local.provider import LocalProvider
from charter.adapters.workspaces.port import (
    SandboxFailedError,
    SandboxState,
    StaleGenerationError,
)
from tests.adapters.workspaces import needs
from tests.adapters.workspaces.support import (
    holder_of,
    loops_of,
    python,
    shell,
    spec_of,
    wait_for,
    walls_of,
)
from tests.spec import spec

pytestmark = needs.sandbox

# Children that leave their session, ignore every signal they can, and multiply without end.
FORK_STORM = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork():
    sys.exit()
os.setsid()
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
"""


@pytest.fixture
def children() -> Iterator[Callable[[Callable[[], object]], int]]:
    """Runs something in another process; none of them outlives the test."""
    started: list[int] = []

    def start(work: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work()
                code = 0
            except StaleGenerationError:
                code = 9
            except SandboxFailedError:
                code = 10
            except BaseException:
                traceback.print_exc()  # pytest shows it when the test fails
                raise
            finally:
                os._exit(code)
        started.append(pid)
        return pid

    yield start
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def code_of(pid: int) -> int:
    """How a child ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@spec("PV-1")
def test_a_caller_killed_at_any_point_leaves_something_that_is_handled(
    provider: LocalProvider, children: Callable[..., int]
) -> None:
    dice = random.Random(20_26)  # noqa: S311 - chooses moments, no secret
    generation, kept = 0, False
    ends = set()
    for attempt in range(16):
        generation += 1
        wanted = spec_of("ws_crash")
        child = children(lambda g=generation, w=wanted: provider.ensure_running(w, g))
        # Where the caller is hit, not what is expected of it.
        time.sleep(dice.uniform(0.0, 0.25))  # house: allow test-sleep — picks the moment
        os.kill(child, signal.SIGKILL)
        code_of(child)
        ends.add(provider.observe("ws_crash").state)
        assert len(walls_of(provider, "ws_crash")) <= 1
        follow = attempt % 4
        if follow == 0:
            provider.ensure_running(wanted, generation)
        elif follow == 1:
            generation += 1
            provider.stop("ws_crash", generation, grace_seconds=1)
            assert walls_of(provider, "ws_crash") == set()
            generation += 1
            provider.ensure_running(wanted, generation)
        elif follow == 2:
            assert provider.kill("ws_crash", generation).survivors == 0
            assert walls_of(provider, "ws_crash") == set()
            generation += 1
            provider.ensure_running(wanted, generation)
        else:
            generation += 1
            provider.delete("ws_crash", generation)
            assert provider.observe("ws_crash").state is SandboxState.ABSENT
            assert walls_of(provider, "ws_crash") == set()
            kept = False
            continue
        assert provider.observe("ws_crash").state is SandboxState.RUNNING
        assert len(walls_of(provider, "ws_crash")) == 1
        if kept:
            assert provider.read_file("ws_crash", "kept", max_bytes=10) == b"kept"
        provider.write_file("ws_crash", "kept", b"kept")
        kept = True
        if attempt % 2:
            generation += 1
            provider.stop("ws_crash", generation, grace_seconds=1)
    generation += 1
    provider.delete("ws_crash", generation)
    assert SandboxState.FAILED not in ends, "a start without its caller still comes up or waits"


def test_a_start_goes_on_without_its_caller_and_is_adopted(
    provider: LocalProvider, children: Callable[..., int]
) -> None:
    wanted = spec_of("ws_adopt")
    child = children(lambda: provider.ensure_running(wanted, 1))
    home = provider._home("ws_adopt")
    wait_for(lambda: records.load(home.holder).get("phase"), "its holder has begun")
    os.kill(child, signal.SIGKILL)
    code_of(child)
    first = holder_of(provider, "ws_adopt")
    assert provider.ensure_running(wanted, 1).state is SandboxState.RUNNING
    assert holder_of(provider, "ws_adopt") == first
    provider.delete("ws_adopt", 2)


def test_a_killed_holder_takes_its_sandbox_with_it(provider: LocalProvider) -> None:
    provider.ensure_running(spec_of("ws_held"), 1)
    provider.write_file("ws_held", "kept", b"kept")
    shell(provider, "ws_held", "sync; for i in 1 2 3; do setsid sleep 1000 >/dev/null 2>&1 & done")
    name = holder_of(provider, "ws_held")
    assert name.send(signal.SIGKILL)
    name.wait_gone(60)
    wait_for(lambda: not walls_of(provider, "ws_held"), "bubblewrap is gone")
    found = provider.observe("ws_held")
    assert found.state is SandboxState.FAILED
    assert "holder was killed" in found.detail
    again = provider.ensure_running(spec_of("ws_held"), 1)
    assert again.state is SandboxState.RUNNING
    assert provider.read_file("ws_held", "kept", max_bytes=10) == b"kept"
    assert len(walls_of(provider, "ws_held")) == 1
    holder_of(provider, "ws_held").send(signal.SIGKILL)
    provider.delete("ws_held", 2)
    assert walls_of(provider, "ws_held") == set()
    assert not any("ws_held" in loop for loop in loops_of(provider))


def test_a_holder_killed_while_it_builds_is_replaced(
    provider: LocalProvider, children: Callable[..., int]
) -> None:
    home = provider._home("ws_build")
    for generation in range(1, 7):
        child = children(lambda g=generation: provider.ensure_running(spec_of("ws_build"), g))
        wait_for(
            lambda g=generation: records.load(home.holder).get("generation") == g,
            "its holder has begun",
        )
        time.sleep(0.02 * (generation - 1))  # house: allow test-sleep — the moment
        name = holder_of(provider, "ws_build")
        name.send(signal.SIGKILL)
        name.wait_gone(60)
        assert code_of(child) in (0, 10)
        assert provider.observe("ws_build").state in (SandboxState.FAILED, SandboxState.STOPPED)
        wait_for(lambda: not walls_of(provider, "ws_build"), "bubblewrap is gone")
    assert provider.ensure_running(spec_of("ws_build"), 7).state is SandboxState.RUNNING
    provider.delete("ws_build", 8)


def test_callers_at_the_same_time_get_one_sandbox(
    provider: LocalProvider, children: Callable[..., int]
) -> None:
    started = [children(lambda: provider.ensure_running(spec_of("ws_once"), 1)) for _ in range(4)]
    assert [code_of(pid) for pid in started] == [0, 0, 0, 0]
    assert len(walls_of(provider, "ws_once")) == 1
    assert provider.observe("ws_once").state is SandboxState.RUNNING
    provider.delete("ws_once", 2)


@spec("AG-4")
def test_a_kill_does_not_wait_for_a_start_and_wins(
    provider: LocalProvider, children: Callable[..., int]
) -> None:
    home = provider._home("ws_race")
    for generation in range(1, 7):
        wanted = spec_of("ws_race")
        child = children(lambda g=generation, w=wanted: provider.ensure_running(w, g))
        wait_for(
            lambda g=generation: records.load(home.record).get("generation") == g, "it has begun"
        )
        time.sleep(0.03 * (generation - 1))  # house: allow test-sleep — the moment
        assert provider.kill("ws_race", generation).survivors == 0
        assert code_of(child) in (0, 9)
        assert walls_of(provider, "ws_race") == set()
        assert provider.observe("ws_race").state is SandboxState.STOPPED
    provider.delete("ws_race", 7)


def test_a_kill_needs_no_lock(provider: LocalProvider) -> None:
    provider.ensure_running(spec_of("ws_locked"), 1)
    with records.locked(provider._home("ws_locked").lock, 5):
        report = provider.kill("ws_locked", 1)
    assert report.survivors == 0
    provider.delete("ws_locked", 2)


@spec("AG-4")
def test_a_kill_of_a_fork_storm_leaves_nothing(provider: LocalProvider) -> None:
    wanted = spec_of("ws_storm", max_processes=200)
    for generation in (1, 2):
        provider.ensure_running(wanted, generation)
        python(provider, "ws_storm", FORK_STORM)

        def raging() -> bool:
            usage = provider.observe("ws_storm").usage
            return usage is not None and usage.processes > 100

        wait_for(raging, "the storm is at its height")
        report = provider.kill("ws_storm", generation)
        assert report.survivors == 0
        assert report.processes_before > (100 if os.geteuid() == 0 else 1)
        assert walls_of(provider, "ws_storm") == set()
    provider.delete("ws_storm", 4)


def test_a_sandbox_outlives_who_started_it(
    provider: LocalProvider, children: Callable[..., int]
) -> None:
    child = children(lambda: provider.ensure_running(spec_of("ws_outlive"), 1))
    assert code_of(child) == 0
    elsewhere = LocalProvider(provider._root)
    assert elsewhere.observe("ws_outlive").state is SandboxState.RUNNING
    assert shell(elsewhere, "ws_outlive", "echo here").stdout == b"here\n"
    elsewhere.delete("ws_outlive", 2)


def test_a_supervisor_that_ends_is_a_failure_with_a_reason(provider: LocalProvider) -> None:
    provider.ensure_running(spec_of("ws_ends"), 1)
    init = records.load(provider._home("ws_ends").holder)["init"]["pid"]
    os.kill(init, signal.SIGKILL)
    wait_for(lambda: provider.observe("ws_ends").state is SandboxState.FAILED, "it is seen")
    wait_for(lambda: not holder_of(provider, "ws_ends").is_alive(), "its holder has cleaned up")
    assert "ended by itself (exit code 137)" in provider.observe("ws_ends").detail
    assert provider.ensure_running(spec_of("ws_ends"), 1).state is SandboxState.RUNNING
    provider.delete("ws_ends", 2)


def test_what_a_crash_left_half_made_is_cleaned_up(provider: LocalProvider) -> None:
    home = provider._home("ws_half")
    home.folder.mkdir()
    assert provider.observe("ws_half").state is SandboxState.STOPPED
    assert "ws_half" in {found.workspace_id for found in provider.observe_all()}
    (home.folder / "disk.img.0123abcd.new").write_bytes(b"half made")
    home.record.write_text('{"generation": 1, "uid"')
    home.holder.write_text("not json")
    home.control.mkdir()
    (home.control / "supervisor.sock").write_text("stale")
    trees = cgroups.find()
    if trees is not None and os.geteuid() == 0:
        cgroups.ControlGroup(trees, provider._group_name(home)).create()
    assert provider.ensure_running(spec_of("ws_half"), 1).state is SandboxState.RUNNING
    assert shell(provider, "ws_half", "echo here").stdout == b"here\n"
    if os.geteuid() == 0:
        assert not (home.folder / "disk.img.0123abcd.new").exists()
    provider.delete("ws_half", 2)


def test_a_group_that_somebody_else_removes_meanwhile_is_no_error() -> None:
    trees = cgroups.find()
    if trees is None or os.geteuid() != 0:
        pytest.skip("optional: only root has control groups here")
    group = cgroups.ControlGroup(trees, f"removed-meanwhile-{os.getpid()}")
    done = threading.Event()

    def make_and_remove() -> None:
        while not done.is_set():
            group.create()
            group.remove()

    other = threading.Thread(target=make_and_remove)
    other.start()
    try:
        for _ in range(2000):  # a twentieth of these opens a file whose group is gone on writing
            group.kill()
            group.pids()
    finally:
        done.set()
        other.join()
        group.remove()


def test_a_delete_that_was_interrupted_is_repeated(provider: LocalProvider) -> None:
    provider.ensure_running(spec_of("ws_torn"), 1)
    provider.stop("ws_torn", 2)
    home = provider._home("ws_torn")
    home.holder.unlink()
    home.image.unlink(missing_ok=True)
    home.raise_fence(4)
    with pytest.raises(StaleGenerationError):
        provider.ensure_running(spec_of("ws_torn"), 3)
    provider.delete("ws_torn", 3)
    assert provider.observe("ws_torn").state is SandboxState.ABSENT


def test_a_recycled_process_id_is_never_touched(
    provider: LocalProvider, children: Callable[..., int]
) -> None:
    """The records name a process that has ended; its number now belongs to a bystander."""
    bystander = children(signal.pause)
    provider.ensure_running(spec_of("ws_recycled"), 1)
    provider.stop("ws_recycled", 2)
    home = provider._home("ws_recycled")
    document = records.load(home.holder)
    for role in ("holder", "init"):
        document[role]["pid"] = bystander
    document["phase"] = "running"
    records.replace(home.holder, document)
    records.replace(home.record, {**records.load(home.record), "stopped": False})
    assert provider.observe("ws_recycled").state is SandboxState.FAILED
    provider.kill("ws_recycled", 2)
    provider.delete("ws_recycled", 3)
    assert os.waitpid(bystander, os.WNOHANG) == (0, 0), "the bystander lives"
