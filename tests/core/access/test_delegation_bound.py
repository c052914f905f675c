"""The delegation bound over random role graphs: roles, custom roles, scopes, tiers, tasks, chains.

`may` says once more, permission by permission and without sharing code with the rule, what an agent
may do: what its role, its tier, its open task, its sponsor now, its credential and whoever it works
for all give. Then everything that an agent can lose is taken away from random agents, and nothing
is ever gained by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.access.delegation import (
    effective_permissions,
    effective_tier,
    seen_by_sponsor,
)
from charter.core.access.invariants import invariants
from charter.core.access.permissions import Permission
from charter.core.access.reach import task_repositories
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import (
    ORGANISATION,
    ROLE_PERMISSIONS,
    Binding,
    CustomRole,
    Reach,
    RoleName,
    Scope,
    scope_chain,
)
from charter.core.access.subjects import Agent, Human
from charter.core.agents.elevation import Elevation
from charter.core.agents.tasks import TaskScope, TaskState
from charter.core.agents.tiers import TIER_PERMISSIONS, Tier
from tests.core.access.people import (
    BINDINGS,
    HUMANS,
    LATER,
    NOW,
    RED,
    RESOURCES,
    SCOPES,
    SHOP,
    TASKS,
)
from tests.spec import spec

# Mostly what agents can have at all, so that much is allowed and there is something to lose.
PERMISSIONS = st.sampled_from(sorted(ROLE_PERMISSIONS[RoleName.AGENT])) | st.sampled_from(
    Permission
)
MOMENTS = st.sampled_from([NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=1), LATER])
CUSTOM = st.builds(
    lambda reach, scope, ends: Binding("own", scope, ends, CustomRole("own", tuple(reach.items()))),
    st.dictionaries(PERMISSIONS, st.sampled_from([Reach.OWN, Reach.TEAM, Reach.ALL]), max_size=8),
    SCOPES,
    st.none() | MOMENTS,
)
MOSTLY = st.sampled_from([True] * 7 + [False])
SPONSORS = st.builds(
    lambda human, active, first, built_in, custom: replace(
        human, active=active, bindings=(first, *built_in, *custom)
    ),
    HUMANS,
    MOSTLY,
    st.builds(
        Binding,
        st.sampled_from([RoleName.DEVELOPER, RoleName.TEAM_LEAD, RoleName.PLATFORM_ADMIN]),
        st.sampled_from([ORGANISATION, ORGANISATION, RED, SHOP]),
    ),
    BINDINGS,
    st.lists(CUSTOM, max_size=3),
)
OPEN_TASKS = st.builds(
    TaskScope,
    id=st.just("tsk_1"),
    repositories=st.frozensets(st.sampled_from(["shop", "site"])),
    tier=st.sampled_from(Tier),
    deadline=st.just(LATER),
)
ELEVATIONS = st.lists(
    st.builds(
        Elevation,
        id=st.just("elv_1"),
        task_id=st.sampled_from(["tsk_1", "tsk_2"]),
        tier=st.none() | st.sampled_from(Tier),
        permissions=st.frozensets(PERMISSIONS, max_size=3),
        repositories=st.frozensets(st.sampled_from(["shop", "other"])),
        granted_at=st.just(NOW - timedelta(minutes=1)),
        expires_at=MOMENTS,
        revoked_at=st.none() | MOMENTS,
    ),
    max_size=2,
).map(tuple)
SCOPED = st.none() | st.frozensets(PERMISSIONS, min_size=6, max_size=20)
LONE = st.builds(
    Agent,
    id=st.sampled_from(["agt_1", "agt_2"]),
    sponsor=SPONSORS,
    tier=st.sampled_from(Tier),
    task=st.sampled_from([0, 0, 0, 1]).flatmap(lambda any_: TASKS if any_ else OPEN_TASKS),
    team_id=st.sampled_from([None, "red"]),
    credential_id=st.just("crd_1"),
    active=MOSTLY,
    elevations=ELEVATIONS,
    scope=SCOPED,
)
CHAINED = st.lists(LONE, min_size=1, max_size=3).map(
    lambda found: _chained(found[0], found[1:]),
)
CHAINS = st.builds(
    scope_chain, st.sampled_from([None, "red", "blue"]), st.sampled_from([None, "shop"])
)


def _own(agent: Agent) -> st.SearchStrategy[ResourceRef]:
    """Things of the agent's own, in whatever place."""
    return st.builds(
        ResourceRef,
        kind=st.sampled_from(["workspace", "workspace", "approval", "template"]),
        id=st.sampled_from([None, "ws_1"]),
        owner_id=st.just(agent.id),
        owner_kind=st.just("agent"),
        sponsor_id=st.just(agent.sponsor.id),
        team_id=st.sampled_from([None, "red"]),
        project_id=st.sampled_from([None, "shop"]),
        task_id=st.just(None if agent.task is None else agent.task.id),
        repository=st.sampled_from([None, None, "shop"]),
    )


CASES = CHAINED.flatmap(
    lambda agent: st.tuples(st.just(agent), st.one_of(_own(agent), _own(agent), RESOURCES))
)


def _chained(agent: Agent, others: list[Agent]) -> Agent:
    """The agent, working for the others one after the other, all of one sponsor."""
    if not others:
        return agent
    parent = _chained(replace(others[0], sponsor=agent.sponsor, id="agt_9"), others[1:])
    return replace(agent, parent=parent)


def may(agent: Agent, permission: Permission, chain: tuple[Scope, ...], now: datetime) -> bool:
    """Whether all that bounds an agent gives this permission."""
    task = agent.task
    if task is None or task.state is not TaskState.OPEN or now >= task.deadline:
        return False
    given = [
        e
        for e in agent.elevations
        if e.task_id == task.id
        and e.granted_at <= now < e.expires_at
        and not (e.revoked_at is not None and e.revoked_at <= now)
    ]
    tiers = [min(agent.tier, task.tier, key=list(Tier).index), *(e.tier for e in given if e.tier)]
    held = any(
        (b.expires_at is None or now < b.expires_at)
        and (reach := b.reach_of(permission)) is not None
        and (reach is Reach.SHARED or b.scope in chain)
        for b in agent.sponsor.bindings
    )
    return (
        agent.active
        and agent.sponsor.active
        and held
        and permission in ROLE_PERMISSIONS[RoleName.AGENT]
        and (
            any(permission in TIER_PERMISSIONS[tier] for tier in tiers)
            or any(permission in e.permissions for e in given)
        )
        and (agent.scope is None or permission in agent.scope)
        and (agent.parent is None or may(agent.parent, permission, chain, now))
    )


@spec("ID-7")
@settings(max_examples=60)
@given(CHAINED, CHAINS, MOMENTS)
def test_effective_is_role_and_tier_and_task_and_sponsor_now(agent, chain, now) -> None:
    expected = {p for p in Permission if may(agent, p, chain, now)}
    assert effective_permissions(agent, chain, now) == expected


# --- taking away --------------------------------------------------------------------------------
def without(agent: Agent) -> Iterator[Agent]:
    """The agent with one thing less, for everything that it can lose."""
    yield replace(agent, active=False)
    for person in _less(agent.sponsor):
        yield _of(agent, person)
    for tier in Tier:
        if tier.rank < agent.tier.rank:
            yield replace(agent, tier=tier)
    for task in _shorter(agent.task):
        yield replace(agent, task=task)
    for number, elevation in enumerate(agent.elevations):
        rest = agent.elevations[:number] + agent.elevations[number + 1 :]
        yield replace(agent, elevations=rest)
        yield replace(agent, elevations=(*rest, replace(elevation, revoked_at=NOW)))
    yield replace(agent, scope=(agent.scope or frozenset()) & {Permission.WORKSPACE_VIEW})
    if agent.parent is not None:
        for parent in without(agent.parent):
            if parent.sponsor == agent.sponsor:
                yield replace(agent, parent=parent)


def _shorter(task: TaskScope | None) -> Iterator[TaskScope | None]:
    yield None
    if task is None:
        return
    yield replace(task, state=TaskState.COMPLETED)
    yield replace(task, deadline=NOW)
    yield replace(task, tier=Tier.READ_ONLY)
    for name in task.repositories:
        yield replace(task, repositories=task.repositories - {name})


def _less(human: Human) -> Iterator[Human]:
    yield replace(human, active=False)
    for number, binding in enumerate(human.bindings):
        rest = human.bindings[:number] + human.bindings[number + 1 :]
        yield replace(human, bindings=rest)
        yield replace(human, bindings=(*rest, replace(binding, expires_at=NOW)))
        if binding.custom is not None:
            for gone in binding.custom.permissions:
                kept = tuple(pair for pair in binding.custom.permissions if pair != gone)
                role = replace(binding.custom, permissions=kept)
                yield replace(human, bindings=(*rest, replace(binding, custom=role)))
    for team in human.teams:
        yield replace(human, teams=human.teams - {team})


def _of(agent: Agent, person: Human) -> Agent:
    parent = None if agent.parent is None else _of(agent.parent, person)
    return replace(agent, sponsor=person, parent=parent)


@spec("ID-7")
@settings(max_examples=60)
@given(CASES, CHAINS, PERMISSIONS)
def test_taking_anything_away_never_adds(case, chain, action) -> None:
    agent, resource = case
    before = effective_permissions(agent, chain, NOW)
    refused = bool(invariants(agent, action, resource, NOW))
    for less in without(agent):
        left = effective_permissions(less, chain, NOW)
        assert left <= before
        # Where nothing is left (without a task, for one), the tier says nothing.
        assert not left or effective_tier(less, NOW).rank <= effective_tier(agent, NOW).rank
        assert task_repositories(less, NOW) <= task_repositories(agent, NOW)
        if refused:
            assert invariants(less, action, resource, NOW)


@spec("ID-7")
@settings(max_examples=60)
@given(CHAINED, CHAINS, MOMENTS)
def test_time_alone_never_adds(agent, chain, later) -> None:
    if later >= NOW:
        assert effective_permissions(agent, chain, later) <= effective_permissions(
            agent, chain, NOW
        )


# --- the sponsor --------------------------------------------------------------------------------
@spec("ID-7")
@settings(max_examples=60)
@given(CASES, PERMISSIONS)
def test_an_agent_never_reaches_what_its_sponsor_does_not(case, action) -> None:
    agent, resource = case
    if invariants(agent, action, resource, NOW):
        return
    worker: Agent | None = agent
    while worker is not None:
        assert worker.active
        assert action in ROLE_PERMISSIONS[RoleName.AGENT]
        assert worker.scope is None or action in worker.scope
        worker = worker.parent
    answered_for = seen_by_sponsor(agent, resource)
    assert invariants(agent.sponsor, action, answered_for, NOW) == ()
