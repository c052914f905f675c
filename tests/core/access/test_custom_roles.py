"""An organisation's own roles go no farther than the built-in ones, nor than whoever gives them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.custom_roles import (
    WIDEST,
    may_define,
    may_give,
    reaches_for,
    widened,
    within,
)
from charter.core.access.invariants import invariants
from charter.core.access.permissions import Permission
from charter.core.access.reach import human_reaches, reach_set
from charter.core.access.roles import (
    ORGANISATION,
    ROLE_REACH,
    Binding,
    CustomRole,
    Reach,
    RoleName,
    role_reach,
    scope_chain,
)
from charter.core.access.separation import CONFIGURING, conflicts
from charter.core.access.snapshot import subject_from_json, subject_json
from tests.core.access.people import BLUE, DANA, NOW, RED, ROOT, SAM, VIEW, workspace
from tests.spec import spec

PERMITTED = st.sampled_from([p for p in Permission if reaches_for(p)]).flatmap(
    lambda p: st.tuples(st.just(p), st.sampled_from(reaches_for(p)))
)
ROLES = st.lists(PERMITTED, min_size=1, max_size=8, unique_by=lambda pair: pair[0]).map(
    lambda pairs: CustomRole("operator", tuple(sorted(pairs)))
)


def role(**held: str) -> CustomRole:
    """`workspace_stop="team"` stands for `workspace.stop` with the team's reach."""
    pairs = {name.replace("__", "-").replace("_", ".", 1): reach for name, reach in held.items()}
    return CustomRole("operator", tuple((Permission(p), Reach(r)) for p, r in pairs.items()))


@spec("ID-1")
def test_it_gives_what_it_lists_where_it_is_bound() -> None:
    stops = role(workspace_view="all", workspace_stop="all")
    kim = replace(VIEW, id="per_k", bindings=(Binding("operator", RED, None, stops),))
    of_red, of_blue = workspace(DANA), workspace(DANA, "blue")
    assert human_reaches(kim, Permission.WORKSPACE_STOP, of_red, NOW)
    assert not human_reaches(kim, Permission.WORKSPACE_STOP, of_blue, NOW)
    assert not human_reaches(kim, Permission.WORKSPACE_DELETE, of_red, NOW)
    assert reach_set(kim, Permission.WORKSPACE_VIEW, NOW).teams == {"red"}
    assert invariants(kim, Permission.WORKSPACE_STOP, of_red, NOW) == ()


@spec("ID-1")
def test_a_name_that_no_role_has_gives_nothing() -> None:
    ghost = replace(VIEW, bindings=(Binding("retired-role", ORGANISATION),))
    assert role_reach("retired-role") == {}
    assert not human_reaches(ghost, Permission.WORKSPACE_VIEW, workspace(DANA), NOW)


@spec("ID-1")
@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        (CustomRole("developer", role(workspace_view="own").permissions), "role-name"),
        (CustomRole("manager", role(workspace_view="own").permissions), "role-name"),
        (CustomRole("Ops", role(workspace_view="own").permissions), "role-name"),
        (CustomRole("operator", ()), "role-empty"),
        (role(workspace_execute="all"), "role-reach"),
        (role(workspace_read__files="team"), "role-reach"),
        (role(template_view="own"), "role-reach"),
        (role(workspace_view="shared"), "role-reach"),
    ],
)
def test_what_no_role_may_be(wanted: CustomRole, rule: str) -> None:
    assert [v.rule for v in may_define(wanted)] == [f"invariant/{rule}"]
    assert all(v.message and v.fix for v in may_define(wanted))


@spec("ID-1")
@given(ROLES)
def test_whatever_is_permitted_stays_below_the_widest_built_in_role(made: CustomRole) -> None:
    assert list(may_define(made)) == []
    assert all(within(reach, WIDEST[permission]) for permission, reach in made.permissions)
    people = [reach for name, reach in ROLE_REACH.items() if name is not RoleName.AGENT]
    for permission, reach in made.permissions:
        assert any(within(reach, held.get(permission)) for held in people)


@spec("ID-9")
@given(ROLES)
def test_who_configures_does_not_watch(made: CustomRole) -> None:
    configures = any(permission in CONFIGURING for permission, _ in made.permissions)
    assert bool(conflicts([made, RoleName.SECURITY_ADMIN])) is configures
    assert conflicts([made, RoleName.DEVELOPER]) == ()
    assert not any(p in CONFIGURING for p in ROLE_REACH[RoleName.SECURITY_ADMIN])


@spec("ID-9")
@given(ROLES, ROLES)
def test_nobody_gives_more_than_they_hold(held: CustomRole, given_away: CustomRole) -> None:
    giver = replace(DANA, bindings=(Binding("operator", RED, None, held),))
    allowed = may_give(giver, given_away, scope_chain("red"), NOW) is None
    own = dict(held.permissions)
    assert allowed is all(within(reach, own.get(p)) for p, reach in given_away.permissions)
    assert may_give(giver, given_away, scope_chain("blue"), NOW) is not None
    assert allowed is (widened(held, given_away) == ())


@spec("ID-9")
def test_a_platform_admin_gives_every_role_and_only_one_of_the_organisation() -> None:
    assert may_give(ROOT, RoleName.SECURITY_ADMIN, scope_chain("red"), NOW) is None
    local = replace(ROOT, bindings=(Binding(RoleName.PLATFORM_ADMIN, BLUE),))
    assert may_give(local, RoleName.TEAM_LEAD, scope_chain("red"), NOW) is not None
    assert may_give(local, role(workspace_stop="all"), scope_chain("blue"), NOW) is None
    assert may_give(SAM, RoleName.PLATFORM_ADMIN, scope_chain("red"), NOW) is not None


@spec("PC-6")
@given(ROLES)
def test_a_decision_keeps_what_the_role_was(made: CustomRole) -> None:
    somebody = replace(DANA, session=None, bindings=(Binding("operator", RED, None, made),))
    assert subject_from_json(subject_json(somebody)) == somebody
