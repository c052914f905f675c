"""Templates: what a workspace is made from, and whether it has been approved."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.kernel.errors import ConflictError, InvalidInputError
from charter.services import paging
from charter.services.access import carry_out, missing, note, simple
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_FIELDS = (
    "id",
    "name",
    "version",
    "title",
    "description",
    "approved",
    "use_instead",
    "for_kinds",
    "environment",
)


def _view(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _FIELDS}


def list_page(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """All templates; the catalogue is everybody's."""
    del caller
    with rt.database.reading() as tx:
        return paging.newest_first(
            tx, sa.select(t.templates), t.templates.c.id, _view, cursor, limit
        )


def find(tx: Tx, ref: str) -> Row:
    """The template that `name` or `name@version` means: without a version the newest approved one.

    When no version is approved, the newest at all is meant; policy then says no, and what to use.
    """
    name, _, version = ref.partition("@")
    rows = tx.all(sa.select(t.templates).where(t.templates.c.name == name))
    if version:
        rows = [row for row in rows if row["version"] == version]
    if not rows:
        known = ", ".join(
            row["name"]
            for row in tx.all(
                sa.select(t.templates.c.name).where(t.templates.c.approved).distinct().limit(8)
            )
        )
        raise InvalidInputError(
            f"There is no template {ref!r}.",
            fix=f"Approved templates: {known or 'none yet'}.",
            code="unknown-template",
        )
    return max(rows, key=lambda row: (row["approved"], _order(row["version"])))


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def create(rt: Runtime, caller: Caller, **fields: Any) -> dict[str, Any]:
    """A new template version; it starts unapproved."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = {
            "id": tx.new_id("template"),
            "approved": False,
            "use_instead": None,
            **fields,
        }
        if not tx.insert_new(t.templates, created_at=tx.now, **row):
            raise ConflictError(
                f"{fields['name']}@{fields['version']} exists already.",
                fix="Give the new content a higher version.",
                code="name-taken",
            )
        note(tx, caller, "template.created", "template", row["id"], decision_id=answer.id)
        return _view(row)

    return carry_out(
        rt, lambda _: simple(caller, Permission.TEMPLATE_MANAGE, ResourceRef("template")), act
    )


def approve(
    rt: Runtime, caller: Caller, ref: str, *, approved: bool, use_instead: str | None
) -> dict[str, Any]:
    """Approve one version, or withdraw its approval; workspaces that exist are left as they are."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        name, _, version = ref.partition("@")
        row = tx.one(
            sa.select(t.templates).where(
                t.templates.c.name == name, t.templates.c.version == version
            )
        )
        if row is None:
            raise missing("template")
        tx.update(
            t.templates, t.templates.c.id == row["id"], approved=approved, use_instead=use_instead
        )
        note(
            tx,
            caller,
            "template.approved" if approved else "template.withdrawn",
            "template",
            row["id"],
            decision_id=answer.id,
        )
        return _view({**row, "approved": approved, "use_instead": use_instead})

    return carry_out(
        rt, lambda _: simple(caller, Permission.TEMPLATE_MANAGE, ResourceRef("template")), act
    )


def sizes(rt: Runtime) -> list[dict[str, Any]]:
    """The sizes of the active policy, smallest first."""
    with rt.database.reading() as tx:
        found = rt.policy.active(tx).data.sizes.values()
        return [
            {
                "name": s.name,
                "vcpu": s.vcpu,
                "memory_mib": s.memory_mib,
                "disk_mib": s.disk_mib,
                "gpu": s.gpu,
            }
            for s in sorted(found, key=lambda s: (s.vcpu, s.memory_mib))
        ]
