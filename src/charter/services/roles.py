"""Who holds which role where: give, list and take away, within separation of duties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from charter.core.access.break_glass import ordinary
from charter.core.access.custom_roles import may_give
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.roles import ORGANISATION, RoleName, ScopeKind
from charter.core.access.separation import conflicts
from charter.core.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from charter.services import custom_roles, lookup, paging
from charter.services.access import carry_out, check_visible, missing, note, simple
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_BINDING = (
    "id",
    "person_id",
    "role",
    "scope_kind",
    "scope_id",
    "granted_by",
    "created_at",
    "expires_at",
)


def list_bindings(
    rt: Runtime,
    caller: Caller,
    *,
    person: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Roles that are held, of people whom the caller may see."""
    with rt.database.reading() as tx:
        reach = reach_set(caller.subject, Permission.PEOPLE_VIEW, tx.now)
        query = sa.select(t.role_bindings).where(t.role_bindings.c.revoked_at.is_(None))
        if not reach.everything:
            query = query.where(t.role_bindings.c.person_id == caller.person.id)
        if person is not None:
            query = query.where(t.role_bindings.c.person_id == lookup.person(tx, person)["id"])
        page = paging.newest_first(tx, query, t.role_bindings.c.id, dict, cursor, limit)
        return {**page, "items": _shown(tx, page["items"])}


def _shown(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bindings with the names of who holds them, who gave them, and where they hold."""
    names = lookup.subject_names(
        tx, {row["person_id"] for row in rows} | {row["granted_by"] for row in rows}
    )
    for table in (t.teams, t.projects):
        wanted = {row["scope_id"] for row in rows}
        found = tx.all(sa.select(table.c.id, table.c.name).where(table.c.id.in_(wanted)))
        names |= {row["id"]: row["name"] for row in found}
    return [
        {
            **{name: row[name] for name in _BINDING},
            "person": names.get(row["person_id"], row["person_id"]),
            "scope": names.get(row["scope_id"]),
            "granted_by_name": names.get(row["granted_by"], row["granted_by"]),
        }
        for row in rows
    ]


def bind_role(
    rt: Runtime,
    caller: Caller,
    *,
    person: str,
    role: str,
    scope_kind: str,
    scope: str | None,
    expires_at: datetime | None = None,
) -> dict[str, Any]:
    """Give a role; a set of roles that separation of duties forbids is refused."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        holder = lookup.person(tx, person)
        if holder["id"] == caller.id and role != RoleName.READ_ONLY:
            raise ForbiddenError(
                "Nobody gives a role to themselves.",
                fix="Ask another administrator.",
                code="own-role",
            )
        if expires_at is not None and expires_at <= tx.now:
            raise InvalidInputError(
                "The role would have ended before it began.", fix="Give a time in the future."
            )
        scope_id = _scope_id(tx, scope_kind, scope)
        given = custom_roles.resolve(tx, role)
        # First the lock, then the roles: a query that waits for a lock itself would answer with
        # the roles from before the wait.
        tx.all(sa.select(t.people.c.id).where(t.people.c.id == holder["id"]).with_for_update())
        held = tx.all(
            sa.select(t.role_bindings.c.role).where(
                t.role_bindings.c.person_id == holder["id"],
                t.role_bindings.c.revoked_at.is_(None),
                sa.or_(  # an emergency that is over keeps nobody from anything
                    t.role_bindings.c.break_glass_id.is_(None),
                    t.role_bindings.c.expires_at > tx.now,
                ),
            )
        )
        chain = _binding_ref(tx, scope_kind, scope).chain
        excess = may_give(ordinary(caller.person), given, chain, tx.now)
        if excess is not None:
            raise ForbiddenError(excess.message, fix=excess.fix, code="role-exceeds-giver")
        listed = rt.policy.active(tx).data.role_conflicts
        clash = conflicts([given, *(custom_roles.held(tx, h["role"]) for h in held)], listed)
        if clash:
            raise ConflictError(clash[0].message, fix=clash[0].fix, code="separation-of-duties")
        row = {
            "id": tx.new_id("binding"),
            "person_id": holder["id"],
            "role": role,
            "scope_kind": scope_kind,
            "scope_id": scope_id,
            "granted_by": caller.id,
            "created_at": tx.now,
            "expires_at": expires_at,
        }
        tx.insert(t.role_bindings, **row)
        note(
            tx,
            caller,
            "role.bound",
            "person",
            holder["id"],
            decision_id=answer.id,
            facts={"role": role, "scope": f"{scope_kind}:{scope_id}"},
        )
        [shown] = _shown(tx, [row])
        return shown

    return carry_out(
        rt,
        lambda tx: simple(
            caller,
            Permission.ROLE_BIND,
            _binding_ref(tx, scope_kind, scope),
            {"spec": {"role": role}},
        ),
        act,
    )


def _scope_id(tx: Tx, scope_kind: str, scope: str | None) -> str:
    if scope_kind == ScopeKind.ORGANISATION:
        return ORGANISATION.id
    if scope is None:
        raise InvalidInputError(
            f"A role in a {scope_kind} needs to say which.", fix=f"Name the {scope_kind}."
        )
    found = lookup.team(tx, scope) if scope_kind == ScopeKind.TEAM else lookup.project(tx, scope)
    return str(found["id"])


def _binding_ref(tx: Tx, scope_kind: str, scope: str | None) -> ResourceRef:
    scope_id = _scope_id(tx, scope_kind, scope)
    match scope_kind:
        case ScopeKind.TEAM:
            return ResourceRef("role-binding", team_id=scope_id)
        case ScopeKind.PROJECT:
            team_id = lookup.project(tx, scope_id)["team_id"]
            return ResourceRef("role-binding", team_id=team_id, project_id=scope_id)
        case _:
            return ResourceRef("role-binding")


def revoke_role(rt: Runtime, caller: Caller, binding_id: str) -> None:
    """Take a role away; whoever held it, and their agents, have it no more at the next request."""

    def find(tx: Tx) -> Row:
        row = tx.one(
            sa.select(t.role_bindings).where(
                t.role_bindings.c.id == binding_id, t.role_bindings.c.revoked_at.is_(None)
            )
        )
        if row is None:
            raise missing("role")
        return row

    def act(tx: Tx, answer: Answer) -> None:
        row = find(tx)
        keep_one_admin(tx, without=t.role_bindings.c.id == binding_id)
        tx.update(t.role_bindings, t.role_bindings.c.id == binding_id, revoked_at=tx.now)
        note(
            tx,
            caller,
            "role.revoked",
            "person",
            row["person_id"],
            decision_id=answer.id,
            facts={"role": row["role"]},
        )

    def question(tx: Tx) -> Any:
        try:
            row = find(tx)
        except NotFoundError:  # see `or_unknown`
            unknown = ResourceRef("role-binding", id="unknown")
            spec = {"spec": {"role": RoleName.READ_ONLY.value}}
            return simple(caller, Permission.ROLE_BIND, unknown, spec)
        check_visible(tx, caller, ResourceRef("role-binding"))
        return simple(
            caller,
            Permission.ROLE_BIND,
            _binding_ref(tx, row["scope_kind"], row["scope_id"]),
            {"spec": {"role": row["role"]}},
        )

    carry_out(rt, question, act)


def lock_admins(tx: Tx) -> None:
    """Let no other transaction take a platform admin away until this one ends.

    Who also locks people takes this lock first, or two of them wait for each other.
    """
    tx.conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('charter.last-admin'))"))


def keep_one_admin(tx: Tx, *, without: sa.ColumnElement[bool]) -> None:
    """Raise when no platform admin would be left but those `without`; holds until the commit.

    A role that runs out does not count: it would leave nobody in the end.
    """
    c = t.role_bindings.c
    lock_admins(tx)
    others = tx.all(
        sa.select(c.id)
        .join(t.people, t.people.c.id == c.person_id)
        .where(
            c.role == RoleName.PLATFORM_ADMIN.value,
            c.scope_kind == ScopeKind.ORGANISATION.value,
            c.revoked_at.is_(None),
            c.expires_at.is_(None),
            t.people.c.deactivated_at.is_(None),
            sa.not_(without),
        )
        .limit(1)
    )
    if not others:
        raise ConflictError(
            "This is the last platform admin.",
            fix="Give the role to somebody else first, for good.",
            code="last-admin",
        )
