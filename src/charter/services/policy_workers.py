"""Workers that stay loaded between requests: for explanations, which people wait for.

Starting a worker and loading a bundle takes most of a second, an answer milliseconds. So a few are
kept, each with the bundle that it was last asked about. One worker answers one request at a time;
whoever finds all of them busy waits for a moment and is then told so, because an explanation is a
help and must never hold up what it explains.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from charter.adapters.rego.worker import PolicyWorker, WorkerLimits
from charter.core.kernel.errors import UnavailableError
from charter.core.policy.bundle import Bundle

_MOST: Final = 2  # one for the bundle in force, one for those of the past
_LIMITS: Final = WorkerLimits(memory_mib=1024, task_cpu_seconds=10, task_seconds=30.0)


class KeptWorkers:
    """At most two workers; safe to share between threads. `close` ends them."""

    def __init__(self, limits: WorkerLimits = _LIMITS) -> None:
        self._limits = limits
        self._free = threading.Semaphore(_MOST)
        self._lock = threading.Lock()
        self._idle: list[tuple[str, PolicyWorker]] = []

    @contextmanager
    def use(self, bundle: Bundle, *, wait_seconds: float) -> Iterator[PolicyWorker]:
        """A worker that has `bundle` loaded, for as long as the block lasts.

        Raises `UnavailableError` when none gets free in time, `PolicyRefusedError` when the bundle
        cannot be loaded, `WorkerFailedError` when a worker dies; a dead one is replaced.
        """
        if not self._free.acquire(timeout=wait_seconds):
            raise UnavailableError(
                "All policy workers are busy at the moment.",
                fix="Try again in a few seconds.",
                code="policy-workers-busy",
            )
        try:
            worker = self._take(bundle)
            try:
                yield worker
            except BaseException:  # what state it is in is not known
                worker.close()
                raise
            with self._lock:
                self._idle.append((bundle.digest, worker))
        finally:
            self._free.release()

    def _take(self, bundle: Bundle) -> PolicyWorker:
        with self._lock:
            held = next((one for one in self._idle if one[0] == bundle.digest), None)
            if held is None and len(self._idle) == _MOST:
                held = self._idle[0]  # the one that was used longest ago
            if held is not None:
                self._idle.remove(held)
        if held is not None and held[0] == bundle.digest and held[1].alive:
            return held[1]
        if held is not None:
            held[1].close()
        worker = PolicyWorker(self._limits)
        try:
            worker.load(bundle)
        except BaseException:
            worker.close()
            raise
        return worker

    def close(self) -> None:
        """End the idle workers; a busy one ends with its request."""
        with self._lock:
            for _, worker in self._idle:
                worker.close()
            self._idle.clear()
