"""Computing stored decisions again and comparing them with what was stored, byte for byte.

Each decision is made under the bundle that made it, in worker processes, as many as there are
cores. A difference means that facts, bundle, engine or core are not what they were, and is worth an
incident.

Rows are read in pages by key, so no transaction stays open and memory stays flat however long the
history is. One call works for some seconds at most and then says where to go on: whoever wants a
million decisions replayed calls again, sees the progress, and no server thread is held for minutes.

Source: Spec PC-6.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import sqlalchemy as sa

from charter.adapters.rego.worker import PolicyWorker
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.kernel.errors import CharterError, ForbiddenError, NotFoundError, TooManyError
from charter.services.impact_desk import find_bundle
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Database, Row

LARGEST_LIMIT: Final = 1_000_000
MOST_PROCESSES: Final = 16
_MOST_DIFFERENCES: Final = 50  # enough to see a pattern; the count says how many there are
_PAGE: Final = 500
_SECONDS: Final = 10.0  # of one call; starting the workers takes one of them
_UNUSABLE: Final = "the bundle that made it cannot be used: "

_one_at_a_time = threading.BoundedSemaphore(1)  # it takes all cores of the machine


@dataclass(slots=True)
class Replayed:
    """What a replay found; `cursor` is the last decision that was looked at."""

    replayed: int = 0
    differences: int = 0
    differing: list[dict[str, str]] = field(default_factory=list)
    cursor: str | None = None
    complete: bool = False

    def differs(self, row: Row, now: str) -> None:
        """Note a decision that does not come out as it was stored."""
        self.differences += 1
        if len(self.differing) < _MOST_DIFFERENCES:
            self.differing.append({"id": row["id"], "stored": row["effect"], "now": now})


class Replayer:
    """Worker processes that replay pages of decisions; a context manager."""

    def __init__(self, database: Database, processes: int) -> None:
        self._database = database
        self._processes = processes
        self._idle: list[_Slot] = []
        self._busy: deque[tuple[_Slot, Sequence[Row]]] = deque()
        self._slots: list[_Slot] = []

    def run(self, limit: int, *, after: str | None = None, seconds: float = _SECONDS) -> Replayed:
        """Replay the newest `limit` decisions older than `after`, for about `seconds` at most."""
        found = Replayed(cursor=after)
        ends = time.monotonic() + seconds
        for rows in self._groups(limit, found, ends):
            slot = self._free(found)
            try:
                slot.load(self._database, rows[0]["bundle_digest"])
            except CharterError as error:
                if error.code.startswith("database-"):
                    raise
                self._idle.append(slot)
                found.replayed += len(rows)
                for row in rows:
                    found.differs(row, _UNUSABLE + error.message)
            else:
                slot.worker.begin_decide([row["facts"] for row in rows])
                self._busy.append((slot, rows))
        while self._busy:
            self._finish(found)
        return found

    def _groups(self, limit: int, found: Replayed, ends: float) -> Iterator[Sequence[Row]]:
        """Rows that one bundle decided, page by page."""
        left = limit
        while left > 0 and time.monotonic() < ends:
            rows = _page(self._database, found.cursor, min(left, _PAGE))
            left -= len(rows)
            if rows:
                found.cursor = rows[-1]["id"]
            found.complete = len(rows) < _PAGE or left == 0
            for digest in dict.fromkeys(row["bundle_digest"] for row in rows):
                yield [row for row in rows if row["bundle_digest"] == digest]
            if found.complete:
                return

    def _free(self, found: Replayed) -> _Slot:
        """A worker with nothing to do: an idle one, a new one, or the one that began first."""
        if self._idle:
            return self._idle.pop()
        if len(self._slots) < self._processes:
            self._slots.append(_Slot())
            return self._slots[-1]
        self._finish(found)
        return self._idle.pop()

    def _finish(self, found: Replayed) -> None:
        slot, rows = self._busy.popleft()
        for row, again in zip(rows, slot.worker.finish_decide(), strict=True):
            if again != row["result"]:
                found.differs(row, again)
        found.replayed += len(rows)
        self._idle.append(slot)

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of the workers that it has."""
        return [slot.worker.pid for slot in self._slots]

    def close(self) -> None:
        """End the workers."""
        for slot in self._slots:
            slot.worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Slot:
    """A worker and the bundle that it holds."""

    def __init__(self) -> None:
        self.worker = PolicyWorker()
        self._digest: str | None = None

    def load(self, database: Database, digest: str) -> None:
        """Decide by the bundle with this digest from now on; raises when that cannot be."""
        if digest == self._digest:
            return
        self._digest = None
        with database.reading() as tx:
            bundle = find_bundle(tx, digest)
        if bundle.digest != digest:
            raise NotFoundError(
                "What is kept under its digest is another bundle.", fix="Restore the database."
            )
        if not self.worker.alive:  # the bundle before this one was too much for it
            self.worker.close()
            self.worker = PolicyWorker()
        self.worker.load(bundle)
        self._digest = digest


def _page(database: Database, after: str | None, count: int) -> Sequence[Row]:
    c = t.decisions.c
    query = sa.select(c.id, c.facts, c.result, c.effect, c.bundle_digest)
    if after is not None:
        query = query.where(c.id < after)
    with database.reading() as tx:
        return tx.all(query.order_by(c.id.desc()).limit(count))


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def replay(
    rt: Runtime,
    caller: Caller,
    limit: int,
    *,
    cursor: str | None = None,
    processes: int | None = None,
) -> dict[str, Any]:
    """Replay the newest `limit` decisions (older than `cursor`), or as many as some seconds allow.

    `next` is the cursor for the rest; None when all were replayed.
    """
    with rt.database.reading() as tx:
        if not reach_set(caller.subject, Permission.DECISION_VIEW, tx.now).everything:
            raise ForbiddenError(
                "Replaying takes the right to see every decision.",
                fix="Ask a security admin or a platform admin.",
                code="denied",
            )
    if not _one_at_a_time.acquire(blocking=False):
        raise TooManyError(
            "Another replay is running on this server.",
            fix="Try again when it has ended.",
            code="replay-running",
        )
    started = time.perf_counter()
    try:
        with Replayer(rt.database, min(processes or cores(), MOST_PROCESSES)) as replayer:
            found = replayer.run(limit, after=cursor)
    finally:
        _one_at_a_time.release()
    return {
        "replayed": found.replayed,
        "differences": found.differences,
        "differing": found.differing,
        "seconds": time.perf_counter() - started,
        "next": None if found.complete else found.cursor,
    }
