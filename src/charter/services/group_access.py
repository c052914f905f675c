"""Bring in line what somebody holds because of their groups at a provider.

`core.access.groups` says what has to change; this writes it, with an audit event for each change.
Rows that groups gave carry their source (`oidc:<provider>`); rows without one were given by hand
and are never touched.

Source: Spec ID-3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import sqlalchemy as sa

from charter.core.access.groups import Given, MappedRole, align, given_by
from charter.core.access.roles import ORGANISATION, CustomRole, RoleName, ScopeKind
from charter.core.access.separation import RoleConflict
from charter.core.audit.event import ActorRef, AuditEvent, Outcome, Scalar
from charter.core.kernel.errors import ConflictError, InvalidInputError
from charter.services import custom_roles
from charter.services.roles import keep_one_admin, lock_admins
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_PLACES: Final = {ScopeKind.TEAM: t.teams, ScopeKind.PROJECT: t.projects}


def source_of(provider: str) -> str:
    """How rows say that the provider's groups gave them."""
    return f"oidc:{provider}"


def bring_in_line(
    rt: Runtime, tx: Tx, person_id: str, provider: str, groups: Iterable[str]
) -> None:
    """Give what the person's groups give now, and take what they no longer give."""
    data = rt.policy.active(tx).data
    mapping = data.single_sign_on.of(provider).groups
    _Alignment(tx, person_id, source_of(provider)).carry_out(
        given_by(mapping, groups), data.role_conflicts
    )


def directory_in_line(
    rt: Runtime, tx: Tx, person_id: str, directory: str, groups: Iterable[str]
) -> None:
    """As `bring_in_line`, for groups of a SCIM directory that policy names among the providers.

    A directory that it does not name gives no roles: `default` is about signing in only.
    """
    data = rt.policy.active(tx).data
    known = data.single_sign_on.providers.get(directory)
    if known is not None:
        _Alignment(tx, person_id, f"scim-groups:{directory}").carry_out(
            given_by(known.groups, groups), data.role_conflicts
        )


class _Alignment:
    """One person's memberships and roles from one source, in one transaction."""

    def __init__(self, tx: Tx, person_id: str, source: str) -> None:
        self._tx = tx
        self._person_id = person_id
        self._source = source
        lock_admins(tx)
        tx.all(sa.select(t.people.c.id).where(t.people.c.id == person_id).with_for_update())

    def carry_out(self, wanted: Given, listed: Iterable[RoleConflict]) -> None:
        """Write down what `align` says."""
        teams = self._ids(t.teams, wanted.teams)
        bindings = self._bindings()
        from_groups = {_key(row): row for row in bindings if row["source"] == self._source}
        own = {row["role"]: custom_roles.held(self._tx, row["role"]) for row in bindings}
        own |= self._roles(wanted.roles)
        places = self._places([role for role in wanted.roles if role.role in own])
        # From here on places are named by their ids, which a renaming does not change.
        alignment = align(
            Given(frozenset(teams.values()), frozenset(places.values())),
            Given(self._memberships(), frozenset(from_groups)),
            (row["role"] for row in bindings if row["source"] != self._source),
            listed,
            own,
        )
        for team_id in sorted(alignment.leave):
            self._leave(team_id)
        for role in sorted(alignment.revoke):
            self._revoke(from_groups[role])
        for team_id in sorted(alignment.join):
            self._join(team_id)
        for role in alignment.bind:
            self._bind(role)
        for role, why in alignment.withheld.items():
            self._withhold(role, why)
        for role in sorted(wanted.roles - set(places)):
            what = "place" if role.role in own else "role"
            self._withhold(role, f"There is no such {what}.")
        for name in sorted(wanted.teams - set(teams)):
            self._event("team.membership-withheld", {"why": f"There is no team {name}."})

    # --- what is there --------------------------------------------------------------------
    def _ids(self, table: sa.Table, names: Iterable[str]) -> dict[str, str]:
        rows = self._tx.all(sa.select(table.c.id, table.c.name).where(table.c.name.in_(set(names))))
        return {row["name"]: row["id"] for row in rows}

    def _roles(self, wanted: Iterable[MappedRole]) -> dict[str, CustomRole | str]:
        """The roles that people can hold among those that are wanted, by name."""
        found: dict[str, CustomRole | str] = {}
        for name in sorted({role.role for role in wanted}):
            try:
                found[name] = custom_roles.resolve(self._tx, name)
            except InvalidInputError:
                continue
        return found

    def _places(self, roles: Collection[MappedRole]) -> dict[MappedRole, MappedRole]:
        """The roles by name → the same by id; those in a place that there is not are left out."""
        found: dict[MappedRole, MappedRole] = {}
        ids = {
            kind: self._ids(table, {r.scope for r in roles if r.scope and r.scope_kind is kind})
            for kind, table in _PLACES.items()
        }
        for role in roles:
            if role.scope is None:
                found[role] = MappedRole(role.role, ScopeKind.ORGANISATION, ORGANISATION.id)
            elif role.scope in ids[role.scope_kind]:
                place = ids[role.scope_kind][role.scope]
                found[role] = MappedRole(role.role, role.scope_kind, place)
        return found

    def _memberships(self) -> frozenset[str]:
        c = t.team_members.c
        rows = self._tx.all(
            sa.select(c.team_id).where(c.person_id == self._person_id, c.source == self._source)
        )
        return frozenset(row["team_id"] for row in rows)

    def _bindings(self) -> list[Row]:
        c = t.role_bindings.c
        return list(
            self._tx.all(
                sa.select(t.role_bindings).where(
                    c.person_id == self._person_id, c.revoked_at.is_(None)
                )
            )
        )

    # --- what changes ---------------------------------------------------------------------
    def _join(self, team_id: str) -> None:
        # Somebody who is in the team by hand already stays so, whatever the groups say later.
        if self._tx.insert_new(
            t.team_members,
            team_id=team_id,
            person_id=self._person_id,
            since=self._tx.now,
            source=self._source,
        ):
            self._event("team.member-added", {"team": team_id})

    def _leave(self, team_id: str) -> None:
        c = t.team_members.c
        self._tx.conn.execute(
            sa.delete(t.team_members).where(
                c.team_id == team_id,
                c.person_id == self._person_id,
                c.source == self._source,
            )
        )
        self._event("team.member-removed", {"team": team_id})

    def _bind(self, role: MappedRole) -> None:
        self._tx.insert(
            t.role_bindings,
            id=self._tx.new_id("binding"),
            person_id=self._person_id,
            role=role.role,
            scope_kind=role.scope_kind.value,
            scope_id=role.scope,
            granted_by=self._source,
            created_at=self._tx.now,
            source=self._source,
        )
        self._event("role.bound", _facts(role))

    def _revoke(self, row: Row) -> None:
        this = t.role_bindings.c.id == row["id"]
        if row["role"] == RoleName.PLATFORM_ADMIN:
            try:
                keep_one_admin(self._tx, without=this)
            except ConflictError as kept:
                facts = {**_facts(_key(row)), "why": kept.message}
                self._event("role.kept", facts, Outcome.DENIED)
                return
        self._tx.update(t.role_bindings, this, revoked_at=self._tx.now)
        self._event("role.revoked", _facts(_key(row)))

    def _withhold(self, role: MappedRole, why: str) -> None:
        self._event("role.withheld", {**_facts(role), "why": why}, Outcome.DENIED)

    def _event(
        self, action: str, facts: dict[str, Scalar], outcome: Outcome = Outcome.DONE
    ) -> None:
        self._tx.audit(
            AuditEvent(
                id=self._tx.new_id("event"),
                at=self._tx.now,
                actor=ActorRef("system", self._source),
                action=action,
                resource_kind="person",
                resource_id=self._person_id,
                outcome=outcome,
                facts={**facts, "source": self._source},
            )
        )


def _key(row: Row) -> MappedRole:
    return MappedRole(row["role"], ScopeKind(row["scope_kind"]), row["scope_id"])


def _facts(role: MappedRole) -> dict[str, Scalar]:
    return {"role": role.role, "scope": f"{role.scope_kind.value}:{role.scope}"}
