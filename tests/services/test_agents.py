"""Agents through the services: bounds, credentials, the kill switch, the sponsor's fate."""

from __future__ import annotations

import pytest

from charter.core.kernel.errors import CharterError, ForbiddenError, UnauthenticatedError
from charter.services import (
    agent_credentials,
    agents,
    identity,
    overview,
    people,
    replay,
    roles,
    workspace_use,
)
from charter.services import workspaces as ws
from charter.services.workspaces import WorkspaceRequest
from tests.spec import spec
from tests.support import World

ASKED = {
    "name": "fixer",
    "task": "Mend the flaky test.",
    "repositories": ["git.example.org/payments/api"],
    "tier": "sandboxed",
    "minutes": 60,
}


def sponsored(world: World, **fields: object) -> str:
    made = agents.create(world.rt, world.caller("dana"), {**ASKED, **fields})
    world.tokens["agent"] = made["credential"]["token"]
    return str(made["agent"]["id"])


def box(**fields: object) -> WorkspaceRequest:
    given = {"egress_allowlist": ["git.example.org"], **fields}
    return WorkspaceRequest(name="box", template="python", size="agent", **given)  # type: ignore[arg-type]


@spec("AG-3", "PC-1")
def test_an_agent_needs_an_egress_allowlist_for_its_workspace(world: World) -> None:
    sponsored(world)
    with pytest.raises(ForbiddenError) as refused:
        ws.create(world.rt, world.caller("agent"), box(egress_allowlist=None))
    assert "Agent workspaces require explicit egress allowlist" in refused.value.message
    ws.create(world.rt, world.caller("agent"), box())
    world.settle()
    ran = workspace_use.execute(world.rt, world.caller("agent"), "box", ["cat", "/proc/net/dev"])
    assert [line.split(":")[0].strip() for line in ran["stdout"].splitlines()[2:]] == ["lo"]


@spec("AG-1")
def test_the_read_only_tier_neither_writes_nor_runs(world: World) -> None:
    sponsored(world, tier="read-only")
    agent = world.caller("agent")
    made = ws.create(world.rt, agent, box())["workspace"]
    world.settle()
    for attempt in (
        lambda: workspace_use.execute(world.rt, agent, "box", ["true"]),
        lambda: workspace_use.write_file(world.rt, agent, "box", "note", "x"),
    ):
        with pytest.raises(ForbiddenError) as refused:
            attempt()
        assert "read-only" in refused.value.message
    forced = world.rt.provider.execute(
        made["id"], ["sh", "-c", "echo x > note"], timeout_seconds=10
    )
    assert forced.exit_code != 0
    assert b"Read-only file system" in forced.stderr


@spec("AG-4")
def test_the_kill_switch_leaves_nothing_that_acts(world: World) -> None:
    agent_id = sponsored(world)
    made = ws.create(world.rt, world.caller("agent"), box())["workspace"]
    world.settle()
    workspace_use.write_file(world.rt, world.caller("agent"), "box", "evidence", "kept")
    report = agents.kill(world.rt, world.caller("sam"), agent_id, "It went astray.")
    assert report["workspaces"][0]["survivors"] == 0
    with pytest.raises(UnauthenticatedError):
        world.caller("agent")
    seen = world.rt.provider.observe(made["id"])
    assert seen.state.value == "stopped"
    assert ws.get(world.rt, world.caller("dana"), made["id"])["state"] == "stopped"
    with pytest.raises(CharterError):
        agent_credentials.issue_credential(world.rt, world.caller("dana"), agent_id)
    with pytest.raises(CharterError) as again:
        agents.kill(world.rt, world.caller("sam"), agent_id, "Once more.")
    assert again.value.code == "killed"


@spec("ID-6")
def test_a_credential_lives_for_minutes_and_is_renewed_while_it_lives(world: World) -> None:
    agent_id = sponsored(world)
    world.clock.advance(minutes=14)
    world.tokens["agent"] = agent_credentials.issue_credential(
        world.rt, world.caller("agent"), "self"
    )["token"]
    world.clock.advance(minutes=14)
    assert overview.me(world.rt, world.caller("agent"))["sponsor_id"] == world.caller("dana").id
    world.clock.advance(minutes=1)
    with pytest.raises(UnauthenticatedError):
        world.caller("agent")
    fresh = agent_credentials.issue_credential(world.rt, world.caller("dana"), agent_id)
    world.tokens["agent"] = fresh["token"]
    with pytest.raises(ForbiddenError) as refused:
        agent_credentials.issue_credential(world.rt, world.caller("lee"), agent_id)
    assert refused.value.code == "not-the-sponsor"
    identity.end_session(world.rt, world.caller("agent"))
    with pytest.raises(UnauthenticatedError):
        world.caller("agent")


@spec("ID-7")
def test_a_role_that_the_sponsor_loses_narrows_the_next_request(world: World) -> None:
    sponsored(world)
    agent = world.caller("agent")
    assert "workspace.create" in overview.me(world.rt, agent)["permissions"]
    held = roles.list_bindings(world.rt, world.admin, person="dana")["items"]
    roles.revoke_role(world.rt, world.admin, held[0]["id"])
    agent = world.caller("agent")
    assert "workspace.create" not in overview.me(world.rt, agent)["permissions"]
    with pytest.raises(ForbiddenError) as refused:
        ws.create(world.rt, agent, box())
    assert "sponsor" in refused.value.message


@spec("ID-6", "ID-7")
def test_a_sponsor_who_is_switched_off_takes_the_agent_along(world: World) -> None:
    sponsored(world)
    people.deactivate(world.rt, world.admin, "dana")
    with pytest.raises(CharterError):
        ws.create(world.rt, world.caller("agent"), box())
    with pytest.raises(UnauthenticatedError):
        world.caller("dana")


@spec("PC-6", "PC-2")
def test_every_decision_comes_out_the_same_again(world: World) -> None:
    sponsored(world)
    ws.create(world.rt, world.caller("agent"), box())
    for _ in range(2):
        with pytest.raises(ForbiddenError):
            ws.create(world.rt, world.caller("otto"), box(team="payments"))
    found = replay.replay(world.rt, world.admin, 10_000)
    assert found["replayed"] > 10
    assert found["differences"] == 0, found["differing"]
