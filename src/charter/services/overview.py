"""What a person sees first, and what an operator looks at: counts, quotas, notices, controllers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from charter.core.access.delegation import effective_permissions, effective_tier
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.roles import permissions_anywhere, scope_chain
from charter.core.access.subjects import Agent
from charter.services import agent_records, approval_records, audit, paging, people, quotas
from charter.services.access import check_visible, missing
from charter.services.runtime import Caller, Runtime
from charter.services.workspace_records import visible_workspaces
from charter.store import tables as t
from charter.store.unit_of_work import Tx


def me(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """Who the caller is to Charter at this moment."""
    with rt.database.reading() as tx:
        subject = caller.subject
        if isinstance(subject, Agent):
            agent = agent_records.row_of(tx, subject.id)
            chain = scope_chain(agent["team_id"], agent["project_id"])
            return {
                "kind": "agent",
                "id": subject.id,
                "handle": agent["name"],
                "via": caller.via,
                "permissions": sorted(effective_permissions(subject, chain, tx.now)),
                "teams": _teams(tx, [agent["team_id"]]),
                "roles": [{"role": "agent", "scope_kind": "task", "scope_id": agent["task_id"]}],
                "sponsor_id": subject.sponsor.id,
                "tier": effective_tier(subject, tx.now).value,
                "task_id": agent["task_id"],
            }
        return {
            "kind": "human",
            "id": subject.id,
            "handle": subject.handle,
            "via": caller.via,
            "permissions": sorted(permissions_anywhere(subject.bindings, tx.now)),
            "teams": _teams(tx, list(subject.teams)),
            "roles": [
                {
                    "role": b.role,
                    "scope_kind": b.scope.kind.value,
                    "scope_id": b.scope.id,
                }
                for b in subject.bindings
                if b.live(tx.now)
            ],
        }


def _teams(tx: Tx, ids: list[str]) -> list[dict[str, str]]:
    rows = tx.all(
        sa.select(t.teams.c.id, t.teams.c.name).where(t.teams.c.id.in_(ids)).order_by("name")
    )
    return [{"id": row["id"], "name": row["name"]} for row in rows]


def _counts(tx: Tx, query: sa.Select[Any]) -> dict[str, int]:
    return {row["key"]: row["n"] for row in tx.all(query)}


def overview(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """The platform at a glance, within what the caller may see."""
    with rt.database.unit_of_work() as tx:
        w, a, d = t.workspaces.c, t.agents.c, t.decisions.c
        n = sa.func.count().label("n")
        reach = reach_set(caller.subject, Permission.DECISION_VIEW, tx.now)
        mine = (
            sa.true()
            if reach.everything
            else sa.or_(d.subject_id == caller.id, d.team_id.in_(reach.teams))
        )
        scopes = [
            f"user:{caller.person.id}",
            *(f"team:{team}" for team in sorted(caller.person.teams)),
        ]
        quotas.ensure(rt, tx, scopes)
        return {
            "workspaces": _counts(
                tx,
                sa.select(w.observed.label("key"), n)
                .where(w.deleted_at.is_(None), visible_workspaces(tx, caller))
                .group_by(w.observed),
            ),
            "agents": _counts(
                tx,
                sa.select(a.state.label("key"), n)
                .where(agent_records.visible_agents(tx, caller))
                .group_by(a.state),
            ),
            "pending_approvals": approval_records.count_for(tx, caller),
            "decisions_today": _counts(
                tx,
                sa.select(d.effect.label("key"), n)
                .where(d.at >= tx.now - timedelta(days=1), mine)
                .group_by(d.effect),
            ),
            "quotas": [people.quota_view(line) for line in quotas.lines(tx, scopes)],
            "audit": audit.state_if_visible(rt, tx, caller),
        }


def notices(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """What the caller should know, newest first."""
    with rt.database.reading() as tx:
        query = sa.select(t.notices).where(t.notices.c.person_id == caller.id)
        names = (
            "id",
            "kind",
            "message",
            "resource_kind",
            "resource_id",
            "created_at",
            "read_at",
        )
        return paging.newest_first(
            tx, query, t.notices.c.id, lambda row: {n: row[n] for n in names}, cursor, limit
        )


def read_notice(rt: Runtime, caller: Caller, notice_id: str) -> None:
    """Mark one of the caller's notices as read."""
    with rt.database.unit_of_work() as tx:
        c = t.notices.c
        if not tx.update(t.notices, c.id == notice_id, c.person_id == caller.id, read_at=tx.now):
            raise missing("notice")


def controllers(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """The controllers' last words, for those who operate the platform."""
    with rt.database.reading() as tx:
        _require_view(tx, caller, Permission.CONTROLLER_VIEW)
        rows = tx.all(sa.select(t.controllers).order_by(t.controllers.c.name))
        return [dict(row) for row in rows]


def capabilities(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """What the provider really enforces on this host."""
    with rt.database.reading() as tx:
        check_visible(tx, caller, ResourceRef("provider"))
    found = rt.provider.capabilities()
    return {
        "provider": found.provider,
        "isolation": found.isolation,
        "items": [{"name": i.name, "enforced": i.enforced, "how": i.how} for i in found.items],
    }


def _require_view(tx: Tx, caller: Caller, permission: Permission) -> None:
    if not reach_set(caller.subject, permission, tx.now).everything:
        raise missing("page")
