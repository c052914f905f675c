"""What somebody could learn, hold or hide though nobody gave it to them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from charter.core.kernel.errors import CharterError, ForbiddenError, UnauthenticatedError
from charter.services import (
    agents,
    approvals,
    decisions,
    people,
    workspace_preview,
    workspace_use,
    workspaces,
)
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec
from tests.support import World

_AGENT = {
    "name": "fixer",
    "task": "Mend the flaky test.",
    "repositories": ["git.example.org/payments/api"],
    "tier": "sandboxed",
    "minutes": 60,
}


def _leaves(world: World) -> list[dict[str, Any]]:
    with world.rt.database.reading() as tx:
        rows = tx.all(sa.select(t.audit_pending.c.leaf))
        rows += tx.all(sa.select(t.audit_log.c.leaf))
    return [json.loads(bytes(row["leaf"])) for row in rows]


@spec("ID-1")
def test_a_stranger_learns_nothing_of_a_teams_use_from_a_refusal(world: World) -> None:
    workspaces.create(world.rt, world.caller("otto"), WorkspaceRequest("hidden", "python"))
    dana = world.caller("dana")
    wanted = WorkspaceRequest("probe", "python", team="search", vcpu=4000)
    told = workspace_preview.preview(world.rt, dana, wanted)
    assert told["decision"]["effect"] == "deny"
    with pytest.raises(ForbiddenError) as refused:
        workspaces.create(world.rt, dana, wanted)
    stored = decisions.get(world.rt, dana, refused.value.details["decision"]["id"])  # type: ignore[index]
    for answer in (told, refused.value.message, refused.value.details, stored):
        assert "team search" not in json.dumps(answer, default=str)


@spec("ID-7")
def test_an_agent_of_a_switched_off_sponsor_is_nobody(world: World) -> None:
    made = agents.create(world.rt, world.caller("dana"), _AGENT)
    world.tokens["agent"] = made["credential"]["token"]
    world.caller("agent")
    people.deactivate(world.rt, world.admin, "dana")
    with pytest.raises(UnauthenticatedError):
        world.caller("agent")


@spec("AU-1")
def test_a_credential_from_a_repeated_request_is_on_record(world: World) -> None:
    dana = world.caller("dana")
    ids = {
        agents.create(world.rt, dana, dict(_AGENT), "key-1")["credential"]["credential_id"]
        for _ in range(2)
    }
    issued = [leaf for leaf in _leaves(world) if leaf["action"] == "agent.credential-issued"]
    assert len(ids) == 2
    assert {leaf["facts"]["credential"] for leaf in issued} == ids
    assert all(leaf["decision_id"] for leaf in issued)


@spec("UX-3", "AG-2")
def test_a_repeated_request_gives_no_credential_for_an_ended_task(world: World) -> None:
    dana = world.caller("dana")
    made = agents.create(world.rt, dana, dict(_AGENT), "key-1")
    agents.end(world.rt, dana, made["agent"]["id"], "completed")
    with pytest.raises(CharterError) as refused:
        agents.create(world.rt, dana, dict(_AGENT), "key-1")
    assert refused.value.code == "task-ended"


@spec("AP-5", "AG-1")
def test_an_approved_agent_exists_however_long_the_approval_took(world: World) -> None:
    asked = agents.create(
        world.rt,
        world.caller("dana"),
        {**_AGENT, "tier": "trusted", "justification": "It merges the nightly update."},
    )
    world.clock.advance(minutes=20)
    settled = approvals.approve(world.rt, world.caller("lee"), asked["approval"]["id"])
    assert settled["result_id"] is not None, settled["outcome"]


@spec("AU-3")
def test_what_was_typed_as_a_command_is_not_sealed_for_ever(world: World) -> None:
    dana = world.caller("dana")
    workspaces.create(world.rt, dana, WorkspaceRequest("api", "python"))
    world.settle()
    workspace_use.execute(world.rt, dana, "api", ["/workspace/dana-of-payments"])
    assert "dana-of-payments" not in json.dumps(_leaves(world))


@spec("PV-1")
def test_nothing_inside_sets_the_limits_of_process_1(world: World) -> None:
    dana = world.caller("dana")
    workspaces.create(world.rt, dana, WorkspaceRequest("api", "python"))
    world.settle()
    code = "import resource as r; r.prlimit(1, r.RLIMIT_NOFILE, (3, 3))"
    ran = workspace_use.execute(world.rt, dana, "api", ["python3", "-c", code])
    assert "PermissionError" in ran["stderr"]
    own = "import resource as r; r.setrlimit(r.RLIMIT_CORE, (0, 0)); print('set')"
    ran = workspace_use.execute(world.rt, dana, "api", ["python3", "-c", own])
    assert ran["stdout"] == "set\n"
