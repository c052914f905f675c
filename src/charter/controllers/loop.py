"""The loop under every controller.

A controller is *level-triggered*: it takes no input, looks at what is, and does what is missing. So
a lost wake-up, a crash or a restart changes when something is done, never whether. Each has a
`step` that handles at most one thing in one transaction (rows are claimed with SKIP LOCKED, so
every replica runs every controller) and says whether it found something. When nothing is left the
loop waits for a NOTIFY, which carries no information, or for its poll interval.

What a controller did, and how it failed, stands in its status row for the operator.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final, Protocol

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charter.log import Log
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import WAKE_CHANNEL

_log = Log("charter.controllers")
_FIRST_BACKOFF_SECONDS: Final = 0.5
_LONGEST_BACKOFF_SECONDS: Final = 30.0
_STATUS_EVERY_SECONDS: Final = 5.0  # how old a quiet controller's status row may become

REPLICA: Final = socket.gethostname()  # one process a host runs the controllers


class Step(Protocol):
    """One unit of a controller's work."""

    def __call__(self, rt: Runtime) -> Mapping[str, Any] | None:
        """Do one thing; what was done, for the status row, or None when nothing was left."""


class Bell:
    """Wakes every worker that has not looked since it last rang.

    A worker notes the count before it looks and waits for a higher one afterwards. So a ring in
    between is never lost, also when another worker of the same controller has heard it.
    """

    def __init__(self) -> None:
        self._rings = 0
        self._changed = threading.Condition()

    def ring(self) -> None:
        """Wake them."""
        with self._changed:
            self._rings += 1
            self._changed.notify_all()

    def count(self) -> int:
        """How often it has rung."""
        return self._rings

    def wait(self, heard: int, seconds: float) -> None:
        """Until it has rung more often than `heard`, but at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._rings > heard, seconds)


@dataclass(slots=True)
class Controller:
    """A named step; `every_seconds` paces those that have no due time of their own.

    A paced controller looks at much at once; the wake-ups that come with every change are for the
    others.
    """

    name: str
    step: Step
    workers: int = 1
    every_seconds: float | None = None
    bell: Bell = field(default_factory=Bell)


class Loop:
    """Runs controllers in threads until told to stop."""

    def __init__(self, rt: Runtime, controllers: list[Controller]) -> None:
        self._rt = rt
        self._controllers = controllers
        self._stopping = threading.Event()
        self._recovered = Bell()  # rings when the database is there again, and at the end
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start all workers and the listener."""
        for controller in self._controllers:
            for number in range(controller.workers):
                self._spawn(f"{controller.name}-{number}", partial(self._work, controller))
        self._spawn("listener", self._listen)

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self, timeout_seconds: float = 15) -> None:
        """Let every worker finish what it has in hand."""
        self._stopping.set()
        for controller in self._controllers:
            controller.bell.ring()
        self._recovered.ring()
        for thread in self._threads:
            thread.join(timeout_seconds)

    def wait(self) -> None:
        """Block until `stop` was called."""
        self._stopping.wait()

    def _work(self, controller: Controller) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        poll = controller.every_seconds or self._rt.settings.controller_poll_seconds
        idle_for = _STATUS_EVERY_SECONDS
        while not self._stopping.is_set():
            heard, recovered = controller.bell.count(), self._recovered.count()
            try:
                done = controller.step(self._rt)
            except Exception as error:  # noqa: BLE001 — a controller outlives every failure
                self._failed(controller, error)
                self._recovered.wait(recovered, backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF_SECONDS)
                continue
            backoff = _FIRST_BACKOFF_SECONDS
            if done is not None:
                self._report(controller, done)
                idle_for = 0.0
            if done is None or controller.every_seconds is not None:
                if done is None and idle_for >= _STATUS_EVERY_SECONDS:
                    self._report(controller, {})
                    idle_for = 0.0
                idle_for += poll
                controller.bell.wait(heard, poll)

    def _report(self, controller: Controller, done: Mapping[str, Any]) -> None:
        try:
            self._write_status(controller, done, None)
        except Exception as error:  # noqa: BLE001 — a controller outlives every failure
            _log.warning("status not written", controller=controller.name, error=repr(error)[:500])

    def _failed(self, controller: Controller, error: Exception) -> None:
        if self._stopping.is_set():
            return
        _log.warning("controller failed", controller=controller.name, error=repr(error)[:500])
        with contextlib.suppress(Exception):  # the database is what failed; the log has to do
            self._write_status(controller, {}, repr(error)[:500])

    def _write_status(
        self, controller: Controller, done: Mapping[str, Any], error: str | None
    ) -> None:
        with self._rt.database.unit_of_work() as tx:
            statement = insert(t.controllers).values(
                name=controller.name,
                replica=REPLICA,
                last_run_at=tx.now,
                runs=1,
                failures=0 if error is None else 1,
                status=dict(done),
                last_error=error,
            )
            c, new = t.controllers.c, statement.excluded
            tx.conn.execute(
                statement.on_conflict_do_update(
                    index_elements=["name", "replica"],
                    set_={
                        "last_run_at": new.last_run_at,
                        "runs": c.runs + 1,
                        "failures": c.failures + new.failures,
                        "status": sa.case((new.status == {}, c.status), else_=new.status),
                        "last_error": new.last_error,
                    },
                )
            )

    def _wake(self) -> None:
        for controller in self._controllers:
            if controller.every_seconds is None:
                controller.bell.ring()

    def _listen(self) -> None:
        """Turn NOTIFY into wake-ups; without it the poll interval still does the work."""
        url = self._rt.database.url.replace("postgresql+psycopg://", "postgresql://")
        while not self._stopping.is_set():
            try:
                with psycopg.connect(url, autocommit=True) as conn:
                    conn.execute(f"LISTEN {WAKE_CHANNEL}")
                    self._recovered.ring()
                    self._wake()  # what was said while nobody listened
                    while not self._stopping.is_set():
                        # Waits on the socket, so that stopping is noticed within half a second.
                        readable, _, _ = select.select([conn.fileno()], [], [], 0.5)
                        if readable and any(True for _ in conn.notifies(timeout=0)):
                            self._wake()
            except psycopg.Error as error:
                _log.warning("listener lost its connection", error=str(error)[:200])
                self._stopping.wait(1)


def forget_old_replicas(rt: Runtime) -> None:
    """Drop the status rows of replicas that have been silent for an hour."""
    with rt.database.unit_of_work() as tx:
        c = t.controllers.c
        tx.conn.execute(sa.delete(t.controllers).where(c.last_run_at < tx.now - timedelta(hours=1)))
