"""From a provider's groups to teams and roles, and what has to change for it.

An identity provider knows who belongs together; Charter knows what that allows. The mapping
between the two is policy data: each group gives memberships of teams and bindings of roles. What
somebody holds because of a group is brought in line at each sign-in; what was given to them by hand
is never touched.

Three things are stronger than any mapping. Roles that separation of duties keeps apart do not come
together: a new role that clashes with what the person holds, or with another new one, is not given.
The role of agents is never bound to a person. And the last platform admin stays one.

Source: Spec ID-1, ID-3, ID-9.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from charter.core.access.roles import CustomRole, ScopeKind
from charter.core.access.separation import RoleConflict, conflicts


@dataclass(frozen=True, slots=True, order=True)
class MappedRole:
    """A role that a group gives; `scope` names the team or project, None for the organisation."""

    role: str
    scope_kind: ScopeKind = ScopeKind.ORGANISATION
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class GroupGrant:
    """What the members of one group get."""

    teams: tuple[str, ...] = ()
    roles: tuple[MappedRole, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """Memberships and roles, by the names of teams and projects."""

    teams: frozenset[str] = frozenset()
    roles: frozenset[MappedRole] = frozenset()


@dataclass(frozen=True, slots=True)
class Alignment:
    """What has to change; `withheld` says for each role that is not given why not."""

    join: frozenset[str] = frozenset()
    leave: frozenset[str] = frozenset()
    bind: tuple[MappedRole, ...] = ()
    revoke: frozenset[MappedRole] = frozenset()
    withheld: Mapping[MappedRole, str] = field(default_factory=dict)


def given_by(mapping: Mapping[str, GroupGrant], groups: Iterable[str]) -> Given:
    """What these groups give together; groups that the mapping does not name give nothing."""
    grants = [mapping[group] for group in set(groups) if group in mapping]
    return Given(
        teams=frozenset(team for grant in grants for team in grant.teams),
        roles=frozenset(role for grant in grants for role in grant.roles),
    )


def align(
    wanted: Given,
    held: Given,
    roles_by_hand: Iterable[str] = (),
    listed: Iterable[RoleConflict] = (),
    own: Mapping[str, CustomRole | str] | None = None,
) -> Alignment:
    """The way from what groups gave (`held`) to what they give now (`wanted`).

    `own` has the organisation's own roles by name: with which others they clash follows from what
    they allow. A role that stays is never lost to a new one that clashes with it, and of two new
    ones that clash with each other neither is given: nobody chose between them.
    """
    listed = tuple(listed)
    staying = {role.role for role in held.roles & wanted.roles} | set(roles_by_hand)
    new = wanted.roles - held.roles
    names = {role.role for role in new}
    bind, withheld = [], {}
    for role in sorted(new):
        clash = _clash(role.role, staying | names, listed, own or {})
        if clash is None:
            bind.append(role)
        else:
            withheld[role] = clash
    return Alignment(
        join=wanted.teams - held.teams,
        leave=held.teams - wanted.teams,
        bind=tuple(bind),
        revoke=held.roles - wanted.roles,
        withheld=withheld,
    )


def _clash(
    role: str,
    others: Iterable[str],
    listed: tuple[RoleConflict, ...],
    own: Mapping[str, CustomRole | str],
) -> str | None:
    for other in sorted(set(others) - {role}):
        found = conflicts((own.get(role, role), own.get(other, other)), listed)
        if found:
            return found[0].message
    return None
