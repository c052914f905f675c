"""More of a quota for a while: given by a yes, over by itself, and never oversold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from charter.controllers import elevations
from charter.core.kernel.errors import CharterError, ForbiddenError
from charter.services import (
    approvals,
    identity,
    overview,
    people,
    quota_overrides,
    workspaces,
)
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec
from tests.support import World


def ask(world: World, who: str = "dana", **fields: Any) -> Any:
    asked = {
        "scope": "user", "of": None, "dimension": "vcpu", "amount": 16,
        "until": world.clock.moment + timedelta(days=2), "reason": "The release.",
    }  # fmt: skip
    return quota_overrides.request(world.rt, world.caller(who), **{**asked, **fields})


def given(world: World, who: str = "dana", by: str = "lee", **fields: Any) -> str:
    asked = ask(world, who, **fields)["approval"]["id"]
    done = approvals.approve(world.rt, world.caller(by), asked)
    assert done["state"] == "approved", done
    return str(done["result_id"])


def code(attempt: Any) -> str:
    try:
        attempt()
    except CharterError as refused:
        return refused.code
    return "done"


def create(world: World, name: str, who: str = "dana", vcpu: int = 32) -> str:
    asked = WorkspaceRequest(name, "python", vcpu=vcpu, disk_mib=10_240)
    return code(lambda: workspaces.create(world.rt, world.caller(who), asked))


def line(world: World, scope: str = "dana") -> dict[str, Any]:
    lines = people.team_quota(world.rt, world.caller("dana"), "payments")
    return next(found for found in lines if scope in found["scope"])


@spec("RG-2", "ID-8")
def test_the_limit_is_raised_until_the_end_and_falls_back(world: World) -> None:
    for number in range(4):
        assert create(world, f"box-{number}") == "done"
    assert create(world, "one-more", vcpu=16) == "denied"
    given(world)
    assert line(world)["limit"]["vcpu"] == 144
    assert line(world)["raised"]["vcpu"] == 16
    assert create(world, "one-more", vcpu=16) == "done"
    assert create(world, "too-much", vcpu=1) == "denied"
    world.clock.advance(days=2)
    world.sign_in_again()
    assert line(world)["limit"]["vcpu"] == 128  # nobody has tidied up
    assert line(world)["used"]["vcpu"] == 144  # and nothing was killed
    asked = WorkspaceRequest("next", "python", vcpu=1, disk_mib=10_240)
    with pytest.raises(ForbiddenError, match="goes on; nothing new starts"):
        workspaces.create(world.rt, world.caller("dana"), asked)
    assert elevations.step(world.rt) == {"overrides": 1}
    told = overview.notices(world.rt, world.caller("dana"))["items"]
    assert any("have ended. What is in use above" in n["message"] for n in told)
    workspaces.delete(world.rt, world.caller("dana"), "one-more")
    world.settle()
    assert line(world)["used"]["vcpu"] == 128


@spec("RG-2", "ID-8", "ID-9")
def test_who_says_yes_is_policy(world: World) -> None:
    own, shared = ask(world), ask(world, scope="team", of="payments")
    assert own["approval"]["requirements"][0]["roles"] == ["platform-admin", "team-lead"]
    assert shared["approval"]["requirements"][0]["roles"] == ["platform-admin"]
    lees = ask(world, "lee")["approval"]["id"]
    assert code(lambda: approvals.approve(world.rt, world.caller("lee"), lees)) == "denied"
    assert code(lambda: approvals.approve(world.rt, world.caller("lee"), shared["approval"]["id"]))
    assert code(lambda: ask(world, reason=None)) == "justification-required"
    assert code(lambda: ask(world, amount=257)) == "denied"
    assert code(lambda: ask(world, amount=0)) == "denied"
    assert code(lambda: ask(world, until=world.clock.moment + timedelta(days=31))) == "denied"
    assert code(lambda: ask(world, until=world.clock.moment)) == "denied"
    assert code(lambda: ask(world, dimension="luck")) == "invalid-input"
    assert code(lambda: ask(world, scope="team", of="search")) == "denied"
    assert code(lambda: ask(world, scope="agent", of="x")) == "invalid-input"
    assert code(lambda: ask(world, "ria")) in {"denied", "no-team"}


@spec("RG-2")
def test_a_yes_that_comes_too_late_gives_nothing(world: World) -> None:
    asked = ask(world, until=world.clock.moment + timedelta(hours=1))["approval"]["id"]
    world.clock.advance(hours=2)
    done = approvals.approve(world.rt, world.caller("lee"), asked)
    assert done["result_id"] is None
    assert line(world)["limit"]["vcpu"] == 128


@spec("RG-2")
def test_it_can_be_given_back_and_taken_back(world: World) -> None:
    first, second = given(world), given(world, amount=8)
    assert line(world)["limit"]["vcpu"] == 152
    assert code(lambda: quota_overrides.revoke(world.rt, world.caller("otto"), first)) == "denied"
    assert quota_overrides.revoke(world.rt, world.caller("dana"), first)["state"] == "revoked"
    assert line(world)["limit"]["vcpu"] == 136
    assert quota_overrides.revoke(world.rt, world.admin, second)["state"] == "revoked"
    assert line(world)["limit"]["vcpu"] == 128
    shown = quota_overrides.list_page(world.rt, world.caller("dana"))["items"]
    assert {o["state"] for o in shown} == {"revoked"}
    assert quota_overrides.list_page(world.rt, world.caller("otto"))["items"] == []


@spec("RG-2")
def test_releases_and_the_end_of_an_override_race_and_nothing_is_oversold(world: World) -> None:
    override = given(world, amount=32)
    for number in range(5):
        assert create(world, f"box-{number}") == "done"
    world.settle()
    boxes = [w["id"] for w in workspaces.list_page(world.rt, world.caller("dana"))["items"]]
    dana = world.caller("dana")

    def act(number: int) -> str:
        if number == 0:
            return code(lambda: quota_overrides.revoke(world.rt, dana, override))
        if number <= 2:
            return code(lambda: workspaces.stop(world.rt, dana, boxes[number]))
        asked = WorkspaceRequest(f"new-{number}", "python", vcpu=32, disk_mib=10_240)
        return code(lambda: workspaces.create(world.rt, dana, asked))

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(act, range(6)))
    assert answers[:3] == ["done"] * 3
    world.settle()
    elevations.step(world.rt)
    with world.rt.database.reading() as tx:
        row = tx.one(sa.select(t.quotas).where(t.quotas.c.scope == f"user:{dana.id}"))
        held = tx.one(
            sa.select(sa.func.sum(t.reservations.c.vcpu).label("n")).where(
                t.reservations.c.scope == f"user:{dana.id}"
            )
        )
    assert row is not None
    assert held is not None
    assert row["vcpu_used"] == held["n"]
    assert row["vcpu_used"] <= row["vcpu_limit"] + row["vcpu_raised"]


@spec("RG-2", "ID-7")
def test_agents_do_not_ask(world: World) -> None:
    from charter.services import agents  # noqa: PLC0415

    made = agents.create(
        world.rt, world.caller("dana"),
        {"name": "fixer", "task": "Mend it.", "repositories": ["git.example.org/a"],
         "tier": "sandboxed", "minutes": 60, "team": None, "project": None, "justification": None},
    )  # fmt: skip
    world.tokens["agent"] = made["credential"]["token"]
    assert identity.authenticate_bearer(world.rt, world.tokens["agent"]).is_agent
    assert code(lambda: ask(world, "agent")) == "denied"
