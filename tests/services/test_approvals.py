"""Requests that wait for people: who finds which in the inbox, and who is told again."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import sqlalchemy as sa

from charter.controllers import expiry
from charter.services import (
    approval_records,
    approval_requests,
    approvals,
    overview,
    people,
    roles,
    workspaces,
)
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec
from tests.support import World


def ask(world: World, who: str, name: str, **fields: Any) -> str:
    asked = WorkspaceRequest(name=name, template="python", vcpu=40, **fields)
    made = workspaces.create(world.rt, world.caller(who), asked)
    assert made["approval"] is not None
    return str(made["approval"]["id"])


def inbox(world: World, who: str) -> list[str]:
    page = approvals.list_page(world.rt, world.caller(who), for_me=True, limit=200)
    return [item["id"] for item in page["items"]]


@pytest.fixture
def crowd(world: World) -> World:
    """People with every kind of binding, and requests of several teams and projects."""
    people.create_project(
        world.rt, world.admin, name="ledger", team="payments", data_class="internal",
        environment="development",
    )  # fmt: skip
    world.add_person("lou", ("team-lead", None), team="search")
    world.add_person("kim", ("team-lead", "search"), ("developer", None), team="search")
    world.add_person("pia", ("platform-admin", None), team="payments")
    world.add_person("tom", ("developer", None), team="payments")
    roles.bind_role(
        world.rt, world.admin, person="tom", role="team-lead", scope_kind="project", scope="ledger"
    )
    ended = world.clock.moment.replace(hour=10)
    roles.bind_role(
        world.rt, world.admin, person="ria", role="team-lead", scope_kind="organisation",
        scope=None, expires_at=ended,
    )  # fmt: skip
    world.clock.advance(hours=2)
    ask(world, "dana", "one")
    ask(world, "dana", "two", project="ledger")
    ask(world, "kim", "three")
    ask(world, "pia", "four")
    ask(world, "lou", "five")
    denied = ask(world, "tom", "six")
    approvals.deny(world.rt, world.caller("lee"), denied, "No.")
    cancelled = ask(world, "otto", "seven")
    approvals.cancel(world.rt, world.caller("otto"), cancelled)
    return world


@spec("AP-1")
def test_the_inbox_holds_what_each_may_vote_on_and_nothing_else(crowd: World) -> None:
    someone = 0
    for name in crowd.tokens:
        caller = crowd.caller(name)
        with crowd.rt.database.reading() as tx:
            ids = tx.conn.execute(
                sa.select(t.approvals.c.id).where(approval_records.visible_approvals(tx, caller))
            ).scalars()
            found = approval_requests.load_all(tx, list(ids))
            one_by_one = {
                row["id"]
                for row, request in found
                if approval_records.why_not_vote(caller, request, tx) is None
            }
            counted = approval_records.count_for(tx, caller)
        assert set(inbox(crowd, name)) == one_by_one, name
        assert counted == len(one_by_one), name
        assert overview.overview(crowd.rt, caller)["pending_approvals"] == counted
        someone += bool(one_by_one)
    assert someone >= 5
    assert inbox(crowd, "ria") == []


@spec("AP-1")
def test_who_has_voted_has_it_off_the_desk(crowd: World) -> None:
    waiting = inbox(crowd, "lee")
    assert waiting
    made = approvals.approve(crowd.rt, crowd.caller("lee"), waiting[0])
    assert made["votes"][0]["approver"] == "lee"
    assert waiting[0] not in inbox(crowd, "lee")


@spec("AP-1")
def test_the_view_of_many_is_that_of_each(crowd: World) -> None:
    caller = crowd.caller("admin")
    page = approvals.list_page(crowd.rt, caller, limit=200)["items"]
    assert len(page) == 7
    with crowd.rt.database.reading() as tx:
        assert page == [approval_records.view(tx, caller, item["id"]) for item in page]
    named = {item["details"]["name"]: item for item in page}
    assert named["one"]["requester"] == "dana"
    assert named["two"]["details"]["project"] == "ledger"
    assert "project" not in named["one"]["details"]


@spec("AP-1")
def test_approvers_are_told_again_until_the_deadline(world: World) -> None:
    approval, lee = ask(world, "dana", "big"), world.caller("lee").id

    def told() -> int:
        with world.rt.database.reading() as tx:
            c = t.notices.c
            return len(tx.all(sa.select(c.id).where(c.person_id == lee, c.resource_id == approval)))

    assert told() == 1
    world.settle()
    assert told() == 1
    world.clock.advance(hours=24)
    assert expiry.step(world.rt) == {"reminded": "approvals", "count": 1}
    assert expiry.step(world.rt) is None
    assert told() == 2
    world.clock.advance(hours=24)
    assert expiry.step(world.rt) is not None
    assert told() == 3
    world.clock.advance(hours=24)
    world.sign_in_again()
    assert expiry.step(world.rt) == {"expired": "approvals", "count": 1}
    assert told() == 3


@spec("AP-1")
def test_whoever_has_no_say_any_more_is_not_told(world: World) -> None:
    approval = ask(world, "dana", "big")
    people.deactivate(world.rt, world.admin, "lee")
    world.clock.advance(hours=25)
    world.sign_in_again()
    assert expiry.step(world.rt) == {"reminded": "approvals", "count": 1}
    with world.rt.database.reading() as tx:
        c = t.notices.c
        rows = tx.all(
            sa.select(c.person_id).where(c.resource_id == approval, c.created_at == tx.now)
        )
    assert [row["person_id"] for row in rows] == [world.caller("admin").id]


@spec("AP-1")
def test_who_has_many_waiting_is_told_once(world: World) -> None:
    for number in range(3):
        ask(world, "dana", f"big-{number}")
    world.clock.advance(hours=25)
    world.sign_in_again()
    assert expiry.step(world.rt) == {"reminded": "approvals", "count": 3}
    with world.rt.database.reading() as tx:
        c = t.notices.c
        lee = world.caller("lee").id
        rows = tx.all(sa.select(c.message).where(c.person_id == lee, c.created_at == tx.now))
    assert len(rows) == 1
    assert rows[0]["message"].startswith("3 approvals still wait for you")


@spec("AP-1")
def test_many_that_ran_out_are_closed_together(world: World) -> None:
    for number in range(5):
        ask(world, "dana", f"big-{number}")
    world.clock.advance(days=4)
    assert expiry.step(world.rt) == {"expired": "approvals", "count": 5}
    world.sign_in_again()
    page = approvals.list_page(world.rt, world.caller("dana"), state="expired")["items"]
    assert len(page) == 5
    assert {item["closed_at"] == item["deadline"] for item in page} == {True}
    with world.rt.database.reading() as tx:
        noted = tx.all(sa.select(t.notices.c.id).where(t.notices.c.kind == "approval-settled"))
    assert len(noted) == 5


def test_a_stranger_finds_nothing(world: World) -> None:
    ask(world, "dana", "big")
    stranger = dataclasses.replace(
        world.caller("ria"), subject=dataclasses.replace(world.caller("ria").person, active=False)
    )
    with world.rt.database.reading() as tx:
        assert approval_records.count_for(tx, stranger) == 0
