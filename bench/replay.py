"""Replay of recorded decisions: differences, decisions a CPU-second, what a second process brings.

A database of its own is filled with decisions of all kinds (`tests.history`): people and agents,
every group of actions, allowed, warned, sent to approvers and refused. All of them are replayed in
worker processes, then parts of them with one and with two workers in alternation. CPU seconds are
those of the whole tree: this process, the workers, and the database server.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from charter import clock
from charter.services.replay import Replayed, Replayer
from charter.store.embedded import EmbeddedPostgres
from charter.store.migrate import migrate
from charter.store.unit_of_work import Database
from tests.history import record
from tests.support import Clock, World, build_world

DECISIONS: Final = 100_000
DECISIONS_QUICK: Final = 10_000
PART: Final = 20_000  # of one round with one and with two processes
PART_QUICK: Final = 4_000
ROUNDS: Final = 3
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS: Final = 0.2
_WARM_UP: Final = 1_000  # decisions of each worker: it compiles a policy for each kind of request
_LONGEST_SECONDS: Final = 3600.0


@contextmanager
def _history(count: int) -> Iterator[tuple[World, int]]:
    """A world with that many recorded decisions, and the pid of its database server."""
    with tempfile.TemporaryDirectory(prefix="charter-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "pg")
        url = server.start()
        try:
            now = Clock()
            now.moment = clock.now()
            database = Database(url)
            migrate(database.engine)
            database.close()
            world = build_world(url, Path(folder) / "state", now=now)
            world.cast()
            record(world, count)
            pid = next((Path(folder) / "pg").rglob("postmaster.pid"))
            yield world, int(pid.read_text().split()[0])
            world.rt.policy.close()
            world.rt.database.close()
        finally:
            server.reset()


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and int(_stat(int(entry.name))[1]) == pid:
                found.append(int(entry.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def _server_cpu(postmaster: int) -> float:
    """CPU seconds of the database server with all that it has started so far."""
    own = sum(int(ticks) for ticks in _stat(postmaster)[11:15])
    live = sum(sum(map(int, _stat(pid)[11:13])) for pid in _children(postmaster))
    return (own + live) / _TICKS


def _cpu(postmaster: int, workers: Sequence[int]) -> tuple[float, float]:
    """CPU seconds of the workers; and of them, this process and the database server together."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    theirs = sum(sum(map(int, _stat(pid)[11:13])) for pid in workers) / _TICKS
    return theirs, own.ru_utime + own.ru_stime + theirs + _server_cpu(postmaster)


def _rss_mib(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class _Memory(threading.Thread):
    """The most that this process and its workers hold together, looked at now and then."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[float] = []
        self._ended = threading.Event()

    def run(self) -> None:
        me = os.getpid()
        while not self._ended.wait(_SAMPLE_SECONDS):
            self.samples.append(_rss_mib(me) + sum(map(_rss_mib, _children(me))))

    def end(self) -> float:
        self._ended.set()
        self.join()
        return max(self.samples, default=0.0)


def _replay(
    world: World, postmaster: int, processes: int, limit: int
) -> tuple[Replayed, float, float, float]:
    """The outcome, its seconds, and the CPU seconds of the workers and of all.

    The workers have compiled everything before.
    """
    with Replayer(world.rt.database, processes) as replayer:
        replayer.run(processes * _WARM_UP, seconds=_LONGEST_SECONDS)
        workers = replayer.worker_pids
        began, before = time.perf_counter(), _cpu(postmaster, workers)
        found = replayer.run(limit, seconds=_LONGEST_SECONDS)
        after = _cpu(postmaster, workers)
        spent = time.perf_counter() - began
        return found, spent, after[0] - before[0], after[1] - before[1]


def run(quick: bool) -> dict[str, Any]:
    """The figures; see the table of benchmarks for their names."""
    count = DECISIONS_QUICK if quick else DECISIONS
    part = PART_QUICK if quick else PART
    with _history(count) as (world, postmaster):
        memory = _Memory()
        memory.start()
        whole, *_ = _replay(world, postmaster, 2, count)
        peak = memory.end()
        rates, worker_rates, speedups = [], [], []
        for _ in range(ROUNDS):
            found, alone, worker, cpu = _replay(world, postmaster, 1, part)
            rates.append(found.replayed / cpu)
            worker_rates.append(found.replayed / worker)
            _, together, *_ = _replay(world, postmaster, 2, part)
            speedups.append(alone / together)
    return {
        "decisions": whole.replayed,
        "differences": whole.differences,
        "per_cpu_second": round(statistics.median(rates)),
        "per_worker_cpu_second": round(statistics.median(worker_rates)),
        "two_process_speedup": round(statistics.median(speedups), 2),
        "rss_mib": round(peak),
    }


def table(result: dict[str, Any]) -> list[tuple[str, str]]:
    """For people."""
    return [
        ("decisions replayed", f"{result['decisions']:,}"),
        ("differences", str(result["differences"])),
        ("decisions a CPU-second (workers, parent, database)", f"{result['per_cpu_second']:,}"),
        ("decisions a CPU-second of a worker", f"{result['per_worker_cpu_second']:,}"),
        ("two workers against one", f"{result['two_process_speedup']} times"),
        ("memory of parent and two workers at most", f"{result['rss_mib']} MiB"),
    ]


if __name__ == "__main__":
    print(json.dumps(run("--quick" in sys.argv)))
