"""Checkpoints, keys, proofs and file names: written and read without ambiguity."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from charter.audit_verify import check_signature
from charter.core.audit import layout
from charter.core.audit.checkpoint import (
    MAX_SIZE,
    Checkpoint,
    MalformedError,
    VerifierKey,
    parse_checkpoint,
    parse_number,
    parse_verifier_key,
    signed_note,
    valid_name,
)
from charter.core.audit.merkle import EMPTY_ROOT, TILE_WIDTH, leaf_hash, tile_width
from charter.core.audit.proof import format_proof, parse_proof
from tests.spec import spec

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey("charter.test/log", PRIVATE.public_key().public_bytes_raw())
CHECKPOINT = Checkpoint("charter.test/log", 12, hashlib.sha256(b"root").digest())
NOTE = signed_note(CHECKPOINT, KEY, PRIVATE.sign)


@spec("AU-2")
def test_the_note_by_hand() -> None:
    key_id = hashlib.sha256(b"charter.test/log\n\x01" + KEY.public).digest()[:4]
    text = "charter.test/log\n12\n" + base64.b64encode(CHECKPOINT.root).decode() + "\n"
    signature = base64.b64encode(key_id + PRIVATE.sign(text.encode())).decode()
    assert f"{text}\n\u2014 charter.test/log {signature}\n" == NOTE
    encoded = base64.b64encode(b"\x01" + KEY.public).decode()
    assert KEY.text() == f"charter.test/log+{key_id.hex()}+{encoded}"
    assert parse_verifier_key(KEY.text()) == KEY


def test_reading_back() -> None:
    signed = parse_checkpoint(NOTE)
    assert signed.checkpoint == CHECKPOINT
    assert signed.signed_by(KEY, check_signature)
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    assert not signed.signed_by(VerifierKey(KEY.name, other), check_signature)
    assert not signed.signed_by(VerifierKey("charter.test/other", KEY.public), check_signature)


def test_signatures_of_others_are_ignored_and_false_ones_are_not() -> None:
    stranger = base64.b64encode(b"\x00\x01\x02\x03" + bytes(64)).decode()
    signed = parse_checkpoint(NOTE + f"\u2014 witness.test {stranger}\n")
    assert signed.signed_by(KEY, check_signature)
    false = base64.b64encode(KEY.key_id + bytes(64)).decode()
    signed = parse_checkpoint(NOTE + f"\u2014 {KEY.name} {false}\n")
    assert not signed.signed_by(KEY, check_signature)


@given(st.integers(0, 8 * len(NOTE.encode()) - 1))
def test_no_flipped_bit_passes(bit: int) -> None:
    raw = NOTE.encode()
    flipped = (int.from_bytes(raw) ^ 1 << bit).to_bytes(len(raw))
    try:
        signed = parse_checkpoint(flipped.decode())
    except (MalformedError, UnicodeDecodeError):
        return
    assert not signed.signed_by(KEY, check_signature)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        "a\n1\n",
        NOTE[:-1],
        NOTE.replace("\n12\n", "\n012\n"),
        NOTE.replace("\n12\n", "\n-1\n"),
        NOTE.replace("\n12\n", "\n\u0661\n"),
        NOTE.replace("\n12\n", f"\n{MAX_SIZE + 1}\n"),
        NOTE.replace("\n12\n", f"\n{'9' * 5000}\n"),
        NOTE.replace("charter.test/log\n", "charter test\n", 1),
        NOTE.replace("charter.test/log\n", "\n", 1),
        NOTE.replace("\u2014 ", "- "),
        NOTE.replace("\n", "\r\n"),
        NOTE + "\x00",
        NOTE + "\u2014 a !!!!\n",
        NOTE + "\u2014 a QUFB\n" * 100,
        NOTE * 2000,
        "a\n1\nQUFB\n\n\u2014 a QUFBQUFB\n",
    ],
)
def test_malformed_notes_give_a_sentence(note: str) -> None:
    with pytest.raises(MalformedError, match=r"\.$"):
        parse_checkpoint(note)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_checkpoint, parse_verifier_key, parse_proof):
        with pytest.raises(MalformedError):
            parse(text)


@pytest.mark.parametrize(
    "text",
    [
        KEY.text() + "\n",
        KEY.text().replace("+", "-"),
        KEY.text().replace(KEY.key_id.hex(), "00000000"),
        KEY.text().replace(KEY.key_id.hex(), KEY.key_id.hex().upper() + "0"),
        "name+00000000+AQ==",
        "na me+00000000+AQ==",
    ],
)
def test_malformed_keys(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_verifier_key(text)


def test_names_and_numbers() -> None:
    assert valid_name("charter.example/audit")
    assert not any(valid_name(name) for name in ("", "a b", "a+b", "a\u00a0b", "a\x1bb"))
    assert parse_number("0") == 0
    assert parse_number(str(MAX_SIZE)) == MAX_SIZE
    assert all(parse_number(text) is None for text in ("", "00", "1.0", "+1", "1_0", " 1"))


def test_a_proof_of_the_only_entry() -> None:
    entry = b'{"id":"evt_1"}'
    note = signed_note(Checkpoint(KEY.name, 1, leaf_hash(entry)), KEY, PRIVATE.sign)
    text = format_proof(0, entry, (), note)
    assert text.startswith("c2sp.org/tlog-proof@v1\nextra eyJpZCI6ImV2dF8xIn0=\nindex 0\n\n")
    proof = parse_proof(text)
    assert (proof.index, proof.entry, proof.path) == (0, entry, ())
    assert proof.holds(KEY, check_signature)
    assert not parse_proof(text.replace("eyJpZCI6", "eyJpZCI7")).holds(KEY, check_signature)
    assert not parse_proof(text.replace("index 0", "index 1")).holds(KEY, check_signature)


@pytest.mark.parametrize(
    ("path", "level", "index", "width"),
    [
        ("tile/0/000", 0, 0, 256),
        ("tile/0/000.p/17", 0, 0, 17),
        ("tile/1/999", 1, 999, 256),
        ("tile/1/x001/000", 1, 1000, 256),
        ("tile/2/x001/x234/067.p/1", 2, 1_234_067, 1),
    ],
)
def test_tile_names(path: str, level: int, index: int, width: int) -> None:
    assert layout.tile_path(level, index, width) == path
    assert layout.entries_path(index, width) == path.replace(f"tile/{level}", "tile/entries")


@given(st.integers(0, 300_000), st.integers(0, 300_000))
def test_the_files_of_an_export_are_the_expected_ones(size: int, since: int) -> None:
    first = layout.first_exported(min(since, size))
    seen = set()
    for level, index, width in layout.hash_tiles_in_order(first, size):
        assert width == tile_width(size, level, index) > 0
        assert (level, index) not in seen
        seen.add((level, index))
        assert layout.is_expected(layout.tile_path(level, index, width), first, size)
        if level == 0:
            assert index * TILE_WIDTH >= first
            assert layout.is_expected(layout.entries_path(index, width), first, size)
    level = 0
    while size >> (8 * level):
        count = -(-(size >> (8 * level)) // TILE_WIDTH)
        start = first // TILE_WIDTH if level == 0 else 0
        assert {index for at, index in seen if at == level} == set(range(start, count))
        level += 1


def test_unexpected_names() -> None:
    assert layout.is_expected("tile/0/001.p/44", 0, 300)
    for path in (
        "tile/0/001",
        "tile/0/001.p/45",
        "tile/0/001.p/044",
        "tile/0/002.p/1",
        "tile/0/x000/001.p/44",
        "tile/1/000",
        "tile/8/000",
        "tile/entries/../../etc/passwd",
        "../checkpoint",
        "/checkpoint",
        "tile/0/000\n",
        "tile/0/\u0660\u0660\u0660",
        "Checkpoint",
        "",
    ):
        assert not layout.is_expected(path, 0, 300)
    assert layout.is_expected("tile/1/000.p/1", 256, 300)
    assert not layout.is_expected("tile/0/000", 256, 300)


@given(st.lists(st.binary(max_size=300), max_size=20), st.binary(max_size=5))
def test_bundles(entries: list[bytes], extra: bytes) -> None:
    packed = layout.pack_entries(entries)
    assert layout.unpack_entries(packed, len(entries)) == (entries, True)
    if extra:
        assert layout.unpack_entries(packed + extra, len(entries))[1] is False
    if packed:
        assert layout.unpack_entries(packed[:-1], len(entries))[1] is False
    assert layout.unpack_entries(packed, len(entries) + 1)[1] is False


def test_lines_for_people() -> None:
    entry = b'{"id":"evt_1"}'
    line = layout.event_line(3, entry, EMPTY_ROOT)
    assert line == (
        b'{"event":{"id":"evt_1"},"index":3,"leaf_hash":"' + EMPTY_ROOT.hex().encode() + b'"}\n'
    )
    for odd in (b"\xff", b"{}\n", b"[]", b"", b"{" * 30_000, '{"a":1}'.encode("utf-16"), b"NaN"):
        line = layout.event_line(3, odd, EMPTY_ROOT)
        assert line.startswith(b'{"entry_hex":"' + odd.hex().encode())
        assert line.count(b"\n") == 1
