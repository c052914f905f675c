"""What an OPA downloads: the bundle in force and, for each point, the configuration that names it.

A bundle's ETag is the digest of the policy, so an OPA that has it gets 304, and one that waits
(long polling) is answered at the moment when another bundle is put in force. Bundles and
configurations are signed with a key of this instance; OPAs verify them with the public half.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from charter.adapters.opa.bundle import ALGORITHM, KEY_ID, SCOPE, opa_bundle, packed
from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.errors import InvalidInputError, NotFoundError, UnavailableError
from charter.services.enforcement_points import EnforcementPoint, check_may_view, find
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t

BUNDLE: Final = "charter"
SERVICE: Final = "charter"
LONGEST_WAIT_SECONDS: Final = 60
_KEY_FILE: Final = "opa-bundles.key"
_LOOK_SECONDS: Final = 0.25  # of a waiting OPA: a rollback has to be everywhere within two seconds


@dataclass(frozen=True, slots=True)
class File:
    """A file to download and the tag that names its content."""

    etag: str
    content: bytes


@dataclass(frozen=True, slots=True)
class _Seen:
    """The active digest as it was at a moment of the monotonic clock."""

    digest: str
    at: float


class _Downloads:
    """What the processes' OPAs share: the packed bundle, and one look at the database for all."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.file: File | None = None
        self.seen: _Seen | None = None


_downloads: dict[int, _Downloads] = {}


def _of(rt: Runtime) -> _Downloads:
    return _downloads.setdefault(id(rt.policy), _Downloads())


def signing_key(rt: Runtime) -> ec.EllipticCurvePrivateKey:
    """The key that signs bundles, made at first use; readable by the owner alone."""
    path = rt.state_dir / "keys" / _KEY_FILE
    if not path.exists():
        _make_key(path)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UnavailableError(
            f"{path} holds no key for signing bundles.", fix="Put the right key back.", code="keys"
        )
    return key


def _make_key(path: Path) -> None:
    made = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(temporary)  # another process may have been first: then its key counts
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def public_key(rt: Runtime) -> str:
    """What OPAs verify with, as PEM."""
    return (
        signing_key(rt)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def active_digest(rt: Runtime) -> str:
    """The digest of the bundle in force, at most a quarter of a second old.

    However many OPAs wait, one look at the database serves them all.
    """
    shared = _of(rt)
    seen = shared.seen
    now = time.monotonic()
    if seen is not None and now - seen.at < _LOOK_SECONDS:
        return seen.digest
    with rt.database.reading() as tx:
        row = tx.one(sa.select(t.active_bundle.c.digest))
    if row is None:
        raise UnavailableError(
            "No policy bundle is active.",
            fix="An administrator loads one: charter policy apply DIR.",
            code="policy-unavailable",
        )
    shared.seen = _Seen(str(row["digest"]), now)
    return shared.seen.digest


def bundle_file(rt: Runtime, name: str) -> File:
    """The bundle in force, packed and signed."""
    if name != BUNDLE:
        raise NotFoundError(f"There is no bundle {name!r}.", fix=f"The bundle is called {BUNDLE}.")
    shared = _of(rt)
    with shared.lock:
        with rt.database.reading() as tx:
            policy = rt.policy.active(tx)
        etag = f'"{policy.digest}"'
        if shared.file is None or shared.file.etag != etag:
            shared.file = File(etag, opa_bundle(policy.bundle, signing_key(rt)))
        return shared.file


def configuration() -> dict[str, Any]:
    """What an OPA does, once it has found Charter: download, decide, log, report."""
    return {
        "default_decision": "/charter/decision",
        "bundles": {
            BUNDLE: {
                "service": SERVICE,
                "resource": f"bundles/{BUNDLE}.tar.gz",
                "polling": {
                    "min_delay_seconds": 1,
                    "max_delay_seconds": 2,
                    "long_polling_timeout_seconds": 30,
                },
                "signing": {"keyid": KEY_ID, "scope": SCOPE},
            }
        },
        "decision_logs": {
            "service": SERVICE,
            "reporting": {"min_delay_seconds": 1, "max_delay_seconds": 5},
        },
        "status": {"service": SERVICE},
    }


def discovery_file(rt: Runtime, point: EnforcementPoint) -> File:
    """The configuration of one point, as the bundle that OPA's discovery downloads."""
    content = {
        ".manifest": canonical_json({"revision": point.id, "roots": [""]}).encode(),
        "data.json": canonical_json(configuration()).encode(),
    }
    etag = hashlib.sha256(content["data.json"] + content[".manifest"]).hexdigest()
    return File(f'"{etag}"', packed(content, signing_key(rt)))


def first_configuration(rt: Runtime, token_path: str) -> dict[str, Any]:
    """What an OPA is started with: where Charter is, its token, and the key to verify with."""
    return {
        "services": {
            SERVICE: {
                "url": f"{rt.settings.url}/opa/v1",
                "credentials": {"bearer": {"token_path": token_path}},
            }
        },
        "keys": {KEY_ID: {"algorithm": ALGORITHM, "key": public_key(rt)}},
        "discovery": {
            "service": SERVICE,
            "resource": "discovery.tar.gz",
            "signing": {"keyid": KEY_ID, "scope": SCOPE},
            "polling": {"min_delay_seconds": 30, "max_delay_seconds": 60},
        },
    }


def get_configuration(rt: Runtime, caller: Caller, ref: str, token_path: str) -> dict[str, Any]:
    """What the OPA of this point is started with; it holds no secret."""
    with rt.database.reading() as tx:
        check_may_view(tx, caller)
        point = find(tx, ref)
    if point["kind"] != "opa":
        raise InvalidInputError(
            f"{point['name']} is a point of the kind {point['kind']}, and no OPA.",
            fix="Register one: charter enforcement-point register NAME --kind opa.",
        )
    return first_configuration(rt, token_path)
