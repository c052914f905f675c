"""One entry's proof as a text file, to hand to an auditor who holds nothing but the log's key.

The file names the entry's number, the hashes on its way to the root, and the signed checkpoint with
that root. The entry itself travels in the line for extra data: nothing vouches for that line but
the proof, which fails when a byte of it is changed.

Source: C2SP tlog-proof (v1). Spec AU-2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from charter.core.audit.checkpoint import (
    Check,
    MalformedError,
    SignedCheckpoint,
    VerifierKey,
    decode_base64,
    encode_base64,
    parse_checkpoint,
    parse_number,
)
from charter.core.audit.layout import MAX_ENTRY_BYTES
from charter.core.audit.merkle import HASH_BYTES, leaf_hash, verify_inclusion

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES: Final = 262_144  # the largest entry in base64, 63 hashes and a long checkpoint
_MAX_HASHES: Final = 63  # the depth of the deepest tree that indexes of 63 bits can name


@dataclass(frozen=True, slots=True)
class EntryProof:
    """A proof as it was read; `holds` says whether it is one."""

    index: int
    entry: bytes
    path: tuple[bytes, ...]
    signed: SignedCheckpoint

    def holds(self, key: VerifierKey, check: Check) -> bool:
        """Whether `key` signed the checkpoint and the entry is number `index` under its root."""
        checkpoint = self.signed.checkpoint
        return (
            checkpoint.origin == key.name
            and self.signed.signed_by(key, check)
            and verify_inclusion(
                leaf_hash(self.entry), self.index, checkpoint.size, self.path, checkpoint.root
            )
        )


def format_proof(index: int, entry: bytes, path: Sequence[bytes], note: str) -> str:
    """The text of a .tlog-proof file; `note` is the signed checkpoint, word by word."""
    lines = [
        HEADER,
        f"extra {encode_base64(entry)}",
        f"index {index}",
        *map(encode_base64, path),
        "",
        note,
    ]
    return "\n".join(lines)


def parse_proof(text: str) -> EntryProof:
    """Reads a .tlog-proof file that carries its entry. Raises MalformedError."""
    if len(text) > MAX_PROOF_BYTES:
        raise MalformedError("The proof is longer than any proof.")
    head, _, note = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != HEADER:
        raise MalformedError(f"The proof does not begin with {HEADER}.")
    if not lines or not lines[0].startswith("extra "):
        raise MalformedError("The proof does not carry its entry in an extra line.")
    entry = decode_base64(lines[0].removeprefix("extra "))
    if entry is None or len(entry) > MAX_ENTRY_BYTES:
        raise MalformedError("The entry in the proof cannot be read.")
    number = lines[1] if len(lines) > 1 else ""
    index = parse_number(number.removeprefix("index ")) if number.startswith("index ") else None
    if index is None:
        raise MalformedError("The proof does not give the number of its entry.")
    path = [decode_base64(line) for line in lines[2:]]
    hashes = tuple(hash_ for hash_ in path if hash_ is not None and len(hash_) == HASH_BYTES)
    if len(hashes) != len(path) or len(path) > _MAX_HASHES:
        raise MalformedError("A hash of the proof cannot be read.")
    return EntryProof(index, entry, hashes, parse_checkpoint(note))
