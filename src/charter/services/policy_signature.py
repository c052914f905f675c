"""What this instance vouches for: a signature under a bundle's digest and how it came here.

The digest names every byte of the bundle; the signature says that this instance has accepted it as
something that may be in force. A row that somebody writes into the database by another way carries
none, and decides nothing. Candidates are stored unsigned until they have passed their reviews.

The statement is canonical JSON, so that anybody can check an exported bundle with the public key
and nothing of Charter.

Source: Spec PC-4.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from charter.core.kernel.canonical import canonical_json, rfc3339
from charter.store.unit_of_work import Row

SCHEMA: Final = "charter.bundle/1"
_PREFIX: Final = "ed25519:"


def statement(row: Row) -> dict[str, Any]:
    """What is signed for a row of `bundles`."""
    return {
        "schema": SCHEMA,
        "digest": row["digest"],
        "loaded_by": row["loaded_by"],
        "note": row["note"],
        "created_at": rfc3339(row["created_at"]),
    }


def sign(key: Ed25519PrivateKey, row: Row) -> str:
    """The signature of a row of `bundles`."""
    signature = key.sign(canonical_json(statement(row)).encode())
    return _PREFIX + base64.b64encode(signature).decode()


def signed_by(key: Ed25519PublicKey, row: Row) -> bool:
    """Whether the row carries a signature of `key` over what stands in it."""
    written = row["signature"]
    if not isinstance(written, str) or not written.startswith(_PREFIX):
        return False
    try:
        signature = base64.b64decode(written.removeprefix(_PREFIX), validate=True)
        key.verify(signature, canonical_json(statement(row)).encode())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def public_text(key: Ed25519PublicKey) -> str:
    """The public key as it is exported: its 32 bytes in base64."""
    return base64.b64encode(key.public_bytes_raw()).decode()
