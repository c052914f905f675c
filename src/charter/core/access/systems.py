"""Systems: what a program of the organisation's own may do, which is little and the same for all.

A directory (an identity provider that speaks SCIM) creates, changes and ends the accounts and teams
that are *its own*. It gives no roles: those are bound by people, or follow from groups where policy
says so. And it sees nothing but what it provisions, so its credential is of no use for anything
else.

Source: Spec ID-3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from charter.core.access.permissions import Permission
from charter.core.access.refusal import refuse
from charter.core.access.subjects import System
from charter.core.kernel.decision import Violation

SYSTEM_PERMISSIONS: Final = frozenset({Permission.PEOPLE_MANAGE, Permission.TEAM_MANAGE})


def for_system(system: System, action: Permission) -> Iterator[Violation]:
    """Every invariant that forbids `system` to do `action`."""
    if action not in SYSTEM_PERMISSIONS:
        yield refuse(
            "permission",
            f"A directory keeps people and teams; {action} is not among what {system.name} may do.",
            "Let a person with the right role do it.",
            source="Spec ID-3",
        )
