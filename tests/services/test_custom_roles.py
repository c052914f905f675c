"""Own roles: defined by an administrator, held by people, changed for all of them at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from charter.core.kernel.errors import (
    CharterError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from charter.services import (
    access_views,
    approvals,
    custom_roles,
    policies,
    replay,
    roles,
    workspaces,
)
from charter.services.workspace_questions import WorkspaceRequest
from tests.spec import spec
from tests.support import BRIEF, World

STOPS = {"workspace.view": "team", "workspace.stop": "team"}


def define(world: World, name: str = "operator", by: str = "admin", **held: str) -> dict[str, Any]:
    permissions = held or STOPS
    return custom_roles.define(
        world.rt, world.caller(by), name, title="Stops things", permissions=permissions
    )


def bind(world: World, person: str, role: str, team: str | None = None, by: str = "admin") -> Any:
    return roles.bind_role(
        world.rt,
        world.caller(by),
        person=person,
        role=role,
        scope_kind="organisation" if team is None else "team",
        scope=team,
    )


@spec("ID-1")
def test_a_role_works_where_it_is_bound_and_changes_for_its_holders_at_once(world: World) -> None:
    workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("box", "python"))
    assert define(world)["permissions"] == STOPS
    bound = bind(world, "otto", "operator", "payments")
    assert (bound["role"], bound["scope"]) == ("operator", "payments")
    [listed] = [r for r in custom_roles.catalogue(world.rt, world.caller("ria")) if r["holders"]][
        -1:
    ]
    assert (listed["name"], listed["built_in"], listed["holders"]) == ("operator", False, 1)
    seen = workspaces.list_page(world.rt, world.caller("otto"))["items"]
    assert [w["name"] for w in seen] == ["box"]
    why = access_views.why(
        world.rt,
        world.admin,
        subject="otto",
        action="workspace.stop",
        aim=access_views.Aim("workspace:box"),
    )
    assert why["effect"] == "allow"
    assert any("otto is operator" in step["text"] and step["holds"] for step in why["steps"])
    workspaces.stop(world.rt, world.caller("otto"), seen[0]["id"])
    define(world, **{"usage.view-team": "team"})
    assert workspaces.list_page(world.rt, world.caller("otto"))["items"] == []
    with pytest.raises(NotFoundError):
        workspaces.stop(world.rt, world.caller("otto"), seen[0]["id"])


@spec("PC-6")
def test_decisions_made_under_a_role_replay_after_it_has_changed(world: World) -> None:
    workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("box", "python"))
    define(world)
    bind(world, "otto", "operator", "payments")
    [box] = workspaces.list_page(world.rt, world.caller("otto"))["items"]
    workspaces.stop(world.rt, world.caller("otto"), box["id"])
    define(world, **{"usage.view-team": "team"})
    result = replay.replay(world.rt, world.caller("sam"), 100, processes=1)
    assert (result["differing"], result["replayed"] > 0) == ([], True)


@spec("ID-2")
def test_the_matrix_shows_own_roles_beside_the_others(world: World) -> None:
    define(world)
    found = access_views.matrix(world.rt, world.caller("ria"))
    assert found["roles"][-1] == "operator"
    rows = {row["action"]: row["roles"]["operator"] for row in found["items"]}
    assert rows["workspace.stop"]["reach"] == "team"
    assert rows["workspace.delete"]["effect"] == "deny"


@spec("ID-1")
@pytest.mark.parametrize(
    ("permissions", "code"),
    [
        ({"workspace.execute": "all"}, "role-reach"),
        ({"workspace.fly": "own"}, "permission-unknown"),
        ({"workspace.view": "galaxy"}, "reach-unknown"),
        ({}, "role-empty"),
    ],
)
def test_what_a_role_cannot_hold_is_said(
    world: World, permissions: dict[str, str], code: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        custom_roles.define(world.rt, world.admin, "operator", title="x", permissions=permissions)
    assert refused.value.code == code
    assert refused.value.fix


@spec("ID-1")
def test_only_an_administrator_defines_and_nothing_unknown_is_bound(world: World) -> None:
    for name in ("dana", "lee", "sam", "ria"):
        with pytest.raises(ForbiddenError):
            define(world, by=name)
    with pytest.raises(InvalidInputError) as unknown:
        bind(world, "otto", "operater")
    assert unknown.value.code == "role-unknown"
    define(world)
    with pytest.raises(InvalidInputError) as slip:
        bind(world, "otto", "operater")
    assert "operator" in slip.value.fix
    with pytest.raises(InvalidInputError):
        bind(world, "otto", "agent")


@spec("ID-1")
def test_a_role_is_retired_when_nobody_holds_it(world: World) -> None:
    define(world)
    bound = bind(world, "otto", "operator", "payments")
    with pytest.raises(ConflictError) as held:
        custom_roles.retire(world.rt, world.admin, "operator")
    assert held.value.code == "role-in-use"
    roles.revoke_role(world.rt, world.admin, bound["id"])
    custom_roles.retire(world.rt, world.admin, "operator")
    with pytest.raises(InvalidInputError):
        bind(world, "otto", "operator")
    with pytest.raises(NotFoundError):
        custom_roles.get(world.rt, world.admin, "operator")
    assert define(world)["holders"] == 0  # the name is free again, and nobody holds the new one


@spec("ID-9")
def test_a_role_that_configures_is_kept_from_those_who_watch(world: World) -> None:
    define(world, "curator", **{"template.manage": "all"})
    with pytest.raises(ConflictError) as refused:
        bind(world, "sam", "curator")
    assert refused.value.code == "separation-of-duties"
    define(world)
    bind(world, "sam", "operator")
    with pytest.raises(ConflictError) as widened:
        define(world, **STOPS, **{"template.manage": "all"})
    assert widened.value.code == "separation-of-duties"
    assert custom_roles.get(world.rt, world.admin, "operator")["permissions"] == STOPS


@spec("ID-9")
def test_nobody_widens_their_own_role_nor_gives_more_than_they_hold(world: World) -> None:
    define(world, "delegate", **{"role.bind": "all", "workspace.view": "all"})
    bind(world, "lee", "delegate", "payments")
    assert bind(world, "otto", "delegate", "payments", by="lee")["role"] == "delegate"
    assert bind(world, "dana", "team-lead", "payments", by="lee")["role"] == "team-lead"
    for role in ("platform-admin", "security-admin"):
        with pytest.raises(ForbiddenError) as refused:
            bind(world, "dana", role, "payments", by="lee")
        assert refused.value.code == "role-exceeds-giver"
    with pytest.raises(ForbiddenError):
        bind(world, "dana", "delegate", None, by="lee")
    world.add_person("ada", ("platform-admin", None), team=None)
    define(world, by="ada")
    bind(world, "admin", "operator", by="ada")
    with pytest.raises(ForbiddenError) as own:
        define(world, **STOPS, **{"workspace.delete": "team"})
    assert own.value.code == "own-role"
    define(world, **{"workspace.view": "team"})  # to narrow it is nobody's gain


def at_once(*works: Callable[[], object]) -> list[str]:
    """What came of each of these, begun at the same moment: `done`, or the code of the refusal."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> str:
        barrier.wait(10)
        try:
            work()
        except CharterError as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(len(works)) as pool:
        return sorted(pool.map(run, works))


@spec("ID-9")
def test_giving_and_widening_at_once_end_in_no_conflict(world: World) -> None:
    """Either the widening or the giving wins; both together would break separation of duties."""
    for attempt in range(4):
        name = f"racer-{attempt}"
        define(world, name)
        handle = f"racer{attempt}"
        world.add_person(handle, ("security-admin", None), team=None)
        outcomes = at_once(
            partial(define, world, name, **STOPS, **{"template.manage": "all"}),
            partial(bind, world, handle, name),
        )
        assert outcomes == ["done", "separation-of-duties"]


@spec("AP-1")
def test_an_own_role_approves_where_policy_names_it(world: World) -> None:
    define(world, "voter", **{"approval.view": "team", "approval.vote": "team"})
    bind(world, "otto", "voter", "payments")
    files = {path: BRIEF.text(path) for path in BRIEF.files}
    rules = json.loads(files["data/approvals.json"])
    rules["rules"]["admission/cpu-needs-approval"]["approvers"] = ["voter"]
    world.clock.advance(seconds=1)
    policies.apply(
        world.rt, world.admin, {**files, "data/approvals.json": json.dumps(rules)}, "Voters."
    )
    wanted = WorkspaceRequest("big", "python", vcpu=40)
    asked = workspaces.create(world.rt, world.caller("dana"), wanted)["approval"]
    assert approvals.list_page(world.rt, world.caller("lee"), for_me=True)["items"] == []
    [waiting] = approvals.list_page(world.rt, world.caller("otto"), for_me=True)["items"]
    assert waiting["id"] == asked["id"]
    settled = approvals.approve(world.rt, world.caller("otto"), asked["id"])
    assert settled["state"] == "approved"
