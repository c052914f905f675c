"""Separation of duties: which roles may not meet in one person.

Whoever configures the platform is not the one who watches over it, and the role of agents is never
given to people. That holds for an organisation's own roles as well, by what they hold: one that
configures anything counts as configuring. Policy adds pairs of its own (`data/access.json`).

Source: Spec ID-9.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Final

from charter.core.access.permissions import Permission
from charter.core.access.roles import CustomRole, RoleName
from charter.core.kernel.decision import Effect, Violation

# What makes somebody one of those who are watched: to change what others may do or how they are
# judged. A security admin holds none of these.
CONFIGURING: Final = frozenset(
    {
        Permission.TEMPLATE_MANAGE,
        Permission.POLICY_PROPOSE,
        Permission.POLICY_APPLY,
        Permission.ENFORCEMENT_POINT_MANAGE,
        Permission.QUOTA_MANAGE,
        Permission.PEOPLE_MANAGE,
        Permission.TEAM_MANAGE,
        Permission.ROLE_BIND,
        Permission.ROLE_DEFINE,
    }
)
_WATCHED: Final = "whoever configures the platform may not be the one who watches over it"


@dataclass(frozen=True, slots=True)
class RoleConflict:
    """Two roles that one person may not hold, and why; from the policy's data."""

    roles: frozenset[str]
    why: str


_CONFLICTS: Final[Mapping[frozenset[str], str]] = MappingProxyType(
    {
        frozenset[str]({RoleName.PLATFORM_ADMIN, RoleName.SECURITY_ADMIN}): _WATCHED,
        **{
            frozenset[str]({RoleName.AGENT, role}): (
                "the role of agents is a class of identity of its own and never mixes with others"
            )
            for role in RoleName
            if role is not RoleName.AGENT
        },
    }
)


def conflicts(
    roles: Iterable[CustomRole | str], listed: Iterable[RoleConflict] = ()
) -> tuple[Violation, ...]:
    """The separations of duties that a subject with all these roles would break.

    Those of the code hold always; `listed` are those that policy adds. Scopes make no difference: a
    conflict of interest does not end at the border of a team.
    """
    known = {**{conflict.roles: conflict.why for conflict in listed}, **_CONFLICTS}
    names: set[str] = set()
    for role in roles:
        if isinstance(role, CustomRole):
            names.add(role.name)
            if any(permission in CONFIGURING for permission, _ in role.permissions):
                known[frozenset({role.name, RoleName.SECURITY_ADMIN.value})] = _WATCHED
        else:
            names.add(str(role))
    return tuple(
        Violation(
            rule="invariant/separation-of-duties",
            effect=Effect.DENY,
            message=f"{first} and {second} may not be held together: {known[pair]}.",
            fix=f"Remove {first} or {second} first, or bind the role to somebody else.",
            severity="high",
            source="Spec ID-9",
        )
        for first, second in combinations(sorted(names), 2)
        if (pair := frozenset({first, second})) in known
    )
