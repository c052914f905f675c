"""Tiers: how much room an agent gets, from looking only to merging what people have approved.

A tier is two things at once. Towards Charter it is a set of permissions; an agent's request for
anything outside it is refused. Towards the sandbox it is a *profile*: whether the file system can
be written, whether commands run, what network exists. The second half is what counts: the kernel
keeps a read-only agent from writing even when the agent gets past every other check.

Tiers are ordered. Each allows everything that the one below it allows, so that an agent is widened
one deliberate step at a time and can be narrowed at any moment.

Source: Spec AG-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from charter.core.access.permissions import Permission


class Tier(StrEnum):
    """The tiers, narrowest first."""

    READ_ONLY = "read-only"
    SANDBOXED = "sandboxed"
    STANDARD = "standard"
    TRUSTED = "trusted"

    @property
    def rank(self) -> int:
        """Its place in the order: 0 for the narrowest."""
        return list(Tier).index(self)


class TierNetwork(StrEnum):
    """What network a workspace of a tier may have at most."""

    NONE = "none"  # loopback only
    ALLOWLIST = "allowlist"  # named destinations, through the egress gateway


@dataclass(frozen=True, slots=True)
class TierProfile:
    """What the sandbox must make true for every workspace of a tier."""

    writable: bool
    execute: bool
    network: TierNetwork


TIER_PROFILES: Final[Mapping[Tier, TierProfile]] = MappingProxyType(
    {
        Tier.READ_ONLY: TierProfile(writable=False, execute=False, network=TierNetwork.NONE),
        Tier.SANDBOXED: TierProfile(writable=True, execute=True, network=TierNetwork.NONE),
        Tier.STANDARD: TierProfile(writable=True, execute=True, network=TierNetwork.ALLOWLIST),
        Tier.TRUSTED: TierProfile(writable=True, execute=True, network=TierNetwork.ALLOWLIST),
    }
)

# An agent of any tier may have a workspace for its task; a read-only one gets it read-only.
_READ_ONLY: Final = frozenset(
    {
        Permission.WORKSPACE_CREATE,
        Permission.WORKSPACE_VIEW,
        Permission.WORKSPACE_START,
        Permission.WORKSPACE_STOP,
        Permission.WORKSPACE_DELETE,
        Permission.WORKSPACE_READ_FILES,
        Permission.AGENT_VIEW,
        Permission.AGENT_ELEVATE,
        Permission.AGENT_LOWER,
        Permission.TASK_CLOSE,
        Permission.APPROVAL_REQUEST,
        Permission.APPROVAL_VIEW,
        Permission.APPROVAL_CANCEL,
        Permission.APPROVAL_COMMENT,
        Permission.GRANT_VIEW,
        Permission.TEMPLATE_VIEW,
        Permission.POLICY_VIEW,
        Permission.PROVIDER_VIEW,
        Permission.DECISION_VIEW,
    }
)
_SANDBOXED: Final = _READ_ONLY | {Permission.WORKSPACE_EXECUTE, Permission.WORKSPACE_WRITE_FILES}
_STANDARD: Final = _SANDBOXED | {Permission.CODE_PROPOSE}
_TRUSTED: Final = _STANDARD | {Permission.CODE_MERGE, Permission.PIPELINE_RUN}

TIER_PERMISSIONS: Final[Mapping[Tier, frozenset[Permission]]] = MappingProxyType(
    {
        Tier.READ_ONLY: _READ_ONLY,
        Tier.SANDBOXED: _SANDBOXED,
        Tier.STANDARD: _STANDARD,
        Tier.TRUSTED: _TRUSTED,
    }
)


def lowest_tier_with(permission: Permission) -> Tier | None:
    """The narrowest tier that allows `permission`; None when no agent may ever have it."""
    return next((tier for tier in Tier if permission in TIER_PERMISSIONS[tier]), None)


def narrower(first: Tier, second: Tier) -> Tier:
    """The narrower of two tiers: what holds where an agent and its task name different ones."""
    return min(first, second, key=lambda tier: tier.rank)
