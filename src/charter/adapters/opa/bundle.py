"""A policy bundle as the file that OPA downloads: a deterministic tar, with signatures if wanted.

In it stand the same modules at the same paths, the generated list of speaking rules, and the data
(`data.settings`, `data.catalogue`) in one document, so that `data.charter.decision` means the same
in OPA as here. The manifest's revision is the bundle's digest: OPA writes it into every decision
log and status report, and that is how drift is seen. Tests stay out.

The signature covers every file by its SHA-256: raw bytes for modules, the canonical form for JSON
(OPA's own rule). ES256, because every OPA verifies it. With the same key the same bundle always
gives the same bytes: RFC 6979 derives the signature's nonce from the key and the message.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from charter.adapters.opa.said import TYPES_FILE, TYPES_MODULE
from charter.adapters.rego.assemble import assemble, sources_module
from charter.core.kernel.canonical import canonical_json
from charter.core.policy.bundle import Bundle

ALGORITHM: Final = "ES256"
KEY_ID: Final = "charter"
SCOPE: Final = "charter"
DATA_ROOTS: Final = ("catalogue", "settings")
_COORDINATE_BYTES: Final = 32
_MANIFEST: Final = ".manifest"
_SIGNATURES: Final = ".signatures.json"


def policy_files(bundle: Bundle) -> dict[str, bytes]:
    """The files of the OPA bundle by path, without signatures.

    Raises `PolicyRefusedError` when the bundle cannot decide.
    """
    assembly = assemble(bundle)
    files = {module.file: module.text.encode() for module in assembly.modules}
    source, text = sources_module(assembly)
    files[source] = text.encode()
    files[TYPES_FILE] = TYPES_MODULE.encode()
    files["data.json"] = canonical_json(json.loads(assembly.data_json)).encode()
    roots = {module.package[0] for module in assembly.modules} | {"charter", *DATA_ROOTS}
    old = [module.file for module in assembly.modules if module.old_syntax]
    manifest: dict[str, Any] = {
        "revision": bundle.digest,
        "roots": sorted(roots),
        "rego_version": 1,
        "metadata": {"made_by": "charter"},
    }
    if old:
        manifest["file_rego_versions"] = {f"/{file}": 0 for file in old}
    files[_MANIFEST] = canonical_json(manifest).encode()
    return files


def packed(files: dict[str, bytes], key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """`files` as a gzipped tar, the same bytes every time; signed when there is a key."""
    content = dict(files)
    if key is not None:
        content[_SIGNATURES] = canonical_json({"signatures": [_token(files, key)]}).encode()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(content):
            entry = tarfile.TarInfo(path)
            entry.size = len(content[path])
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content[path]))
    return gzip.compress(raw.getvalue(), compresslevel=6, mtime=0)


def opa_bundle(bundle: Bundle, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """The whole file."""
    return packed(policy_files(bundle), key)


def _hashed(path: str, content: bytes) -> str:
    """OPA's hash of one file: JSON by its value, everything else by its bytes."""
    if path == _MANIFEST or path.endswith(".json"):
        spelled = canonical_json(json.loads(content))
        # Go escapes these two line separators in JSON; Python does not.
        spelled = spelled.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        content = spelled.encode()
    return hashlib.sha256(content).hexdigest()


def _part(value: object) -> str:
    return _base64(canonical_json(value).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _token(files: dict[str, bytes], key: ec.EllipticCurvePrivateKey) -> str:
    """The JSON Web Token over all files, as OPA reads it."""
    payload = {
        "files": [
            {"name": path, "hash": _hashed(path, files[path]), "algorithm": "SHA-256"}
            for path in sorted(files)
        ],
        "keyid": KEY_ID,
        "scope": SCOPE,
    }
    said = f"{_part({'alg': ALGORITHM, 'kid': KEY_ID, 'typ': 'JWT'})}.{_part(payload)}"
    signature = key.sign(said.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(signature)
    raw = r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)
    return f"{said}.{_base64(raw)}"
