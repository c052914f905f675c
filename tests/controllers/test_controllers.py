"""What controllers do by themselves: lifecycle, effects, drift, expiry; with a clock that moves."""

from __future__ import annotations

import signal

import pytest
import sqlalchemy as sa

from charter.adapters.workspaces.port import SandboxFailedError
from charter.controllers import outbox
from charter.core.kernel.errors import CharterError, NotFoundError
from charter.services import agents, overview, workspaces
from charter.services.workspaces import WorkspaceRequest
from charter.store import tables as t
from tests.adapters.workspaces.support import holder_of
from tests.spec import spec
from tests.support import World


def request(name: str = "api", **fields: object) -> WorkspaceRequest:
    return WorkspaceRequest(**{"name": name, "template": "python", **fields})  # type: ignore[arg-type]


def sponsored(world: World, **fields: object) -> str:
    """An agent of dana's with a live credential; its id."""
    made = agents.create(
        world.rt,
        world.caller("dana"),
        {
            "name": "fixer",
            "task": "Mend it.",
            "repositories": ["git.example.org/api"],
            "tier": "sandboxed",
            "minutes": 60,
            **fields,
        },
    )
    world.tokens["agent"] = made["credential"]["token"]
    return str(made["agent"]["id"])


def agent_box(world: World) -> str:
    made = workspaces.create(
        world.rt,
        world.caller("agent"),
        request("box", size="agent", egress_allowlist=["git.example.org"]),
    )
    world.settle()
    return str(made["workspace"]["id"])


def messages(world: World, who: str) -> list[str]:
    return [n["message"] for n in overview.notices(world.rt, world.caller(who))["items"]]


def used(world: World, scope: str) -> int:
    with world.rt.database.reading() as tx:
        row = tx.one(sa.select(t.quotas.c.vcpu_used).where(t.quotas.c.scope == scope))
    assert row is not None
    return int(row["vcpu_used"])


@spec("LC-2", "LC-3")
def test_an_idle_workspace_is_warned_and_then_stopped_with_its_home_kept(world: World) -> None:
    workspaces.create(world.rt, world.caller("dana"), request())
    world.settle()
    world.clock.advance(hours=3, minutes=50)
    world.settle()
    assert workspaces.get(world.rt, world.caller("dana"), "api")["state"] == "running"
    assert any("will be stopped" in m for m in messages(world, "dana"))
    world.clock.advance(minutes=20)
    world.settle()
    found = workspaces.get(world.rt, world.caller("dana"), "api")
    assert found["state"] == "stopped"
    assert "idle" in found["state_reason"]
    workspaces.start(world.rt, world.caller("dana"), "api")
    world.settle()
    assert workspaces.get(world.rt, world.caller("dana"), "api")["state"] == "running"


@spec("LC-3")
def test_an_extension_moves_the_idle_stop(world: World) -> None:
    workspaces.create(world.rt, world.caller("dana"), request())
    world.settle()
    world.clock.advance(hours=3, minutes=50)
    world.settle()
    for _ in range(2):
        workspaces.extend(world.rt, world.caller("dana"), "api")
    with pytest.raises(CharterError) as refused:
        workspaces.extend(world.rt, world.caller("dana"), "api")
    assert "justification" in (refused.value.message + refused.value.fix).lower() or (
        "free extensions" in refused.value.message
    )
    world.clock.advance(hours=2)
    world.settle()
    assert workspaces.get(world.rt, world.caller("dana"), "api")["state"] == "running"


@spec("LC-5")
def test_the_maximum_runtime_holds_whatever_was_extended(world: World) -> None:
    workspaces.create(world.rt, world.caller("dana"), request())
    world.settle()
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.workspaces, sa.true(), extended_until=tx.now.replace(year=2030))
    world.clock.advance(hours=11, minutes=50)
    world.settle()
    assert workspaces.get(world.rt, world.caller("dana"), "api")["state"] == "running"
    world.clock.advance(minutes=20)
    world.settle()
    with world.rt.database.reading() as tx:
        row = tx.one(sa.select(t.workspaces.c.observed, t.workspaces.c.state_reason))
    assert row is not None
    assert row["observed"] == "stopped"
    assert "longest" in row["state_reason"]


@spec("LC-6", "AG-2")
@pytest.mark.parametrize("how", ["completed", "deadline"])
def test_an_agents_workspace_is_deleted_when_its_task_ends(world: World, how: str) -> None:
    agent = sponsored(world)
    box = agent_box(world)
    if how == "completed":
        agents.end(world.rt, world.caller("agent"), "self", "completed")
    else:
        world.clock.advance(minutes=60)
    world.settle()
    dana = world.caller("dana")
    with pytest.raises(NotFoundError):
        workspaces.get(world.rt, dana, "box")
    assert workspaces.get(world.rt, dana, box)["observed"] == "deleted"
    assert agents.get(world.rt, dana, agent)["state"] == "ended"
    with pytest.raises(CharterError):
        world.caller("agent")
    assert used(world, f"agent:{agent}") == 0


@spec("AG-4", "LC-7")
def test_what_a_killed_agent_leaves_is_kept_as_evidence(world: World) -> None:
    agent = sponsored(world)
    box = agent_box(world)
    report = agents.kill(world.rt, world.caller("sam"), agent, "It went astray.")
    assert [w["survivors"] for w in report["workspaces"]] == [0]
    with pytest.raises(CharterError) as dead:
        world.caller("agent")
    assert dead.value.status == 401
    world.settle()
    world.clock.advance(hours=6)
    world.settle()
    found = workspaces.get(world.rt, world.caller("dana"), box)
    assert (found["state"], found["desired"]) == ("stopped", "stopped")


@spec("PV-1")
def test_a_sandbox_that_died_is_brought_back_and_a_stray_one_removed(world: World) -> None:
    made = workspaces.create(world.rt, world.caller("dana"), request())["workspace"]
    world.settle()
    holder = holder_of(world.rt.provider, made["id"])
    assert holder.send(signal.SIGKILL)
    assert holder.wait_gone(10)
    assert world.drift()["mended"] == 1
    world.settle()
    assert workspaces.get(world.rt, world.caller("dana"), "api")["state"] == "running"
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.workspaces, sa.true(), deleted_at=tx.now, desired="deleted")
    assert world.drift()["orphans"] == 1
    assert world.rt.provider.observe_all() == []


@spec("RG-2")
def test_a_provider_that_fails_is_asked_again_and_then_the_quota_is_given_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise SandboxFailedError("The sandbox did not come up.", fix="Look at the log.")

    monkeypatch.setattr(type(world.rt.provider), "ensure_running", broken)
    dana = world.caller("dana")
    workspaces.create(world.rt, dana, request())
    assert used(world, f"user:{dana.id}") == 2
    attempts = 0
    while workspaces.get(world.rt, world.caller("dana"), "api")["state"] != "failed":
        assert attempts < 10
        while outbox.step(world.rt) is not None:
            attempts += 1
        world.clock.advance(minutes=2)
    assert attempts == 5
    assert used(world, f"user:{dana.id}") == 0
    assert any("does not run" in m for m in messages(world, "dana"))


def test_an_effect_of_an_older_decision_does_nothing(world: World) -> None:
    made = workspaces.create(world.rt, world.caller("dana"), request())["workspace"]
    workspaces.stop(world.rt, world.caller("dana"), made["id"])
    first = outbox.step(world.rt)
    assert first is not None
    assert first["done"]
    assert world.rt.provider.observe_all() == []
    world.settle()
    assert workspaces.get(world.rt, world.caller("dana"), "api")["state"] == "stopped"


@spec("AP-1")
def test_a_request_that_nobody_decides_expires(world: World) -> None:
    asked = workspaces.create(world.rt, world.caller("dana"), request("big", vcpu=40))["approval"]
    world.clock.advance(days=3)
    world.settle()
    for who in ("admin", "dana"):
        with pytest.raises(CharterError):
            world.caller(who)  # twelve hours are over
    with world.rt.database.reading() as tx:
        row = tx.one(sa.select(t.approvals.c.state).where(t.approvals.c.id == asked["id"]))
        notice = tx.one(
            sa.select(t.notices.c.message).where(t.notices.c.kind == "approval-settled")
        )
    assert row == {"state": "expired"}
    assert notice is not None
    assert "Nobody decided in time" in notice["message"]
