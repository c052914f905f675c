"""The files of an exported log: their names, their order, and the bytes that follow from others.

An export is a folder (or a zip of one) that anybody can check years later with no server and no
database. It follows C2SP tlog-tiles, so that other tools for transparency logs read it as well:

    export.json            what this is, and from which entry on it holds entries
    log.pub                the verifier key of the log
    checkpoint             the signed size and root
    tile/entries/000       the entries, 256 in a bundle, each after its length in two bytes
    tile/0/000             their leaf hashes, 256 in a tile; tile/1/… and up: the hashes above
    events.jsonl           the same entries, one line each, for people and their tools
    manifest.sha256        the SHA-256 of every other file, in the form that `sha256sum -c` reads

A tile or bundle that is not full carries its width in its name (`tile/0/000.p/17`). Everything but
the entries, the key and the signature follows from other files, byte by byte; so a verifier makes
it again and compares, and a single changed byte shows, wherever it is.

Source: C2SP tlog-tiles. Spec AU-2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

from charter.core.audit.merkle import (
    TILE_HEIGHT,
    TILE_WIDTH,
    leaf_hash,
    tile_width,
)

FORMAT: Final = "charter.audit-export/1"
DESCRIPTION: Final = "export.json"
KEY: Final = "log.pub"
CHECKPOINT: Final = "checkpoint"
EVENTS: Final = "events.jsonl"
MANIFEST: Final = "manifest.sha256"

LENGTH_BYTES: Final = 2  # before each entry of a bundle, big-endian
MAX_ENTRY_BYTES: Final = 65_535
MAX_BUNDLE_BYTES: Final = TILE_WIDTH * (LENGTH_BYTES + MAX_ENTRY_BYTES)
MAX_LEVEL: Final = 7  # 256**8 entries are 2**64: no log is longer

_TILE_PATH: Final = re.compile(
    r"tile/(entries|[0-7])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


def tile_path(level: int, index: int, width: int) -> str:
    """The name of a hash tile, as in `tile/0/x001/234` or `tile/1/000.p/17`."""
    return f"tile/{level}/{_number(index, width)}"


def entries_path(index: int, width: int) -> str:
    """The name of a bundle of entries."""
    return f"tile/entries/{_number(index, width)}"


def _number(index: int, width: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:  # noqa: PLR2004 - three digits to a path element
        index //= 1000
        groups.append(f"x{index % 1000:03d}")
    suffix = "" if width == TILE_WIDTH else f".p/{width}"
    return "/".join(reversed(groups)) + suffix


def first_exported(since: int) -> int:
    """The first entry of an export that must hold entry `since`: the start of its bundle."""
    return since - since % TILE_WIDTH


def is_expected(path: str, first: int, size: int) -> bool:
    """Whether an export of the entries from `first` on, of a log of `size`, has a file `path`."""
    if path in (DESCRIPTION, KEY, CHECKPOINT, EVENTS, MANIFEST):
        return True
    match = _TILE_PATH.fullmatch(path)
    if match is None:
        return False
    kind, number, partial = match.groups()
    index = int("".join(number.replace("x", "").split("/")))
    level = 0 if kind == "entries" else int(kind)
    width = tile_width(size, level, index)
    if width == 0 or (level == 0 and index < first // TILE_WIDTH):
        return False
    # The name must be the one name for this tile, not another spelling of its number.
    one_name = entries_path(index, width) if kind == "entries" else tile_path(level, index, width)
    return path == one_name and (partial is None) == (width == TILE_WIDTH)


def hash_tiles_in_order(first: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Level, number and width of every hash tile of an export, in the order of the manifest.

    A tile comes right before the tile one level up that it completes; tiles that are not full come
    last. A tile of level 0 follows its bundle of entries. Of level 0 only the tiles from entry
    `first` on are there, of the levels above all of them, so that the root and older roots can be
    computed without the entries that are left out.
    """
    for index in range(first >> (2 * TILE_HEIGHT)):
        yield from _with_completed(1, index)
    full = size // TILE_WIDTH
    for index in range(first // TILE_WIDTH, full):
        yield from _with_completed(0, index)
    for level in range(MAX_LEVEL + 1):
        width = (size >> (TILE_HEIGHT * level)) % TILE_WIDTH
        if width:
            yield level, size >> (TILE_HEIGHT * (level + 1)), width


def _with_completed(level: int, index: int) -> Iterator[tuple[int, int, int]]:
    yield level, index, TILE_WIDTH
    while (index + 1) % TILE_WIDTH == 0:
        index //= TILE_WIDTH
        level += 1
        yield level, index, TILE_WIDTH


def description(origin: str, size: int, first: int) -> bytes:
    """The content of `export.json`."""
    document = {"first": first, "format": FORMAT, "origin": origin, "size": size}
    return json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False).encode() + b"\n"


def manifest_line(path: str, sha256_hex: str) -> bytes:
    """One line of the manifest."""
    return f"{sha256_hex}  {path}\n".encode()


def pack_entries(entries: Sequence[bytes]) -> bytes:
    """A bundle of entries."""
    return b"".join(len(entry).to_bytes(LENGTH_BYTES) + entry for entry in entries)


def unpack_entries(bundle: bytes, width: int) -> tuple[list[bytes], bool]:
    """The entries of a bundle that should hold `width`, and whether it holds just those.

    A damaged bundle gives the entries that can be cut from it, and False.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(bundle) and len(entries) < width:
        start = at + LENGTH_BYTES
        end = start + int.from_bytes(bundle[at:start])
        if end > len(bundle) or start > len(bundle):
            break
        entries.append(bundle[start:end])
        at = end
    return entries, at == len(bundle) and len(entries) == width


def read_event(entry: bytes) -> dict[str, object] | None:
    """The JSON object of an entry; None when the entry is not one."""
    try:
        document = _DECODER.decode(entry.decode())
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _refuse(constant: str) -> object:
    msg = f"{constant} is not JSON"
    raise ValueError(msg)


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse)  # made once: it is used for every entry


def event_line(index: int, entry: bytes, entry_hash: bytes) -> bytes:
    """The line of `events.jsonl` for an entry: its number, its leaf hash and the event itself.

    The event stands in the line as the very bytes that are sealed. An entry that is not one line of
    JSON (nothing in Charter writes such a one) is given in hexadecimal.
    """
    tail = f',"index":{index},"leaf_hash":"{entry_hash.hex()}"}}\n'.encode()
    if b"\n" in entry or b"\r" in entry or read_event(entry) is None:
        return b'{"entry_hex":"' + entry.hex().encode() + b'"' + tail
    return b'{"event":' + entry + tail


def entry_of_line(line: bytes, index: int, entry_hash: bytes) -> bytes | None:
    """The entry inside a line of `events.jsonl`, when that entry has the hash `entry_hash`."""
    head, tail = b'{"event":', f',"index":{index},"leaf_hash":"'.encode()
    cut = line.rfind(tail)
    if not line.startswith(head) or cut < 0:
        return None
    entry = line[len(head) : cut]
    return entry if leaf_hash(entry) == entry_hash else None
