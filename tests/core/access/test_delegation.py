"""The delegation bound: an agent is never more than its sponsor, its tier and its task."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.delegation import (
    delegation_bound,
    effective_permissions,
    effective_tier,
)
from charter.core.access.invariants import invariants
from charter.core.access.permissions import Permission
from charter.core.access.roles import (
    ROLE_PERMISSIONS,
    RoleName,
    permissions_of,
    scope_chain,
)
from charter.core.agents.tasks import task_open
from charter.core.agents.tiers import TIER_PERMISSIONS, Tier
from tests.core.access.people import AGENTS, DANA, LATER, LEE, NOW, ROOT, agent, workspace
from tests.spec import spec

CHAINS = st.builds(
    scope_chain, st.sampled_from([None, "red", "blue"]), st.sampled_from([None, "shop"])
)


@spec("ID-7")
@given(AGENTS, CHAINS)
def test_effective_permissions_are_within_every_bound(someone, chain) -> None:
    effective = effective_permissions(someone, chain, NOW)
    assert effective <= permissions_of(someone.sponsor.bindings, chain, NOW)
    assert effective <= TIER_PERMISSIONS[someone.tier]
    assert effective <= ROLE_PERMISSIONS[RoleName.AGENT]
    if someone.task is not None:
        assert effective <= TIER_PERMISSIONS[someone.task.tier]
    works = (
        someone.active
        and someone.sponsor.active
        and someone.task is not None
        and task_open(someone.task, NOW)
    )
    assert works or not effective
    for permission in effective:
        assert delegation_bound(someone, permission, chain, NOW) is None


@spec("ID-7")
@given(AGENTS, CHAINS, st.data())
def test_a_sponsor_who_loses_a_binding_never_widens_the_agent(someone, chain, data) -> None:
    before = effective_permissions(someone, chain, NOW)
    bindings = someone.sponsor.bindings
    if bindings:
        gone = data.draw(st.integers(0, len(bindings) - 1))
        fewer = replace(someone.sponsor, bindings=bindings[:gone] + bindings[gone + 1 :])
        assert effective_permissions(replace(someone, sponsor=fewer), chain, NOW) <= before
    inactive = replace(someone, sponsor=replace(someone.sponsor, active=False))
    assert effective_permissions(inactive, chain, NOW) == frozenset()
    assert effective_permissions(someone, chain, LATER) <= before


@spec("ID-7")
@given(AGENTS, CHAINS)
def test_a_wider_tier_never_narrows(someone, chain) -> None:
    sets = [effective_permissions(replace(someone, tier=tier), chain, NOW) for tier in Tier]
    assert all(lower <= higher for lower, higher in pairwise(sets))


@spec("ID-7")
def test_the_sentence_of_a_refusal() -> None:
    found = delegation_bound(agent(LEE), Permission.WORKSPACE_EXECUTE, scope_chain("blue"), NOW)
    assert found is not None
    assert found.rule == "invariant/delegation-bound"
    assert "lee" in found.message
    assert "workspace.execute" in found.message
    assert "lee" in found.fix
    assert (
        delegation_bound(agent(LEE), Permission.WORKSPACE_EXECUTE, scope_chain("red"), NOW) is None
    )


@spec("ID-7")
def test_a_sponsor_who_loses_the_role_stops_the_running_agent_at_once() -> None:
    running = agent()
    mine = workspace(running)
    assert invariants(running, Permission.WORKSPACE_EXECUTE, mine, NOW) == ()
    narrowed = replace(running, sponsor=replace(DANA, bindings=()))
    (found,) = invariants(narrowed, Permission.WORKSPACE_EXECUTE, mine, NOW)
    assert found.rule == "invariant/delegation-bound"
    left = replace(running, sponsor=replace(DANA, active=False))
    (found,) = invariants(left, Permission.WORKSPACE_EXECUTE, mine, NOW)
    assert "deactivated" in found.message


@spec("ID-7")
def test_a_powerful_sponsor_lends_no_more_than_the_role_of_agents() -> None:
    trusted = agent(ROOT, Tier.TRUSTED)
    effective = effective_permissions(trusted, scope_chain("red"), NOW)
    assert Permission.POLICY_APPLY not in effective
    assert Permission.WORKSPACE_CREATE in effective


@pytest.mark.parametrize("tier", Tier)
def test_without_a_task_the_agents_own_tier_counts(tier) -> None:
    assert effective_tier(agent(tier=tier, task=None), NOW) is tier
