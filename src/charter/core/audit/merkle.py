"""A Merkle tree over the trail: one 32-byte root that commits to every entry, and short proofs.

Every entry is hashed into a *leaf hash*; neighbours are hashed in pairs, the results in pairs
again, until one hash is left, the *root*. Changing, dropping or reordering any entry changes the
root. Two short proofs follow from the shape:

* an *inclusion proof* shows that an entry is in a tree: the sister hashes on the way up to the root
  (20 of them for a million entries);
* a *consistency proof* shows that a tree only ever grew: that the first m entries of today's tree
  are the m entries somebody saw earlier. Whoever kept an old root catches every later rewrite.

Leaves and inner nodes are hashed with different first bytes, so that no node can pass for an entry.

The hashes are kept in *tiles*: tile `n` of level 0 holds the leaf hashes of entries 256·n to
256·n + 255, and a hash in a tile of level L + 1 is the root over one full tile of level L. So a log
of any length is extended by touching its last tile of each level only: the `Edge`, a few KiB. The
tree of any earlier size stays readable from the same tiles.

Source: RFC 6962 §2.1 (hashing and proofs), RFC 9162 §2.1.3.2 and §2.1.4.2 (verification),
C2SP tlog-tiles (tiles). Spec AU-2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

HASH_BYTES: Final = 32  # SHA-256
TILE_WIDTH: Final = 256  # hashes in a full tile; fixed by C2SP tlog-tiles
TILE_HEIGHT: Final = 8  # a tile stands for 8 levels of the binary tree: 2**8 = 256
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()  # the root over no entries at all

_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry (first byte 0x00)."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over its two children (first byte 0x01)."""
    return _sha256(b"\x01" + left + right).digest()


def tile_width(size: int, level: int, index: int) -> int:
    """How many hashes tile `index` of `level` holds in a tree of `size`; 0 when it has none."""
    hashes_at_level = size >> (TILE_HEIGHT * level)
    return max(0, min(TILE_WIDTH, hashes_at_level - index * TILE_WIDTH))


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: `hashes` are 1 to 256 hashes, one after the other."""

    level: int
    index: int
    hashes: bytes

    @property
    def width(self) -> int:
        """How many hashes it holds."""
        return len(self.hashes) // HASH_BYTES


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of a tree of `size` entries: all that is needed to go on and to give the root.

    `levels[L]` are the hashes of the partial last tile of level L (possibly none), fewer than 256
    of them. `EMPTY_EDGE` is the tree without entries.
    """

    size: int
    levels: tuple[bytes, ...]

    def append(self, leaf_hashes: bytes) -> tuple[Edge, tuple[Tile, ...]]:
        """The edge after these leaf hashes (joined), and the tiles that became full on the way.

        A full tile comes before the tile one level up that holds its root.
        """
        added = _count(leaf_hashes)
        levels = list(self.levels)
        completed: list[Tile] = []
        carried = leaf_hashes
        level = 0
        while carried:
            if level == len(levels):
                levels.append(b"")
            hashes = levels[level] + carried
            index = (self.size >> (TILE_HEIGHT * level)) // TILE_WIDTH
            roots: list[bytes] = []
            full = len(hashes) // TILE_BYTES
            for position in range(full):
                tile = hashes[position * TILE_BYTES : (position + 1) * TILE_BYTES]
                completed.append(Tile(level, index + position, tile))
                roots.append(subtree_root(tile))
            levels[level] = hashes[full * TILE_BYTES :]
            carried = b"".join(roots)
            level += 1
        return Edge(self.size + added, tuple(levels)), tuple(completed)

    def partial_tiles(self) -> tuple[Tile, ...]:
        """The tiles of the edge that hold something, lowest level first."""
        return tuple(
            Tile(level, self.size >> (TILE_HEIGHT * (level + 1)), hashes)
            for level, hashes in enumerate(self.levels)
            if hashes
        )

    def root(self) -> bytes:
        """The root of the whole tree.

        The entries fall into full subtrees, one for each binary digit of the size that is 1, the
        largest at the left; the root folds them together from the right.
        """
        accumulated: bytes | None = None
        for hashes in self.levels:
            end = len(hashes)
            for bit in range(TILE_HEIGHT):
                span = HASH_BYTES << bit
                if end & span:
                    left = subtree_root(hashes[end - span : end])
                    accumulated = left if accumulated is None else node_hash(left, accumulated)
                    end -= span
        return EMPTY_ROOT if accumulated is None else accumulated


EMPTY_EDGE: Final = Edge(0, ())


def edge_from_tiles(size: int, source: TileSource) -> Edge:
    """The edge of a tree of `size`, read from its tiles: at most one of each level."""
    return Edge(
        size,
        tuple(
            _read(source, level, index, width) if width else b""
            for level, index, width in edge_tiles(size)
        ),
    )


def edge_tiles(size: int) -> tuple[tuple[int, int, int], ...]:
    """Level, number and width of the last tile of each level; the width may be 0."""
    tiles: list[tuple[int, int, int]] = []
    level = 0
    while hashes_at_level := size >> (TILE_HEIGHT * level):
        tiles.append((level, hashes_at_level // TILE_WIDTH, hashes_at_level % TILE_WIDTH))
        level += 1
    return tuple(tiles)


class TileSource(Protocol):
    """Where tiles are read from: a database, a folder, memory."""

    def tile(self, level: int, index: int, width: int) -> bytes:
        """At least the first `width` hashes of a tile; more may follow, fewer are an error."""
        ...


class TileMissingError(Exception):
    """A tile that a proof or a root needs is not there, or is too short."""

    def __init__(self, level: int, index: int, width: int) -> None:
        super().__init__(f"tile {index} of level {level} with {width} hashes is missing")
        self.level = level
        self.index = index
        self.width = width


class Tree:
    """Roots and proofs at any size that the tiles of `source` cover."""

    def __init__(self, source: TileSource) -> None:
        self._source = source

    def root(self, size: int) -> bytes:
        """The root over the first `size` entries."""
        return self._range_root(0, size) if size else EMPTY_ROOT

    def leaf_hash(self, index: int) -> bytes:
        """The leaf hash of one entry."""
        return self._full_subtree(index, 0)

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """The proof that entry `index` is in the tree of `size`, the leaf's sister first."""
        if not 0 <= index < size:
            msg = f"entry {index} is not in a tree of {size} entries"
            raise ValueError(msg)
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._range_root(middle, end))
                end = middle
            else:
                path.append(self._range_root(start, middle))
                start = middle
        return tuple(reversed(path))

    def consistency_proof(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """The proof that the tree of `new_size` continues the one of `old_size`.

        Empty for equal sizes and for an old tree without entries: there is nothing to prove.
        """
        if not 0 <= old_size <= new_size:
            msg = f"a tree of {new_size} entries cannot continue one of {old_size}"
            raise ValueError(msg)
        if old_size in (0, new_size):
            return ()
        proof: list[bytes] = []
        start, end = 0, new_size
        whole = True  # whether the old tree is still one whole subtree, which the verifier knows
        while end != old_size:
            middle = start + _split(end - start)
            if old_size <= middle:
                proof.append(self._range_root(middle, end))
                end = middle
            else:
                proof.append(self._range_root(start, middle))
                start = middle
                whole = False
        if not whole:
            proof.append(self._range_root(start, end))
        return tuple(reversed(proof))

    def _range_root(self, start: int, end: int) -> bytes:
        """The root over entries [start, end), where start is a multiple of a power of two ≥ it."""
        parts = list(self._full_subtrees(start, end))
        root = parts[-1]
        for part in reversed(parts[:-1]):
            root = node_hash(part, root)
        return root

    def _full_subtrees(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            height = (end - start).bit_length() - 1
            yield self._full_subtree(start, height)
            start += 1 << height

    def _full_subtree(self, start: int, height: int) -> bytes:
        """The root over the 2**height entries from `start` on."""
        level, bits = divmod(height, TILE_HEIGHT)
        position = start >> (TILE_HEIGHT * level)
        index, offset = divmod(position, TILE_WIDTH)
        count = 1 << bits
        hashes = _read(self._source, level, index, offset + count)
        return subtree_root(hashes[offset * HASH_BYTES : (offset + count) * HASH_BYTES])


def subtree_root(hashes: bytes) -> bytes:
    """The root over a power of two of joined hashes."""
    while len(hashes) > HASH_BYTES:
        hashes = b"".join(
            [
                _sha256(b"\x01" + hashes[at : at + 2 * HASH_BYTES]).digest()
                for at in range(0, len(hashes), 2 * HASH_BYTES)
            ]
        )
    return hashes


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether `proof` shows that the entry with leaf hash `leaf` is number `index` under `root`."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    node, last = index, size - 1
    computed = leaf
    for sister in proof:
        if last == 0:
            return False  # the way up has ended and hashes are left over
        if node & 1 or node == last:
            computed = node_hash(sister, computed)
            while node and not node & 1:  # a last node without a sister rises unchanged
                node >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sister)
        node >>= 1
        last >>= 1
    return last == 0 and computed == root


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether `proof` shows that the tree under `new_root` continues the one under `old_root`."""
    if not 0 <= old_size <= new_size or not _are_hashes(old_root, new_root, *proof):
        return False
    if old_size == new_size:
        empty_is_empty = new_size > 0 or old_root == EMPTY_ROOT
        return not proof and old_root == new_root and empty_is_empty
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    # An old tree of 2**k entries is a whole subtree of the new one; the proof leaves it out.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old_computed = new_computed = path[0]
    for sister in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_computed = node_hash(sister, old_computed)
            new_computed = node_hash(sister, new_computed)
            while node and not node & 1:
                node >>= 1
                last >>= 1
        else:
            new_computed = node_hash(new_computed, sister)
        node >>= 1
        last >>= 1
    return last == 0 and old_computed == old_root and new_computed == new_root


def _split(count: int) -> int:
    """The largest power of two below `count`: where a tree of `count` (≥ 2) entries divides."""
    return 1 << ((count - 1).bit_length() - 1)


def _read(source: TileSource, level: int, index: int, width: int) -> bytes:
    hashes = source.tile(level, index, width)
    if len(hashes) < width * HASH_BYTES:
        raise TileMissingError(level, index, width)
    return hashes[: width * HASH_BYTES]


def _count(hashes: bytes) -> int:
    count, rest = divmod(len(hashes), HASH_BYTES)
    if rest:
        msg = f"{len(hashes)} bytes are not a whole number of hashes"
        raise ValueError(msg)
    return count


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
