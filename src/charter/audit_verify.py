# house: allow file-length — the verifier is handed to auditors as one file
"""Check an exported audit log with nothing but the export: no server and no database.

    python -m charter.audit_verify EXPORT [--key KEY] [--previous CHECKPOINT] [--json]

EXPORT is a folder or a zip that `charter audit export` wrote, or a single `.tlog-proof` file. What
is checked: that every entry has the hash that the tree holds for it; that the tree has the root
that the log's key signed; that every other file says the same, byte by byte; and, given a
checkpoint that somebody kept (`--previous`), that the log has only grown since.

What the answer rests on is the key. The export carries one, but whoever forges an export can forge
that as well; so give the key that you got another way (`--key`, a verifier key of one line).
Without it the report says that it only shows that the export agrees with itself.

The export comes from a stranger until it is verified. Nothing is unpacked, links are not followed,
sizes are bounded before anything is read, and whatever is wrong is told in a sentence.

Exit status: 0 verified, 1 something is wrong with the export, 2 the question could not be asked (no
such file, a key that is no key).

This module uses the standard library, `cryptography` and `charter.core.audit`, and nothing else.
Source: Spec AU-2.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from charter.core.audit import layout
from charter.core.audit.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    MalformedError,
    SignedCheckpoint,
    VerifierKey,
    parse_checkpoint,
    parse_verifier_key,
)
from charter.core.audit.merkle import (
    EMPTY_EDGE,
    HASH_BYTES,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Edge,
    Tile,
    TileMissingError,
    Tree,
    leaf_hash,
    tile_width,
)
from charter.core.audit.proof import HEADER, MAX_PROOF_BYTES, parse_proof

MAX_FINDINGS: Final = 20  # the reader knows by then; a hostile export must not fill the screen
_MAX_SMALL_BYTES: Final = 4096  # export.json and log.pub are a few hundred bytes
_MAX_LINE_BYTES: Final = 2 * layout.MAX_ENTRY_BYTES + 512  # an entry in hexadecimal and its frame
_MAX_PATH_CHARACTERS: Final = 200
_HEX_DIGITS: Final = 64  # of a SHA-256
_CHUNK_BYTES: Final = 1 << 16
_ENCRYPTED: Final = 0x1  # the flag of a zip member

# What reading a file of a damaged zip or folder may raise.
_READ_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


class QuestionError(Exception):
    """The question makes no sense (no such file, no valid key); the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: a stable `code`, a sentence, and where."""

    code: str
    message: str
    path: str
    index: int | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The answer. `ok` means that nothing is wrong; `notes` say what the answer does not show.

    Entries `first` to `size` - 1 were to be checked and `entries_checked` were. `previous` is None
    when no older checkpoint was given.
    """

    ok: bool
    origin: str | None
    size: int | None
    root: str | None
    first: int
    entries_checked: int
    key: str | None
    key_trusted: bool
    previous: str | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def sentences(self) -> list[str]:
        """The report for people."""
        lines: list[str] = []
        if self.ok:
            noun = "entry" if self.entries_checked == 1 else "entries"
            what = f"{self.entries_checked} {noun} of {self.origin}"
            lines.append(f"Verified: {what}, tree size {self.size}, root {self.root}.")
        else:
            lines.append("NOT VERIFIED.")
            lines += [f"  {finding.message}" for finding in self.findings]
        lines += [f"Note: {note}" for note in self.notes]
        return lines

    def as_json(self) -> dict[str, object]:
        """The report for programs."""
        return asdict(self)


def verify(path: Path, *, trusted_key: str | None, previous_checkpoint: str | None) -> Report:
    """The report on the export at `path`.

    `trusted_key` is a verifier key, `previous_checkpoint` the text of a signed checkpoint that was
    kept from earlier. Raises QuestionError only for what is not the export's fault.
    """
    key = _trusted(trusted_key)
    previous = None
    if previous_checkpoint is not None:
        try:
            previous = parse_checkpoint(previous_checkpoint)
        except MalformedError as error:
            raise QuestionError(f"The older checkpoint cannot be read. {error}") from error
    if not os.path.lexists(path):
        raise QuestionError(f"There is nothing at {_shown(str(path))}.")
    run = _Verification(key, previous)
    try:
        with _open_source(path) as source:
            run.run(source)
    except _StopError:
        pass  # the findings say why there was no point in going on
    return run.report()


def verify_proof(text: str, *, trusted_key: str) -> Report:
    """The report on one `.tlog-proof` text that carries its entry."""
    key = _trusted(trusted_key)
    if key is None:
        raise QuestionError("A proof is checked against a key: give the log's verifier key.")
    run = _Verification(key, None)
    try:
        entry_proof = parse_proof(text)
    except MalformedError as error:
        run.note_finding("proof-unreadable", str(error), "")
        return run.report()
    index, event_id = entry_proof.index, _event_id(entry_proof.entry)
    run.signed = entry_proof.signed
    if entry_proof.holds(key, check_signature):
        run.entries_checked = 1
        run.notes.append(f"The proof shows entry {index}{_named(event_id)} and no other.")
        run.complete = True
    else:
        run.note_finding(
            "proof-false",
            f"The proof does not show that this entry is number {index} of the log.",
            "",
            index,
            event_id,
        )
    return run.report()


def check_signature(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the Ed25519 `signature` over `message` is that of the key `public`."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# --- reading what a stranger sent ---------------------------------------------------------------
class _StopError(Exception):
    """There is no point in going on; the findings say why."""


class _UnreadableError(Exception):
    """A file of the export is missing or cannot be read; the message says which of the two."""


class _Source:
    """The files of an export. `open` never follows a link and never leaves the export."""

    def names(self) -> Iterator[tuple[str, str | None]]:
        """Every file's name, and what is wrong with it if something is."""
        raise NotImplementedError

    def open(self, path: str) -> IO[bytes]:
        """The file `path`, which is one of the names that an export can have."""
        raise NotImplementedError

    def read(self, path: str, limit: int) -> bytes:
        """The whole of a file of at most `limit` bytes."""
        try:
            with self.open(path) as file:
                content = file.read(limit + 1)
        except _READ_ERRORS as error:
            raise _UnreadableError("cannot be read") from error
        if len(content) > limit:
            raise _UnreadableError("is larger than such a file can be")
        return content


class _FolderSource(_Source):
    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> Iterator[tuple[str, str | None]]:
        pending = [self._root]
        while pending:
            folder = pending.pop()
            with os.scandir(folder) as listing:
                for entry in listing:
                    name = Path(entry.path).relative_to(self._root).as_posix()
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        yield name, None
                    else:
                        yield name, "is a link or a device"

    def open(self, path: str) -> IO[bytes]:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = os.open(self._root / path, flags)
        except FileNotFoundError as error:
            raise _UnreadableError("is missing") from error
        except OSError as error:
            raise _UnreadableError("cannot be read") from error
        file = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise _UnreadableError("is no ordinary file")
        return file


class _ZipSource(_Source):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._names: list[tuple[str, str | None]] = []
        for info in archive.infolist():
            if info.is_dir():
                continue
            problem = "is there twice" if info.filename in self._members else None
            self._members[info.filename] = info
            self._names.append((info.filename, problem))

    def names(self) -> Iterator[tuple[str, str | None]]:
        yield from self._names

    def open(self, path: str) -> IO[bytes]:
        info = self._members.get(path)
        if info is None:
            raise _UnreadableError("is missing")
        known = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if not known or info.flag_bits & _ENCRYPTED:
            raise _UnreadableError("is encrypted or packed in a way that exports never are")
        try:
            return self._archive.open(info)
        except _READ_ERRORS as error:
            raise _UnreadableError("cannot be read") from error


@contextmanager
def _open_source(path: Path) -> Iterator[_Source]:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise QuestionError(f"{_shown(str(path))} cannot be read ({error.strerror}).") from error
    if stat.S_ISDIR(mode):
        yield _FolderSource(path)
        return
    if not stat.S_ISREG(mode):
        raise QuestionError(f"{_shown(str(path))} is neither a folder nor a file.")
    try:
        archive = zipfile.ZipFile(path)
    except _READ_ERRORS as error:
        raise QuestionError(
            f"{_shown(str(path))} is neither an exported folder nor a zip of one that can be read."
        ) from error
    with archive:
        yield _ZipSource(archive)


class _CheckedTiles:
    """The tiles of an export as the source of an older root."""

    def __init__(self, source: _Source, size: int) -> None:
        self._source = source
        self._size = size

    def tile(self, level: int, index: int, width: int) -> bytes:
        path = layout.tile_path(level, index, tile_width(self._size, level, index))
        try:
            return self._source.read(path, TILE_BYTES)
        except _UnreadableError as error:
            raise TileMissingError(level, index, width) from error


# --- the verification ---------------------------------------------------------------------------
@dataclass(slots=True)
class _Difference:
    """An entry whose bytes and stored hash disagree; which of them is right shows at the end."""

    index: int
    event_id: str | None
    entries_path: str
    tile_path: str


@dataclass(slots=True)
class _Lines:
    """A file that is compared line by line while other files are read."""

    path: str
    file: IO[bytes] | None
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    in_step: bool = True
    count: int = 0

    def next(self, limit: int) -> bytes:
        if self.file is None:
            return b""
        try:
            line = self.file.readline(limit)
        except _READ_ERRORS:
            self.in_step = False
            return b""
        self.digest.update(line)
        self.count += 1
        return line

    def drain(self) -> bool:
        """Read to the end; whether something was left."""
        left = False
        while self.file is not None:
            try:
                chunk = self.file.read(_CHUNK_BYTES)
            except _READ_ERRORS:
                return True
            if not chunk:
                break
            left = True
            self.digest.update(chunk)
        return left

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


class _Verification:
    """One run over one export: what was found so far, and the tree as it grows."""

    def __init__(self, key: VerifierKey | None, previous: SignedCheckpoint | None) -> None:
        self.key = key
        self.key_trusted = key is not None
        self.previous = previous
        self.previous_result: str | None = None
        self.signed: SignedCheckpoint | None = None
        self.first = 0
        self.entries_checked = 0
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.complete = False  # everything was looked at; without that nothing is verified
        self._told: set[str] = set()  # files about which a finding speaks already
        self._differences: list[_Difference] = []
        self._from_entries: Edge = EMPTY_EDGE  # the tree that the entries give
        self._from_tiles: Edge | None = None  # the tree that the tiles give, once they differ

    def note_finding(
        self,
        code: str,
        message: str,
        path: str,
        index: int | None = None,
        event_id: str | None = None,
    ) -> None:
        self.findings.append(Finding(code, message, _shown(path), index, event_id))
        self._told.add(path)
        if len(self.findings) + len(self._differences) >= MAX_FINDINGS:
            raise _StopError

    def report(self) -> Report:
        checkpoint = None if self.signed is None else self.signed.checkpoint
        findings = self.findings[:MAX_FINDINGS]
        notes = list(self.notes)
        if not self.key_trusted:
            notes.append(
                "The key was taken from the export itself. This shows that the export agrees with "
                "itself, not who made it; give the log's key with --key for that."
            )
        if checkpoint is not None and self.first:
            notes.append(f"The export starts at entry {self.first}; earlier entries are not in it.")
        if len(self.findings) + len(self._differences) >= MAX_FINDINGS:
            notes.append(f"The check stopped after {MAX_FINDINGS} findings; there may be more.")
        return Report(
            ok=self.complete and not findings,
            origin=None if checkpoint is None else checkpoint.origin,
            size=None if checkpoint is None else checkpoint.size,
            root=None if checkpoint is None else checkpoint.root.hex(),
            first=self.first,
            entries_checked=self.entries_checked,
            key=None if self.key is None else self.key.text(),
            key_trusted=self.key_trusted,
            previous=self.previous_result,
            findings=tuple(findings),
            notes=tuple(notes),
        )

    def run(self, source: _Source) -> None:
        """Check everything; findings are collected on the way."""
        try:
            self._run(source)
            self.complete = True
        finally:
            self._settle_differences()

    def _run(self, source: _Source) -> None:
        note = self._read_checkpoint(source)
        exported_key = self._read_key(source)
        description = self._read_description(source)
        self._check_signature()
        self._check_names(source)
        manifest = self._open_lines(source, layout.MANIFEST)
        events = self._open_lines(source, layout.EVENTS)
        try:
            self._expect_hash(manifest, layout.DESCRIPTION, description)
            self._expect_hash(manifest, layout.KEY, exported_key)
            self._expect_hash(manifest, layout.CHECKPOINT, note)
            self._walk(source, manifest, events)
            if events.drain():
                self._tell_once(events.path, "holds more than the entries of the log")
            self._expect_digest(manifest, layout.EVENTS, events.digest.hexdigest())
            if manifest.drain():
                self._tell_once(manifest.path, "lists more than the files of the export")
        finally:
            manifest.close()
            events.close()
        self._check_root()
        self._check_previous(source)

    # -- the small files -------------------------------------------------------------------------
    def _read_checkpoint(self, source: _Source) -> bytes:
        try:
            note = source.read(layout.CHECKPOINT, MAX_NOTE_BYTES)
            self.signed = parse_checkpoint(note.decode())
        except _UnreadableError as error:
            self.note_finding(
                "checkpoint-unreadable", f"The checkpoint {error}.", layout.CHECKPOINT
            )
        except UnicodeDecodeError:
            self.note_finding(
                "checkpoint-unreadable", "The checkpoint is not text.", layout.CHECKPOINT
            )
        except MalformedError as error:
            self.note_finding("checkpoint-unreadable", str(error), layout.CHECKPOINT)
        else:
            return note
        raise _StopError  # without a size there is nothing to compare with

    def _read_key(self, source: _Source) -> bytes | None:
        try:
            content = source.read(layout.KEY, _MAX_SMALL_BYTES)
            text = content.decode()
            exported = parse_verifier_key(text.removesuffix("\n"))
        except _UnreadableError as error:
            self.note_finding("key-unreadable", f"The key file {error}.", layout.KEY)
            return None
        except UnicodeDecodeError:
            self.note_finding("key-unreadable", "The key file is not text.", layout.KEY)
            return None
        except MalformedError as error:
            self.note_finding("key-unreadable", str(error), layout.KEY)
            return None
        if text != exported.text() + "\n":
            self._tell_once(layout.KEY, "is not one line with a verifier key")
        if self.key is None:
            self.key = exported
        elif self.key != exported:
            self.note_finding(
                "key-foreign",
                "The key in the export is not the key that you trust.",
                layout.KEY,
            )
        return content

    def _read_description(self, source: _Source) -> bytes | None:
        checkpoint = self._checkpoint()
        try:
            content = source.read(layout.DESCRIPTION, _MAX_SMALL_BYTES)
        except _UnreadableError as error:
            self.note_finding("file-missing", f"export.json {error}.", layout.DESCRIPTION)
            return None
        document = layout.read_event(content) or {}
        first = document.get("first")
        valid = type(first) is int and 0 <= first <= checkpoint.size and first % TILE_WIDTH == 0
        if isinstance(first, int) and valid:
            self.first = first
        if content != layout.description(checkpoint.origin, checkpoint.size, self.first):
            self._tell_once(layout.DESCRIPTION, "does not describe this export")
        return content

    def _check_signature(self) -> None:
        if self.signed is None or self.key is None:
            return
        if self.signed.checkpoint.origin != self.key.name:
            self.note_finding(
                "checkpoint-foreign",
                "The checkpoint is of another log than the key.",
                layout.CHECKPOINT,
            )
        elif not self.signed.signed_by(self.key, check_signature):
            self.note_finding(
                "checkpoint-not-signed",
                "The checkpoint does not bear a valid signature of the log's key.",
                layout.CHECKPOINT,
            )

    def _check_names(self, source: _Source) -> None:
        size = self._checkpoint().size
        try:
            for name, problem in source.names():
                if problem is None and not layout.is_expected(name, self.first, size):
                    problem = "does not belong to this export"  # noqa: PLW2901 - one of the two
                if problem is not None:
                    self.note_finding("file-unexpected", f"{_shown(name)} {problem}.", name)
        except OSError:
            self.note_finding("unreadable", "A folder of the export cannot be read.", "")

    # -- the tree ----------------------------------------------------------------------------------
    def _walk(self, source: _Source, manifest: _Lines, events: _Lines) -> None:
        size = self._checkpoint().size
        self._start_at_first(source, manifest)
        for bundle in range(self.first // TILE_WIDTH, -(-size // TILE_WIDTH)):
            width = min(TILE_WIDTH, size - bundle * TILE_WIDTH)
            hashes, told = self._bundle(source, manifest, events, bundle, width)
            self._from_entries, grown = self._from_entries.append(hashes)
            claimed: tuple[Tile, ...] = ()
            if self._from_tiles is not None:
                self._from_tiles, claimed = self._from_tiles.append(told)
            self._compare_tiles(source, manifest, grown, claimed)
        partial = self._from_entries.partial_tiles()
        other = () if self._from_tiles is None else self._from_tiles.partial_tiles()
        self._compare_tiles(source, manifest, partial, other)

    def _start_at_first(self, source: _Source, manifest: _Lines) -> None:
        """The tree over the entries that the export leaves out, from the tiles above them."""
        size = self._checkpoint().size
        above = EMPTY_EDGE  # counts whole tiles of level 0 instead of entries
        whole, rest = divmod(self.first >> TILE_HEIGHT, TILE_WIDTH)
        for index in range(whole):
            hashes = self._required_tile(source, 1, index, TILE_WIDTH)
            above, grown = above.append(hashes)
            lifted = tuple(Tile(tile.level + 1, tile.index, tile.hashes) for tile in grown)
            self._compare_tiles(source, manifest, lifted, ())
        if rest:
            width = tile_width(size, 1, whole)
            hashes = self._required_tile(source, 1, whole, width)
            above, _ = above.append(hashes[: rest * HASH_BYTES])
        self._from_entries = Edge(self.first, (b"", *above.levels))

    def _required_tile(self, source: _Source, level: int, index: int, width: int) -> bytes:
        path = layout.tile_path(level, index, width)
        hashes = self._tile_file(source, path, width)
        if hashes is None:
            raise _StopError
        return hashes

    def _tile_file(self, source: _Source, path: str, width: int) -> bytes | None:
        try:
            hashes = source.read(path, TILE_BYTES)
        except _UnreadableError as error:
            self.note_finding("file-missing", f"{path} {error}.", path)
            return None
        if len(hashes) != width * HASH_BYTES:
            self.note_finding("tile-changed", f"{path} does not hold {width} hashes.", path)
            return None
        return hashes

    def _bundle(
        self, source: _Source, manifest: _Lines, events: _Lines, bundle: int, width: int
    ) -> tuple[bytes, bytes]:
        """The leaf hashes of a bundle as its entries give them and as its tile claims them."""
        path = layout.entries_path(bundle, width)
        tile_path = layout.tile_path(0, bundle, width)
        content: bytes | None
        try:
            content = source.read(path, layout.MAX_BUNDLE_BYTES)
        except _UnreadableError as error:
            content = None
            self.note_finding("file-missing", f"{path} {error}.", path)
        claimed = self._tile_file(source, tile_path, width)
        if content is None:
            self._expect_hash(manifest, path, None)
            if claimed is None:
                raise _StopError  # neither the entries nor their hashes: there is no more log
            self._skip_events(events, width)
            return claimed, claimed
        entries, whole = layout.unpack_entries(content, width)
        hashes = [leaf_hash(entry) for entry in entries]
        self.entries_checked += len(entries)
        tile = Tile(0, bundle, claimed if claimed is not None else b"".join(hashes))
        self._compare_entries(tile, entries, hashes, events, width, whole=whole)
        self._expect_hash(manifest, path, content)
        if not whole:
            if claimed is None:
                raise _StopError
            if not self._names_a_difference(path):
                self.note_finding("bundle-unreadable", f"{path} cannot be cut into entries.", path)
            return claimed, claimed
        given = b"".join(hashes)
        if claimed is not None and claimed != given and self._from_tiles is None:
            self._from_tiles = self._from_entries
        return given, claimed if claimed is not None else given

    def _compare_entries(
        self,
        tile: Tile,
        entries: Sequence[bytes],
        hashes: Sequence[bytes],
        events: _Lines,
        width: int,
        *,
        whole: bool,
    ) -> None:
        start = tile.index * TILE_WIDTH
        lost = (
            False  # in a bundle that is cut wrongly, all that follows the first bad entry is noise
        )
        for place in range(width):
            index = start + place
            line = events.next(_MAX_LINE_BYTES)
            expected = tile.hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES]
            present = place < len(entries)
            if present and hashes[place] == expected:
                self._compare_line(events, line, index, entries[place], expected)
            elif not lost:
                original = layout.entry_of_line(line, index, expected)
                self._differ(tile, index, original or (entries[place] if present else b""))
                lost = not whole

    def _compare_line(
        self, events: _Lines, line: bytes, index: int, entry: bytes, entry_hash: bytes
    ) -> None:
        if not events.in_step or line == layout.event_line(index, entry, entry_hash):
            return
        event_id = _event_id(entry)
        self.note_finding(
            "line-changed",
            f"Entry {index}{_named(event_id)} is not told in {events.path} as it is sealed.",
            events.path,
            index,
            event_id,
        )
        # A line end that was added or removed shifts all that follows: one finding is enough.
        events.in_step = line.endswith(b"\n") and f',"index":{index},'.encode() in line

    def _skip_events(self, events: _Lines, width: int) -> None:
        for _ in range(width):
            events.next(_MAX_LINE_BYTES)

    def _differ(self, tile: Tile, index: int, entry: bytes) -> None:
        width = tile.width
        self._differences.append(
            _Difference(
                index,
                _event_id(entry),
                layout.entries_path(tile.index, width),
                layout.tile_path(0, tile.index, width),
            )
        )
        self._told.add(self._differences[-1].entries_path)
        self._told.add(self._differences[-1].tile_path)
        if len(self.findings) + len(self._differences) >= MAX_FINDINGS:
            raise _StopError

    def _names_a_difference(self, path: str) -> bool:
        return any(difference.entries_path == path for difference in self._differences)

    def _compare_tiles(
        self,
        source: _Source,
        manifest: _Lines,
        computed: Sequence[Tile],
        claimed: Sequence[Tile],
    ) -> None:
        """Hold tile files against the tree; where the trees differ, either is as good for now."""
        for place, tile in enumerate(computed):
            path = layout.tile_path(tile.level, tile.index, tile.width)
            other = claimed[place].hashes if place < len(claimed) else tile.hashes
            hashes = None if path in self._told else self._tile_file(source, path, tile.width)
            if hashes is not None and hashes not in (tile.hashes, other):
                self.note_finding(
                    "tile-changed",
                    f"{path} does not hold the hashes that follow from the entries.",
                    path,
                )
            self._expect_hash(manifest, path, hashes)

    def _check_root(self) -> None:
        root = self._checkpoint().root
        roots = [self._from_entries.root()]
        if self._from_tiles is not None:
            roots.append(self._from_tiles.root())
        if root not in roots and not self._differences:
            self.note_finding(
                "root-differs",
                "The entries do not give the root that the checkpoint names.",
                layout.CHECKPOINT,
            )

    def _settle_differences(self) -> None:
        """Say of each entry that disagrees with its hash which of the two the checkpoint backs."""
        root = None if self.signed is None else self.signed.checkpoint.root
        tiles_right = self._from_tiles is None or self._from_tiles.root() == root
        entries_right = not tiles_right and self._from_entries.root() == root
        settled: list[Finding] = []
        for difference in self._differences:
            who = f"Entry {difference.index}{_named(difference.event_id)}"
            if entries_right:
                code, path = "tile-changed", difference.tile_path
                message = f"{who} is intact, but its hash in {path} was changed."
            else:
                code, path = "entry-changed", difference.entries_path
                message = f"{who} was changed: it does not have the hash that the tree holds."
            settled.append(Finding(code, message, path, difference.index, difference.event_id))
        self.findings[:0] = settled  # what happened to an entry is what the reader wants first

    # -- the older checkpoint --------------------------------------------------------------------
    def _check_previous(self, source: _Source) -> None:
        if self.previous is None:
            return
        old, new = self.previous.checkpoint, self._checkpoint()
        self.previous_result = "differs"
        if self.key is None or not self.previous.signed_by(self.key, check_signature):
            self._previous_finding("is not signed by the log's key")
        elif old.origin != new.origin:
            self._previous_finding("is of another log")
        elif old.size > new.size:
            self._previous_finding(
                f"counts {old.size} entries, this export only {new.size}: the log was cut back"
            )
        else:
            try:
                same = Tree(_CheckedTiles(source, new.size)).root(old.size) == old.root
            except TileMissingError:
                self.previous_result = "not covered"
                self._previous_finding(
                    f"lies before what this export covers; export from entry {old.size} or earlier"
                )
                return
            if same:
                self.previous_result = "consistent"
            else:
                self._previous_finding(
                    f"names another root for the first {old.size} entries: history was rewritten"
                )

    def _previous_finding(self, what: str) -> None:
        self.note_finding("previous-differs", f"The older checkpoint {what}.", "")

    # -- the manifest ------------------------------------------------------------------------------
    def _open_lines(self, source: _Source, path: str) -> _Lines:
        try:
            return _Lines(path, source.open(path))
        except _UnreadableError as error:
            self.note_finding("file-missing", f"{path} {error}.", path)
            return _Lines(path, None, in_step=False)

    def _expect_hash(self, manifest: _Lines, path: str, content: bytes | None) -> None:
        digest = None if content is None else hashlib.sha256(content).hexdigest()
        self._expect_digest(manifest, path, digest)

    def _expect_digest(self, manifest: _Lines, path: str, digest: str | None) -> None:
        """Hold the next line of the manifest against a file; None for one that is not readable."""
        if not manifest.in_step:
            return
        line = manifest.next(_MAX_LINE_BYTES)
        if digest is not None and line == layout.manifest_line(path, digest):
            return
        if line[_HEX_DIGITS:] == layout.manifest_line(path, ""):
            if path not in self._told and digest is not None:
                self.note_finding(
                    "manifest-differs",
                    f"{path} is not the file that the manifest lists in line {manifest.count}.",
                    manifest.path,
                )
            return
        manifest.in_step = False
        self.note_finding(
            "manifest-differs",
            f"The manifest does not list {path} in line {manifest.count}.",
            manifest.path,
        )

    # -- small helpers -----------------------------------------------------------------------------
    def _checkpoint(self) -> Checkpoint:
        if self.signed is None:
            raise _StopError
        return self.signed.checkpoint

    def _tell_once(self, path: str, what: str) -> None:
        if path not in self._told:
            self.note_finding("file-changed", f"{path} {what}.", path)


def _trusted(text: str | None) -> VerifierKey | None:
    if text is None:
        return None
    try:
        return parse_verifier_key(text.strip())
    except MalformedError as error:
        raise QuestionError(f"The trusted key cannot be used. {error}") from error


def _event_id(entry: bytes) -> str | None:
    event_id = (layout.read_event(entry) or {}).get("id")
    return _shown(event_id) if isinstance(event_id, str) else None


def _named(event_id: str | None) -> str:
    return "" if event_id is None else f" ({event_id})"


def _shown(text: str) -> str:
    """`text` fit for a terminal: a name from a stranger may hold control sequences."""
    safe = text if text.isprintable() else ascii(text)
    return safe if len(safe) <= _MAX_PATH_CHARACTERS else safe[:_MAX_PATH_CHARACTERS] + "…"


# --- the command --------------------------------------------------------------------------------
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m charter.audit_verify",
        description="Check an exported audit log: no server and no database are needed.",
    )
    parser.add_argument("path", type=Path, help="exported folder or zip, or a .tlog-proof file")
    parser.add_argument("--key", help="the log's verifier key, from somewhere you trust")
    parser.add_argument(
        "--previous", type=Path, help="a checkpoint file that you kept from earlier"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    try:
        report = _answer(options.path, options.key, options.previous)
    except QuestionError as error:
        document: dict[str, object] = {"ok": False, "error": str(error)}
        lines, exit_status = [str(error)], 2
    else:
        document, lines = report.as_json(), report.sentences()
        exit_status = 0 if report.ok else 1
    text = json.dumps(document) if options.json else "\n".join(lines)
    encoding = sys.stdout.encoding or "utf-8"  # a name that it lacks must not end in a traceback
    print(text.encode(encoding, "backslashreplace").decode(encoding))  # noqa: T201 - a command
    return exit_status


def _answer(path: Path, key: str | None, previous: Path | None) -> Report:
    try:
        old = None if previous is None else _small_text(previous, MAX_NOTE_BYTES)
        if path.is_file():
            with path.open("rb") as file:
                is_proof = file.read(len(HEADER)) == HEADER.encode()
            if is_proof:
                text = _small_text(path, MAX_PROOF_BYTES)
                if key is None:
                    raise QuestionError("A proof is checked against a key: give it with --key.")
                return verify_proof(text, trusted_key=key)
        return verify(path, trusted_key=key, previous_checkpoint=old)
    except (OSError, ValueError) as error:
        raise QuestionError(f"{_shown(str(path))} cannot be read ({error}).") from error


def _small_text(path: Path, limit: int) -> str:
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise QuestionError(f"{_shown(str(path))} is larger than such a file can be.")
    return content.decode()


if __name__ == "__main__":
    sys.exit(main())
