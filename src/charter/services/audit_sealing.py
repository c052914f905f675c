# house: allow file-length — one writer: sealing, proofs and export stand on the same invariants
"""The sequencer of the audit trail: pending events become numbered, hashed, signed entries.

A service writes its audit event into `audit_pending`, in the transaction of what it records. That
is cheap and never waits for anybody. Numbers and hashes come later, from here: `seal` takes what
is pending, gives each event the next number, extends the Merkle tree and signs a new checkpoint,
all in one transaction. What a crash interrupts is rolled back whole and done again.

Three things to know:

* **One at a time.** Every replica may call `seal` whenever it likes; an advisory lock lets one of
  them through, and the others come back at once with `busy`.
* **Positions are not commit order.** PostgreSQL hands out positions when a row is written, and a
  transaction with a lower position may commit later than one with a higher. So `seal` deletes
  exactly the rows it has read, never "everything up to here", and a late row goes into the next
  batch. The number in the log is the order of sealing; the time of the event is in the event.
* **It does not sign over damage.** Before it extends the log it checks that the newest checkpoint
  bears the log's own signature and that the stored tiles give the root that was signed. If not,
  it refuses, and events wait in `audit_pending` until somebody has looked.

`export` writes the log as files that `charter.audit_verify` checks without a server or a database.

Source: Spec AU-1, AU-2. C2SP tlog-tiles, signed-note, tlog-checkpoint, tlog-proof.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, Protocol

import psycopg
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.dialects.postgresql import insert

from charter.audit_verify import check_signature
from charter.core.audit import layout
from charter.core.audit.checkpoint import (
    Checkpoint,
    MalformedError,
    SignedCheckpoint,
    VerifierKey,
    parse_checkpoint,
    signed_note,
)
from charter.core.audit.merkle import (
    EMPTY_EDGE,
    EMPTY_ROOT,
    HASH_BYTES,
    TILE_WIDTH,
    Edge,
    Tile,
    TileMissingError,
    Tree,
    edge_from_tiles,
    edge_tiles,
    leaf_hash,
)
from charter.core.audit.proof import format_proof
from charter.core.kernel.canonical import parse_rfc3339
from charter.core.kernel.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from charter.store import tables as t

MAX_BATCH: Final = 4000  # beyond this a larger batch gains nothing and holds its locks longer
LAG_COUNTED: Final = 100_000  # counting a longer backlog would cost more than the figure is worth

_LOCK: Final = 0x41554449  # "AUDI": one sequencer per database; used for nothing else
_SEED_BYTES: Final = 32  # of an Ed25519 private key
_UNREADABLE: Final = "unreadable"  # the columns of an entry whose bytes are no audit event
_LOG_COLUMNS: Final = (
    "index",
    "event_id",
    "at",
    "actor",
    "action",
    "resource",
    "outcome",
    "leaf",
    "leaf_hash",
)
_LOG_TYPES: Final = (
    "int8",
    "text",
    "timestamptz",
    "text",
    "text",
    "text",
    "text",
    "bytea",
    "bytea",
)
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: equal logs, equal zips

LogRow = tuple[int, str, datetime, str, str, str, str, bytes, bytes]


@dataclass(frozen=True, slots=True)
class SealStatus:
    """What a call of `seal` did and how the log stands.

    `lag` is how many committed events still wait (counted up to LAG_COUNTED). `busy` says that
    another process was sealing, so nothing was done here. `note` is the newest signed checkpoint;
    None before the first.
    """

    sealed: int
    size: int
    root: bytes
    lag: int
    note: str | None
    at: datetime | None
    busy: bool = False


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export holds: the entries from `first` up to `size`, in `files` files."""

    first: int
    size: int
    files: int
    key: str


# --- the key ------------------------------------------------------------------------------------
def load_or_create_key(path: Path, randomness: Callable[[int], bytes]) -> Ed25519PrivateKey:
    """The log's signing key from `path`; made there, readable by its owner only, at first use.

    Two processes that start together end up with one key. Raises UnavailableError when the file
    cannot be read, is no Ed25519 key, or is open to other accounts of the machine.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create_key(path, randomness(_SEED_BYTES))
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(4096)
    except OSError as error:
        raise UnavailableError(
            f"The key of the audit log at {path} cannot be used: {error.strerror}.",
            fix="Make the folder readable and writable for the account that runs Charter.",
            code="audit-key-unreadable",
        ) from error
    if not stat.S_ISREG(mode) or mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UnavailableError(
            f"The key of the audit log at {path} is open to other accounts of this machine.",
            fix=f"Find out who could read it, then run: chmod 600 {path}",
            code="audit-key-exposed",
        )
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise _no_key(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path)
    return key


def _create_key(path: Path, seed: bytes) -> None:
    content = Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".audit-key-")  # made 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)  # whole or not at all, and the first one wins
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # a checkpoint must never outlive the key that signed it
        finally:
            os.close(folder)
    finally:
        Path(name).unlink()


def _no_key(path: Path) -> UnavailableError:
    return UnavailableError(
        f"The file {path} does not hold an Ed25519 private key.",
        fix="Restore the key of the audit log from your backup.",
        code="audit-key-unreadable",
    )


def verifier_key(key: Ed25519PrivateKey, origin: str | None = None) -> VerifierKey:
    """The public half to give to auditors. Without an `origin` the log is named after its key."""
    public = key.public_key().public_bytes_raw()
    name = origin or f"charter.audit/{hashlib.sha256(public).hexdigest()[:16]}"
    return VerifierKey(name, public)


# --- sealing ------------------------------------------------------------------------------------
class StoredTiles:
    """The tiles in the database, as the source of roots and proofs within one transaction.

    What was read is kept (8 KiB a tile): a proof asks for the same few tiles again and again.
    """

    def __init__(self, conn: sa.Connection) -> None:
        self._conn = conn
        self._read: dict[tuple[int, int], bytes] = {}

    def load(self, tiles: Sequence[tuple[int, int]]) -> None:
        """Read several tiles (level, number) in one go."""
        columns = t.audit_tiles.c
        query = sa.select(columns.level, columns.tile, columns.hashes).where(
            sa.tuple_(columns.level, columns.tile).in_(tiles)
        )
        for level, index, hashes in self._conn.execute(query):
            self._read[level, index] = bytes(hashes)

    def tile(self, level: int, index: int, width: int) -> bytes:
        """The stored hashes of a tile, perhaps more than `width`."""
        if (level, index) not in self._read:
            self.load([(level, index)])
        try:
            return self._read[level, index]
        except KeyError:
            raise TileMissingError(level, index, width) from None


def seal(
    conn: sa.Connection,
    key: Ed25519PrivateKey,
    *,
    now: datetime,
    origin: str | None = None,
    limit: int = MAX_BATCH,
    wait: bool = False,
) -> SealStatus:
    """Seal up to `limit` pending events in the transaction of `conn`, and say how the log stands.

    Call it again while `lag` is not 0. The transaction is the caller's and must be at READ
    COMMITTED (the default). With `wait`, it waits for another sequencer instead of coming back
    `busy`. Raises ConflictError (`audit-log-damaged`) when what is stored does not match the newest
    signed checkpoint; nothing is sealed over such a log.
    """
    verifier = verifier_key(key, origin)
    batch = max(1, min(limit, MAX_BATCH))
    if not _lock(conn, wait=wait):
        return _status(conn, sealed=0, busy=True)
    last = _last_checkpoint(conn)
    edge = _trusted_edge(conn, last, verifier)
    pending = conn.execute(
        sa.select(t.audit_pending.c.position, t.audit_pending.c.event_id, t.audit_pending.c.leaf)
        .order_by(t.audit_pending.c.position)
        .limit(batch)
    ).all()
    if not pending and last is not None:
        return _status(conn, sealed=0)
    rows = [
        _log_row(edge.size + place, row.event_id, bytes(row.leaf), now)
        for place, row in enumerate(pending)
    ]
    _append(conn, rows)
    deleted = (
        conn.execute(
            sa.delete(t.audit_pending).where(
                t.audit_pending.c.position == sa.any_(sa.literal([row.position for row in pending]))
            )
        ).rowcount
        if pending
        else 0
    )
    if deleted != len(pending):
        raise _damaged("pending events vanished while they were being sealed")
    grown, completed = edge.append(b"".join(row[-1] for row in rows))
    _store_tiles(conn, (*completed, *grown.partial_tiles()))
    checkpoint = Checkpoint(verifier.name, grown.size, grown.root())
    note = signed_note(checkpoint, verifier, key.sign)
    conn.execute(
        sa.insert(t.audit_checkpoints).values(
            size=checkpoint.size,
            root=checkpoint.root,
            note=note,
            at=now,
        )
    )
    # A batch that was not full took all that was waiting; only a full one leaves something.
    lag = _lag(conn) if len(rows) == batch else 0
    return SealStatus(len(rows), checkpoint.size, checkpoint.root, lag, note, now)


def status(conn: sa.Connection) -> SealStatus:
    """How the log stands, without changing anything."""
    return _status(conn, sealed=0)


def _lock(conn: sa.Connection, *, wait: bool) -> bool:
    if wait:
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        return True
    return bool(conn.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK))).scalar_one())


def _status(conn: sa.Connection, *, sealed: int, busy: bool = False) -> SealStatus:
    last = _last_checkpoint(conn)
    lag = _lag(conn)
    if last is None:
        return SealStatus(sealed, 0, EMPTY_ROOT, lag, None, None, busy)
    return SealStatus(sealed, last.size, bytes(last.root), lag, last.note, last.at, busy)


def _lag(conn: sa.Connection) -> int:
    waiting = sa.select(t.audit_pending.c.position).limit(LAG_COUNTED).subquery()
    return int(conn.execute(sa.select(sa.func.count()).select_from(waiting)).scalar_one())


def _last_checkpoint(conn: sa.Connection) -> sa.Row[Any] | None:
    query = sa.select(t.audit_checkpoints).order_by(t.audit_checkpoints.c.size.desc()).limit(1)
    return conn.execute(query).one_or_none()


def _trusted_edge(conn: sa.Connection, last: sa.Row[Any] | None, verifier: VerifierKey) -> Edge:
    """The edge of the stored tree, once it is shown to be the one that was signed last."""
    end = conn.execute(sa.select(sa.func.max(t.audit_log.c.index))).scalar_one()
    entries = 0 if end is None else end + 1
    if last is None:
        if entries:
            raise _damaged(f"there are {entries} entries and no checkpoint")
        return EMPTY_EDGE
    signed = _signed(last)
    checkpoint = signed.checkpoint
    if checkpoint.origin != verifier.name or not signed.signed_by(verifier, check_signature):
        raise _damaged("the newest checkpoint is not signed by this log's key")
    if checkpoint.size != last.size or checkpoint.root != bytes(last.root):
        raise _damaged("the newest checkpoint and its note do not say the same")
    if entries != checkpoint.size:
        raise _damaged(f"there are {entries} entries where {checkpoint.size} were signed")
    try:
        source = StoredTiles(conn)
        source.load([(level, index) for level, index, _ in edge_tiles(checkpoint.size)])
        edge = edge_from_tiles(checkpoint.size, source)
    except TileMissingError as error:
        raise _damaged(str(error)) from error
    if edge.root() != checkpoint.root:
        raise _damaged("the stored tiles do not give the root that was signed")
    return edge


def _signed(last: sa.Row[Any]) -> SignedCheckpoint:
    try:
        return parse_checkpoint(last.note)
    except MalformedError as error:
        raise _damaged("the newest checkpoint cannot be read") from error


def _damaged(what: str) -> ConflictError:
    return ConflictError(
        f"The audit log is damaged or another key is in use: {what}.",
        fix="Nothing was sealed over it and new events are kept. Export the log, run "
        "`charter audit verify`, and restore the database or the key from a backup.",
        code="audit-log-damaged",
    )


def _log_row(index: int, event_id: str, leaf: bytes, now: datetime) -> LogRow:
    """The searchable row of an entry.

    What is not an event is sealed all the same: a line that somebody slipped past the services is
    the last thing to drop.
    """
    found = _searchable(leaf)
    at, texts = found if found is not None else (now, (_UNREADABLE,) * 4)
    actor, action, resource, outcome = texts
    return (index, event_id, at, actor, action, resource, outcome, leaf, leaf_hash(leaf))


def _searchable(leaf: bytes) -> tuple[datetime, tuple[str, str, str, str]] | None:
    """Time and (actor, action, resource, outcome) of a leaf; None if it does not give them."""
    event: Any = layout.read_event(leaf)
    try:
        texts = (
            str(event["actor"]["id"]),
            str(event["action"]),
            str(event["resource"]["id"]),
            str(event["outcome"]),
        )
        at = parse_rfc3339(event["at"])
        storable = b"\x00" not in "".join(texts).encode()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (at, texts) if storable else None


def _append(conn: sa.Connection, rows: Sequence[LogRow]) -> None:
    """Insert the rows; an event id that the log has already gets its number appended to it.

    Two records under one id are a mistake where they were made, but it must not stop the log.
    """
    if not rows:
        return
    try:
        with conn.begin_nested():
            _copy(conn, rows)
    except psycopg.errors.UniqueViolation:
        ids = [row[1] for row in rows]
        query = sa.select(t.audit_log.c.event_id).where(
            t.audit_log.c.event_id == sa.any_(sa.literal(ids))
        )
        taken = set(conn.execute(query).scalars())
        renamed: list[LogRow] = []
        for index, event_id, *rest in rows:
            name = f"{event_id}~{index}" if event_id in taken else event_id
            taken.add(event_id)
            renamed.append((index, name, *rest))  # type: ignore[arg-type]
        _copy(conn, renamed)
    except psycopg.OperationalError as error:
        raise UnavailableError(
            "The database did not take the audit entries.",
            fix="Nothing is lost: they are sealed when it answers again.",
            code="database-unavailable",
        ) from error


def _copy(conn: sa.Connection, rows: Iterable[LogRow]) -> None:
    driver = conn.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("the audit log is kept in PostgreSQL, reached through psycopg")
    columns = ", ".join(f'"{name}"' for name in _LOG_COLUMNS)
    statement = f"COPY {t.audit_log.name} ({columns}) FROM STDIN (FORMAT binary)"
    with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.set_types(_LOG_TYPES)
        for row in rows:
            copy.write_row(row)


def _store_tiles(conn: sa.Connection, tiles: Sequence[Tile]) -> None:
    if not tiles:
        return
    statement = insert(t.audit_tiles)
    statement = statement.on_conflict_do_update(
        index_elements=[t.audit_tiles.c.level, t.audit_tiles.c.tile],
        set_={"hashes": statement.excluded.hashes},
    )
    conn.execute(
        statement,
        [{"level": tile.level, "tile": tile.index, "hashes": tile.hashes} for tile in tiles],
    )


# --- proofs -------------------------------------------------------------------------------------
def proof(conn: sa.Connection, index: int) -> str:
    """The .tlog-proof text of one entry under the newest checkpoint.

    Raises NotFoundError for an entry that is not sealed.
    """
    last = _last_checkpoint(conn)
    entry = conn.execute(
        sa.select(t.audit_log.c.leaf).where(t.audit_log.c.index == index)
    ).scalar_one_or_none()
    if last is None or entry is None or index >= last.size:
        raise NotFoundError(
            f"The audit log has no sealed entry {index}.",
            fix="Events are sealed within seconds; look up the number with `charter audit list`.",
            code="audit-entry-unknown",
        )
    try:
        path = Tree(StoredTiles(conn)).inclusion_proof(index, last.size)
    except TileMissingError as error:
        raise _damaged(str(error)) from error
    return format_proof(index, bytes(entry), path, last.note)


def consistency(conn: sa.Connection, old_size: int, new_size: int) -> tuple[bytes, ...]:
    """The proof that the log of `new_size` entries continues the one of `old_size`."""
    last = _last_checkpoint(conn)
    if not 0 <= old_size <= new_size <= (0 if last is None else last.size):
        raise InvalidInputError(
            f"The log never had the sizes {old_size} and {new_size} in this order.",
            fix="Give two sizes of checkpoints, the older first.",
            code="audit-sizes",
        )
    try:
        return Tree(StoredTiles(conn)).consistency_proof(old_size, new_size)
    except TileMissingError as error:
        raise _damaged(str(error)) from error


# --- export -------------------------------------------------------------------------------------
class _Target(Protocol):
    """Where the files of an export go, one after the other."""

    def open(self, path: str) -> Any:
        """A context manager that gives the open file."""
        ...


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700)

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        file = self._root / path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        info = zipfile.ZipInfo(path, _ZIP_TIME)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        with self._archive.open(info, "w", force_zip64=path == layout.EVENTS) as stream:
            yield stream


def export(conn: sa.Connection, target: Path, key: VerifierKey, *, since: int = 0) -> ExportSummary:
    """Write the sealed log to `target`: a new folder, or a zip when the name ends in `.zip`.

    With `since`, entries before the bundle of that entry are left out; the tree above them is kept,
    so the export still proves the whole log's root. Takes as much memory as one bundle. Raises
    NotFoundError when nothing is sealed, ConflictError when `target` exists or the log has a hole.
    """
    last = _last_checkpoint(conn)
    if last is None:
        raise NotFoundError(
            "There is no checkpoint yet, so there is nothing to export.",
            fix="Try again in a few seconds, when the first events are sealed.",
            code="audit-nothing-sealed",
        )
    if not 0 <= since <= last.size:
        raise InvalidInputError(
            f"The log has {last.size} entries; an export cannot start at entry {since}.",
            fix="Choose a smaller number.",
            code="audit-since",
        )
    if os.path.lexists(target):
        raise ConflictError(
            f"{target} exists already; an export overwrites nothing.",
            fix="Choose another name or remove it first.",
            code="audit-export-exists",
        )
    # Written under another name first: what bears the right name is complete.
    work = target.with_name(f".{target.name}.{os.getpid()}.part")
    first = layout.first_exported(since)
    try:
        if target.suffix == ".zip":
            descriptor = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w") as archive:
                files = _write_export(conn, _Zip(archive), last, key, first)
        else:
            files = _write_export(conn, _Folder(work), last, key, first)
        work.rename(target)
    except BaseException:
        if work.is_dir():
            shutil.rmtree(work)
        else:
            work.unlink(missing_ok=True)
        raise
    return ExportSummary(first, last.size, files, key.text())


def _write_export(
    conn: sa.Connection, target: _Target, last: sa.Row[Any], key: VerifierKey, first: int
) -> int:
    with tempfile.SpooledTemporaryFile(max_size=1 << 20) as manifest:
        files = 0

        def write(path: str, chunks: Iterable[bytes]) -> None:
            nonlocal files
            digest = hashlib.sha256()
            with target.open(path) as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
            manifest.write(layout.manifest_line(path, digest.hexdigest()))
            files += 1

        size: int = last.size
        origin = _signed(last).checkpoint.origin
        write(layout.DESCRIPTION, [layout.description(origin, size, first)])
        write(layout.KEY, [key.text().encode() + b"\n"])
        write(layout.CHECKPOINT, [last.note.encode()])
        for level, index, width in layout.hash_tiles_in_order(first, size):
            if level == 0:
                entries = [entry for _, entry, _ in _entries(conn, index, width)]
                write(layout.entries_path(index, width), [layout.pack_entries(entries)])
            try:
                stored = StoredTiles(conn).tile(level, index, width)
            except TileMissingError as error:
                raise _damaged(str(error)) from error
            write(layout.tile_path(level, index, width), [stored[: width * HASH_BYTES]])
        write(layout.EVENTS, _event_lines(conn, first, size))
        manifest.seek(0)
        with target.open(layout.MANIFEST) as file:
            shutil.copyfileobj(manifest, file)
        return files + 1


def _event_lines(conn: sa.Connection, first: int, size: int) -> Iterator[bytes]:
    for start in range(first, size, TILE_WIDTH):
        for index, entry, hash_ in _entries(
            conn, start // TILE_WIDTH, min(TILE_WIDTH, size - start)
        ):
            yield layout.event_line(index, entry, hash_)


def _entries(conn: sa.Connection, bundle: int, width: int) -> list[tuple[int, bytes, bytes]]:
    start = bundle * TILE_WIDTH
    log = t.audit_log.c
    query = (
        sa.select(log.index.label("number"), log.leaf, log.leaf_hash)
        .where(log.index >= start, log.index < start + width)
        .order_by(log.index)
    )
    rows = [(int(row.number), bytes(row.leaf), bytes(row.leaf_hash)) for row in conn.execute(query)]
    for expected, (number, _, _) in zip(range(start, start + width), rows, strict=False):
        if number != expected:
            raise _damaged(f"entry {expected} is missing")
    if len(rows) != width:
        raise _damaged(f"entry {start + len(rows)} is missing")
    return rows
