"""An exported log made from scratch by the published rules: a second opinion on the exporter."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "charter.test/log"


def vkey(private: Ed25519PrivateKey = PRIVATE, origin: str = ORIGIN) -> str:
    raw = b"\x01" + private.public_key().public_bytes_raw()
    return f"{origin}+{key_id(private, origin).hex()}+{base64.b64encode(raw).decode()}"


def key_id(private: Ed25519PrivateKey, origin: str) -> bytes:
    raw = b"\x01" + private.public_key().public_bytes_raw()
    return hashlib.sha256(origin.encode() + b"\n" + raw).digest()[:4]


def note(size: int, root: bytes, private: Ed25519PrivateKey = PRIVATE, origin: str = ORIGIN) -> str:
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = key_id(private, origin) + private.sign(text.encode())
    return f"{text}\n\u2014 {origin} {base64.b64encode(signature).decode()}\n"


def event(number: int, **more: object) -> bytes:
    document = {"id": f"evt_{number:05d}", "action": "workspace.create", **more}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def root_of(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    pair = root_of(hashes[:split]) + root_of(hashes[split:])
    return hashlib.sha256(b"\x01" + pair).digest()


def leaf_hashes(entries: Sequence[bytes]) -> list[bytes]:
    return [hashlib.sha256(b"\x00" + entry).digest() for entry in entries]


def export_of(
    entries: Sequence[bytes], first: int = 0, private: Ed25519PrivateKey = PRIVATE
) -> dict[str, bytes]:
    """The files of an export, the manifest in the order in which they stand here."""
    size = len(entries)
    hashes = leaf_hashes(entries)
    description = {"first": first, "format": "charter.audit-export/1", "origin": ORIGIN}
    description["size"] = size
    files = {
        "export.json": json.dumps(description, sort_keys=True, indent=2).encode() + b"\n",
        "log.pub": vkey(private).encode() + b"\n",
        "checkpoint": note(size, root_of(hashes), private).encode(),
    }
    upper = [root_of(hashes[at : at + 256]) for at in range(0, size - size % 256, 256)]
    assert len(upper) < 512  # two levels and a bit are enough for tests
    above = [root_of(upper[:256])] if len(upper) >= 256 else []
    if first >= 65_536:
        files["tile/1/000"] = b"".join(upper[:256])
    for start in range(first, size, 256):
        width = min(256, size - start)
        name = f"{start // 256:03d}" + ("" if width == 256 else f".p/{width}")
        files[f"tile/entries/{name}"] = b"".join(
            len(entry).to_bytes(2) + entry for entry in entries[start : start + width]
        )
        files[f"tile/0/{name}"] = b"".join(hashes[start : start + width])
        if start + 256 == 65_536 and width == 256:
            files["tile/1/000"] = b"".join(upper[:256])
    if len(upper) % 256:
        index, width = divmod(len(upper), 256)
        files[f"tile/1/{index:03d}.p/{width}"] = b"".join(upper[index * 256 :])
    if above:
        files["tile/2/000.p/1"] = above[0]
    files["events.jsonl"] = b"".join(
        b'{"event":%b,"index":%d,"leaf_hash":"%b"}\n'
        % (entries[index], index, hashes[index].hex().encode())
        for index in range(first, size)
    )
    return with_manifest(files)


def with_manifest(files: dict[str, bytes]) -> dict[str, bytes]:
    files = {name: content for name, content in files.items() if name != "manifest.sha256"}
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()]
    return {**files, "manifest.sha256": "".join(lines).encode()}


def write_folder(files: dict[str, bytes], root: Path) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_zip(files: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
