"""Bundles that are kept: stored under their digest, signed, put in force, and the history of that.

`put_in_force` is the only writer of what decides. It keeps in one transaction who did it, when,
why, by which way (`kind`) and what was in force before; every replica compares the digest with its
next decision. Nothing stored is ever changed or deleted, so that every decision can be computed
again, and going back is the same step as going forward.

Source: Spec PC-4, PC-5.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.roles import RoleName
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import ConflictError, NotFoundError
from charter.core.policy.bundle import Bundle
from charter.core.policy.pipeline import ChangeState
from charter.services import paging
from charter.services.approval_requests import notify
from charter.services.exemptions import record_changes
from charter.services.lifecycle import recheck_all
from charter.services.network_lockout import keep_an_admin_inside
from charter.services.parity import require_parity
from charter.services.policy_point import compile_engine, taken_back
from charter.services.policy_signature import public_text, sign, signed_by, statement
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


class Kind(StrEnum):
    """By which way a bundle came into force."""

    BOOTSTRAP = "bootstrap"
    APPLY = "apply"
    EMERGENCY = "emergency"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    AUTOMATIC_ROLLBACK = "automatic-rollback"


_EVENTS = {
    Kind.PROMOTE: "policy.promoted",
    Kind.ROLLBACK: "policy.rolled-back",
    Kind.AUTOMATIC_ROLLBACK: "policy.rolled-back",
    Kind.EMERGENCY: "policy.emergency-applied",
}


def store_bundle(tx: Tx, bundle: Bundle, *, loaded_by: str, note_text: str) -> None:
    """Keep the bundle, unsigned; one that is there already stays as it is."""
    tx.conn.execute(
        insert(t.bundles)
        .values(
            digest=bundle.digest,
            files={path: bundle.text(path) for path in bundle.files},
            loaded_by=loaded_by,
            note=note_text,
            created_at=tx.now,
        )
        .on_conflict_do_nothing()
    )


def row_of(tx: Tx, digest: str) -> Row:
    """The kept bundle; raises `NotFoundError`."""
    row = tx.one(sa.select(t.bundles).where(t.bundles.c.digest == digest))
    if row is None:
        raise NotFoundError("There is no such bundle.", fix="charter policy bundles lists them.")
    return row


def active_digest(tx: Tx, *, lock: bool = False) -> str | None:
    """The digest of the bundle in force; with `lock`, nobody else changes it meanwhile."""
    query = sa.select(t.active_bundle.c.digest)
    row = tx.one(query.with_for_update() if lock else query)
    return None if row is None else str(row["digest"])


def ensure_signed(rt: Runtime, tx: Tx, digest: str) -> None:
    """Sign the bundle, unless this instance has done so before."""
    row = row_of(tx, digest)
    if not signed_by(rt.keys.policy.public_key(), row):
        tx.update(t.bundles, t.bundles.c.digest == digest, signature=sign(rt.keys.policy, row))


def put_in_force(
    rt: Runtime,
    tx: Tx,
    digest: str,
    *,
    kind: Kind,
    by: ActorRef,
    why: str,
    ip: str | None = None,
    change_id: str | None = None,
    decision_id: str | None = None,
) -> str | None:
    """Put a kept bundle in force and record it; returns the digest of what was in force before.

    A staged change has lost its ground then; `policy_flow` builds it anew. `ip` is where a person
    who does it is: a bundle whose networks would shut every administrator out is refused.
    """
    previous = active_digest(tx, lock=True)
    if by.kind == "human":
        keep_an_admin_inside(tx, Bundle(row_of(tx, digest)["files"]), by.id, ip)
    ensure_signed(rt, tx, digest)
    statement_ = insert(t.active_bundle).values(single_row=True, digest=digest, since=tx.now)
    tx.conn.execute(
        statement_.on_conflict_do_update(
            index_elements=["single_row"],
            set_={"digest": statement_.excluded.digest, "since": statement_.excluded.since},
        )
    )
    tx.insert(
        t.policy_activations,
        id=tx.new_id("activation"),
        digest=digest,
        previous=previous,
        kind=kind.value,
        actor_kind=by.kind,
        actor_id=by.id,
        why=why,
        change_id=change_id,
        at=tx.now,
    )
    tx.conn.execute(sa.delete(t.policy_failures).where(t.policy_failures.c.digest == digest))
    _end_change(tx, kind, digest, previous, why)
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=by,
            action=_EVENTS.get(kind, "policy.activated"),
            resource_kind="policy",
            resource_id=digest,
            outcome=Outcome.DONE,
            decision_id=decision_id,
            facts={"previous": previous, "kind": kind.value, "change": change_id},
            private={"why": why} if why else None,
        )
    )
    record_changes(tx, by, previous, digest, decision_id)
    recheck_all(tx)
    tx.wake = True
    return previous


def _end_change(tx: Tx, kind: Kind, digest: str, previous: str | None, why: str) -> None:
    """Close the change that brought what was in force until now, where that ends its story."""
    c = t.policy_changes.c
    back = kind in {Kind.ROLLBACK, Kind.AUTOMATIC_ROLLBACK}
    states = [ChangeState.MONITORED.value, *([ChangeState.IN_FORCE.value] if back else [])]
    tx.update(
        t.policy_changes,
        c.digest == previous,
        c.digest != digest,
        c.state.in_(states),
        state=(ChangeState.ROLLED_BACK if back else ChangeState.SUPERSEDED).value,
        reason=why or "Another bundle was put in force.",
        since=tx.now,
        closed_at=tx.now,
    )


def was_in_force(tx: Tx, digest: str) -> bool:
    """Whether the bundle has ever decided."""
    c = t.policy_activations.c
    return tx.one(sa.select(c.id).where(c.digest == digest).limit(1)) is not None


def check_earlier(tx: Tx, digest: str) -> Row:
    """The kept bundle, if it was in force before and still loads; going back is not a way in."""
    row = row_of(tx, digest)
    if not was_in_force(tx, digest):
        raise ConflictError(
            "That bundle was never in force, so there is no going back to it.",
            fix="Propose it instead: charter policy propose DIR.",
            code="never-in-force",
        )
    compile_engine(Bundle(row["files"])).engine.close()
    return row


def check_parity(rt: Runtime, caller: Caller, bundle: Bundle) -> None:
    """Raise where an OPA is configured and differs from the built-in engine about this bundle.

    It takes seconds and transactions of its own, so it comes before the one that puts it in force;
    who may not do that anyway does not get so far.
    """
    if rt.settings.opa_url is None:
        return
    if reach_set(caller.subject, Permission.POLICY_APPLY, rt.now()).everything:
        require_parity(rt, bundle)


def previous_good(tx: Tx) -> str | None:
    """The newest bundle of the history that is not in force now and is not known to be broken.

    What was taken back is chosen only when nothing else is left.
    """
    c, failed = t.policy_activations.c, t.policy_failures.c
    broken = sa.select(failed.digest).where(failed.kind == "load")
    query = (
        sa.select(c.digest)
        .where(c.digest.not_in(sa.select(t.active_bundle.c.digest)), c.digest.not_in(broken))
        .order_by(taken_back(), c.at.desc(), c.id.desc())
        .limit(1)
    )
    row = tx.one(query)
    return None if row is None else str(row["digest"])


def adopt(rt: Runtime, tx: Tx, by: ActorRef) -> None:
    """Sign what was in force before there was a history, and begin the history with it; once."""
    active = tx.one(sa.select(t.active_bundle))
    c = t.policy_activations.c
    if active is None or tx.one(sa.select(c.id).limit(1)) is not None:
        return
    for row in tx.all(sa.select(t.bundles.c.digest, t.bundles.c.created_at)):
        ensure_signed(rt, tx, row["digest"])
        is_active = row["digest"] == active["digest"]
        tx.insert(
            t.policy_activations,
            id=tx.new_id("activation"),
            digest=row["digest"],
            kind=Kind.BOOTSTRAP.value,
            actor_kind=by.kind,
            actor_id=by.id,
            why="In force before the history began.",
            at=active["since"] if is_active else row["created_at"],
        )


# --- what people see --------------------------------------------------------------------------
def exported(rt: Runtime, caller: Caller, digest: str) -> dict[str, Any]:
    """A kept bundle with its signature, to be checked anywhere."""
    del caller
    with rt.database.reading() as tx:
        row = row_of(tx, digest)
        key = rt.keys.policy.public_key()
        return {
            "statement": statement(row),
            "signature": row["signature"] if signed_by(key, row) else None,
            "public_key": public_text(key),
            "files": dict(row["files"]),
        }


def list_history(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Every activation, newest first: what was in force when, by whom and why."""
    del caller
    with rt.database.reading() as tx:
        active = active_digest(tx)

        def view(row: Row) -> dict[str, Any]:
            names = ("id", "digest", "previous", "kind", "why", "change_id", "at")
            return {
                **{name: row[name] for name in names},
                "by": row["actor_id"],
                "by_handle": _handle(tx, row["actor_id"]),
                "active": row["digest"] == active,
            }

        return paging.newest_first(
            tx, sa.select(t.policy_activations), t.policy_activations.c.id, view, cursor, limit
        )


def _handle(tx: Tx, actor_id: str) -> str:
    row = tx.one(sa.select(t.people.c.handle).where(t.people.c.id == actor_id))
    return actor_id if row is None else str(row["handle"])


# --- telling people ---------------------------------------------------------------------------
def tell(
    tx: Tx,
    roles: tuple[str, ...],
    kind: str,
    message: str,
    resource: tuple[str, str],
    dedupe_key: str | None = None,
) -> int:
    """Leave a notice for everybody who holds one of these roles in the organisation.

    With a key each of them is told once.
    """
    c = t.role_bindings.c
    holders = tx.all(
        sa.select(c.person_id)
        .distinct()
        .where(
            c.role.in_(roles),
            c.scope_kind == "organisation",
            c.revoked_at.is_(None),
            sa.or_(c.expires_at.is_(None), c.expires_at > tx.now),
        )
    )
    return sum(
        notify(tx, h["person_id"], kind, message, resource=resource, dedupe_key=dedupe_key)
        for h in holders
    )


SECURITY_AND_PLATFORM = (RoleName.SECURITY_ADMIN.value, RoleName.PLATFORM_ADMIN.value)
