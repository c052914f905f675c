"""Roles, the scopes they are bound in, and how far each of their permissions carries.

A *role* is a named set of permissions. A *binding* gives a person a role within a *scope*: the
organisation, a team, or a project. A binding in the organisation covers every team and project; one
in a team covers the projects of that team. A thing's *scope chain* is the path from the
organisation down to it, and a binding covers the thing when its scope is on that path.

Each permission of a role has a *reach*: a developer stops their own workspaces, a team lead those
of the team, a platform admin all of them, and all three hold the same `workspace.stop`. Reading
and writing files and running commands stay with the owner in every role: to manage somebody's
workspace is not to be let into it.

What the built-in roles hold is one table in `built_in.py`. An organisation adds roles of its own
(`CustomRole`); what such a role may hold is in `custom_roles.py`, and which roles may not meet in
one person in `separation.py`.

Source: Spec ID-1, ID-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from charter.core.access.built_in import ROLE_PERMISSIONS, ROLE_REACH, Reach, RoleName
from charter.core.access.permissions import Permission

__all__ = [
    "ORGANISATION",
    "ROLE_PERMISSIONS",
    "ROLE_REACH",
    "Binding",
    "CustomRole",
    "Reach",
    "RoleName",
    "Scope",
    "ScopeKind",
    "permissions_anywhere",
    "permissions_of",
    "reach_of",
    "role_reach",
    "roles_granting",
    "roles_of",
    "scope_chain",
]


class ScopeKind(StrEnum):
    """The levels at which a role can be bound, widest first."""

    ORGANISATION = "organisation"
    TEAM = "team"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Scope:
    """One organisation, team or project."""

    kind: ScopeKind
    id: str


# One installation serves one organisation, so its scope needs no identifier of its own.
ORGANISATION: Final = Scope(ScopeKind.ORGANISATION, "organisation")


def scope_chain(team_id: str | None = None, project_id: str | None = None) -> tuple[Scope, ...]:
    """The path from the organisation down to a thing of this team and this project."""
    chain = [ORGANISATION]
    if team_id is not None:
        chain.append(Scope(ScopeKind.TEAM, team_id))
    if project_id is not None:
        chain.append(Scope(ScopeKind.PROJECT, project_id))
    return tuple(chain)


@dataclass(frozen=True, slots=True)
class CustomRole:
    """An organisation's own role: each permission once, with its reach."""

    name: str
    permissions: tuple[tuple[Permission, Reach], ...]


@dataclass(frozen=True, slots=True)
class Binding:
    """A role held within a scope, for ever or until `expires_at`.

    `role` is the name of a built-in role or that of `custom`, which says what the role is now.
    `break_glass` is the emergency that gave it; None for roles that somebody was given.
    """

    role: str
    scope: Scope
    expires_at: datetime | None = None
    custom: CustomRole | None = None
    break_glass: str | None = None

    def reach_of(self, permission: Permission) -> Reach | None:
        """How far the role carries this permission; None when it does not hold it."""
        return reach_of(self.custom or self.role, permission)

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the role holds, whatever the reach."""
        return frozenset(role_reach(self.custom or self.role))

    def live(self, now: datetime) -> bool:
        """Whether it still holds; a binding ends at the very moment of its expiry."""
        return self.expires_at is None or now < self.expires_at

    def covers(self, chain: Iterable[Scope]) -> bool:
        """Whether the thing at the end of `chain` lies within this binding's scope."""
        return self.scope in chain


_BUILT_IN: Final[Mapping[str, Mapping[Permission, Reach]]] = {
    role.value: reach for role, reach in ROLE_REACH.items()
}


def role_reach(role: CustomRole | str) -> Mapping[Permission, Reach]:
    """What a role holds and how far. A name that no built-in role has holds nothing."""
    return dict(role.permissions) if isinstance(role, CustomRole) else _BUILT_IN.get(role, {})


def reach_of(role: CustomRole | str, permission: Permission) -> Reach | None:
    """How far a role carries one permission; None when it does not hold it."""
    return role_reach(role).get(permission)


def permissions_of(
    bindings: Iterable[Binding], chain: Iterable[Scope], now: datetime
) -> frozenset[Permission]:
    """What these bindings allow at the end of the scope chain, whatever the reach."""
    path = tuple(chain)
    held: set[Permission] = set()
    for binding in bindings:
        if not binding.live(now):
            continue
        for permission, reach in role_reach(binding.custom or binding.role).items():
            if reach is Reach.SHARED or binding.covers(path):
                held.add(permission)
    return frozenset(held)


def permissions_anywhere(bindings: Iterable[Binding], now: datetime) -> frozenset[Permission]:
    """What these bindings allow in at least one scope; for menus and collections, not for acts."""
    return frozenset().union(*(binding.permissions for binding in bindings if binding.live(now)))


def roles_of(bindings: Iterable[Binding], chain: Iterable[Scope], now: datetime) -> frozenset[str]:
    """The names of the roles that hold at the end of the scope chain."""
    path = tuple(chain)
    return frozenset(b.role for b in bindings if b.live(now) and b.covers(path))


def roles_granting(permission: Permission) -> tuple[RoleName, ...]:
    """The roles for people that hold this permission, in the order of the enumeration."""
    return tuple(
        role
        for role in RoleName
        if role is not RoleName.AGENT and permission in ROLE_PERMISSIONS[role]
    )
