"""How fast the audit trail is, on a PostgreSQL that syncs every commit to disk.

`events_per_second` is the whole way: one process commits events into `audit_pending` as fast as it
can while another seals them; the clock stops when the last one stands under a signed checkpoint.
`p50_ms` and `p99_ms` are the time from an event's commit to its checkpoint at a moderate rate.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from charter.audit_verify import verify
from charter.core.audit.event import ActorRef, AuditEvent, Outcome, leaf
from charter.services.audit_sealing import export, proof, seal, status, verifier_key
from charter.store import tables as t
from charter.store.embedded import EmbeddedPostgres

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_VERIFIER = verifier_key(_KEY)
_TABLES = [t.audit_pending, t.audit_private, t.audit_log, t.audit_tiles, t.audit_checkpoints]
_WRITE_BATCH = 200  # events of one transaction at full speed
_PACED_BATCH = 5  # events of one transaction at the moderate rate
_PACED_PER_SECOND = 1000
_SMALL_BATCH = 500  # after a smaller one the sequencer lets more come together
_PAUSE_SECONDS = 0.005


def run(quick: bool) -> dict[str, object]:
    """Measure; `quick` takes a fifth of the events."""
    total = 20_000 if quick else 100_000
    with tempfile.TemporaryDirectory(prefix="charter-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "pg", durable=True)
        url = server.start()
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        try:
            t.metadata.create_all(engine, tables=_TABLES)
            sustained, cpu = _sustained(url, engine, total)
            sealing = _sealing(engine, total)
            latencies = _latencies(url, engine, 3 if quick else 10)
            return {
                "events": total,
                "events_per_second": round(sustained),
                "seal_events_per_second": round(sealing),
                "seal_cpu_us_per_event": round(cpu * 1e6 / total, 1),
                "p50_ms": _percentile(latencies, 50),
                "p99_ms": _percentile(latencies, 99),
                "proof_ms": _proof_ms(engine),
                **_export(url, Path(folder)),
            }
        finally:
            engine.dispose()
            server.reset()


def _event(number: int, moment: datetime) -> dict[str, object]:
    event = AuditEvent(
        id=f"evt_{number:026d}",
        at=moment,
        actor=ActorRef("agent", "agt_0001", sponsor_id="per_0001", credential_id="crd_0001"),
        action="workspace.create",
        resource_kind="workspace",
        resource_id=f"ws_{number:026d}",
        outcome=Outcome.ALLOWED,
        decision_id=f"dec_{number:026d}",
        reason_codes=("admission/size", "invariant/delegation"),
        facts={"vcpu": 8, "memory_mib": 16_384, "tier": "sandboxed", "team": "team_0001"},
    )
    return {"event_id": event.id, "leaf": leaf(event, b"")}


def _write(conn: sa.Connection, start: int, count: int) -> None:
    moment = datetime.now(UTC)
    rows = [_event(number, moment) for number in range(start, start + count)]
    conn.execute(sa.insert(t.audit_pending), rows)


def _writer(url: str, first: int, total: int) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as conn:
        for start in range(first, first + total, _WRITE_BATCH):
            _write(conn, start, min(_WRITE_BATCH, first + total - start))
            conn.commit()


def _paced_writer(url: str, first: int, seconds: int, times: Connection) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as conn:
        begin = time.monotonic()
        for batch in range(seconds * _PACED_PER_SECOND // _PACED_BATCH):
            due = begin + batch * _PACED_BATCH / _PACED_PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            _write(conn, first + batch * _PACED_BATCH, _PACED_BATCH)
            conn.commit()
            times.send(time.monotonic())
    times.close()


def _seal_to(engine: sa.Engine, size: int) -> list[tuple[int, float]]:
    """Seal until the log has `size` entries; the sizes on the way and when they stood."""
    reached: list[tuple[int, float]] = []
    with engine.connect() as conn:
        at = status(conn).size
        while at < size:
            done = seal(conn, _KEY, now=datetime.now(UTC))
            conn.commit()
            at = done.size
            reached.append((at, time.monotonic()))
            if done.sealed < _SMALL_BATCH:
                time.sleep(_PAUSE_SECONDS)
    return reached


def _size(engine: sa.Engine) -> int:
    with engine.connect() as conn:
        return status(conn).size


def _sustained(url: str, engine: sa.Engine, total: int) -> tuple[float, float]:
    """Events a second from commit to checkpoint, and CPU seconds of this process for sealing."""
    writer = multiprocessing.get_context("spawn").Process(target=_writer, args=(url, 0, total))
    writer.start()
    _seal_to(engine, 1)  # the interpreter of the writer has started
    begin, cpu, before = time.perf_counter(), time.process_time(), _size(engine)
    _seal_to(engine, total)
    elapsed = time.perf_counter() - begin
    writer.join()
    return (total - before) / elapsed, time.process_time() - cpu


def _sealing(engine: sa.Engine, total: int) -> float:
    """Events a second when everything is waiting already."""
    size = _size(engine)
    with engine.begin() as conn:
        for start in range(size, size + total, _WRITE_BATCH):
            _write(conn, start, _WRITE_BATCH)
    begin = time.perf_counter()
    _seal_to(engine, size + total)
    return total / (time.perf_counter() - begin)


def _latencies(url: str, engine: sa.Engine, seconds: int) -> list[float]:
    """Milliseconds from commit to checkpoint, one figure for each transaction."""
    size = _size(engine)
    receive, send = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=_paced_writer, args=(url, size, seconds, send))
    writer.start()
    send.close()
    reached = _seal_to(engine, size + seconds * _PACED_PER_SECOND)
    committed: list[float] = []
    try:
        while True:
            committed.append(receive.recv())
    except EOFError:
        writer.join()
    latencies: list[float] = []
    place = 0
    for batch, moment in enumerate(committed, start=1):
        while reached[place][0] < size + batch * _PACED_BATCH:
            place += 1
        latencies.append(max(0.0, reached[place][1] - moment) * 1000)
    return latencies


def _percentile(values: list[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100)[percent - 1], 2)


def _proof_ms(engine: sa.Engine) -> float:
    with engine.connect() as conn:
        size = status(conn).size
        begin = time.perf_counter()
        for number in range(200):
            proof(conn, number * 7919 % size)
        return round((time.perf_counter() - begin) * 1000 / 200, 2)


def _export(url: str, folder: Path) -> dict[str, object]:
    receive, send = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_export_and_verify, args=(url, folder, send))
    child.start()
    result: dict[str, object] = receive.recv()
    child.join()
    return result


def _peak_rss_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _export_and_verify(url: str, folder: Path, answer: Connection) -> None:
    """In a process of its own, so that the memory it takes can be told."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    before = _peak_rss_mib()
    begin = time.perf_counter()
    with engine.connect() as conn:
        summary = export(conn, folder / "log", _VERIFIER)
    exported = time.perf_counter()
    report = verify(folder / "log", trusted_key=_VERIFIER.text(), previous_checkpoint=None)
    verified = time.perf_counter()
    assert report.ok, report.sentences()
    grown = _peak_rss_mib() - before
    answer.send(
        {
            "export_events_per_second": round(summary.size / (exported - begin)),
            "verify_events_per_second": round(summary.size / (verified - exported)),
            "export_rss_growth_mib": round(grown, 1),
        }
    )


if __name__ == "__main__":
    for name, value in run(quick="--quick" in sys.argv).items():
        print(f"{name:28} {value}")
