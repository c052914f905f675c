"""Roles, scopes, and duties that must not meet in one person."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.permissions import Permission
from charter.core.access.roles import (
    ORGANISATION,
    ROLE_PERMISSIONS,
    ROLE_REACH,
    Binding,
    Reach,
    RoleName,
    Scope,
    permissions_anywhere,
    permissions_of,
    roles_granting,
    roles_of,
    scope_chain,
)
from charter.core.access.separation import RoleConflict, conflicts
from tests.core.access.people import BINDINGS, BLUE, LATER, NOW, RED, SHOP
from tests.spec import spec

# Action, then how far each role carries it: developer, team-lead, platform-admin, security-admin,
# agent, read-only. A dash means that the role does not include it.
MATRIX = """
workspace.create     own    own    own    -      own    -
workspace.view       own    team   all    all    own    all
workspace.view-team  -      team   all    all    -      all
workspace.view-all   -      -      all    all    -      all
workspace.stop       own    team   all    all    own    -
workspace.extend     own    team   all    -      -      -
workspace.execute    own    own    own    -      own    -
workspace.read-files own    own    own    -      own    -
agent.create         own    own    own    -      -      -
agent.kill           own    team   all    all    -      -
code.merge           team   team   -      -      own    -
approval.request     own    own    own    -      own    -
approval.vote        -      team   all    all    -      -
template.view        shared shared shared shared shared shared
template.manage      -      -      all    -      -      -
policy.apply         -      -      all    -      -      -
audit.view           -      -      all    all    -      -
audit.export         -      -      all    all    -      -
usage.view-team      -      team   all    all    -      all
people.manage        -      -      all    -      -      -
role.bind            -      -      all    -      -      -
role.define          -      -      all    -      -      -
token.manage         own    own    own    own    -      own
passkey.manage       own    own    own    own    -      own
session.hand-over    own    own    own    own    -      own
session.end          -      -      all    all    -      -
"""


@spec("ID-1")
@pytest.mark.parametrize("line", MATRIX.strip().splitlines(), ids=lambda line: line.split()[0])
def test_how_far_each_role_carries_an_action(line) -> None:
    action, *reaches = line.split()
    for role, reach in zip(RoleName, reaches, strict=True):
        assert str(ROLE_REACH[role].get(Permission(action), "-")) == reach, role


@spec("ID-1")
def test_every_permission_is_held_by_some_role() -> None:
    assert frozenset().union(*ROLE_PERMISSIONS.values()) == frozenset(Permission)


@spec("ID-9", "AU-1")
def test_nobody_can_be_allowed_to_touch_the_audit_trail() -> None:
    about_audit = {p.value for p in Permission if p.value.startswith("audit.")}
    assert about_audit == {"audit.view", "audit.export"}


@spec("ID-1")
@pytest.mark.parametrize("role", RoleName)
def test_lists_reach_as_far_as_single_views(role) -> None:
    reach = ROLE_REACH[role]
    view = reach.get(Permission.WORKSPACE_VIEW)
    assert (Permission.WORKSPACE_VIEW_TEAM in reach) == (view in {Reach.TEAM, Reach.ALL})
    assert (Permission.WORKSPACE_VIEW_ALL in reach) == (view is Reach.ALL)


@spec("ID-1")
def test_what_a_binding_covers() -> None:
    chains = {
        "organisation": scope_chain(),
        "red": scope_chain("red"),
        "red/shop": scope_chain("red", "shop"),
        "blue": scope_chain("blue"),
    }
    covered = {
        ORGANISATION: {"organisation", "red", "red/shop", "blue"},
        RED: {"red", "red/shop"},
        SHOP: {"red/shop"},
        BLUE: {"blue"},
    }
    for scope, names in covered.items():
        binding = Binding(RoleName.TEAM_LEAD, scope)
        assert {name for name, chain in chains.items() if binding.covers(chain)} == names


@spec("ID-1")
def test_a_team_is_not_a_project_of_the_same_name() -> None:
    project = Scope(SHOP.kind, "red")
    assert not Binding(RoleName.DEVELOPER, project).covers(scope_chain("red"))


@spec("ID-8")
def test_a_binding_ends_by_itself() -> None:
    binding = Binding(RoleName.TEAM_LEAD, RED, expires_at=LATER)
    chain = scope_chain("red")
    before = LATER - timedelta(microseconds=1)
    assert permissions_of([binding], chain, before) == ROLE_PERMISSIONS[RoleName.TEAM_LEAD]
    assert roles_of([binding], chain, before) == {RoleName.TEAM_LEAD}
    assert permissions_of([binding], chain, LATER) == frozenset()
    assert permissions_anywhere([binding], LATER) == frozenset()
    assert roles_of([binding], chain, LATER) == frozenset()


CHAINS = st.builds(
    scope_chain, st.sampled_from([None, "red", "blue"]), st.sampled_from([None, "shop"])
)


@spec("ID-1")
@given(BINDINGS, CHAINS, st.data())
def test_fewer_bindings_or_more_time_never_allow_more(bindings, chain, data) -> None:
    held = permissions_of(bindings, chain, NOW)
    assert held <= permissions_anywhere(bindings, NOW)
    assert permissions_of(bindings, chain, LATER) <= held
    if bindings:
        gone = data.draw(st.integers(0, len(bindings) - 1))
        assert permissions_of(bindings[:gone] + bindings[gone + 1 :], chain, NOW) <= held
    wider = tuple(replace(b, scope=ORGANISATION) for b in bindings)
    assert held <= permissions_of(wider, chain, NOW)


@spec("ID-9")
def test_which_roles_may_not_meet() -> None:
    pairs = {
        (first, second) for first, second in combinations(RoleName, 2) if conflicts([first, second])
    }
    assert pairs == {
        (RoleName.PLATFORM_ADMIN, RoleName.SECURITY_ADMIN),
        (RoleName.DEVELOPER, RoleName.AGENT),
        (RoleName.TEAM_LEAD, RoleName.AGENT),
        (RoleName.PLATFORM_ADMIN, RoleName.AGENT),
        (RoleName.SECURITY_ADMIN, RoleName.AGENT),
        (RoleName.AGENT, RoleName.READ_ONLY),
    }


@spec("ID-9")
@given(st.lists(st.sampled_from(RoleName)), st.sampled_from(RoleName))
def test_one_more_role_never_mends_a_conflict(roles, more) -> None:
    found = set(conflicts(roles))
    assert found <= set(conflicts([*roles, more]))
    assert all(v.rule == "invariant/separation-of-duties" and v.fix for v in found)


@spec("ID-9")
def test_policy_adds_pairs_and_takes_none_away() -> None:
    pair = frozenset({RoleName.DEVELOPER, RoleName.SECURITY_ADMIN})
    listed = [
        RoleConflict(pair, "whoever writes code may not watch over it"),
        RoleConflict(frozenset({RoleName.PLATFORM_ADMIN, RoleName.SECURITY_ADMIN}), "never mind"),
    ]
    assert conflicts(pair) == ()
    [added] = conflicts(pair, listed)
    assert "developer and security-admin may not be held together" in added.message
    [kept] = conflicts([RoleName.PLATFORM_ADMIN, RoleName.SECURITY_ADMIN], listed)
    assert "never mind" not in kept.message


def test_who_could_help() -> None:
    assert roles_granting(Permission.WORKSPACE_CREATE) == (
        RoleName.DEVELOPER,
        RoleName.TEAM_LEAD,
        RoleName.PLATFORM_ADMIN,
    )
