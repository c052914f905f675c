"""What an elevation widens, over random agents, sponsors and times; and what it never does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.delegation import (
    base_tier,
    effective_permissions,
    effective_tier,
)
from charter.core.access.permissions import Permission
from charter.core.access.reach import task_repositories
from charter.core.access.roles import (
    ORGANISATION,
    ROLE_PERMISSIONS,
    Binding,
    RoleName,
    Scope,
    ScopeKind,
    permissions_of,
    scope_chain,
)
from charter.core.access.subjects import Agent, Human
from charter.core.agents.elevation import Elevation, Wanted, beyond, bounded, holds
from charter.core.agents.tasks import TaskScope, TaskState
from charter.core.agents.tiers import TIER_PERMISSIONS, Tier
from tests.spec import spec

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
CHAIN = scope_chain("team_1", "prj_1")
MOMENTS = st.integers(-90, 90).map(lambda minutes: T0 + timedelta(minutes=minutes))
SCOPES = st.sampled_from(
    [ORGANISATION, Scope(ScopeKind.TEAM, "team_1"), Scope(ScopeKind.TEAM, "x")]
)
HUMANS = st.builds(
    Human,
    id=st.just("per_1"),
    handle=st.just("dana"),
    bindings=st.lists(
        st.builds(
            Binding,
            role=st.sampled_from([r.value for r in RoleName if r is not RoleName.AGENT]),
            scope=SCOPES,
            expires_at=st.none() | MOMENTS,
        ),
        max_size=3,
    ).map(tuple),
    active=st.booleans(),
)
TASKS = st.builds(
    TaskScope,
    id=st.just("tsk_1"),
    repositories=st.frozensets(st.sampled_from(["a", "b"])),
    tier=st.sampled_from(Tier),
    deadline=MOMENTS,
    state=st.sampled_from(TaskState),
)
ELEVATIONS = st.builds(
    Elevation,
    id=st.just("elv_1"),
    task_id=st.sampled_from(["tsk_1", "tsk_2"]),
    tier=st.none() | st.sampled_from(Tier),
    permissions=st.frozensets(st.sampled_from(Permission), max_size=4),
    repositories=st.frozensets(st.sampled_from(["b", "c"])),
    granted_at=MOMENTS,
    expires_at=MOMENTS,
    revoked_at=st.none() | MOMENTS,
)
AGENTS = st.builds(
    Agent,
    id=st.just("agt_1"),
    sponsor=HUMANS,
    tier=st.sampled_from(Tier),
    task=TASKS,
    team_id=st.just("team_1"),
    credential_id=st.just("crd_1"),
    active=st.booleans(),
    elevations=st.lists(ELEVATIONS, max_size=3).map(tuple),
)


@spec("AP-4", "ID-7")
@given(AGENTS, MOMENTS)
def test_never_more_than_the_role_and_the_sponsor_now(agent: Agent, now: datetime) -> None:
    held = effective_permissions(agent, CHAIN, now)
    assert held <= ROLE_PERMISSIONS[RoleName.AGENT]
    assert held <= permissions_of(agent.sponsor.bindings, CHAIN, now)
    assert Permission.PRODUCTION_ACCESS not in held
    assert not {Permission.APPROVAL_VOTE, Permission.ROLE_BIND, Permission.BREAK_GLASS_START} & held


@spec("AP-4")
@given(AGENTS, MOMENTS)
def test_it_only_widens_and_only_while_one_holds(agent: Agent, now: datetime) -> None:
    plain = replace(agent, elevations=())
    before, after = (effective_permissions(each, CHAIN, now) for each in (plain, agent))
    assert before <= after
    assert effective_tier(agent, now).rank >= base_tier(agent).rank
    if not any(holds(each, agent.task, now) for each in agent.elevations):
        assert after == before
        assert effective_tier(agent, now) is base_tier(agent)
        assert task_repositories(agent, now) == task_repositories(plain, now)


@spec("AP-4", "ID-8")
@given(AGENTS, MOMENTS, st.sampled_from([s for s in TaskState if s is not TaskState.OPEN]))
def test_nothing_is_left_of_it_when_the_task_has_ended(
    agent: Agent, now: datetime, state: TaskState
) -> None:
    assert agent.task is not None
    ended = replace(agent, task=replace(agent.task, state=state))
    assert effective_permissions(ended, CHAIN, now) == frozenset()
    assert effective_tier(ended, now) is base_tier(ended)


@spec("AP-4", "ID-8")
@given(ELEVATIONS, TASKS)
def test_each_end_is_exact(elevation: Elevation, task: TaskScope) -> None:
    ends = [elevation.expires_at, task.deadline]
    ends += [] if elevation.revoked_at is None else [elevation.revoked_at]
    assert not any(holds(elevation, task, end) for end in ends)
    assert not holds(elevation, replace(task, id="tsk_3"), elevation.granted_at)
    assert not holds(elevation, None, elevation.granted_at)


@spec("AP-4", "ID-6")
@given(ELEVATIONS, st.sampled_from(Tier), st.sampled_from([(), ("b",), ("*",)]))
def test_a_definition_bounds_what_was_given_and_what_is_asked_for(
    elevation: Elevation, tier: Tier, patterns: tuple[str, ...]
) -> None:
    left = bounded(elevation, tier, patterns)
    assert left.tier is None or left.tier.rank <= tier.rank
    assert left.permissions <= elevation.permissions & TIER_PERMISSIONS[tier]
    assert left.repositories <= elevation.repositories
    asked = Wanted(elevation.tier, elevation.permissions, elevation.repositories)
    assert (left == elevation) is (beyond(asked, tier, patterns) == ())
