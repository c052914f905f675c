"""Why somebody may do something: the steps never say other than the invariants."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.invariants import invariants, visible
from charter.core.access.permissions import Permission
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import ROLE_REACH, Binding, Reach, RoleName, Scope, ScopeKind
from charter.core.access.subjects import Human
from charter.core.access.why import Step, matrix, steps
from tests.core.access.people import AGENTS, DANA, HUMANS, LATER, NOW, RESOURCES, agent, workspace
from tests.spec import spec

# Rules about who asked for what: they forbid something that bindings give.
ABOUT_THE_REQUEST = {
    "invariant/own-request",
    "invariant/own-change",
    "invariant/agent-never-approves",
}


def spoken(found: tuple[Step, ...], *of: str) -> list[bool]:
    return [step.holds for step in found if step.of in of]


def refused(subject, action, resource, now: datetime = NOW) -> bool:
    against = {v.rule for v in invariants(subject, action, resource, now)}
    return bool(against - ABOUT_THE_REQUEST)


@spec("ID-2")
@given(HUMANS, st.sampled_from(Permission), RESOURCES)
def test_a_person_may_what_a_binding_gives(human, action, resource) -> None:
    found = steps(human, action, resource, NOW)
    if visible(human, resource, NOW):
        assert any(spoken(found, "binding")) is not refused(human, action, resource)


@spec("ID-2", "ID-7")
@given(AGENTS, st.sampled_from(Permission), RESOURCES)
def test_an_agent_may_what_every_bound_leaves(someone, action, resource) -> None:
    found = steps(someone, action, resource, NOW)
    if visible(someone, resource, NOW) and action is not Permission.APPROVAL_VOTE:
        every = all(spoken(found, "account", "role", "tier", "task", "sponsor"))
        assert every is not refused(someone, action, resource)


@spec("ID-2")
def test_each_binding_says_what_it_is_and_why_it_does_not_count() -> None:
    red, blue = (Scope(ScopeKind.TEAM, name) for name in ("red", "blue"))
    human = Human(
        "per_1",
        "dana",
        bindings=(
            Binding(RoleName.DEVELOPER, blue),
            Binding(RoleName.READ_ONLY, red),
            Binding(RoleName.TEAM_LEAD, red, expires_at=NOW),
            Binding(RoleName.TEAM_LEAD, red, expires_at=LATER),
        ),
        teams=frozenset({"red"}),
    )
    box = ResourceRef("workspace", "wsp_1", owner_id="per_2", team_id="red")
    found = steps(human, Permission.WORKSPACE_STOP, box, NOW)
    outside = "and this workspace lies outside its scope"
    assert [step.text for step in found] == [
        f"dana is developer: workspace.stop for own things, {outside}",
        "dana is read-only: it does not include workspace.stop",
        "dana is team-lead: it has ended",
        "dana is team-lead: workspace.stop for the team's things",
    ]
    assert [step.holds for step in found] == [False, False, False, True]
    assert (found[0].scope_kind, found[0].scope_id) == ("team", "blue")


@spec("ID-7")
def test_an_agents_steps_name_the_bound_that_stops_it() -> None:
    found = steps(agent(), Permission.ROLE_BIND, workspace(DANA), NOW)
    said = {step.of: step for step in reversed(found)}
    assert not said["role"].holds
    assert not said["sponsor"].holds
    assert said["sponsor"].text == f"its sponsor {DANA.handle} may not do it now"


def test_who_holds_nothing_is_told_so() -> None:
    [only] = steps(Human("per_9", "new"), Permission.WORKSPACE_CREATE, workspace(DANA), NOW)
    assert (only.text, only.holds) == ("new holds no role", False)


@spec("ID-2")
@pytest.mark.parametrize("role", RoleName)
def test_the_matrix_has_every_permission_of_every_role(role: RoleName) -> None:
    cells = {cell.permission: cell.reach for cell in matrix() if cell.role == role}
    assert list(cells) == list(Permission)
    assert {p: r for p, r in cells.items() if r is not None} == dict(ROLE_REACH[role])
    assert all(isinstance(reach, Reach | None) for reach in cells.values())
