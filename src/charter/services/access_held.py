"""Everything that is held at this moment, and when each of it was last used.

A campaign of access reviews asks about it, and people are shown what of it lies idle.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.permissions import READS, Permission
from charter.core.access.reviews import Kind, ReviewRules
from charter.core.access.roles import CustomRole, role_reach
from charter.core.access.separation import CONFIGURING
from charter.services import custom_roles
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_USED: Final = ("allow", "warn")


def held(tx: Tx, rules: ReviewRules) -> list[dict[str, Any]]:
    """Everything that is held at this moment, as rows of a campaign."""
    return [*_roles(tx, rules), *_grants(tx), *_tokens(tx), *_agents(tx), *_definitions(tx)]


def _roles(tx: Tx, rules: ReviewRules) -> Iterator[dict[str, Any]]:
    """Every role that is held, with the last act that it allowed."""
    b, p = t.role_bindings.c, t.projects.c
    first_team = (
        sa.select(sa.func.min(t.team_members.c.team_id))
        .where(t.team_members.c.person_id == b.person_id)
        .scalar_subquery()
    )
    rows = tx.all(
        sa.select(
            t.role_bindings,
            sa.case((b.scope_kind == "team", b.scope_id), else_=p.team_id).label("scope_team"),
            first_team.label("home"),
            sa.func.coalesce(t.teams.c.name, p.name).label("scope_name"),
        )
        .join(t.people, t.people.c.id == b.person_id)
        .outerjoin(t.projects, sa.and_(b.scope_kind == "project", p.id == b.scope_id))
        .outerjoin(t.teams, sa.and_(b.scope_kind == "team", t.teams.c.id == b.scope_id))
        .where(
            b.revoked_at.is_(None),
            b.break_glass_id.is_(None),  # it ends within hours and has a review of its own
            sa.or_(b.expires_at.is_(None), b.expires_at > tx.now),
            t.people.c.deactivated_at.is_(None),
        )
        .order_by(b.id)
    )
    roles = {name: custom_roles.held(tx, name) for name in {row["role"] for row in rows}}
    used = {name: _last_acts(tx, name, role) for name, role in roles.items()}
    for row in rows:
        held_permissions = role_reach(roles[row["role"]])
        privileged = row["role"] in rules.privileged_roles or bool(
            CONFIGURING & {*held_permissions}
        )
        where = (
            "the organisation"
            if row["scope_name"] is None
            else (f"the {row['scope_kind']} {row['scope_name']}")
        )
        yield {
            "kind": Kind.ROLE.value,
            "target_id": row["id"],
            "holder_id": row["person_id"],
            "team_id": row["scope_team"] or (None if privileged else row["home"]),
            "what": f"{row['role']} in {where}",
            "role": row["role"],
            "scope_kind": row["scope_kind"],
            "privileged": privileged,
            "since": row["created_at"],
            "last_used_at": used[row["role"]].get(row["person_id"]),
            "ended_at": row["expires_at"],
        }


def _last_acts(tx: Tx, name: str, role: CustomRole | str) -> dict[str, datetime]:
    """For each holder of a role the last time that they did what it allows.

    Looking leaves no decision; of a role that only looks, being signed in is its use.
    """
    acts = [p.value for p in role_reach(role) if p not in READS]
    acts = [act for act in acts if act != Permission.TOKEN_MANAGE]
    d, s = t.decisions.c, t.sessions.c
    holders = (
        sa.select(t.role_bindings.c.person_id)
        .where(t.role_bindings.c.role == name, t.role_bindings.c.revoked_at.is_(None))
        .distinct()
        .subquery()
    )
    if acts:
        last = sa.select(sa.func.max(d.at)).where(
            d.subject_id == holders.c.person_id, d.action.in_(acts), d.effect.in_(_USED)
        )
    else:
        last = sa.select(sa.func.max(s.last_used_at)).where(s.person_id == holders.c.person_id)
    rows = tx.all(sa.select(holders.c.person_id, last.scalar_subquery().label("at")))
    return {row["person_id"]: row["at"] for row in rows if row["at"] is not None}


def _item(kind: Kind, row: Row, **values: Any) -> dict[str, Any]:
    return {
        "kind": kind.value,
        "target_id": row["id"],
        "role": None,
        "scope_kind": None,
        "privileged": False,
        "since": row["created_at"],
        **values,
    }


def _grants(tx: Tx) -> Iterator[dict[str, Any]]:
    g, a, d = t.grants.c, t.approvals.c, t.decisions.c
    used = sa.select(sa.func.max(d.at)).where(
        d.subject_id == g.subject_id,
        d.action == g.action,
        d.effect.in_(_USED),
        d.at >= g.created_at,
    )
    for row in tx.all(
        sa.select(
            t.grants, a.sponsor_id, a.team_id, a.summary, used.scalar_subquery().label("used")
        )
        .join(t.approvals, a.id == g.approval_id)
        .join(t.people, t.people.c.id == a.sponsor_id)
        .where(g.revoked_at.is_(None), g.expires_at > tx.now, t.people.c.deactivated_at.is_(None))
        .order_by(g.id)
    ):
        yield _item(
            Kind.GRANT,
            row,
            holder_id=row["sponsor_id"],
            team_id=row["team_id"],
            what=f"grant: {row['summary']}",
            last_used_at=row["used"],
            ended_at=row["expires_at"],
        )


def _tokens(tx: Tx) -> Iterator[dict[str, Any]]:
    c = t.api_tokens.c
    home = (
        sa.select(sa.func.min(t.team_members.c.team_id))
        .where(t.team_members.c.person_id == c.person_id)
        .scalar_subquery()
    )
    for row in tx.all(
        sa.select(t.api_tokens, home.label("home"))
        .join(t.people, t.people.c.id == c.person_id)
        .where(c.revoked_at.is_(None), c.expires_at > tx.now, t.people.c.deactivated_at.is_(None))
        .order_by(c.id)
    ):
        yield _item(
            Kind.TOKEN,
            row,
            holder_id=row["person_id"],
            team_id=row["home"],
            what=f"personal token {row['name']}",
            last_used_at=row["last_used_at"],
            ended_at=row["expires_at"],
        )


def _agents(tx: Tx) -> Iterator[dict[str, Any]]:
    a, k, d = t.agents.c, t.tasks.c, t.decisions.c
    used = sa.select(sa.func.max(d.at)).where(d.subject_id == a.id, d.effect.in_(_USED))
    for row in tx.all(
        sa.select(t.agents, k.deadline, k.title, used.scalar_subquery().label("used"))
        .join(t.tasks, k.agent_id == a.id)
        .where(a.state == "active", k.state == "open", k.deadline > tx.now)
        .order_by(a.id)
    ):
        yield _item(
            Kind.AGENT,
            row,
            holder_id=row["sponsor_id"],
            team_id=row["team_id"],
            what=f"agent {row['name']} ({row['tier']}): {row['title']}",
            last_used_at=row["used"],
            ended_at=row["deadline"],
        )


def _definitions(tx: Tx) -> Iterator[dict[str, Any]]:
    """What agents can be run of; one that was made for a single run ends with that."""
    d, v, a = t.agent_definitions.c, t.agent_definition_versions.c, t.agents.c
    used = sa.select(sa.func.max(a.created_at)).where(a.definition_id == d.id)
    for row in tx.all(
        sa.select(
            d.id,
            d.name,
            d.created_by,
            d.created_at,
            d.ends_at,
            v.team_id,
            v.tier,
            used.scalar_subquery().label("used"),
        )
        .join(t.agent_definition_versions, sa.and_(v.definition_id == d.id, v.version == d.version))
        .join(t.people, t.people.c.id == d.created_by)
        .where(
            d.retired_at.is_(None),
            sa.not_(d.implied),
            sa.or_(d.ends_at.is_(None), d.ends_at > tx.now),
        )
        .order_by(d.id)
    ):
        yield _item(
            Kind.DEFINITION,
            row,
            holder_id=row["created_by"],
            team_id=row["team_id"],
            what=f"agent definition {row['name']} ({row['tier']})",
            last_used_at=row["used"],
            ended_at=row["ends_at"],
        )
