"""Sealing, proofs and exports against a real PostgreSQL, with crashes and rivals."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from charter.audit_verify import verify, verify_proof
from charter.core.audit.checkpoint import parse_checkpoint
from charter.core.audit.event import (
    SALT_BYTES,
    ActorRef,
    AuditEvent,
    Outcome,
    leaf,
    private_payload,
    verify_commitment,
)
from charter.core.audit.merkle import EMPTY_ROOT, leaf_hash, verify_consistency
from charter.core.kernel.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from charter.services.audit_sealing import (
    SealStatus,
    consistency,
    export,
    load_or_create_key,
    proof,
    seal,
    status,
    verifier_key,
)
from charter.store import tables as t
from charter.store.embedded import temporary_postgres
from tests.core.audit import exports
from tests.spec import spec

KEY = exports.PRIVATE
ORIGIN = exports.ORIGIN
VERIFIER = verifier_key(KEY, ORIGIN)
NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
TABLES = [t.audit_pending, t.audit_private, t.audit_log, t.audit_tiles, t.audit_checkpoints]
APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'append-only'; END $$;
CREATE TRIGGER log_is_append_only BEFORE UPDATE OR DELETE ON audit_log
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER checkpoints_are_append_only BEFORE UPDATE OR DELETE ON audit_checkpoints
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with temporary_postgres() as server:
        engine = sa.create_engine(server.url, poolclass=sa.NullPool)
        t.metadata.create_all(engine, tables=TABLES)
        with engine.begin() as conn:
            conn.exec_driver_sql(APPEND_ONLY)
        yield server.url
        engine.dispose()


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as conn:
        names = ", ".join(table.name for table in TABLES)
        conn.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
    yield engine
    engine.dispose()


def event(number: int, private: dict[str, object] | None = None) -> AuditEvent:
    return AuditEvent(
        id=f"evt_{number:06d}",
        at=NOW,
        actor=ActorRef("human", "per_1", credential_id="ses_1"),
        action="workspace.create",
        resource_kind="workspace",
        resource_id=f"ws_{number}",
        outcome=Outcome.DONE,
        facts={"number": number},
        private=private,
    )


def write(conn: sa.Connection, *numbers: int) -> None:
    rows = [{"event_id": event(n).id, "leaf": leaf(event(n), b"")} for n in numbers]
    conn.execute(sa.insert(t.audit_pending), rows)


def write_committed(engine: sa.Engine, *numbers: int) -> None:
    with engine.begin() as conn:
        write(conn, *numbers)


def seal_once(engine: sa.Engine, **options: object) -> SealStatus:
    with engine.begin() as conn:
        return seal(conn, KEY, now=NOW, origin=ORIGIN, **options)  # type: ignore[arg-type]


def seal_all(engine: sa.Engine) -> SealStatus:
    while (done := seal_once(engine, wait=True)).lag:
        pass
    return done


def log_ids(engine: sa.Engine) -> list[str]:
    """The event ids in the order of the log, whose numbers must have no gap."""
    with engine.connect() as conn:
        rows = conn.execute(sa.select(t.audit_log).order_by(t.audit_log.c.index)).mappings().all()
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert all(row["leaf_hash"] == leaf_hash(row["leaf"]) for row in rows)
    return [row["event_id"] for row in rows]


def exported(engine: sa.Engine, target: Path, since: int = 0) -> dict[str, bytes]:
    with engine.connect() as conn:
        export(conn, target, VERIFIER, since=since)
    return {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file()
    }


def passes(path: Path, previous: str | None = None) -> bool:
    report = verify(path, trusted_key=VERIFIER.text(), previous_checkpoint=previous)
    return report.ok


@spec("AU-1")
def test_an_event_becomes_a_searchable_entry(engine: sa.Engine) -> None:
    write_committed(engine, 1)
    done = seal_once(engine)
    assert (done.sealed, done.size, done.lag, done.busy) == (1, 1, 0, False)
    assert done.root == leaf_hash(leaf(event(1), b""))
    assert parse_checkpoint(done.note or "").checkpoint.size == 1
    with engine.connect() as conn:
        row = conn.execute(sa.select(t.audit_log)).mappings().one()
        assert status(conn) == replace(done, sealed=0)
    assert dict(row) == {
        "index": 0,
        "event_id": "evt_000001",
        "at": NOW,
        "actor": "per_1",
        "action": "workspace.create",
        "resource": "ws_1",
        "outcome": "done",
        "leaf": leaf(event(1), b""),
        "leaf_hash": done.root,
    }


@spec("AU-1")
def test_what_is_rolled_back_is_never_sealed(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        write(conn, 1)
        conn.rollback()
    write_committed(engine, 2)
    assert seal_once(engine).size == 1
    assert log_ids(engine) == ["evt_000002"]


def test_nothing_to_do_writes_nothing_twice(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        assert status(conn) == SealStatus(0, 0, EMPTY_ROOT, 0, None, None)
    empty = seal_once(engine)
    assert (empty.size, empty.root) == (0, EMPTY_ROOT)
    assert seal_once(engine) == empty
    write_committed(engine, 1)
    full = seal_once(engine)
    assert seal_once(engine) == replace(full, sealed=0)
    with engine.connect() as conn:
        assert conn.execute(sa.select(t.audit_checkpoints.c.size)).scalars().all() == [0, 1]


@spec("AU-1")
def test_a_lower_position_that_commits_later_is_not_lost(engine: sa.Engine) -> None:
    with engine.connect() as slow:
        write(slow, 1)
        write_committed(engine, 2, 3)
        assert seal_once(engine).sealed == 2
        slow.commit()
    assert seal_once(engine).sealed == 1
    assert log_ids(engine) == ["evt_000002", "evt_000003", "evt_000001"]


@spec("AU-2")
def test_the_export_is_the_one_that_the_rules_give(engine: sa.Engine, tmp_path: Path) -> None:
    dice = random.Random(7)  # noqa: S311 - the same batches on every run
    write_committed(engine, *range(700))
    while seal_once(engine, limit=dice.randint(1, 90)).lag:
        pass
    entries = [leaf(event(number), b"") for number in range(700)]
    files = exported(engine, tmp_path / "log")
    assert files == exports.export_of(entries)
    assert passes(tmp_path / "log")
    assert exported(engine, tmp_path / "late", since=300) == exports.export_of(entries, 256)
    assert passes(tmp_path / "late")
    with engine.connect() as conn:
        summary = export(conn, tmp_path / "log.zip", VERIFIER)
        assert (summary.first, summary.size, summary.files) == (0, 700, len(files))
        assert summary.key == VERIFIER.text()
        export(conn, tmp_path / "again.zip", VERIFIER)
    assert passes(tmp_path / "log.zip")
    assert (tmp_path / "log.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    assert (tmp_path / "log.zip").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "log/checkpoint").stat().st_mode & 0o777 == 0o600
    first_line = json.loads(files["events.jsonl"].splitlines()[0])
    assert first_line["event"]["facts"] == {"number": 0}


@spec("AU-2")
def test_a_changed_byte_of_an_export_never_passes(engine: sa.Engine, tmp_path: Path) -> None:
    write_committed(engine, *range(300))
    seal_all(engine)
    path = tmp_path / "log"
    files = exported(engine, path)
    dice = random.Random(11)  # noqa: S311 - the same places on every run
    for _ in range(300):
        name = dice.choice(sorted(files))
        changed = bytearray(files[name])
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        (path / name).write_bytes(changed)
        assert not passes(path), name
        (path / name).write_bytes(files[name])
    assert passes(path)
    changed = bytearray(files["tile/entries/000"])
    changed[files["tile/entries/000"].index(b"ws_137")] ^= 1
    (path / "tile/entries/000").write_bytes(changed)
    report = verify(path, trusted_key=None, previous_checkpoint=None)
    assert [(f.index, f.event_id) for f in report.findings] == [(137, "evt_000137")]


@spec("AU-2")
def test_every_entry_has_a_proof_and_every_size_a_successor(engine: sa.Engine) -> None:
    roots = {0: EMPTY_ROOT}
    at = 0
    for count in (1, 4, 251, 1, 43):
        write_committed(engine, *range(at, at + count))
        at += count
        roots[at] = seal_all(engine).root
    with engine.connect() as conn:
        for index in (0, 1, 255, 256, 299):
            report = verify_proof(proof(conn, index), trusted_key=VERIFIER.text())
            assert report.ok
            assert f"(evt_{index:06d})" in report.notes[0]
        for old, new in ((o, n) for n in roots for o in roots if o <= n):
            hashes = consistency(conn, old, new)
            assert verify_consistency(old, new, roots[old], roots[new], hashes)
        for index in (300, -1, 2**62):
            with pytest.raises(NotFoundError, match="no sealed entry"):
                proof(conn, index)
        with pytest.raises(InvalidInputError):
            consistency(conn, 5, 301)


@spec("AU-3")
def test_erasing_personal_data_leaves_every_proof_standing(
    engine: sa.Engine, tmp_path: Path
) -> None:
    salts = {number: os.urandom(SALT_BYTES) for number in range(4)}
    private: dict[str, object] = {"name": "dana", "ip": "192.0.2.1"}
    with engine.begin() as conn:
        for number, salt in salts.items():
            one = event(number, private)
            conn.execute(sa.insert(t.audit_pending).values(event_id=one.id, leaf=leaf(one, salt)))
            conn.execute(
                sa.insert(t.audit_private).values(
                    event_id=one.id, salt=salt, payload=private_payload(private)
                )
            )
    before = seal_all(engine)
    with engine.begin() as conn:
        sealed = conn.execute(sa.select(t.audit_log.c.leaf).where(t.audit_log.c.index == 2))
        entry = sealed.scalar_one()
        row = conn.execute(
            sa.select(t.audit_private).where(t.audit_private.c.event_id == event(2).id)
        ).one()
        assert verify_commitment(entry, row.salt, json.loads(row.payload))
        conn.execute(sa.delete(t.audit_private))
        assert verify_proof(proof(conn, 2), trusted_key=VERIFIER.text()).ok
    write_committed(engine, 4)
    seal_all(engine)
    files = exported(engine, tmp_path / "log")
    assert passes(tmp_path / "log", previous=before.note)
    assert not any(b"dana" in content or b"192.0.2.1" in content for content in files.values())


def test_an_id_used_twice_and_a_line_that_is_no_event(engine: sa.Engine, tmp_path: Path) -> None:
    write_committed(engine, 1)
    seal_once(engine)
    odd = [b"\xff", b"{}", b'{"actor":{"id":"a\\u0000"},"action":"x"}', b"[" * 40_000]
    with engine.begin() as conn:
        write(conn, 1, 2, 2)
        for number, content in enumerate(odd):
            conn.execute(sa.insert(t.audit_pending).values(event_id=f"odd{number}", leaf=content))
    assert seal_once(engine).sealed == 7
    names = ["evt_000001", "evt_000001~1", "evt_000002", "evt_000002~3"]
    assert log_ids(engine) == [*names, "odd0", "odd1", "odd2", "odd3"]
    exported(engine, tmp_path / "log")
    assert passes(tmp_path / "log")


def test_nothing_is_sealed_over_damage(engine: sa.Engine) -> None:
    write_committed(engine, *range(5))
    seal_once(engine)
    write_committed(engine, 5)

    def refused(damage: Callable[[sa.Connection], object]) -> None:
        with engine.connect() as conn:  # rolled back at the end
            conn.exec_driver_sql("SET LOCAL session_replication_role = replica")  # no triggers
            damage(conn)
            with pytest.raises(ConflictError) as caught:
                seal(conn, KEY, now=NOW, origin=ORIGIN)
            assert caught.value.code == "audit-log-damaged"

    refused(lambda conn: conn.execute(sa.update(t.audit_tiles).values(hashes=bytes(160))))
    refused(lambda conn: conn.execute(sa.update(t.audit_tiles).values(hashes=b"")))
    refused(lambda conn: conn.execute(sa.delete(t.audit_tiles)))
    refused(lambda conn: conn.execute(sa.delete(t.audit_checkpoints)))
    refused(lambda conn: conn.execute(sa.update(t.audit_checkpoints).values(note="x")))
    refused(lambda conn: conn.execute(sa.update(t.audit_checkpoints).values(root=bytes(32))))
    refused(lambda conn: conn.execute(sa.delete(t.audit_log).where(t.audit_log.c.index == 4)))
    with engine.connect() as conn, pytest.raises(ConflictError, match="not signed"):
        seal(conn, Ed25519PrivateKey.generate(), now=NOW, origin=ORIGIN)
    with engine.connect() as conn, pytest.raises(ConflictError, match="not signed"):
        seal(conn, KEY, now=NOW, origin="charter.test/other")
    assert seal_once(engine).sealed == 1


def test_a_hole_in_the_log_is_not_exported(engine: sa.Engine, tmp_path: Path) -> None:
    write_committed(engine, *range(5))
    seal_once(engine)
    for index in (2, 4):
        with engine.connect() as conn:
            conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
            conn.execute(sa.delete(t.audit_log).where(t.audit_log.c.index == index))
            for target in (tmp_path / "log", tmp_path / "log.zip"):
                with pytest.raises(ConflictError, match=f"entry {index} is missing"):
                    export(conn, target, VERIFIER)
    assert list(tmp_path.iterdir()) == []


def test_exports_that_are_refused(engine: sa.Engine, tmp_path: Path) -> None:
    with engine.connect() as conn:
        with pytest.raises(NotFoundError, match="no checkpoint"):
            export(conn, tmp_path / "log", VERIFIER)
        with pytest.raises(NotFoundError):
            proof(conn, 0)
    seal_once(engine)
    with engine.connect() as conn:
        with pytest.raises(InvalidInputError, match="cannot start"):
            export(conn, tmp_path / "log", VERIFIER, since=1)
        (tmp_path / "log").mkdir()
        with pytest.raises(ConflictError, match="exists"):
            export(conn, tmp_path / "log", VERIFIER)
        export(conn, tmp_path / "empty", VERIFIER)
    assert passes(tmp_path / "empty")


def test_only_one_seals_at_a_time(engine: sa.Engine) -> None:
    write_committed(engine, 1)
    with engine.connect() as first:
        assert seal(first, KEY, now=NOW, origin=ORIGIN).sealed == 1
        second = seal_once(engine)
        assert second.busy
        assert (second.sealed, second.size, second.lag) == (0, 0, 1)
        first.commit()
    assert seal_once(engine).size == 1


@spec("AU-1", "AU-2")
def test_two_sequencers_and_three_writers(engine: sa.Engine, tmp_path: Path) -> None:
    per_writer = 120
    writing = threading.Barrier(5)
    failures: list[BaseException] = []

    def writer(number: int) -> None:
        writing.wait()
        dice = random.Random(number)  # noqa: S311 - the same sizes on every run
        at = number * per_writer
        end = at + per_writer
        while at < end:
            count = min(dice.randint(1, 9), end - at)
            write_committed(engine, *range(at, at + count))
            at += count

    def sequencer(wait: bool) -> None:
        writing.wait()
        while not failures and seal_once(engine, limit=20, wait=wait).size < 3 * per_writer:
            pass

    def guarded(work: Callable[..., None], *arguments: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:  # noqa: BLE001 - told by the test
                failures.append(error)
                writing.abort()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    threads = [guarded(writer, number) for number in range(3)]
    threads += [guarded(sequencer, True), guarded(sequencer, False)]
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(log_ids(engine)) == [event(number).id for number in range(3 * per_writer)]
    exported(engine, tmp_path / "log")
    assert passes(tmp_path / "log")


def _seal_until_killed(url: str, started: Event) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as conn:
        started.set()
        while True:
            seal(conn, KEY, now=NOW, origin=ORIGIN, limit=29)
            conn.commit()


@spec("AU-1", "AU-2")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_kill_9_at_any_moment_loses_and_doubles_nothing(
    url: str, engine: sa.Engine, tmp_path: Path
) -> None:
    dice = random.Random(5)  # noqa: S311 - moments, not secrets
    context = multiprocessing.get_context("fork")
    written = 0
    interrupted = 0
    previous = seal_once(engine).note
    for round_number in range(14):
        write_committed(engine, *range(written, written + 300))
        written += 300
        started = context.Event()
        child = context.Process(target=_seal_until_killed, args=(url, started))
        child.start()
        assert started.wait(60)
        child.join(timeout=dice.uniform(0, 0.05))
        child.kill()
        child.join()
        with engine.connect() as conn:
            interrupted += status(conn).lag > 0
        done = seal_all(engine)
        assert done.size == written
        assert log_ids(engine) == [event(number).id for number in range(written)]
        path = tmp_path / f"log{round_number}"
        exported(engine, path)
        assert passes(path, previous=previous)
        previous = done.note
    assert interrupted > 0  # at least once the kill came between


def test_the_key_file(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "audit.key"
    seeds: list[int] = []

    def randomness(count: int) -> bytes:
        seeds.append(count)
        return os.urandom(count)

    key = load_or_create_key(path, randomness)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["audit.key"]  # noqa: PTH208 - hidden files too
    again = load_or_create_key(path, randomness)
    assert seeds == [32]
    assert again.private_bytes_raw() == key.private_bytes_raw()
    assert verifier_key(key).name == verifier_key(again).name
    assert verifier_key(key).name.startswith("charter.audit/")

    path.chmod(0o640)
    with pytest.raises(UnavailableError, match="other accounts") as caught:
        load_or_create_key(path, randomness)
    assert "chmod 600" in caught.value.fix
    foreign = X25519PrivateKey.generate()
    for content in (
        b"",
        b"\xff",
        foreign.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(UnavailableError, match="does not hold"):
            load_or_create_key(path, randomness)
    with pytest.raises(UnavailableError, match="cannot be used"):
        load_or_create_key(path / "below", randomness)


def test_two_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"

    def slow(count: int) -> bytes:
        rival = load_or_create_key(path, os.urandom)  # the other one comes first
        assert rival is not None
        return os.urandom(count)

    key = load_or_create_key(path, slow)
    stored = load_or_create_key(path, os.urandom)
    assert key.private_bytes_raw() == stored.private_bytes_raw()
