"""Grants: seen, taken back, renewed; and that they end by themselves, whoever looks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from charter.controllers import expiry
from charter.core.kernel.errors import CharterError
from charter.services import agents, approvals, decisions, grants, people, roles, workspaces
from charter.services.grants import Renewal
from charter.store import tables as t
from tests.services.approval_policy import ask, set_rule, told
from tests.spec import spec
from tests.support import World

AGENT = {
    "name": "fixer",
    "task": "Mend the flaky test.",
    "repositories": ["git.example.org/payments/api"],
    "tier": "sandboxed",
    "minutes": 60,
}


def granted(world: World, **fields: Any) -> str:
    """A grant of dana's with the workspace that it gave."""
    asked = ask(world, **fields)
    done = approvals.approve(world.rt, world.caller("lee"), asked["id"])
    assert done["result_id"] is not None
    return str(done["gives"]["grant_id"])


def state(world: World, grant: str) -> str:
    return str(grants.get(world.rt, world.admin, grant)["state"])


def code_of(call: Any) -> str:
    with pytest.raises(CharterError) as error:
        call()
    return error.value.code


@spec("ID-8")
def test_who_sees_which_grant(world: World) -> None:
    grant = granted(world)

    def seen(who: str, **more: Any) -> list[str]:
        page = grants.list_page(world.rt, world.caller(who), **more)
        return [item["id"] for item in page["items"]]

    assert seen("dana", mine=True) == seen("lee") == seen("admin") == seen("sam") == [grant]
    assert seen("otto") == seen("ria") == seen("lee", mine=True) == []
    shown = grants.get(world.rt, world.caller("lee"), grant)
    assert (shown["holder"], shown["approvers"], shown["team"]) == ("dana", ["lee"], "payments")
    assert code_of(lambda: grants.get(world.rt, world.caller("otto"), grant)) == "not-found"


@spec("ID-8", "AP-1")
@pytest.mark.parametrize("who", ["dana", "lee", "admin", "sam"])
def test_holder_giver_and_admins_take_it_back(world: World, who: str) -> None:
    grant = granted(world)
    shown = grants.revoke(world.rt, world.caller(who), grant, "Done early.")
    assert (shown["state"], shown["revoked_by"], shown["revoke_reason"]) == (
        "revoked",
        who,
        "Done early.",
    )
    assert told(world, "dana", "grant-revoked") == (who != "dana")
    assert code_of(lambda: grants.revoke(world.rt, world.caller(who), grant)) == "grant-ended"
    # It answers nothing any more: the same again has to be asked for.
    workspaces.delete(world.rt, world.caller("dana"), "big")
    world.settle()
    assert ask(world)["state"] == "pending"


@spec("ID-8")
def test_whoever_gave_it_takes_it_back_without_any_role(world: World) -> None:
    set_rule(world, approvers=["person:ria"])
    asked = ask(world)
    done = approvals.approve(world.rt, world.caller("ria"), asked["id"])
    grant = done["gives"]["grant_id"]
    assert grants.revoke(world.rt, world.caller("ria"), grant)["state"] == "revoked"


@spec("ID-8")
def test_it_ends_by_itself_without_any_sweep(world: World) -> None:
    grant = granted(world)
    assert state(world, grant) == "active"
    [held] = roles.list_bindings(world.rt, world.admin, person="dana")["items"]
    roles.revoke_role(world.rt, world.admin, held["id"])
    assert state(world, grant) == "role-lost"
    roles.bind_role(
        world.rt, world.admin, person="dana", role="developer", scope_kind="team", scope="payments"
    )
    assert state(world, grant) == "active"
    world.clock.advance(days=30)
    world.sign_in_again()
    assert state(world, grant) == "expired"


@spec("AP-4", "ID-8")
def test_it_ends_with_the_task_that_it_was_given_for(world: World) -> None:
    grant = granted(world)
    made = agents.create(world.rt, world.caller("dana"), AGENT)["agent"]
    with world.rt.database.unit_of_work() as tx:  # as if the agent had asked for its task
        task = tx.one(sa.select(t.tasks.c.id).where(t.tasks.c.agent_id == made["id"]))
        assert task is not None
        c = t.grants.c
        tx.update(t.grants, c.id == grant, subject_id=made["id"], task_id=task["id"])
        tx.update(t.approvals, requester_kind="agent")
    assert state(world, grant) == "active"
    with world.rt.database.reading() as tx:
        assert [view.id for view in decisions.grants_of(tx, made["id"])] == [grant]
    world.clock.advance(minutes=61)
    assert state(world, grant) == "task-ended"
    with world.rt.database.reading() as tx:
        assert decisions.grants_of(tx, made["id"]) == ()


@spec("AP-1")
def test_renewing_asks_the_same_people_and_never_lengthens(world: World) -> None:
    set_rule(world, requires=["justification", "ticket"], grant_seconds=86400 * 7)
    grant = granted(world, justification="The build.", ticket="OPS-1")
    before = grants.get(world.rt, world.caller("dana"), grant)
    world.clock.advance(days=6, hours=1)
    world.sign_in_again()
    while expiry.step(world.rt) is not None:
        pass
    assert told(world, "dana", "grant-ends") == 1
    asked = grants.renew(world.rt, world.caller("dana"), grant, Renewal(ticket="OPS-2"))
    assert (asked["renews_id"], asked["justification"], asked["ticket"]) == (
        grant,
        "The build.",
        "OPS-2",
    )
    again = grants.renew(world.rt, world.caller("dana"), grant, Renewal(ticket="OPS-2"))
    assert again["id"] == asked["id"]
    assert grants.get(world.rt, world.caller("dana"), grant)["renewal_id"] == asked["id"]
    done = approvals.approve(world.rt, world.caller("lee"), asked["id"])
    assert done["outcome"].startswith("Renewed until 2026-03-15")
    after = grants.get(world.rt, world.caller("dana"), grant)
    assert after["expires_at"] == before["expires_at"]
    new = grants.get(world.rt, world.caller("dana"), done["result_id"])
    assert new["expires_at"] == world.clock.moment + timedelta(days=7)
    world.clock.advance(days=3)  # the old one has ended; what runs by it goes on under the new one
    world.sign_in_again()
    world.settle()
    assert state(world, grant) == "expired"
    [box] = workspaces.list_page(world.rt, world.caller("dana"))["items"]
    assert workspaces.start(world.rt, world.caller("dana"), box["id"])["approval"] is None


@spec("AP-1")
def test_a_renewal_is_decided_under_the_policy_of_today(world: World) -> None:
    grant = granted(world)
    set_rule(world, approvers=["security-admin"])
    asked = grants.renew(world.rt, world.caller("dana"), grant, Renewal())
    assert asked["requirements"][0]["roles"] == ["security-admin"]
    code = code_of(lambda: approvals.approve(world.rt, world.caller("lee"), asked["id"]))
    assert code == "not-an-approver"


@spec("AP-1", "ID-8")
def test_what_cannot_be_renewed(world: World) -> None:
    set_rule(world, grant_seconds=None)
    once = granted(world)
    renew = lambda who, which: grants.renew(world.rt, world.caller(who), which, Renewal())  # noqa: E731
    assert state(world, once) == "used"
    assert code_of(lambda: renew("dana", once)) == "grant-ended"
    set_rule(world, grant_seconds=3600)
    workspaces.delete(world.rt, world.caller("dana"), "big")
    world.settle()
    grant = granted(world)
    assert code_of(lambda: renew("otto", grant)) == "not-found"
    assert code_of(lambda: renew("lee", grant)) == "denied"
    grants.revoke(world.rt, world.caller("dana"), grant)
    assert code_of(lambda: renew("dana", grant)) == "grant-ended"


@spec("AP-1", "ID-8")
def test_a_grant_that_is_taken_back_does_not_come_back_by_its_renewal(world: World) -> None:
    grant = granted(world)
    asked = grants.renew(world.rt, world.caller("dana"), grant, Renewal())
    grants.revoke(world.rt, world.caller("sam"), grant, "It was misused.")
    done = approvals.approve(world.rt, world.caller("lee"), asked["id"])
    assert (done["state"], done["result_id"]) == ("approved", None)
    assert "is revoked" in done["outcome"]
    assert state(world, done["gives"]["grant_id"]) == "revoked"


@spec("AP-1", "ID-3")
def test_the_grants_of_somebody_who_left_hold_nothing(world: World) -> None:
    grant = granted(world)
    people.deactivate(world.rt, world.admin, "dana")
    assert state(world, grant) in ("role-lost", "revoked")
