"""Tiers are ordered, and what a tier may do matches what its sandbox makes possible."""

from __future__ import annotations

from itertools import pairwise

import pytest

from charter.core.access.permissions import Permission
from charter.core.access.roles import ROLE_PERMISSIONS, RoleName
from charter.core.agents.tiers import (
    TIER_PERMISSIONS,
    TIER_PROFILES,
    Tier,
    TierNetwork,
    lowest_tier_with,
    narrower,
)
from tests.spec import spec

# What a security officer expects to read: action, then the narrowest tier that includes it.
LOWEST = [
    ("workspace.create", "read-only"),
    ("workspace.read-files", "read-only"),
    ("workspace.execute", "sandboxed"),
    ("workspace.write-files", "sandboxed"),
    ("code.propose", "standard"),
    ("code.merge", "trusted"),
    ("pipeline.run", "trusted"),
    ("approval.vote", None),
    ("agent.create", None),
    ("workspace.extend", None),
    ("policy.apply", None),
    ("token.manage", None),
    ("passkey.manage", None),
    ("session.end", None),
]


@spec("AG-1")
@pytest.mark.parametrize(("action", "tier"), LOWEST)
def test_the_narrowest_tier_of_an_action(action, tier) -> None:
    assert lowest_tier_with(Permission(action)) == tier


@spec("AG-1")
def test_every_tier_allows_what_the_one_below_allows() -> None:
    for lower, higher in pairwise(Tier):
        assert TIER_PERMISSIONS[lower] < TIER_PERMISSIONS[higher]
        low, high = TIER_PROFILES[lower], TIER_PROFILES[higher]
        assert high.writable >= low.writable
        assert high.execute >= low.execute
        assert narrower(lower, higher) is narrower(higher, lower) is lower


@spec("AG-1")
@pytest.mark.parametrize("tier", Tier)
def test_permissions_and_sandbox_say_the_same(tier) -> None:
    profile, allowed = TIER_PROFILES[tier], TIER_PERMISSIONS[tier]
    assert profile.writable == (Permission.WORKSPACE_WRITE_FILES in allowed)
    assert profile.execute == (Permission.WORKSPACE_EXECUTE in allowed)
    if Permission.CODE_PROPOSE in allowed:
        assert profile.network is TierNetwork.ALLOWLIST


@spec("AG-1", "ID-6")
def test_no_tier_exceeds_the_role_of_agents() -> None:
    assert TIER_PERMISSIONS[Tier.TRUSTED] == ROLE_PERMISSIONS[RoleName.AGENT]
