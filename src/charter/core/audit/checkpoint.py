"""Checkpoints: the size and the root of the log, written down and signed.

A checkpoint is a *signed note*: some lines of text, an empty line, and one line for each signature.
The text names the log (its *origin*), how many entries it has, and the root over them:

    charter.example/audit
    0
    47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=

    — charter.example/audit 5XcYlA…

Whoever holds one can check later that the log still contains what it contained then. A *verifier
key* is one line as well: `name+hash+base64`, where the hash (the *key id*) ties name and key
together and stands before each signature, so that a reader knows which key to try.

This module only writes and reads the text. Signing needs Ed25519, which the standard library has
not: it comes in as a function (`Sign`, `Check`).

Source: C2SP signed-note and tlog-checkpoint. Spec AU-2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from charter.core.audit.merkle import HASH_BYTES

MAX_NOTE_BYTES: Final = 65_536  # room for many signatures, and a bound on what a stranger can send
MAX_SIZE: Final = 2**63 - 1  # what a 64-bit index column holds

_ED25519: Final = b"\x01"  # the signature type of C2SP signed-note
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_KEY_ID_BYTES: Final = 4
_MAX_SIGNATURES: Final = 64  # a reader must take 16; more than this is not meant well
_TEXT_LINES: Final = 3

Sign = Callable[[bytes], bytes]
"""Makes the Ed25519 signature (64 bytes) over a message."""
Check = Callable[[bytes, bytes, bytes], bool]
"""Whether (public key, signature, message) belong together; False for anything malformed."""


class MalformedError(ValueError):
    """A checkpoint, key or proof that cannot be read; the message is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a log's key, with the name that it signs under."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before its signatures."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]

    def text(self) -> str:
        """The verifier key as one line, without a line end."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(_ED25519 + self.public)}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: `root` commits to its first `size` entries."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The lines that are signed."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as it was read: with its signed text and the signatures (name, id, bytes)."""

    checkpoint: Checkpoint
    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    def signed_by(self, key: VerifierKey, check: Check) -> bool:
        """Whether `key` signed it: at least one signature of that name and id, and none false."""
        own = [
            signature
            for name, key_id, signature in self.signatures
            if name == key.name and key_id == key.key_id
        ]
        message = self.text.encode()
        return bool(own) and all(check(key.public, signature, message) for signature in own)


def valid_name(name: str) -> bool:
    """Whether `name` may name a log or a key: not empty, printable, no space and no plus sign."""
    return bool(name) and name.isprintable() and not any(c.isspace() or c == "+" for c in name)


def signed_note(checkpoint: Checkpoint, key: VerifierKey, sign: Sign) -> str:
    """The checkpoint as a note signed by `key`, whose private half is behind `sign`."""
    text = checkpoint.text()
    signature = encode_base64(key.key_id + sign(text.encode()))
    return f"{text}\n— {key.name} {signature}\n"


def parse_checkpoint(note: str) -> SignedCheckpoint:
    """Reads a signed checkpoint; verifies no signature. Raises MalformedError."""
    if len(note) > MAX_NOTE_BYTES:
        raise MalformedError("The checkpoint is longer than any checkpoint.")
    if any(character < " " and character != "\n" for character in note):
        raise MalformedError("The checkpoint holds a control character.")
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise MalformedError("The checkpoint is not a signed note: the signatures are missing.")
    lines = text.split("\n")
    if len(lines) < _TEXT_LINES:
        raise MalformedError("The checkpoint does not give origin, size and root.")
    origin, size_text, root_text = lines[:_TEXT_LINES]
    if not valid_name(origin):
        raise MalformedError("The origin of the checkpoint is not a valid name.")
    size = parse_number(size_text)
    if size is None:
        raise MalformedError(
            "The size in the checkpoint is not a whole number that a log can have."
        )
    root = decode_base64(root_text)
    if root is None or len(root) != HASH_BYTES:
        raise MalformedError("The root in the checkpoint is not a SHA-256 hash in base64.")
    signature_lines = tail[:-1].split("\n")
    if len(signature_lines) > _MAX_SIGNATURES:
        raise MalformedError("The checkpoint carries more signatures than any checkpoint.")
    signatures = tuple(_parse_signature(line) for line in signature_lines)
    return SignedCheckpoint(Checkpoint(origin, size, root), text + "\n", signatures)


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    match = re.fullmatch(r"— (\S+) (\S+)", line)
    raw = decode_base64(match.group(2)) if match is not None else None
    if match is None or raw is None or len(raw) <= _KEY_ID_BYTES:
        raise MalformedError("A signature line of the checkpoint cannot be read.")
    return match.group(1), raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:]


def parse_verifier_key(text: str) -> VerifierKey:
    """Reads a verifier key (one line). Raises MalformedError."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = decode_base64(encoded)
    if not valid_name(name) or raw is None:
        raise MalformedError("The verifier key is not of the form name+id+base64.")
    if len(raw) != 1 + _KEY_BYTES or raw[:1] != _ED25519:
        raise MalformedError("The verifier key is not an Ed25519 key.")
    key = VerifierKey(name, raw[1:])
    if key.key_id.hex() != key_id:
        raise MalformedError("The id in the verifier key does not belong to its name and key.")
    return key


def parse_number(text: str) -> int | None:
    """A whole number without sign or leading zeros that fits an index; else None."""
    if re.fullmatch(r"0|[1-9][0-9]{0,18}", text, re.ASCII) is None:
        return None
    number = int(text)
    return number if number <= MAX_SIZE else None


def encode_base64(raw: bytes) -> str:
    """`raw` in the standard alphabet with padding, as signed notes spell it."""
    return base64.b64encode(raw).decode()


def decode_base64(text: str) -> bytes | None:
    """Strict base64: only the one spelling that encoding gives back."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if encode_base64(raw) == text else None
