"""An organisation's own roles: what they may hold, and who may give a role to whom.

A custom role is a list of permissions, each with its reach. It is made of what the built-in roles
are made of and goes no farther: no permission reaches farther in it than in the widest built-in
role for people. So nobody can be let into other people's workspaces by a role, whatever it is
called. What nobody holds, nobody can be given.

Giving roles widens nobody beyond whoever gives them. A platform admin of the organisation gives
every role; anybody else who holds `role.bind` gives only what they hold in that scope themselves,
as far as they hold it.

Source: Spec ID-1, ID-9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from charter.core.access.permissions import Permission
from charter.core.access.refusal import refuse
from charter.core.access.roles import (
    ORGANISATION,
    ROLE_REACH,
    CustomRole,
    Reach,
    RoleName,
    Scope,
    role_reach,
)
from charter.core.access.subjects import Human
from charter.core.kernel.decision import Violation

NAME: Final = re.compile(r"^[a-z][a-z0-9-]{1,39}$")
_RANK: Final = {Reach.OWN: 0, Reach.TEAM: 1, Reach.ALL: 2, Reach.SHARED: 3}
# Of the words for people: `agent` is an identity of its own, the rest would read as built in.
_RESERVED: Final = frozenset({*RoleName, "manager", "owner", "requester", "sponsor", "system"})


def _widest() -> dict[Permission, Reach]:
    found: dict[Permission, Reach] = {}
    for role, reaches in ROLE_REACH.items():
        if role is not RoleName.AGENT:
            for permission, reach in reaches.items():
                found[permission] = max(found.get(permission, reach), reach, key=_RANK.__getitem__)
    return found


WIDEST: Final[Mapping[Permission, Reach]] = MappingProxyType(_widest())
"""How far each permission goes at most: in the widest built-in role for people."""


def within(reach: Reach, bound: Reach | None) -> bool:
    """Whether `reach` goes no farther than `bound`; nothing is within None."""
    return bound is not None and _RANK[reach] <= _RANK[bound]


def reaches_for(permission: Permission) -> tuple[Reach, ...]:
    """The reaches that a custom role may give this permission, narrowest first; may be none."""
    widest = WIDEST.get(permission)
    if widest in (None, Reach.SHARED):
        return () if widest is None else (Reach.SHARED,)
    return tuple(reach for reach in (Reach.OWN, Reach.TEAM, Reach.ALL) if within(reach, widest))


def may_define(role: CustomRole) -> Iterator[Violation]:
    """Everything that speaks against a role of this name with these permissions."""
    if NAME.fullmatch(role.name) is None or role.name in _RESERVED:
        yield refuse(
            "role-name",
            f"{role.name!r} cannot be the name of a role.",
            "Use lower-case letters, digits and hyphens, 2 to 40 of them, and no built-in name.",
            source="Spec ID-1",
        )
    if not role.permissions:
        yield refuse(
            "role-empty",
            "A role without permissions gives nothing.",
            "List at least one permission; charter role catalogue shows them.",
            source="Spec ID-1",
        )
    for permission, reach in role.permissions:
        if reach not in (allowed := reaches_for(permission)):
            said = " or ".join(allowed)
            yield refuse(
                "role-reach",
                f"No role for people carries {permission} as far as {reach}.",
                f"Give it {said}." if said else f"Leave {permission} out: people do not hold it.",
                source="Spec ID-1",
            )


def may_give(
    giver: Human, role: CustomRole | str, chain: Iterable[Scope], now: datetime
) -> Violation | None:
    """Why `giver` may not give this role at the end of the scope chain; None when they may.

    That they hold `role.bind` there is judged by the invariants.
    """
    path = tuple(chain)
    live = [b for b in giver.bindings if b.live(now) and b.covers(path)]
    if any(b.role == RoleName.PLATFORM_ADMIN and b.scope == ORGANISATION for b in live):
        return None
    for permission, reach in role_reach(role).items():
        if not any(within(reach, binding.reach_of(permission)) for binding in live):
            return refuse(
                "role-exceeds-giver",
                f"The role carries {permission} as far as {reach}, which you do not hold there "
                "yourself.",
                "Ask a platform-admin of the organisation, or give a narrower role.",
                source="Spec ID-9",
            )
    return None


def widened(before: CustomRole, after: CustomRole) -> tuple[Permission, ...]:
    """The permissions that `after` carries farther than `before`."""
    held = dict(before.permissions)
    return tuple(
        permission
        for permission, reach in after.permissions
        if not within(reach, held.get(permission))
    )
