"""The only place where a transaction begins or ends.

A service opens one unit of work, loads facts under it, decides, writes state, decision, audit event
and effects, and leaves the block: that is the commit. An exception rolls all of it back. What a
person is told is therefore told after the commit, never before it. (A commit inside a web
framework's dependency answers 200 and fails afterwards; that is why it is not there.)

`Tx` also carries the moment of the transaction and makes identifiers, so that everything that one
transaction writes shares one time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charter import clock
from charter.core.audit.event import SALT_BYTES, AuditEvent, leaf, private_payload
from charter.core.kernel.errors import UnavailableError
from charter.core.kernel.identifiers import make_id
from charter.store import tables as t

WAKE_CHANNEL: Final = "charter_wake"  # NOTIFY without payload: a hint to look, never information
_LONGEST_RECOVERY_SECONDS: Final = 20.0  # the replay of a log of this size takes less than one
_RECOVERY_POLL_SECONDS: Final = 0.05
_SERIALISATION_FAILURE: Final = ("40001", "40P01")

Row = sa.RowMapping | Mapping[str, Any]


@dataclass(slots=True)
class Tx:
    """One open transaction: connection, moment, and what services write beside state."""

    conn: sa.Connection
    now: datetime
    randomness: Callable[[int], bytes]
    wake: bool = field(default=False)

    def new_id(self, kind: str) -> str:
        """A fresh identifier of `kind`."""
        return make_id(kind, int(self.now.timestamp() * 1000), self.randomness(10))

    # -- reading ---------------------------------------------------------------------------
    def one(self, query: sa.Executable) -> sa.RowMapping | None:
        """The single row of `query`, or None; more than one is a programming error."""
        return self.conn.execute(query).mappings().one_or_none()

    def all(self, query: sa.Executable) -> Sequence[sa.RowMapping]:
        """All rows of `query`."""
        return self.conn.execute(query).mappings().all()

    # -- writing ---------------------------------------------------------------------------
    def insert(self, table: sa.Table, **values: object) -> None:
        """One new row."""
        self.conn.execute(sa.insert(table).values(**values))

    def insert_all(self, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
        """Many new rows, or none."""
        if rows:
            self.conn.execute(sa.insert(table), rows)

    def insert_new(self, table: sa.Table, **values: object) -> bool:
        """One new row unless its key is taken; says whether it was written."""
        statement = insert(table).values(**values).on_conflict_do_nothing()
        return self.conn.execute(statement.returning(sa.literal(1))).first() is not None

    def insert_all_new(self, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
        """Those of many rows whose keys are not taken."""
        if rows:
            self.conn.execute(insert(table).on_conflict_do_nothing(), rows)

    def update(self, table: sa.Table, *where: sa.ColumnElement[bool], **values: object) -> int:
        """Change the rows that match; returns how many there were."""
        return self.conn.execute(sa.update(table).where(*where).values(**values)).rowcount

    def audit(self, *events: AuditEvent) -> None:
        """Append `events` to the trail, in this very transaction."""
        salted = [(event, self.randomness(SALT_BYTES)) for event in events]
        private = [
            {"event_id": e.id, "salt": salt, "payload": private_payload(e.private)}
            for e, salt in salted
            if e.private is not None
        ]
        self.insert_all(t.audit_private, private)
        leaves = [{"event_id": e.id, "leaf": leaf(e, salt)} for e, salt in salted]
        self.insert_all(t.audit_pending, leaves)

    def effect(self, kind: str, workspace_id: str, generation: int) -> None:
        """Leave a side effect for the executors; it happens after the commit, at least once."""
        self.insert(
            t.outbox,
            id=self.new_id("effect"),
            kind=kind,
            workspace_id=workspace_id,
            generation=generation,
            created_at=self.now,
            next_attempt_at=self.now,
        )
        self.wake = True


class Database:
    """The connection pool, and the door to transactions."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 24,
        now: Callable[[], datetime] = clock.now,
        randomness: Callable[[int], bytes] = clock.random_bytes,
    ) -> None:
        self.url = url
        self.engine = sa.create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=20,
            pool_pre_ping=True,
            hide_parameters=True,  # the values of a failed statement may be secrets or personal
            connect_args={
                "options": "-c timezone=UTC -c lock_timeout=15s -c statement_timeout=60s",
                "application_name": "charter",
            },
        )
        self._now = now
        self._randomness = randomness

    def await_answer(self) -> None:
        """Wait for a server that starts or recovers; UnavailableError when it goes on for long.

        A server that recovers from the end of one of its processes runs and refuses connections.
        """
        deadline = time.monotonic() + _LONGEST_RECOVERY_SECONDS
        while True:
            try:
                self.engine.connect().close()
            except sa.exc.OperationalError as error:
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        "The database does not answer.",
                        fix="Look at its log, or at CHARTER_DATABASE_URL if it is your own.",
                        code="database-unavailable",
                    ) from error
                time.sleep(_RECOVERY_POLL_SECONDS)
            else:
                return

    @contextmanager
    def unit_of_work(self) -> Iterator[Tx]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Raises `UnavailableError` when PostgreSQL cannot be reached.
        """
        try:
            with self.engine.begin() as conn:
                tx = Tx(conn, self._now(), self._randomness)
                yield tx
                if tx.wake:
                    conn.exec_driver_sql(f"NOTIFY {WAKE_CHANNEL}")
        except sa.exc.TimeoutError as error:
            raise UnavailableError(
                "All database connections are in use.",
                fix="Try again in a few seconds.",
                code="database-busy",
            ) from error
        except sa.exc.DBAPIError as error:
            if not (isinstance(error, sa.exc.OperationalError) or error.connection_invalidated):
                raise
            state = getattr(error.orig, "sqlstate", None)
            if state in _SERIALISATION_FAILURE or state == "55P03":
                raise UnavailableError(
                    "Another change to the same thing was in progress.",
                    fix="Try again.",
                    code="database-contention",
                ) from error
            raise UnavailableError(
                "The database does not answer.",
                fix="Try again; an administrator can look at `charter status`.",
                code="database-unavailable",
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """A transaction for reading only; PostgreSQL refuses writes in it."""
        with self.unit_of_work() as tx:
            tx.conn.exec_driver_sql("SET TRANSACTION READ ONLY")
            yield tx

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()
