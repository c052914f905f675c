"""Wanting more than one may have: approvals at the same moment, by others, and out of turn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from charter.core.kernel.errors import CharterError
from charter.services import (
    absences,
    agents,
    approvals,
    grants,
    identity,
    people,
    roles,
    workspaces,
)
from charter.services.grants import Renewal
from charter.store import tables as t
from tests.services.approval_policy import ask, set_manager, set_rule
from tests.services.test_approvals import inbox
from tests.services.test_grants import AGENT, code_of, granted
from tests.spec import spec
from tests.support import World


def at_once(*calls: Any) -> list[str]:
    """What each of these came to, begun at the same moment: its state, or the code of a refusal."""
    gate = threading.Barrier(len(calls))

    def run(call: Any) -> str:
        gate.wait(10)
        try:
            return str(call()["state"])
        except CharterError as refused:
            return refused.code

    with ThreadPoolExecutor(len(calls)) as pool:
        return sorted(pool.map(run, calls))


@spec("AP-1")
def test_two_approvers_at_once_settle_it_once(world: World) -> None:
    world.add_person("lin", ("team-lead", "payments"), team="payments")
    asked, callers = ask(world), [world.caller("lee"), world.caller("lin")]
    came_to = at_once(*(lambda c=c: approvals.approve(world.rt, c, asked["id"]) for c in callers))
    assert came_to == ["approval-settled", "approved"]
    assert len(workspaces.list_page(world.rt, world.caller("dana"))["items"]) == 1
    with world.rt.database.reading() as tx:
        assert len(tx.all(sa.select(t.grants.c.id))) == 1


@spec("AP-1")
def test_a_yes_and_a_no_at_once_leave_one_of_them(world: World) -> None:
    world.add_person("lin", ("team-lead", "payments"), team="payments")
    asked, lee, lin = ask(world), world.caller("lee"), world.caller("lin")
    came_to = at_once(
        lambda: approvals.approve(world.rt, lee, asked["id"]),
        lambda: approvals.deny(world.rt, lin, asked["id"]),
    )
    assert came_to in (["approval-settled", "approved"], ["approval-settled", "denied"])
    settled = approvals.get(world.rt, lee, asked["id"])
    assert settled["state"] in came_to
    made = workspaces.list_page(world.rt, world.caller("dana"))["items"]
    assert len(made) == (settled["state"] == "approved")


@spec("AP-1", "ID-9")
def test_delegate_and_principal_at_once_count_once(world: World) -> None:
    world.add_person("tom", ("developer", None), team="payments")
    set_rule(world, approvers=["team-lead"], approvals_needed=2)
    leave(world, "lee", "tom")
    asked, lee, tom = ask(world), world.caller("lee"), world.caller("tom")
    came_to = at_once(
        lambda: approvals.approve(world.rt, lee, asked["id"]),
        lambda: approvals.approve(world.rt, tom, asked["id"]),
    )
    assert came_to == ["pending", "vote-twice"]
    assert len(approvals.get(world.rt, lee, asked["id"])["votes"]) == 1


def leave(world: World, who: str, delegate: str) -> Any:
    until = world.clock.moment + timedelta(days=1)
    return absences.enter(world.rt, world.caller(who), delegate=delegate, ends_at=until)


@spec("ID-9")
def test_two_who_name_each_other_at_once_close_no_circle(world: World) -> None:
    world.add_person("lin", ("team-lead", "payments"), team="payments")
    lee, lin = world.caller("lee"), world.caller("lin")
    until = world.clock.moment + timedelta(days=1)
    came_to = at_once(
        lambda: absences.enter(world.rt, lee, delegate="lin", ends_at=until),
        lambda: absences.enter(world.rt, lin, delegate="lee", ends_at=until),
    )
    assert came_to == ["delegation-circle", "now"]


@spec("AP-1")
def test_two_equal_requests_at_once_give_no_more_than_one_thing(world: World) -> None:
    """Two windows, one name: both may be asked for, one of them can be carried out."""
    dana, lee = world.caller("dana"), world.caller("lee")
    first, second = ask(world), ask(world, "dana", "big", justification="Another reason.")
    assert first["id"] != second["id"]
    came_to = at_once(
        lambda: approvals.approve(world.rt, lee, first["id"]),
        lambda: approvals.approve(world.rt, lee, second["id"]),
    )
    assert came_to == ["approved", "approved"]
    assert len(workspaces.list_page(world.rt, dana)["items"]) == 1
    outcomes = [approvals.get(world.rt, lee, each["id"])["outcome"] for each in (first, second)]
    assert sum("could not be carried out" in outcome for outcome in outcomes) == 1


@spec("AP-1", "ID-9")
def test_two_who_approve_each_other_at_once_still_need_a_third(world: World) -> None:
    """Two leads ask at the same time and say yes to each other: one yes each is one person each."""
    world.add_person("lin", ("team-lead", "payments"), team="payments")
    set_rule(world, approvers=["team-lead"], approvals_needed=2)
    lee, lin = world.caller("lee"), world.caller("lin")
    first, second = ask(world, "lee", "one"), ask(world, "lin", "two")
    assert at_once(
        lambda: approvals.approve(world.rt, lin, first["id"]),
        lambda: approvals.approve(world.rt, lee, second["id"]),
    ) == ["pending", "pending"]
    for caller, own in ((lee, first), (lin, second)):
        assert code_of(lambda c=caller, o=own: approvals.approve(world.rt, c, o["id"])) in (
            "own-request",
            "denied",
        )


@spec("AP-1")
def test_nothing_is_approved_after_its_deadline_not_even_unswept(world: World) -> None:
    asked = ask(world)
    world.clock.moment = asked["deadline"]
    world.sign_in_again()
    assert inbox(world, "lee") == []
    late = code_of(lambda: approvals.approve(world.rt, world.caller("lee"), asked["id"]))
    assert late == "approval-settled"
    assert approvals.get(world.rt, world.caller("dana"), asked["id"])["state"] == "expired"


@spec("AP-1", "ID-9")
@pytest.mark.parametrize("way", ["role", "left", "manager", "team"])
def test_an_approver_who_loses_what_made_them_one_counts_no_more(world: World, way: str) -> None:
    world.add_person("mona", ("developer", None), team="search")
    set_manager(world, "dana", "mona")
    word = {"role": "team-lead", "left": "team-lead", "manager": "manager", "team": "team:search"}
    set_rule(world, approvers=[word[way], "security-admin"], approvals_needed=2)
    asked = ask(world)
    first = "lee" if way in ("role", "left") else "mona"
    approvals.approve(world.rt, world.caller(first), asked["id"])
    if way == "role":
        [held] = roles.list_bindings(world.rt, world.admin, person="lee")["items"]
        roles.revoke_role(world.rt, world.admin, held["id"])
    elif way == "left":
        people.deactivate(world.rt, world.admin, "lee")
    elif way == "manager":
        set_manager(world, "dana", "otto")
    else:
        people.remove_member(world.rt, world.admin, "search", "mona")
    after = approvals.approve(world.rt, world.caller("sam"), asked["id"])
    assert after["state"] == "pending"
    assert [vote["counts"] for vote in after["votes"]] == [False, True]
    [missing] = [each for each in after["outstanding"] if "security-admin" in each["roles"]]
    assert missing["people"] == 1
    world.add_person("sue", ("security-admin", None), team=None)
    done = approvals.approve(world.rt, world.caller("sue"), asked["id"])
    assert done["state"] == "approved"
    # The role that comes back later changes nothing about what was found when others voted.
    assert approvals.get(world.rt, world.admin, asked["id"])["state"] == "approved"


@spec("ID-9", "AG-2")
def test_no_agent_approves_not_for_a_sponsor_who_could(world: World) -> None:
    asked = ask(world)
    made = agents.create(world.rt, world.caller("lee"), AGENT)
    agent = identity.authenticate_bearer(world.rt, made["credential"]["token"])
    for act in (approvals.approve, approvals.deny):
        assert code_of(lambda a=act: a(world.rt, agent, asked["id"])) in ("not-found", "denied")
    assert inbox_of(world, agent) == []
    named = lambda: absences.enter(  # noqa: E731
        world.rt, agent, delegate="lee", ends_at=world.clock.moment + timedelta(days=1)
    )
    assert code_of(named) in ("denied", "not-found")
    for delegate in (made["agent"]["id"], made["agent"]["name"]):
        with pytest.raises(CharterError) as refused:
            leave(world, "lee", delegate)
        assert refused.value.status == 404


def inbox_of(world: World, caller: Any) -> list[Any]:
    return list(approvals.list_page(world.rt, caller, for_me=True)["items"])


@spec("ID-9")
def test_a_sponsor_decides_nothing_of_their_agents_even_when_named(world: World) -> None:
    set_rule(world, approvers=["person:dana", "manager"])
    set_manager(world, "dana", "dana")
    asked = ask(world, "dana")
    assert inbox(world, "dana") == []
    assert code_of(lambda: approvals.approve(world.rt, world.caller("dana"), asked["id"])) in (
        "own-request",
        "denied",
    )


@spec("AP-1")
def test_ids_of_others_are_no_way_in(world: World) -> None:
    grant = granted(world)
    asked = ask(world, "dana", "more", vcpu=41)
    away = leave(world, "lee", "sam")
    for stranger in ("otto", "ria"):
        caller = world.caller(stranger)
        for call in (
            lambda c=caller: approvals.get(world.rt, c, asked["id"]),
            lambda c=caller: approvals.approve(world.rt, c, asked["id"]),
            lambda c=caller: approvals.comment(world.rt, c, asked["id"], "Hello."),
            lambda c=caller: approvals.cancel(world.rt, c, asked["id"]),
            lambda c=caller: grants.get(world.rt, c, grant),
            lambda c=caller: grants.revoke(world.rt, c, grant),
            lambda c=caller: grants.renew(world.rt, c, grant, Renewal()),
            lambda c=caller: absences.end(world.rt, c, away["id"]),
        ):
            assert code_of(call) == "not-found"


@spec("AP-1")
def test_a_renewal_that_races_the_revocation_gives_nothing_lasting(world: World) -> None:
    grant = granted(world)
    dana, lee, sam = world.caller("dana"), world.caller("lee"), world.caller("sam")
    asked = grants.renew(world.rt, dana, grant, Renewal())
    at_once(
        lambda: approvals.approve(world.rt, lee, asked["id"]),
        lambda: grants.revoke(world.rt, sam, grant),
    )
    old = grants.get(world.rt, sam, grant)
    assert old["state"] == "revoked"
    done = approvals.get(world.rt, lee, asked["id"])
    new = grants.get(world.rt, sam, done["gives"]["grant_id"])
    # Whoever came first: before the revocation the renewal stands on its own, after it it is void.
    first = new["created_at"] <= old["revoked_at"] and done["result_id"] is not None
    assert new["state"] == ("active" if first else "revoked")
