"""Roles, the scopes they are bound in, and how far each of their permissions carries.

A *role* is a named set of permissions. A *binding* gives a person a role within a *scope*: the
organisation, a team, or a project. A binding in the organisation covers every team and project; one
in a team covers the projects of that team. A thing's *scope chain* is the path from the
organisation down to it, and a binding covers the thing when its scope is on that path.

Each permission of a role has a *reach*: a developer stops their own workspaces, a team lead those
of the team, a platform admin all of them, and all three hold the same `workspace.stop`. Reading
and writing files and running commands stay with the owner in every role: to manage somebody's
workspace is not to be let into it.

An organisation adds roles of its own (`CustomRole`); what such a role may hold is in
`custom_roles.py`, and which roles may not meet in one person in `separation.py`.

Source: Spec ID-1, ID-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from charter.core.access.permissions import Permission


class RoleName(StrEnum):
    """The built-in roles."""

    DEVELOPER = "developer"
    TEAM_LEAD = "team-lead"
    PLATFORM_ADMIN = "platform-admin"
    SECURITY_ADMIN = "security-admin"
    AGENT = "agent"
    READ_ONLY = "read-only"


class Reach(StrEnum):
    """How far a permission carries within the scope of its binding."""

    OWN = "own"  # what the subject owns, sponsors or asked for
    TEAM = "team"  # what belongs to the subject's teams
    ALL = "all"  # everything that the binding covers
    SHARED = "shared"  # things that belong to everybody, such as the catalogue; any binding will do


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


_EVERYBODY: Final[Mapping[Permission, Reach]] = {
    Permission.TEMPLATE_VIEW: Reach.SHARED,
    Permission.POLICY_VIEW: Reach.SHARED,
    Permission.PROVIDER_VIEW: Reach.SHARED,
}

_INSIDE_OWN_WORKSPACE: Final[Mapping[Permission, Reach]] = {
    Permission.WORKSPACE_CREATE: Reach.OWN,
    Permission.WORKSPACE_EXECUTE: Reach.OWN,
    Permission.WORKSPACE_READ_FILES: Reach.OWN,
    Permission.WORKSPACE_WRITE_FILES: Reach.OWN,
}


def _with(*permissions: Permission, reach: Reach) -> dict[Permission, Reach]:
    return dict.fromkeys(permissions, reach)


_MANAGE_WORKSPACE: Final = (
    Permission.WORKSPACE_VIEW,
    Permission.WORKSPACE_START,
    Permission.WORKSPACE_STOP,
    Permission.WORKSPACE_EXTEND,
    Permission.WORKSPACE_RESIZE,
    Permission.WORKSPACE_DELETE,
)

# With what a person proves who they are. Ending one's own sessions needs no permission at all.
_OWN_ACCOUNT: Final = (
    Permission.TOKEN_MANAGE,
    Permission.PASSKEY_MANAGE,
    Permission.SESSION_HAND_OVER,
)

# Temporary powers of others: both kinds of administrators see them and can end them.
_WATCH_ELEVATION: Final = (
    Permission.AGENT_LOWER,
    Permission.PRODUCTION_VIEW,
    Permission.PRODUCTION_REVOKE,
    Permission.BREAK_GLASS_VIEW,
    Permission.BREAK_GLASS_END,
    Permission.BREAK_GLASS_REVIEW,
)

_OWN_BUSINESS: Final = (
    *_OWN_ACCOUNT,
    Permission.AGENT_CREATE,
    Permission.APPROVAL_REQUEST,
    Permission.APPROVAL_CANCEL,
    Permission.USAGE_VIEW,
    Permission.AGENT_ELEVATE,
    Permission.QUOTA_REQUEST,
    Permission.PRODUCTION_ACCESS,
    Permission.BREAK_GLASS_START,
)

ROLE_REACH: Final[Mapping[RoleName, Mapping[Permission, Reach]]] = MappingProxyType(
    {
        RoleName.DEVELOPER: MappingProxyType(
            {
                **_EVERYBODY,
                **_INSIDE_OWN_WORKSPACE,
                **_with(*_MANAGE_WORKSPACE, *_OWN_BUSINESS, reach=Reach.OWN),
                **_with(
                    Permission.AGENT_VIEW,
                    Permission.AGENT_KILL,
                    Permission.AGENT_LOWER,
                    Permission.TASK_CLOSE,
                    Permission.APPROVAL_VIEW,
                    Permission.DECISION_VIEW,
                    Permission.QUOTA_VIEW,
                    Permission.PRODUCTION_VIEW,
                    Permission.PRODUCTION_REVOKE,
                    Permission.BREAK_GLASS_VIEW,
                    Permission.BREAK_GLASS_END,
                    reach=Reach.OWN,
                ),
                **_with(
                    Permission.CODE_PROPOSE,
                    Permission.CODE_MERGE,
                    Permission.PIPELINE_RUN,
                    reach=Reach.TEAM,
                ),
            }
        ),
        RoleName.TEAM_LEAD: MappingProxyType(
            {
                **_EVERYBODY,
                **_INSIDE_OWN_WORKSPACE,
                **_with(
                    *_OWN_BUSINESS,
                    Permission.BREAK_GLASS_VIEW,
                    Permission.BREAK_GLASS_END,
                    reach=Reach.OWN,
                ),
                **_with(
                    *_MANAGE_WORKSPACE,
                    Permission.WORKSPACE_VIEW_TEAM,
                    Permission.PRODUCTION_VIEW,
                    Permission.PRODUCTION_REVOKE,
                    Permission.AGENT_VIEW,
                    Permission.AGENT_KILL,
                    Permission.AGENT_LOWER,
                    Permission.TASK_CLOSE,
                    Permission.CODE_PROPOSE,
                    Permission.CODE_MERGE,
                    Permission.PIPELINE_RUN,
                    Permission.APPROVAL_VIEW,
                    Permission.APPROVAL_VOTE,
                    Permission.DECISION_VIEW,
                    Permission.QUOTA_VIEW,
                    Permission.USAGE_VIEW_TEAM,
                    Permission.PEOPLE_VIEW,
                    reach=Reach.TEAM,
                ),
                Permission.POLICY_TRY: Reach.SHARED,
            }
        ),
        RoleName.PLATFORM_ADMIN: MappingProxyType(
            {
                **_EVERYBODY,
                **_INSIDE_OWN_WORKSPACE,
                **_with(*_OWN_BUSINESS, reach=Reach.OWN),
                **_with(
                    *_MANAGE_WORKSPACE,
                    Permission.WORKSPACE_VIEW_TEAM,
                    Permission.WORKSPACE_VIEW_ALL,
                    *_WATCH_ELEVATION,
                    Permission.AGENT_VIEW,
                    Permission.AGENT_KILL,
                    Permission.TASK_CLOSE,
                    Permission.APPROVAL_VIEW,
                    Permission.APPROVAL_VOTE,
                    Permission.TEMPLATE_MANAGE,
                    Permission.POLICY_TRY,
                    Permission.POLICY_PROPOSE,
                    Permission.POLICY_REVIEW,
                    Permission.POLICY_APPLY,
                    Permission.POLICY_ROLLBACK,
                    Permission.GOVERNANCE_MANAGE,
                    Permission.ENFORCEMENT_POINT_VIEW,
                    Permission.ENFORCEMENT_POINT_MANAGE,
                    Permission.QUOTA_VIEW,
                    Permission.QUOTA_MANAGE,
                    Permission.DECISION_VIEW,
                    Permission.AUDIT_VIEW,
                    Permission.AUDIT_EXPORT,
                    Permission.USAGE_VIEW_TEAM,
                    Permission.USAGE_VIEW_ALL,
                    Permission.PEOPLE_VIEW,
                    Permission.PEOPLE_MANAGE,
                    Permission.TEAM_MANAGE,
                    Permission.ROLE_BIND,
                    Permission.SESSION_END,
                    Permission.ROLE_DEFINE,
                    Permission.CONTROLLER_VIEW,
                    Permission.METRICS_VIEW,
                    reach=Reach.ALL,
                ),
            }
        ),
        # Security sees everything and can stop what is dangerous. It configures nothing, so that
        # those who watch are never those who are watched.
        RoleName.SECURITY_ADMIN: MappingProxyType(
            {
                **_EVERYBODY,
                **_with(
                    *_OWN_ACCOUNT,
                    Permission.USAGE_VIEW,
                    Permission.BREAK_GLASS_START,
                    reach=Reach.OWN,
                ),
                **_with(
                    Permission.WORKSPACE_VIEW,
                    Permission.WORKSPACE_VIEW_TEAM,
                    Permission.WORKSPACE_VIEW_ALL,
                    *_WATCH_ELEVATION,
                    Permission.WORKSPACE_STOP,
                    Permission.AGENT_VIEW,
                    Permission.AGENT_KILL,
                    Permission.APPROVAL_VIEW,
                    Permission.APPROVAL_VOTE,
                    Permission.POLICY_TRY,
                    Permission.POLICY_REVIEW,
                    Permission.POLICY_ROLLBACK,
                    Permission.GOVERNANCE_MANAGE,
                    Permission.ENFORCEMENT_POINT_VIEW,
                    Permission.QUOTA_VIEW,
                    Permission.DECISION_VIEW,
                    Permission.AUDIT_VIEW,
                    Permission.AUDIT_EXPORT,
                    Permission.USAGE_VIEW_TEAM,
                    Permission.USAGE_VIEW_ALL,
                    Permission.PEOPLE_VIEW,
                    Permission.SESSION_END,
                    Permission.CONTROLLER_VIEW,
                    Permission.METRICS_VIEW,
                    reach=Reach.ALL,
                ),
            }
        ),
        # The widest an agent can ever be; tier, task and sponsor only narrow it. No votes, no
        # other agents, no extension of its own running time, no tokens.
        RoleName.AGENT: MappingProxyType(
            {
                **_EVERYBODY,
                **_INSIDE_OWN_WORKSPACE,
                **_with(
                    Permission.WORKSPACE_VIEW,
                    Permission.WORKSPACE_START,
                    Permission.WORKSPACE_STOP,
                    Permission.WORKSPACE_DELETE,
                    Permission.AGENT_VIEW,
                    Permission.AGENT_ELEVATE,
                    Permission.AGENT_LOWER,
                    Permission.TASK_CLOSE,
                    Permission.CODE_PROPOSE,
                    Permission.CODE_MERGE,
                    Permission.PIPELINE_RUN,
                    Permission.APPROVAL_REQUEST,
                    Permission.APPROVAL_VIEW,
                    Permission.APPROVAL_CANCEL,
                    Permission.DECISION_VIEW,
                    reach=Reach.OWN,
                ),
            }
        ),
        RoleName.READ_ONLY: MappingProxyType(
            {
                **_EVERYBODY,
                **_with(*_OWN_ACCOUNT, reach=Reach.OWN),
                **_with(
                    Permission.WORKSPACE_VIEW,
                    Permission.WORKSPACE_VIEW_TEAM,
                    Permission.WORKSPACE_VIEW_ALL,
                    Permission.AGENT_VIEW,
                    Permission.QUOTA_VIEW,
                    Permission.PRODUCTION_VIEW,
                    Permission.USAGE_VIEW,
                    Permission.USAGE_VIEW_TEAM,
                    Permission.USAGE_VIEW_ALL,
                    Permission.CONTROLLER_VIEW,
                    Permission.METRICS_VIEW,
                    reach=Reach.ALL,
                ),
            }
        ),
    }
)

ROLE_PERMISSIONS: Final[Mapping[RoleName, frozenset[Permission]]] = MappingProxyType(
    {role: frozenset(reach) for role, reach in ROLE_REACH.items()}
)


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
