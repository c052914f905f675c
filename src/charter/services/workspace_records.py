"""Workspaces as rows: find them, show them, say who may see them, decide what they should be."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.agents.tiers import TIER_PROFILES, Tier
from charter.core.kernel.errors import ConflictError
from charter.core.lifecycle.states import Desired, WorkspaceState
from charter.services import lookup
from charter.services.access import missing
from charter.services.lifecycle import approved_until
from charter.services.runtime import Caller
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


def row_of(tx: Tx, workspace_id: str, *, lock: bool = False) -> Row:
    """The row of a workspace that exists."""
    query = sa.select(t.workspaces).where(t.workspaces.c.id == workspace_id)
    row = tx.one(query.with_for_update() if lock else query)
    if row is None:
        raise missing("workspace")
    return row


def ref_of(row: Row) -> ResourceRef:
    """The workspace as access rules see it."""
    return ResourceRef(
        kind="workspace",
        id=row["id"],
        owner_id=row["owner_id"],
        owner_kind=row["owner_kind"],
        sponsor_id=row["sponsor_id"] if row["owner_kind"] == "agent" else None,
        team_id=row["team_id"],
        project_id=row["project_id"],
        task_id=row["task_id"],
    )


def find(tx: Tx, caller: Caller, ref: str, *, lock: bool = False) -> Row:
    """The workspace that an id means, or the name of a live one that the caller may see.

    One's own comes first, then those of sponsored agents; among others a name must be unique.
    """
    c = t.workspaces.c
    seen = sa.and_(c.name == ref, c.deleted_at.is_(None), visible_workspaces(tx, caller))
    query = (
        sa.select(t.workspaces)
        .where(sa.or_(c.id == ref, seen))
        .order_by(
            (c.id == ref).desc(),
            (c.owner_id == caller.id).desc(),
            (c.sponsor_id == caller.id).desc(),
            c.id.desc(),
        )
        .limit(2)
    )
    rows = tx.all(query.with_for_update() if lock else query)
    if not rows:
        raise missing("workspace")
    found = rows[0]
    own = caller.id in (found["owner_id"], found["sponsor_id"])
    if len(rows) > 1 and found["id"] != ref and not own:
        raise ConflictError(
            f"Several workspaces are called {ref}.",
            fix="Name the one you mean by its id; charter workspace list shows it.",
            code="ambiguous-name",
        )
    return found


def view(tx: Tx, row: Row) -> dict[str, Any]:
    """The workspace for faces."""
    template = tx.one(
        sa.select(t.templates.c.name, t.templates.c.version).where(
            t.templates.c.id == row["template_id"]
        )
    )
    names = (
        "id",
        "name",
        "owner_kind",
        "owner_id",
        "sponsor_id",
        "team_id",
        "project_id",
        "agent_id",
        "task_id",
        "size",
        "vcpu",
        "memory_mib",
        "disk_mib",
        "gpu",
        "tier",
        "network",
        "egress_allowlist",
        "labels",
        "provider",
        "desired",
        "observed",
        "state_reason",
        "notices",
        "created_at",
        "started_at",
        "stopped_at",
        "last_activity_at",
        "last_activity_signal",
        "warned_for",
        "extended_until",
        "generation",
    )
    return {
        **{name: row[name] for name in names},
        "owner": lookup.subject_name(tx, row["owner_id"]),
        "template": "" if template is None else f"{template['name']}@{template['version']}",
        "state": state_word(row),
        "approved_until": approved_until(tx, row),
    }


def state_word(row: Row) -> str:
    """One word for what a person sees: where it is, or where it is going."""
    desired, observed = row["desired"], row["observed"]
    if observed == WorkspaceState.FAILED:
        return "failed"
    settled = {
        Desired.RUNNING.value: WorkspaceState.RUNNING.value,
        Desired.STOPPED.value: WorkspaceState.STOPPED.value,
        Desired.DELETED.value: WorkspaceState.DELETED.value,
    }[desired]
    if observed == settled and row["observed_generation"] == row["generation"]:
        return settled
    return {"running": "starting", "stopped": "stopping", "deleted": "deleting"}[desired]


def visible_workspaces(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    """The filter that gives exactly the workspaces which the caller may see."""
    c = t.workspaces.c
    reach = reach_set(caller.subject, Permission.WORKSPACE_VIEW, tx.now)
    if reach.everything:
        return sa.true()
    own = sa.or_(c.owner_id == caller.id, c.sponsor_id == caller.id)
    return sa.or_(own, c.team_id.in_(reach.teams), c.project_id.in_(reach.projects))


def set_desired(
    tx: Tx, row: Row, desired: Desired, reason: str, *, stopped_by: str | None = None
) -> int:
    """Write what the workspace should be, under a new generation, and leave the effect."""
    generation = int(row["generation"]) + 1
    tx.update(
        t.workspaces,
        t.workspaces.c.id == row["id"],
        desired=desired.value,
        generation=generation,
        state_reason=reason,
        stopped_by=stopped_by,
        next_check_at=None,
    )
    tx.effect("converge", row["id"], generation)
    return generation


def writable(tier: str | None) -> bool:
    """Whether a workspace of this tier (None: a person's) may be written to."""
    return tier is None or TIER_PROFILES[Tier(tier)].writable


def check_name_free(tx: Tx, caller: Caller, name: str) -> None:
    """Raise when the caller has a live workspace of this name."""
    c = t.workspaces.c
    if tx.one(
        sa.select(c.id).where(c.owner_id == caller.id, c.name == name, c.deleted_at.is_(None))
    ):
        raise ConflictError(
            f"You have a workspace {name} already.",
            fix="Choose another name, or delete that one first.",
            code="name-taken",
        )


def refuse_deleted(row: Row) -> None:
    """Raise when the workspace is deleted or on its way there."""
    if row["desired"] == Desired.DELETED:
        raise ConflictError(
            "This workspace is being deleted or is gone.",
            fix="Create a new one; what was deleted does not come back.",
            code="workspace-deleted",
        )
