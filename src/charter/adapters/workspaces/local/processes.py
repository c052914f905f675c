"""Naming a process so that no other can ever be mistaken for it.

A process id is reused; a signal sent by number may hit a stranger. A process is therefore recorded
with the time it started (in clock ticks since boot, field 22 of /proc/PID/stat) and the boot it
belongs to, and it is signalled through a *pidfd*: a handle that the kernel ties to one process. The
handle is opened first and the start time compared after, so nothing can come between.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_STATE, _PARENT, _START = 0, 1, 19  # fields after the name in /proc/PID/stat


@functools.cache
def boot_id() -> str:
    """The identity of this boot of the host."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def _fields(pid: int) -> list[str] | None:
    """/proc/PID/stat after the command name (which may hold anything), or None."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes().decode("latin-1")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


@dataclass(frozen=True, slots=True)
class ProcessName:
    """One process, for ever."""

    pid: int
    start_ticks: int
    boot: str

    @staticmethod
    def of(pid: int) -> ProcessName | None:
        """The name of the process that has `pid` now; None when there is none."""
        fields = _fields(pid)
        return None if fields is None else ProcessName(pid, int(fields[_START]), boot_id())

    def is_alive(self) -> bool:
        """Whether it runs; one that only waits to be reaped (a zombie) does not."""
        fields = _fields(self.pid)
        return (
            self.boot == boot_id()
            and fields is not None
            and int(fields[_START]) == self.start_ticks
            and fields[_STATE] not in ("Z", "X")
        )

    @contextlib.contextmanager
    def handle(self) -> Iterator[int | None]:
        """A pidfd of exactly this process, or None when it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            yield None
            return
        try:
            yield descriptor if self.is_alive() else None
        finally:
            os.close(descriptor)

    def send(self, number: signal.Signals) -> bool:
        """Signal it; False when it is gone."""
        with self.handle() as descriptor:
            if descriptor is None:
                return False
            try:
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                return False
            return True

    def wait_gone(self, seconds: float) -> bool:
        """Wait until it has ended; False when it still runs after `seconds`."""
        with self.handle() as descriptor:
            if descriptor is None:
                return True
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            return bool(poller.poll(max(seconds, 0.0) * 1000))

    def as_json(self) -> dict[str, object]:
        """The stored form."""
        return {"pid": self.pid, "start_ticks": self.start_ticks, "boot": self.boot}

    @staticmethod
    def from_json(document: object) -> ProcessName | None:
        """What `as_json` wrote; None for anything else."""
        if not isinstance(document, dict):
            return None
        pid, ticks, boot = (document.get(key) for key in ("pid", "start_ticks", "boot"))
        if isinstance(pid, int) and isinstance(ticks, int) and isinstance(boot, str) and pid > 1:
            return ProcessName(pid, ticks, boot)
        return None


def all_pids() -> list[int]:
    """Every process id on the host at this moment."""
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]  # noqa: PTH208 - hot path


def family(root: int) -> list[int]:
    """`root` and everything below it, zombies left out.

    An orphan of a pid namespace hangs below its init; for an init this is the whole namespace.
    """
    below: dict[int, list[int]] = {}
    alive: set[int] = set()
    for pid in all_pids():
        fields = _fields(pid)
        if fields is not None:
            below.setdefault(int(fields[_PARENT]), []).append(pid)
            if fields[_STATE] not in ("Z", "X"):
                alive.add(pid)
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        if pid in alive:
            found.append(pid)
        queue.extend(below.get(pid, ()))
    return found


def children(pid: int) -> list[int]:
    """The direct children of `pid`; the kernel lists them by the thread that they belong to."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it ended while its threads were listed
        for thread in (PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def memory_by_pid(pids: list[int]) -> dict[int, int]:
    """Memory of each process in bytes; one that has ended meanwhile is left out.

    Its share of what is shared (PSS) where the kernel tells it, else what is resident.
    """
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            try:
                text = (PROC / str(pid) / "smaps_rollup").read_text()
                found[pid] = 1024 * int(text.partition("\nPss:")[2].split()[0])
            except (PermissionError, IndexError):
                resident = (PROC / str(pid) / "statm").read_text().split()[1]
                found[pid] = int(resident) * os.sysconf("SC_PAGE_SIZE")
    return found


def pids_of_uid(uid: int) -> list[int]:
    """Every process (zombies left out) whose real or effective user is `uid`."""
    found = []
    for pid in all_pids():
        try:
            if os.stat(f"/proc/{pid}").st_uid != uid:  # noqa: PTH116 - hot path
                continue
        except OSError:
            continue
        fields = _fields(pid)
        if fields is not None and fields[_STATE] not in ("Z", "X"):
            found.append(pid)
    return found


def _may_be_bubblewrap(pid: int) -> bool:
    """Whether it bears the name and is the first process of its pid namespace, or in this one.

    A process can make reading its command line wait for as long as it likes (the kernel takes a
    lock of its memory for that), so nothing that runs inside a workspace is ever asked for it. The
    first process there is bubblewrap's own, or the supervisor that it became.
    """
    try:
        if (PROC / str(pid) / "comm").read_bytes().strip() != b"bwrap":
            return False
        status = (PROC / str(pid) / "status").read_bytes()
    except OSError:
        return False
    numbers = status.partition(b"\nNSpid:")[2].partition(b"\n")[0].split()
    return len(numbers) <= 1 or numbers[-1] == b"1"


def started_with(marker: str) -> list[ProcessName]:
    """The bubblewrap processes that were given `marker` as one of their arguments."""
    found = []
    wanted = marker.encode()
    for pid in all_pids():
        if not _may_be_bubblewrap(pid):
            continue
        try:
            words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"bwrap") and wanted in words:
            name = ProcessName.of(pid)
            if name is not None and name.is_alive():
                found.append(name)
    return found


def end_all_of_uid(uid: int, seconds: float) -> None:
    """SIGKILL to all that `uid` runs, until nothing of it is left or `seconds` are over.

    Only for a uid that belongs to one workspace alone. It also finds what has just changed its user
    and bears no other mark yet.
    """
    deadline = time.monotonic() + seconds
    while (left := pids_of_uid(uid)) and time.monotonic() < deadline:
        for pid in left:
            name = ProcessName.of(pid)
            if name is not None and pid in pids_of_uid(uid):
                name.send(signal.SIGKILL)
        time.sleep(0.002)
