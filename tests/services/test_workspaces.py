"""Workspaces through the services, on a real database and in real sandboxes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from charter.core.kernel.errors import (
    CharterError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from charter.services import approvals, workspace_use, workspaces
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec
from tests.support import World


def request(name: str = "api", **fields: object) -> WorkspaceRequest:
    return WorkspaceRequest(**{"name": name, "template": "python", **fields})  # type: ignore[arg-type]


@spec("LC-1", "PV-1")
def test_a_developer_creates_runs_stops_and_starts_and_the_file_is_still_there(
    world: World,
) -> None:
    dana = world.caller("dana")
    made = workspaces.create(world.rt, dana, request())
    assert made["decision"]["effect"] == "warn"
    assert made["workspace"]["state"] == "starting"
    world.settle()
    assert workspaces.get(world.rt, dana, "api")["state"] == "running"
    ran = workspace_use.execute(world.rt, dana, "api", ["sh", "-c", "echo kept > note; id -u"])
    assert (ran["exit_code"], ran["stdout"]) == (0, "1000\n")
    workspaces.stop(world.rt, dana, "api")
    world.settle()
    assert workspaces.get(world.rt, dana, "api")["state"] == "stopped"
    workspaces.start(world.rt, dana, "api")
    world.settle()
    assert workspace_use.read_file(world.rt, dana, "api", "note")["content"] == "kept\n"
    workspaces.delete(world.rt, dana, "api")
    world.settle()
    with pytest.raises(NotFoundError):
        workspaces.get(world.rt, dana, "api")


@spec("AP-5", "AP-1", "ID-9")
def test_forty_cpus_wait_for_the_team_lead_and_start_on_the_yes(world: World) -> None:
    dana, lee = world.caller("dana"), world.caller("lee")
    asked = workspaces.create(world.rt, dana, request("big", vcpu=40))
    assert asked["decision"]["effect"] == "require_approval"
    assert asked["workspace"] is None
    approval = asked["approval"]["id"]
    with pytest.raises(ForbiddenError) as refused:
        approvals.approve(world.rt, dana, approval)
    assert "own request" in refused.value.message
    settled = approvals.approve(world.rt, lee, approval, "for the load test")
    assert settled["state"] == "approved"
    world.settle()
    big = workspaces.get(world.rt, dana, "big")
    assert (big["state"], big["vcpu"]) == ("running", 40)
    assert any("40" in notice for notice in big["notices"])


@spec("AP-5")
def test_ninety_six_cpus_need_a_justification_first(world: World) -> None:
    dana = world.caller("dana")
    with pytest.raises(InvalidInputError) as refused:
        workspaces.create(world.rt, dana, request("huge", vcpu=96))
    assert refused.value.code == "justification-required"
    asked = workspaces.create(
        world.rt, dana, request("huge", vcpu=96, justification="The year-end run.")
    )
    roles = {role for r in asked["approval"]["requirements"] for role in r["roles"]}
    assert roles == {"team-lead"}


@spec("CA-3")
def test_an_unapproved_template_is_refused_with_what_to_use_instead(world: World) -> None:
    with pytest.raises(ForbiddenError) as refused:
        workspaces.create(world.rt, world.caller("dana"), request(template="scratch"))
    assert "python" in refused.value.fix


@spec("RG-2")
def test_64_concurrent_creates_grant_exactly_the_quota(world: World) -> None:
    # Two each for 32 people: within everybody's own quota, so that only the team's can refuse.
    for number in range(32):
        world.add_person(f"dev{number}", ("developer", None), team="payments")
    callers = [world.caller(f"dev{number}") for number in range(32)]
    with world.rt.database.unit_of_work() as tx:
        team = tx.one(sa.select(t.teams.c.id).where(t.teams.c.name == "payments"))
        assert team is not None
        scope = f"team:{team['id']}"
        tx.update(t.quotas, t.quotas.c.scope == scope, vcpu_limit=15)

    def create(number: int) -> bool:
        try:
            made = workspaces.create(world.rt, callers[number % 32], request(f"w{number}"))
        except ForbiddenError:
            return False
        return made["workspace"] is not None

    with ThreadPoolExecutor(64) as pool:
        granted = sum(pool.map(create, range(64)))
    with world.rt.database.reading() as tx:
        used = tx.one(sa.select(t.quotas).where(t.quotas.c.scope == scope))
        rows = tx.all(sa.select(t.workspaces.c.id))
    assert used is not None
    assert (granted, len(rows), used["vcpu_used"], used["workspaces_used"]) == (7, 7, 14, 7)


@spec("UX-3")
def test_the_same_idempotency_key_creates_once(world: World) -> None:
    dana = world.caller("dana")
    first = workspaces.create(world.rt, dana, request(), "key-1")
    again = workspaces.create(world.rt, dana, request(), "key-1")
    assert first["workspace"]["id"] == again["workspace"]["id"]
    with pytest.raises(CharterError) as refused:
        workspaces.create(world.rt, dana, request("other"), "key-1")
    assert refused.value.code == "idempotency-key-reused"


@spec("ID-1")
def test_somebody_elses_workspace_does_not_exist_for_a_stranger(world: World) -> None:
    made = workspaces.create(world.rt, world.caller("dana"), request())["workspace"]
    otto = world.caller("otto")
    for attempt in (workspaces.get, workspaces.stop, workspaces.delete, workspaces.start):
        with pytest.raises(NotFoundError):
            attempt(world.rt, otto, made["id"])
    assert workspaces.list_page(world.rt, otto)["items"] == []
