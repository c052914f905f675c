"""`kill -9` of any process at any moment, and nothing that was promised is lost.

Workers use the API all the time. Meanwhile processes are killed at random moments: the ones that
the supervisor starts again, sandboxes' holders, the supervisor itself (also while it starts), and
everything at once. In between, with the workers holding still, the instance must come to rest and
agree with the ledger of what was acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import Client, Instance, until
from tests.e2e.invariants import check, check_replay, check_trail, settle, unfinished
from tests.e2e.workload import Applicant, Developer, Ledger, Pace, Sponsor, Worker
from tests.spec import spec

EPOCHS = 8
KILLS_IN_AN_EPOCH = 7
_KINDS = ("serve", "controllers", "backend", "backend", "postmaster", "holder", "holder")
_LONGEST_LULL_SECONDS = 0.7  # between two kills


def _begin(
    instance: Instance, admin: Client, ledger: Ledger, pace: Pace, seed: str
) -> list[Worker]:
    admin.ok("POST", "/teams", {"name": "payments"})

    def person(handle: str, role: str = "developer") -> Client:
        return instance.person(admin, handle, role, "payments")

    lead = person("lee", "team-lead")
    workers: list[Worker] = [
        Developer(person("dana"), ledger, pace, seed),
        Developer(person("otto"), ledger, pace, seed),
        Sponsor(instance, person("mika"), ledger, pace, seed),
        Applicant(person("noor"), lead, ledger, pace, seed),
    ]
    for worker in workers:
        worker.thread.start()
    return workers


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


class Chaos:
    """Kills, and counts what it killed."""

    def __init__(self, instance: Instance, seed: str) -> None:
        self.instance = instance
        self.random = random.Random(seed)  # noqa: S311 - repeatable, nothing secret
        self.kills: Counter[str] = Counter()

    def lull(self) -> None:
        """A random moment later. Not a wait for anything: the moment is what is tried."""
        threading.Event().wait(self.random.uniform(0.0, _LONGEST_LULL_SECONDS))

    def kill_one(self, kind: str) -> None:
        """Kill a living process of this kind; the supervisor has brought it back if need be."""

        def victim() -> bool:
            living = self.instance.processes()[kind]
            if not living:
                return False
            name = self.random.choice(living)
            return name.send(signal.SIGKILL) and name.wait_gone(30)

        until(victim, f"a {kind} to kill")
        self.kills[kind] += 1

    def kill_while_it_starts(self) -> None:
        """Begin a start and kill the supervisor at a random moment of it."""
        starting = subprocess.Popen(
            [sys.executable, "-m", "charter", "up", "--detach"],
            env=self.instance.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def supervisor() -> bool:
            return bool(self.instance.processes()["supervisor"])

        until(supervisor, "a supervisor that starts")
        threading.Event().wait(self.random.uniform(0.0, 4.0))
        self.kill_one("supervisor")
        starting.wait(timeout=60)


@contextlib.contextmanager
def _working(workers: list[Worker], pace: Pace) -> Iterator[None]:
    pace.going.set()
    try:
        yield
    finally:
        pace.end()
        for worker in workers:
            worker.thread.join(timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@spec("LC-1", "RG-2", "AU-2")
def test_killing_anything_at_any_moment_loses_and_doubles_nothing(
    started: tuple[Instance, Client], capsys: pytest.CaptureFixture[str]
) -> None:
    instance, admin = started
    seed = os.environ.get("CHARTER_TEST_SEED", f"{time.time_ns()}")
    began = time.monotonic()
    ledger, pace, chaos = Ledger(), Pace(), Chaos(instance, seed)
    with capsys.disabled():
        _say(f"\n  crash test, CHARTER_TEST_SEED={seed}")
    previous: Path | None = None
    replayed = 0
    with _working(_begin(instance, admin, ledger, pace, seed), pace):
        for epoch in range(EPOCHS):
            for _ in range(KILLS_IN_AN_EPOCH):
                chaos.lull()
                chaos.kill_one(chaos.random.choice(_KINDS))
                _no_errors(instance, ledger)
            if epoch % 2:
                chaos.kill_one("supervisor")
                if chaos.random.random() < 0.5:
                    chaos.kill_while_it_starts()
            else:
                chaos.kills["everything"] += bool(instance.kill_all())
            instance.up()
            if epoch % 2:
                pace.pause(180)
                _no_errors(instance, ledger)
                settle(instance, ledger)
                check(instance, ledger)
                previous = check_trail(instance, admin, ledger, previous, epoch)
                pace.going.set()
        replayed = check_replay(admin)
    _no_errors(instance, ledger)
    with capsys.disabled():
        killed = ", ".join(f"{count} {kind}" for kind, count in sorted(chaos.kills.items()))
        _say(
            f"  {chaos.kills.total()} kills ({killed}) in {EPOCHS} rounds, "
            f"{ledger.acknowledged} acknowledged actions on {len(ledger.wanted)} workspaces, "
            f"{ledger.retries} repeated requests, {replayed} decisions replayed, starts "
            f"{min(instance.starts):.1f} to {max(instance.starts):.1f} s, "
            f"{time.monotonic() - began:.0f} s in all"
        )
    assert chaos.kills.total() >= 50


def _no_errors(instance: Instance, ledger: Ledger) -> None:
    """No worker got an answer that it should not have got."""
    if ledger.errors:
        told = "\n".join(f"- {error!r}" for error in ledger.errors)
        left = unfinished(instance, ledger)
        raise AssertionError(
            f"Workers failed:\n{told}\nUnfinished:\n{left}\n{instance.logs(60)}"
        ) from ledger.errors[0]
