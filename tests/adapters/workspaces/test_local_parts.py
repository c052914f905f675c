"""Parts of the local provider that can be shown without a sandbox."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from charter.adapters.workspaces.local import channel, disk, files, probe, records, seccomp, uids
from charter.adapters.workspaces.local.cgroups import find_hierarchies
from charter.adapters.workspaces.local.processes import ProcessName, boot_id
from charter.adapters.workspaces.local.provider import LocalProvider
from charter.adapters.workspaces.port import (
    NotRunningError,
    ProviderUnavailableError,
    SandboxFailedError,
)
from tests.adapters.workspaces import needs
from tests.adapters.workspaces.support import spec_of

# --- control groups


def test_the_three_arrangements_of_control_groups_are_told_apart() -> None:
    v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    v1 = (
        "34 25 0:29 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
        "35 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
        "36 25 0:31 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,name=systemd\n"
    )
    hybrid = v1 + "37 25 0:32 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n"
    only_v2, only_v1, both = (find_hierarchies(text) for text in (v2, v1, hybrid))
    assert only_v2 is not None
    assert (only_v2.version, only_v2.unified) == ("cgroup v2", Path("/sys/fs/cgroup"))
    assert only_v1 is not None
    assert only_v1.version == "cgroup v1"
    assert only_v1.legacy["cpu"] == only_v1.legacy["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert both is not None
    assert both.version == "cgroup v1 with a v2 tree beside it"
    assert both.unified == Path("/sys/fs/cgroup/uni fied")
    assert find_hierarchies("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n") is None


# --- uids


def test_uids_come_from_a_range_that_is_mapped() -> None:
    assert uids.uid_range("0 0 4294967295\n") == range(0x7000_0000, 0x7FFF_FFFF)
    assert uids.uid_range("0 100000 65536\n") == range(30_000, 60_000)
    assert uids.uid_range("1000 1000 1\n") is None


@needs.root
def test_a_claim_is_found_again_and_shared_with_nobody(tmp_path: Path) -> None:
    records.prepare_root(tmp_path)
    (tmp_path / ".uids" / ".left-by-a-crash").write_text("ws_a")
    first = uids.claim(tmp_path, "ws_a")
    assert uids.claim(tmp_path, "ws_a") == first
    assert uids.claim(tmp_path, "ws_b") != first
    uids.release_of(tmp_path, "ws_a")
    assert not (tmp_path / ".uids" / str(first)).exists()


# --- records


def test_an_identifier_never_becomes_another_path() -> None:
    for bad in ("", ".", "..", "a/b", "A", "x" * 64, "ws\n", "ws_é", ".locks"):
        with pytest.raises(records.InvalidInputError):
            records.check_id(bad)
    assert records.check_id("ws_01j0000000000000000000000") == "ws_01j0000000000000000000000"


def test_a_document_is_replaced_as_a_whole_and_nonsense_counts_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    records.replace(path, {"generation": 3})
    assert records.load(path) == {"generation": 3}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]
    for nonsense in (b"", b"[1]", b'{"generation"', b"\xff"):
        path.write_bytes(nonsense)
        assert records.load(path) == {}


def test_a_lock_excludes_and_survives_the_removal_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with records.locked(path, 1):
        with pytest.raises(TimeoutError), records.locked(path, 0.01):
            pass
        path.unlink()
        with records.locked(path, 1):
            assert path.exists()


def test_a_fence_only_rises(tmp_path: Path) -> None:
    records.prepare_root(tmp_path)
    home = records.Home(tmp_path, "ws_a")
    for lowest, expected in ((3, 3), (2, 3), (9, 9)):
        home.raise_fence(lowest)
        assert home.lowest_startable() == expected
    records.prune_fences(tmp_path, home.fence.stat().st_mtime + 29 * 86_400)
    assert home.lowest_startable() == 9
    records.prune_fences(tmp_path, home.fence.stat().st_mtime + 31 * 86_400)
    assert home.lowest_startable() == 0


# --- processes


def test_a_process_is_more_than_its_number() -> None:
    me = ProcessName.of(os.getpid())
    assert me is not None
    assert me.is_alive()
    assert ProcessName.from_json(json.loads(json.dumps(me.as_json()))) == me
    for other in (
        ProcessName(me.pid, me.start_ticks + 1, boot_id()),
        ProcessName(me.pid, me.start_ticks, "another boot"),
    ):
        assert not other.is_alive()
        assert not other.send(signal.SIGKILL)
    for nonsense in (None, [], {}, {"pid": 1, "start_ticks": 1, "boot": "x"}, {"pid": "7"}):
        assert ProcessName.from_json(nonsense) is None


# --- a hostile supervisor


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """Answers every request with the same bytes and hangs up; gives the folder of its socket."""
    listener = channel.listen(tmp_path)
    threads: list[threading.Thread] = []

    def answer_with(reply: bytes) -> Path:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                (length,) = struct.unpack("!I", connection.recv(4, socket.MSG_WAITALL))
                connection.recv(length, socket.MSG_WAITALL)
                connection.sendall(reply)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return tmp_path

    yield answer_with
    for thread in threads:
        thread.join()
    listener.close()


def framed(head: object, *bodies: bytes) -> bytes:
    encoded = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("!I", len(encoded)) + encoded + b"".join(bodies)


GOOD = {"ok": True, "exit_code": 0, "timed_out": False, "truncated": False, "bodies": [0, 0]}


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x05ab",
        framed(b"{"),
        framed(b"[" * 60_000),
        framed([1, 2]),
        framed({}),
        framed({**GOOD, "bodies": [1 << 40, 0]}),
        framed({**GOOD, "bodies": [-1, 0]}),
        framed({**GOOD, "bodies": [True, 0]}),
        framed({**GOOD, "bodies": [0] * 100}),
        framed({**GOOD, "bodies": [5, 0]}, b"abc"),
        framed({**GOOD, "exit_code": 1 << 40}),
        framed({**GOOD, "exit_code": "0"}),
        framed({"ok": "yes", "bodies": []}),
        framed({"ok": False, "code": ["x"], "why": {"a": 1}, "bodies": []}),
        framed({"ok": False, "code": "malformed", "why": "x" * 60_000, "bodies": []}),
    ],
)
def test_a_malformed_answer_is_an_error_and_nothing_else(
    impostor: Callable[[bytes], Path], reply: bytes
) -> None:
    with pytest.raises(SandboxFailedError) as failure:
        files.execute(impostor(reply), ["true"], 5, stdin=b"", most_bytes=100)
    assert len(failure.value.message) < 1000
    assert failure.value.fix


@pytest.mark.parametrize(
    "rows",
    [
        b"{",
        b"7",
        b"[[]]",
        b'[["a/b", "file", 1, 0]]',
        b'[["", "file", 1, 0]]',
        b'[["a", "socket", 1, 0]]',
        b'[["a", "file", -1, 0]]',
        b'[["a", "file", 1.5, 0]]',
        b'[["a", "file", 1, "now"]]',
        b'[["a", "file", 1, NaN]]',
        b"[" * 100_000,
    ],
)
def test_a_malformed_listing_is_an_error_and_nothing_else(
    impostor: Callable[[bytes], Path], rows: bytes
) -> None:
    folder = impostor(framed({"ok": True, "bodies": [len(rows)]}, rows))
    with pytest.raises(SandboxFailedError):
        files.listing(folder, "")


def test_times_that_no_calendar_knows_are_bent(impostor: Callable[[bytes], Path]) -> None:
    rows = b'[["a", "file", 1, 1e300], ["b", "file", 1, -1e300]]'
    found = files.listing(impostor(framed({"ok": True, "bodies": [len(rows)]}, rows)), "")
    assert [entry.modified_at.year for entry in found] == [9999, 1970]


def test_silence_ends(tmp_path: Path) -> None:
    with channel.listen(tmp_path), pytest.raises(SandboxFailedError, match="did not answer"):
        channel.ask(tmp_path, {"op": "ping"}, seconds=0.05, most_bytes=0)


def test_nobody_there_is_not_running(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError):
        channel.ask(tmp_path, {"op": "ping"}, seconds=1, most_bytes=0)


# --- hosts on which no workspace may start


@pytest.fixture
def bare_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A search path with nothing but what the test puts there; every uid may walk to it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setenv("PATH", name)
        monkeypatch.setattr(disk, "_SYSTEM_PATH", "")
        yield folder


def program(folder: Path, text: str) -> None:
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_without_bubblewrap_the_exact_command_is_named(bare_host: Path, tmp_path: Path) -> None:
    provider = LocalProvider(tmp_path / "state")
    for call in (
        provider.capabilities,
        lambda: provider.ensure_running(spec_of("ws_none"), 1),
    ):
        with pytest.raises(ProviderUnavailableError) as refusal:
            call()
        assert refusal.value.code == "provider-unavailable"
        assert refusal.value.fix == "apt-get install bubblewrap"
    assert provider.observe_all() == []


def test_an_old_bubblewrap_is_refused(bare_host: Path) -> None:
    program(bare_host, "echo bubblewrap 0.6.1")
    with pytest.raises(ProviderUnavailableError, match=r"0\.6\.1 is too old"):
        probe.findings()


def test_a_host_that_forbids_namespaces_is_refused(bare_host: Path) -> None:
    program(
        bare_host,
        '[ "$1" = --version ] && echo bubblewrap 0.9.0 && exit 0\n'
        "echo 'bwrap: No permissions to create new namespace' >&2; exit 1",
    )
    with pytest.raises(ProviderUnavailableError, match="No permissions to create new namespace"):
        probe.findings()


def test_walls_that_do_not_hold_are_refused(bare_host: Path) -> None:
    """A bubblewrap that builds no walls: the attack runs on the bare host and says so."""
    program(
        bare_host,
        '[ "$1" = --version ] && echo bubblewrap 0.9.0 && exit 0\n'
        'echo \'{"uid_map": ["0", "0", "1"], "pid": 77, "visible": 90, "seccomp": 0,'
        ' "interfaces": ["eth0", "lo"], "no_new_privileges": 0, "capabilities": 1, "vsock": 0,'
        ' "unshare": 0, "write_root": 0, "write_usr": 0, "write_etc": 0, "write_dev": 0,'
        ' "processes": 36}\'',
    )
    with pytest.raises(ProviderUnavailableError, match=r"would not hold: .*seccomp"):
        probe.findings()


def test_without_libseccomp_there_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    seccomp.filter_program.cache_clear()
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(ProviderUnavailableError) as refusal:
        seccomp.filter_program()
    assert refusal.value.fix == "apt-get install libseccomp2"


def test_an_unknown_machine_gets_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    seccomp.filter_program.cache_clear()
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    with pytest.raises(ProviderUnavailableError, match="riscv64"):
        seccomp.filter_program()
    seccomp.filter_program.cache_clear()
