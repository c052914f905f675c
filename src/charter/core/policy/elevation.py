"""What can be had for a while, as the policy's data bounds it (`data/elevation.json`).

Most of the document is read by the rules alone; here is what Python needs: the longest override of
a quota for its forms, and of break-glass the emergency roles with their length, whom to alert, how
long somebody waits for another, and when the review is due. Without the document there is no
emergency role, so nobody can take one.

Source: Spec ID-8, ID-11, AP-4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from charter.core.access.roles import RoleName
from charter.core.policy.reading import Reader
from charter.core.resources.amounts import DIMENSIONS

_DAY_SECONDS: Final = 86_400
_TIERS: Final = ("read-only", "sandboxed", "standard", "trusted")


@dataclass(frozen=True, slots=True)
class EmergencyRole:
    """How long an emergency role lasts at most, and who may take it."""

    seconds: int
    eligible_roles: tuple[str, ...]
    eligible_people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BreakGlassLimits:
    """Emergency roles, whom to tell, and what follows."""

    roles: Mapping[str, EmergencyRole] = field(default_factory=dict)
    alerted: tuple[str, ...] = (RoleName.PLATFORM_ADMIN.value, RoleName.SECURITY_ADMIN.value)
    reviewers: tuple[str, ...] = (RoleName.SECURITY_ADMIN.value,)
    cool_down_seconds: int = 3600
    review_seconds: int = 3 * _DAY_SECONDS


@dataclass(frozen=True, slots=True)
class ElevationLimits:
    """The whole document."""

    quota_max_seconds: int = 30 * _DAY_SECONDS
    break_glass: BreakGlassLimits = field(default_factory=BreakGlassLimits)


def read_elevation(root: Reader) -> ElevationLimits:
    """The limits in the data; `root` stands on all documents."""
    if not root.has("elevation"):
        return ElevationLimits()
    part = root.child("elevation")
    agents, quotas, emergency = (part.child(n) for n in ("agents", "quotas", "break_glass"))
    agents.texts("tiers", choices=_TIERS)  # these three are read by the rules only
    agents.texts("permissions")
    agents.whole("repositories_max", minimum=1)
    for dimension in DIMENSIONS:
        quotas.child("most").whole(dimension)
    limits = ElevationLimits(
        quota_max_seconds=quotas.whole("max_seconds", minimum=60),
        break_glass=BreakGlassLimits(
            roles={name: _role(emergency, name, each) for name, each in _roles(emergency)},
            alerted=emergency.texts("alerted", least=1),
            reviewers=emergency.texts("reviewers", least=1),
            cool_down_seconds=emergency.whole("cool_down_seconds"),
            review_seconds=emergency.whole("review_seconds", minimum=60),
        ),
    )
    part.finish()
    return limits


def _roles(emergency: Reader) -> list[tuple[str, Reader]]:
    return list(emergency.child("roles").children())


def _role(emergency: Reader, name: str, part: Reader) -> EmergencyRole:
    # Whoever watches is not made in an emergency: they would watch over what they do in it.
    if name in (RoleName.AGENT, RoleName.SECURITY_ADMIN):
        emergency.child("roles").complain(name, "is never an emergency role")
    elif name not in tuple(RoleName):
        emergency.child("roles").complain(name, "is no role")
    return EmergencyRole(
        seconds=part.whole("seconds", minimum=60, maximum=_DAY_SECONDS),
        eligible_roles=part.texts("eligible_roles"),
        eligible_people=part.texts("eligible_people"),
    )
