"""The tree against published roots, against a naive recursion, and against tampering."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.audit.merkle import (
    EMPTY_EDGE,
    EMPTY_ROOT,
    HASH_BYTES,
    TILE_BYTES,
    TILE_WIDTH,
    Edge,
    Tile,
    TileMissingError,
    Tree,
    edge_from_tiles,
    leaf_hash,
    node_hash,
    tile_width,
    verify_consistency,
    verify_inclusion,
)
from tests.spec import spec

# The entries and roots that implementations of RFC 6962 publish for trees of 0 to 8 entries.
PUBLISHED_ENTRIES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
PUBLISHED_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Memory:
    """Tiles in a dictionary, the partial ones overwritten as they grow."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.edge: Edge = EMPTY_EDGE

    def tile(self, level: int, index: int, width: int) -> bytes:
        try:
            return self.tiles[level, index]
        except KeyError:
            raise TileMissingError(level, index, width) from None

    def append(self, hashes: Sequence[bytes]) -> None:
        self.edge, completed = self.edge.append(b"".join(hashes))
        for tile in (*completed, *self.edge.partial_tiles()):
            self.tiles[tile.level, tile.index] = tile.hashes


def naive_root(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, word by word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(
        b"\x01" + naive_root(hashes[:split]) + naive_root(hashes[split:])
    ).digest()


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(count)]


def memory_of(count: int) -> Memory:
    memory = Memory()
    memory.append(leaves(count))
    return memory


@spec("AU-2")
@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    memory = Memory()
    memory.append([leaf_hash(bytes.fromhex(entry)) for entry in PUBLISHED_ENTRIES[:size]])
    assert memory.edge.root().hex() == PUBLISHED_ROOTS[size]
    assert Tree(memory).root(size).hex() == PUBLISHED_ROOTS[size]


def test_roots_by_hand() -> None:
    a, b, c = (hashlib.sha256(b"\x00" + text).digest() for text in (b"a", b"b", b"c"))
    ab = hashlib.sha256(b"\x01" + a + b).digest()
    abc = hashlib.sha256(b"\x01" + ab + c).digest()
    memory = Memory()
    memory.append([leaf_hash(text) for text in (b"a", b"b", b"c")])
    assert memory.edge.root() == abc
    assert Tree(memory).inclusion_proof(0, 3) == (b, c)
    assert Tree(memory).inclusion_proof(2, 3) == (ab,)
    assert Tree(memory).consistency_proof(1, 3) == (b, c)
    assert Tree(memory).consistency_proof(2, 3) == (c,)


def test_an_entry_cannot_pass_for_a_node() -> None:
    left, right = leaves(2)
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_793])
def test_tile_borders(size: int) -> None:
    memory = memory_of(size)
    expected = naive_root(leaves(size))
    assert memory.edge.size == size
    assert memory.edge.root() == expected
    assert Tree(memory).root(size) == expected
    assert edge_from_tiles(size, memory).root() == expected
    for (level, index), hashes in memory.tiles.items():
        assert len(hashes) == tile_width(size, level, index) * HASH_BYTES
    assert tile_width(size, 0, size // TILE_WIDTH + 1) == 0


def test_completed_tiles_come_before_the_tile_above() -> None:
    edge, completed = EMPTY_EDGE.append(b"".join(leaves(65_536)))
    assert [(tile.level, tile.index) for tile in completed] == [
        *((0, index) for index in range(256)),
        (1, 0),
    ]
    assert all(len(tile.hashes) == TILE_BYTES for tile in completed)
    assert edge.partial_tiles() == (Tile(2, 0, edge.root()),)


@given(st.lists(st.integers(0, 700), max_size=12))
@settings(deadline=None, max_examples=60)
def test_batches_give_the_root_of_one_stroke(batches: list[int]) -> None:
    hashes = leaves(sum(batches))
    memory = Memory()
    at = 0
    for count in batches:
        memory.append(hashes[at : at + count])
        at += count
        assert memory.edge == edge_from_tiles(at, memory) or at == 0
    whole = memory_of(at)
    assert memory.edge.root() == whole.edge.root() == naive_root(hashes)
    assert memory.tiles == whole.tiles


@spec("AU-2")
def test_every_inclusion_proof_up_to_70() -> None:
    hashes = leaves(70)
    tree = Tree(memory_of(70))
    for size in range(1, 71):
        root = naive_root(hashes[:size])
        assert tree.root(size) == root
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            assert verify_inclusion(hashes[index], index, size, proof, root)
            assert not verify_inclusion(hashes[index], index + 1, size, proof, root)
            assert not verify_inclusion(hashes[(index + 1) % 70], index, size, proof, root)


@spec("AU-2")
def test_every_consistency_proof_up_to_70() -> None:
    tree = Tree(memory_of(70))
    roots = [tree.root(size) for size in range(71)]
    for new in range(71):
        for old in range(new + 1):
            proof = tree.consistency_proof(old, new)
            assert verify_consistency(old, new, roots[old], roots[new], proof)
            if old:  # everything continues a tree without entries
                assert not verify_consistency(old, new, roots[old], bytes(32), proof)
            assert not verify_consistency(old, new, bytes(32), roots[new], proof)
            assert not verify_consistency(old, new, roots[old], roots[new], [*proof, bytes(32)])
            if proof:
                assert not verify_consistency(old, new, roots[old], roots[new], proof[:-1])
                assert not verify_consistency(old, new, roots[old], roots[new], [])


LARGE_SIZE = 70_000
LARGE = memory_of(LARGE_SIZE)
LARGE_ROOT = LARGE.edge.root()


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_large_proofs_and_flipped_bits(data: st.DataObject) -> None:
    tree = Tree(LARGE)
    new = data.draw(st.integers(1, LARGE_SIZE))
    old = data.draw(st.integers(1, new))
    index = data.draw(st.integers(0, new - 1))
    old_root, new_root, leaf = tree.root(old), tree.root(new), tree.leaf_hash(index)
    assert leaf == leaf_hash(str(index).encode())
    inclusion = tree.inclusion_proof(index, new)
    consistency = tree.consistency_proof(old, new)
    assert len(inclusion) <= 17
    assert verify_inclusion(leaf, index, new, inclusion, new_root)
    assert verify_consistency(old, new, old_root, new_root, consistency)

    def flipped(value: bytes) -> bytes:
        bit = data.draw(st.integers(0, 8 * len(value) - 1))
        return (int.from_bytes(value) ^ 1 << bit).to_bytes(len(value))

    assert not verify_inclusion(flipped(leaf), index, new, inclusion, new_root)
    assert not verify_inclusion(leaf, index, new, inclusion, flipped(new_root))
    if old != new:
        assert not verify_consistency(old, new, flipped(old_root), new_root, consistency)
        assert not verify_consistency(old, new, old_root, flipped(new_root), consistency)
    for proof, check in (
        (inclusion, lambda p: verify_inclusion(leaf, index, new, p, new_root)),
        (consistency, lambda p: verify_consistency(old, new, old_root, new_root, p)),
    ):
        if proof:
            place = data.draw(st.integers(0, len(proof) - 1))
            changed = list(proof)
            changed[place] = flipped(changed[place])
            assert not check(changed)
            assert not check([*proof, proof[-1]])
            assert not check(proof[:-1])


@given(
    st.integers(-3, 40),
    st.integers(-3, 40),
    st.lists(st.binary(max_size=33), max_size=8),
    st.binary(max_size=33),
)
def test_arbitrary_proofs_fail_and_never_raise(
    index: int, size: int, proof: list[bytes], root: bytes
) -> None:
    assert not verify_inclusion(leaf_hash(b"x"), index, size, proof, root)
    if index != 0:
        assert not verify_consistency(index, size, leaf_hash(b"x"), root, proof)


def test_edges_of_the_definitions() -> None:
    tree = Tree(memory_of(5))
    root = tree.root(5)
    assert tree.root(0) == EMPTY_ROOT
    assert verify_consistency(0, 5, EMPTY_ROOT, root, [])
    assert not verify_consistency(0, 5, root, root, [])
    assert not verify_consistency(0, 5, EMPTY_ROOT, root, [root])
    assert verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    assert not verify_consistency(0, 0, root, root, [])
    assert verify_consistency(5, 5, root, root, [])
    assert not verify_consistency(5, 5, root, root, [root])
    assert not verify_consistency(6, 5, root, root, [])
    assert not verify_inclusion(root, 0, 0, [], root)
    assert verify_inclusion(leaf_hash(b"0"), 0, 1, [], leaf_hash(b"0"))
    for bad in (lambda: tree.inclusion_proof(5, 5), lambda: tree.inclusion_proof(-1, 5)):
        with pytest.raises(ValueError, match="not in a tree"):
            bad()
    with pytest.raises(ValueError, match="cannot continue"):
        tree.consistency_proof(3, 2)
    with pytest.raises(TileMissingError):
        tree.root(6)
    with pytest.raises(ValueError, match="whole number of hashes"):
        EMPTY_EDGE.append(b"short")
