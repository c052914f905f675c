"""GPUs: given by a yes for seven days, and taken back when it ends, whoever still uses them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import sqlalchemy as sa

from charter.core.approvals.requirements import Carried
from charter.core.kernel.errors import CharterError, InvalidInputError
from charter.services import approvals, workspace_use, workspaces
from charter.services.lifecycle import recheck_granted
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec
from tests.support import World


def gpu(world: World, name: str = "notebook", why: str | None = "Train the model.") -> Any:
    asked = WorkspaceRequest(name=name, template="python", size="gpu", justification=why)
    return workspaces.create(world.rt, world.caller("dana"), asked)


def granted(world: World) -> str:
    asked = gpu(world)["approval"]["id"]
    done = approvals.approve(world.rt, world.caller("lee"), asked)
    assert done["state"] == "approved"
    world.settle()
    return str(done["result_id"])


def get(world: World, workspace: str) -> Any:
    return workspaces.get(world.rt, world.admin, workspace)


def revoke(world: World) -> None:
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.grants, revoked_at=tx.now)
        recheck_granted(tx, world.caller("dana").id)


@spec("AP-2")
def test_a_gpu_needs_a_justification_and_a_yes(world: World) -> None:
    for nothing in (None, "  "):
        with pytest.raises(InvalidInputError) as refused:
            gpu(world, why=nothing)
        assert refused.value.code == "justification-required"
    made = gpu(world)
    assert made["workspace"] is None
    assert made["approval"]["state"] == "pending"


@spec("AP-2", "ID-8")
def test_a_gpu_workspace_stops_when_the_seven_days_are_over(world: World) -> None:
    workspace = granted(world)
    assert get(world, workspace)["state"] == "running"
    assert get(world, workspace)["approved_until"] == world.clock.moment.replace(day=9)
    world.clock.advance(days=6, hours=20)
    world.settle()
    world.sign_in_again()
    workspaces.start(world.rt, world.caller("dana"), workspace)  # idle meanwhile, and again
    world.settle()
    assert get(world, workspace)["state"] == "running"
    world.clock.advance(hours=3, minutes=50)
    workspace_use.execute(world.rt, world.caller("dana"), workspace, ["true"])
    world.settle()
    assert get(world, workspace)["warned_for"] == get(world, workspace)["approved_until"]
    world.clock.advance(minutes=10)
    with pytest.raises(CharterError) as refused:  # before any controller has looked
        workspace_use.execute(world.rt, world.caller("dana"), workspace, ["true"])
    assert refused.value.code == "approval-ended"
    world.settle()
    assert get(world, workspace)["state"] == "stopped"
    again = workspaces.start(world.rt, world.caller("dana"), workspace, Carried("One more epoch."))
    assert again["approval"]["state"] == "pending"


@spec("AP-2", "ID-8")
def test_a_revoked_grant_takes_the_gpu_back(world: World) -> None:
    workspace = granted(world)
    world.clock.advance(minutes=1)
    revoke(world)
    world.settle()
    assert get(world, workspace)["state"] == "stopped"
    assert "approval" in get(world, workspace)["state_reason"]
    with world.rt.database.reading() as tx:
        used = tx.one(
            sa.select(t.quotas.c.gpu_used).where(
                t.quotas.c.scope == f"user:{world.caller('dana').id}"
            )
        )
    assert used == {"gpu_used": 0}


@spec("AP-2", "LC-3")
def test_an_extension_does_not_outlive_the_approval(world: World) -> None:
    workspace = granted(world)
    world.clock.advance(days=6, hours=19)
    world.sign_in_again()
    with world.rt.database.unit_of_work() as tx:  # the sandbox tells the time of the machine
        tx.update(t.workspaces, started_at=tx.now, last_activity_at=tx.now)
    extended = workspaces.extend(world.rt, world.caller("dana"), workspace)["workspace"]
    assert extended["extended_until"] == extended["approved_until"]


@spec("AP-5")
@pytest.mark.parametrize(
    ("asked", "roles", "reason"),
    [
        ({"vcpu": 32}, None, False),
        ({"vcpu": 33}, {"team-lead", "platform-admin"}, False),
        ({"vcpu": 64}, {"team-lead", "platform-admin"}, False),
        ({"vcpu": 65}, {"team-lead"}, True),
        ({"size": "large"}, {"team-lead", "platform-admin"}, False),
        ({"size": "large", "vcpu": 96}, {"team-lead"}, True),
    ],
)
def test_large_resources(
    world: World, asked: dict[str, Any], roles: set[str] | None, reason: bool
) -> None:
    dana, request = world.caller("dana"), WorkspaceRequest("big", "python", **asked)
    if reason:
        with pytest.raises(InvalidInputError) as refused:
            workspaces.create(world.rt, dana, request)
        assert refused.value.code == "justification-required"
        request = WorkspaceRequest("big", "python", justification="The nightly build.", **asked)
    made = workspaces.create(world.rt, dana, request)
    if roles is None:
        assert made["workspace"]["state"] == "starting"
        return
    approval = made["approval"]
    assert any(set(r["roles"]) == roles for r in approval["requirements"])
    if roles == {"team-lead"}:  # a platform admin's yes is not the team lead's
        with contextlib.suppress(CharterError):
            approvals.approve(world.rt, world.admin, approval["id"])
        assert approvals.get(world.rt, dana, approval["id"])["state"] == "pending"
    done = approvals.approve(world.rt, world.caller("lee"), approval["id"])
    assert done["state"] == "approved"
    assert get(world, done["result_id"])["vcpu"] == asked.get("vcpu", 16)


@spec("AP-2")
def test_the_manager_is_asked_and_where_there_is_none_the_team_lead(world: World) -> None:
    first = gpu(world)["approval"]
    assert first["escalated"]  # nobody knows a manager of dana's, and the request says so
    assert "team-lead" in str(first["outstanding"])
    world.add_person("mona", ("developer", None), team=None)
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.people, t.people.c.handle == "dana", manager_id=world.caller("mona").id)
    asked = gpu(world, "second")["approval"]
    assert not asked["escalated"]
    with pytest.raises(CharterError) as refused:
        approvals.approve(world.rt, world.caller("lee"), asked["id"])
    assert refused.value.code == "not-escalated"
    done = approvals.approve(world.rt, world.caller("mona"), asked["id"])
    assert done["state"] == "approved"
