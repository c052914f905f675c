"""The keys that sign agents' credentials: who has them, how old they get, and how they change.

Each replica signs with a key of its own, whose private half is a file that never leaves its
machine. The public half stands in the database, so every replica verifies what any other has
signed, and sees a rotation with the next request: whether a key still signs is asked in the very
transaction that signs.

A key signs until it is retired or until it is as old as policy allows, whichever comes first; then
the next credential is signed by a new one. What an old key has signed counts until the last of it
has run out, unless the key was retired as *compromised*: then nothing of it counts from that
moment.

Source: Spec ID-6 (rotation schedule for keys).
"""

from __future__ import annotations

import base64
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.roles import RoleName
from charter.core.agents.credentials import KeySchedule, KeyState, key_end, key_state
from charter.core.agents.proofs import thumbprint
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.services.access import carry_out, note, simple
from charter.services.approval_requests import notify
from charter.services.audit_sealing import load_or_create_key
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_SEED_BYTES: Final = 32
_LATE_SECONDS: Final = 75  # a credential may be committed this long after it was signed
_KEPT_DAYS: Final = 400  # how long a key that is good for nothing stays in the list
KEEPER: Final = ActorRef("system", "keys")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key to sign with, and the id by which verifiers find its public half."""

    id: str
    private: Ed25519PrivateKey


def jwk_of(public_key: bytes) -> dict[str, str | list[str]]:
    """The public half as a JSON Web Key (RFC 8037)."""
    x = base64.urlsafe_b64encode(public_key).rstrip(b"=").decode()
    return {"crv": "Ed25519", "kty": "OKP", "x": x}


# --- signing and verifying ----------------------------------------------------------------------
def signing_key(rt: Runtime, tx: Tx) -> SigningKey:
    """The key of this replica that signs now; made when there is none."""
    schedule = _schedule(rt, tx)
    found = _own(rt, tx, schedule)
    if found is None:
        # One at a time: two threads of a replica that has no key make one key between them.
        tx.conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('charter.signing-key'))"))
        found = _own(rt, tx, schedule) or _make(rt, tx)
    return found


def _schedule(rt: Runtime, tx: Tx) -> KeySchedule:
    return rt.policy.active(tx).data.agents.signing_keys


def _folder(rt: Runtime) -> Path:
    return rt.state_dir / "keys" / "credentials"


def _own(rt: Runtime, tx: Tx, schedule: KeySchedule) -> SigningKey | None:
    c = t.signing_keys.c
    oldest = tx.now - timedelta(seconds=schedule.max_age_seconds)
    rows = tx.all(
        sa.select(c.id)
        .where(c.retired_at.is_(None), c.created_at > oldest)
        .order_by(c.created_at.desc(), c.id)
    )
    for row in rows:
        file = _folder(rt) / f"{row['id']}.key"
        if file.exists():
            return SigningKey(row["id"], _load(file))
    return None


@lru_cache(maxsize=64)
def _load(file: Path) -> Ed25519PrivateKey:
    return load_or_create_key(file, _never)


def _never(_count: int) -> bytes:
    raise FileNotFoundError


def _make(rt: Runtime, tx: Tx) -> SigningKey:
    """A new key: its private half becomes a file of this replica, its public half a row."""
    seed = rt.randomness(_SEED_BYTES)
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    key_id = str(thumbprint(jwk_of(public)))
    load_or_create_key(_folder(rt) / f"{key_id}.key", lambda _count: seed)
    tx.insert(
        t.signing_keys,
        id=key_id,
        public_key=public,
        made_on=platform.node(),
        created_at=tx.now,
    )
    # The one key that instances had before keys had a schedule; nothing of it counts any more.
    (rt.state_dir / "keys" / "credentials.key").unlink(missing_ok=True)
    _event(tx, "key.made", key_id)
    return SigningKey(key_id, private)


def verifying_key(tx: Tx, key_id: object) -> bytes | None:
    """The public key with this id, while what it has signed counts."""
    if not isinstance(key_id, str):
        return None
    c = t.signing_keys.c
    row = tx.one(
        sa.select(c.public_key).where(
            c.id == key_id, sa.or_(c.verifies_until.is_(None), c.verifies_until > tx.now)
        )
    )
    return None if row is None else bytes(row["public_key"])


def key_set(rt: Runtime) -> dict[str, Any]:
    """The keys with which others verify what this instance signs (RFC 7517)."""
    with rt.database.reading() as tx:
        c = t.signing_keys.c
        rows = tx.all(
            sa.select(t.signing_keys)
            .where(sa.or_(c.verifies_until.is_(None), c.verifies_until > tx.now))
            .order_by(c.created_at.desc(), c.id)
        )
        keys = [
            {**jwk_of(row["public_key"]), "kid": row["id"], "use": "sig", "alg": "Ed25519"}
            for row in rows
        ]
        return {"keys": keys}


# --- the list, and rotation ---------------------------------------------------------------------
_KEYS: Final = ResourceRef("key")


def _view(row: Row, schedule: KeySchedule, now: datetime) -> dict[str, Any]:
    end = key_end(row["created_at"], schedule)
    return {
        "id": row["id"],
        "purpose": "credentials",
        "state": _state(row, schedule, now).value,
        "made_on": row["made_on"],
        "created_at": row["created_at"],
        "warns_at": end - timedelta(seconds=schedule.warning_seconds),
        "expires_at": end,
        "retired_at": row["retired_at"],
        "retired_by": row["retired_by"],
        "verifies_until": row["verifies_until"],
    }


def _state(row: Row, schedule: KeySchedule, now: datetime) -> KeyState:
    return key_state(
        now=now,
        created_at=row["created_at"],
        verifies_until=row["verifies_until"],
        schedule=schedule,
    )


def list_keys(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """Every signing key that is known, newest first."""

    def act(tx: Tx, _answer: Answer) -> list[dict[str, Any]]:
        c = t.signing_keys.c
        schedule = _schedule(rt, tx)
        rows = tx.all(sa.select(t.signing_keys).order_by(c.created_at.desc(), c.id))
        return [_view(row, schedule, tx.now) for row in rows]

    return carry_out(rt, lambda _tx: simple(caller, Permission.KEY_VIEW, _KEYS), act)


def rotate(rt: Runtime, caller: Caller, *, compromised: bool = False) -> dict[str, Any]:
    """Retire every signing key of every replica; each makes a new one when it signs next.

    `compromised`: nothing that they have signed counts from now on, so every agent needs a new
    credential from its sponsor.
    """

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        c = t.signing_keys.c
        # A key that was retired quietly may turn out to be the one that leaked.
        wanted = c.verifies_until > tx.now if compromised else sa.false()
        rows = tx.all(
            sa.select(t.signing_keys)
            .where(sa.or_(c.retired_at.is_(None), wanted))
            .order_by(c.id)
            .with_for_update()
        )
        for row in rows:
            _retire(rt, tx, row, by=caller.id, until=tx.now if compromised else None)
        made = _make(rt, tx)
        note(
            tx,
            caller,
            "key.rotated",
            "key",
            made.id,
            decision_id=answer.id,
            facts={"retired": len(rows), "compromised": compromised},
        )
        return {"key": made.id, "retired": [row["id"] for row in rows], "compromised": compromised}

    return carry_out(
        rt,
        lambda _tx: simple(
            caller, Permission.KEY_ROTATE, _KEYS, {"spec": {"compromised": compromised}}
        ),
        act,
    )


def _retire(rt: Runtime, tx: Tx, row: Row, *, by: str, until: datetime | None) -> None:
    """It signs no more. What it signed counts until `until`, or until the last of it runs out."""
    c = t.agent_credentials.c
    last = tx.conn.execute(
        sa.select(sa.func.max(c.expires_at)).where(c.key_id == row["id"], c.revoked_at.is_(None))
    ).scalar_one()
    lifetime = rt.policy.active(tx).data.credentials.agent_credential_seconds
    soon = tx.now + timedelta(seconds=lifetime + _LATE_SECONDS)
    tx.update(
        t.signing_keys,
        t.signing_keys.c.id == row["id"],
        retired_at=sa.func.coalesce(t.signing_keys.c.retired_at, tx.now),
        retired_by=by,
        verifies_until=until or max(soon, last or soon),
    )


# --- the schedule -------------------------------------------------------------------------------
def keep_schedule(rt: Runtime) -> Mapping[str, Any] | None:
    """Retire keys that are too old, and tell platform admins of those that soon are."""
    with rt.database.unit_of_work() as tx:
        c = t.signing_keys.c
        schedule = _schedule(rt, tx)
        rows = tx.all(
            sa.select(t.signing_keys)
            .where(c.retired_at.is_(None))
            .order_by(c.id)
            .with_for_update(skip_locked=True)
        )
        states = [(row, _state(row, schedule, tx.now)) for row in rows]
        over = [row for row, state in states if state is KeyState.VERIFYING]
        for row in over:
            _retire(rt, tx, row, by=KEEPER.id, until=None)
            _event(tx, "key.expired", row["id"])
        due = [row for row, state in states if state is KeyState.DUE]
        told = sum(_warn(tx, row, key_end(row["created_at"], schedule)) for row in due)
        forgotten = tx.conn.execute(
            sa.delete(t.signing_keys).where(c.verifies_until < tx.now - timedelta(days=_KEPT_DAYS))
        ).rowcount
        done = {"expired": len(over), "told": told, "forgotten": forgotten}
        return done if any(done.values()) else None


def _warn(tx: Tx, row: Row, end: datetime) -> int:
    text = (
        f"The key {row['id'][:12]}… of {row['made_on']}, which signs agents' credentials, signs "
        f"until {end:%Y-%m-%d %H:%M} UTC and is replaced then. To choose the moment yourself: "
        "charter keys rotate."
    )
    return sum(
        notify(
            tx,
            person,
            "signing-key",
            text,
            resource=("key", row["id"]),
            dedupe_key=f"key-due:{row['id']}",
        )
        for person in holders(tx, (RoleName.PLATFORM_ADMIN,))
    )


def holders(tx: Tx, roles: Sequence[RoleName]) -> list[str]:
    """Active people who hold one of these roles in the whole organisation."""
    b, p = t.role_bindings.c, t.people.c
    rows = tx.all(
        sa.select(b.person_id)
        .distinct()
        .join(t.people, p.id == b.person_id)
        .where(
            b.role.in_([role.value for role in roles]),
            b.scope_kind == "organisation",
            b.revoked_at.is_(None),
            sa.or_(b.expires_at.is_(None), b.expires_at > tx.now),
            p.deactivated_at.is_(None),
        )
        .order_by(b.person_id)
    )
    return [row["person_id"] for row in rows]


def _event(tx: Tx, action: str, key_id: str) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=KEEPER,
            action=action,
            resource_kind="key",
            resource_id=key_id,
            outcome=Outcome.DONE,
        )
    )
