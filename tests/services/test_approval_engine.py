"""Steps, managers, escalation, tickets and durations, over the real services."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from charter.controllers import expiry
from charter.core.kernel.errors import CharterError, InvalidInputError
from charter.services import approval_records, approval_requests, approvals, people, policies
from charter.store import tables as t
from tests.services.approval_policy import ask, set_manager, set_rule, told
from tests.services.test_approvals import inbox
from tests.spec import spec
from tests.support import BRIEF, World


def agree(world: World, *names: str) -> None:
    """The inbox of each holds exactly what the core lets them vote on."""
    for name in names:
        caller = world.caller(name)
        with world.rt.database.reading() as tx:
            ids = list(tx.conn.execute(sa.select(t.approvals.c.id)).scalars())
            one_by_one = {
                row["id"]
                for row, request in approval_requests.load_all(tx, ids)
                if approval_records.why_not_vote(caller, request, tx) is None
            }
        assert set(inbox(world, name)) == one_by_one, name


@spec("AP-1")
def test_a_sequence_from_the_manager_to_security(world: World) -> None:
    world.add_person("mona", ("developer", None), team="search")
    world.add_person("sue", ("security-admin", None), team=None)
    set_manager(world, "dana", "mona")
    set_rule(
        world,
        approvers=["manager"],
        then=[{"approvers": ["security-admin"], "approvals_needed": 2}],
    )
    asked = ask(world)
    everybody = ("mona", "sam", "sue", "lee", "admin", "dana", "otto")
    assert [told(world, name) for name in everybody] == [1, 0, 0, 0, 0, 0, 0]
    agree(world, *everybody)
    assert inbox(world, "mona") == [asked["id"]]
    with pytest.raises(CharterError) as refused:
        approvals.approve(world.rt, world.caller("sam"), asked["id"])
    assert refused.value.code == "not-your-turn"

    after = approvals.approve(world.rt, world.caller("mona"), asked["id"], "Fine.")
    assert (after["state"], after["votes"][0]["approver"]) == ("pending", "mona")
    assert [told(world, name) for name in everybody] == [1, 1, 1, 0, 0, 0, 0]
    agree(world, *everybody)
    approvals.approve(world.rt, world.caller("sam"), asked["id"])
    agree(world, *everybody)
    done = approvals.approve(world.rt, world.caller("sue"), asked["id"])
    assert (done["state"], done["outcome"]) == ("approved", "The workspace is being started.")


@spec("AP-1")
def test_named_people_and_the_members_of_a_team_may_be_asked(world: World) -> None:
    set_rule(world, approvers=["person:ria", "team:search", "person:nobody"], approvals_needed=2)
    asked = ask(world)
    agree(world, "ria", "otto", "lee", "admin", "sam")
    assert asked["outstanding"][0]["roles"] == ["person nobody", "ria", "team search"]
    # Neither holds a role that lets them vote here: being named does, for this request alone.
    approvals.approve(world.rt, world.caller("ria"), asked["id"])
    assert approvals.get(world.rt, world.caller("ria"), asked["id"])["state"] == "pending"
    done = approvals.approve(world.rt, world.caller("otto"), asked["id"])
    assert done["state"] == "approved"
    with pytest.raises(CharterError) as refused:
        approvals.approve(world.rt, world.caller("lee"), asked["id"])
    assert refused.value.code in ("approval-settled", "not-an-approver")


@spec("AP-1")
def test_escalation_entitles_at_its_time_whoever_runs_or_not(world: World) -> None:
    world.add_person("mona", ("developer", None), team="search")
    world.add_person("boss", ("developer", None), team="search")
    set_manager(world, "dana", "mona")
    set_manager(world, "mona", "boss")
    set_rule(
        world,
        approvers=["manager"],
        escalation={"after_seconds": 600, "approvers": ["approver-manager", "platform-admin"]},
    )
    asked = ask(world)
    everybody = ("mona", "boss", "admin", "lee", "sam")
    agree(world, *everybody)
    assert inbox(world, "boss") == []
    with pytest.raises(CharterError) as refused:
        approvals.approve(world.rt, world.caller("admin"), asked["id"])
    assert refused.value.code == "not-escalated"

    world.clock.advance(seconds=600)  # nothing swept yet
    agree(world, *everybody)
    assert inbox(world, "boss") == inbox(world, "admin") == [asked["id"]]
    assert [told(world, name) for name in everybody] == [1, 0, 0, 0, 0]
    assert expiry.step(world.rt) == {"escalated": "approvals", "count": 1}
    assert expiry.step(world.rt) is None
    assert [told(world, name) for name in everybody] == [1, 1, 1, 0, 0]
    assert told(world, "dana", "approval-escalated") == 1
    assert approvals.get(world.rt, world.caller("dana"), asked["id"])["escalated"]
    done = approvals.approve(world.rt, world.caller("boss"), asked["id"])
    assert done["state"] == "approved"


@spec("AP-1")
def test_what_was_answered_in_time_is_not_escalated_to_anybody(world: World) -> None:
    set_rule(
        world,
        approvals_needed=1,
        also=[{"approvers": ["security-admin"], "approvals_needed": 1}],
        approvers=["team-lead"],
        escalation={"after_seconds": 600, "approvers": ["person:ria"]},
    )
    asked = ask(world)
    approvals.approve(world.rt, world.caller("lee"), asked["id"])
    approvals.deny(world.rt, world.caller("sam"), asked["id"], "Not now.")
    world.clock.advance(seconds=700)
    assert expiry.step(world.rt) is None
    assert told(world, "ria") == 0
    agree(world, "ria", "lee", "sam")


@spec("AP-1")
def test_deadline_and_reminder_of_a_rule(world: World) -> None:
    set_rule(world, deadline_seconds=1200, reminder_seconds=300)
    asked = ask(world)
    assert asked["deadline"] - asked["created_at"] == timedelta(seconds=1200)
    world.clock.advance(seconds=300)
    assert expiry.step(world.rt) == {"reminded": "approvals", "count": 1}
    world.clock.advance(seconds=299)
    assert expiry.step(world.rt) is None
    world.clock.advance(seconds=1)
    assert expiry.step(world.rt) is not None
    assert approvals.get(world.rt, world.caller("lee"), asked["id"])["reminders"] == 2


@spec("AP-1")
@pytest.mark.parametrize(
    ("carried", "code"),
    [
        ({}, "duration-required"),
        ({"duration_seconds": 600}, "ticket-required"),
        ({"duration_seconds": 600, "ticket": "later"}, "ticket-invalid"),
        ({"duration_seconds": 7201, "ticket": "OPS-1"}, "duration-too-long"),
    ],
)
def test_what_a_request_must_carry(world: World, carried: dict[str, Any], code: str) -> None:
    set_rule(world, requires=["ticket", "duration"], grant_seconds=600, max_grant_seconds=7200)
    with pytest.raises(InvalidInputError) as refused:
        ask(world, **carried)
    assert refused.value.code == code


@spec("AP-1")
def test_a_grant_lasts_as_asked(world: World) -> None:
    set_rule(world, requires=["ticket", "duration"], grant_seconds=600, max_grant_seconds=7200)
    asked = ask(world, ticket="OPS-7", duration_seconds=5400)
    assert (asked["ticket"], asked["gives"]["seconds"]) == ("OPS-7", 5400)
    done = approvals.approve(world.rt, world.caller("lee"), asked["id"])
    assert done["gives"]["until"] == world.clock.moment + timedelta(seconds=5400)


@spec("AP-1")
def test_a_change_of_policy_leaves_open_requests_as_they_were_made(world: World) -> None:
    asked = ask(world)
    set_rule(world, approvers=["security-admin"])
    agree(world, "lee", "sam", "admin")
    assert inbox(world, "sam") == []
    done = approvals.approve(world.rt, world.caller("lee"), asked["id"])
    assert done["outcome"] == "The workspace is being started."


@spec("AP-1")
def test_what_a_yes_leads_to_is_decided_under_the_policy_of_then(world: World) -> None:
    asked = ask(world)
    files = {path: BRIEF.text(path) for path in BRIEF.files}
    limits = json.loads(files["data/limits.json"]) | {
        "cpu_max": 38,
        "cpu_without_justification": 36,
    }
    files["data/limits.json"] = json.dumps(limits)
    world.clock.advance(seconds=1)
    policies.apply(world.rt, world.admin, files, "Less.")
    done = approvals.approve(world.rt, world.caller("lee"), asked["id"])
    assert done["state"] == "approved"
    assert done["result_id"] is None
    assert "could not be carried out" in done["outcome"]


@spec("AP-1", "ID-3")
def test_what_somebody_asked_for_who_has_left_is_cancelled(world: World) -> None:
    asked = ask(world)
    world.clock.advance(minutes=1)
    left = world.clock.moment
    with world.rt.database.unit_of_work() as tx:  # by whatever way, with nothing done beside it
        tx.update(t.people, t.people.c.handle == "dana", deactivated_at=tx.now)
    world.clock.advance(minutes=1)
    agree(world, "lee", "admin")
    assert inbox(world, "lee") == []
    with pytest.raises(CharterError) as refused:
        approvals.approve(world.rt, world.caller("lee"), asked["id"])
    assert refused.value.code == "approval-settled"
    seen = approvals.get(world.rt, world.caller("lee"), asked["id"])
    assert seen["state"] == "cancelled"
    listed = approvals.list_page(world.rt, world.caller("lee"), state="cancelled")["items"]
    assert [item["id"] for item in listed] == [asked["id"]]
    while expiry.step(world.rt) is not None:
        pass
    seen = approvals.get(world.rt, world.caller("lee"), asked["id"])
    assert (seen["state"], seen["closed_at"]) == ("cancelled", left)
    assert seen["outcome"] == "Whoever asked for it has left."


@spec("AP-1", "ID-3")
def test_deactivating_somebody_withdraws_what_they_asked_for(world: World) -> None:
    asked = ask(world)
    people.deactivate(world.rt, world.admin, "dana")
    with pytest.raises(CharterError) as refused:
        approvals.approve(world.rt, world.caller("lee"), asked["id"])
    assert refused.value.code == "approval-settled"


@spec("AP-1")
def test_comments_are_for_the_requester_and_those_who_are_asked(world: World) -> None:
    set_rule(world, approvers=["person:otto"])
    asked = ask(world)
    approvals.comment(world.rt, world.caller("otto"), asked["id"], "For how long?")
    world.clock.advance(seconds=1)
    seen = approvals.comment(world.rt, world.caller("dana"), asked["id"], "A week.")
    assert [(c["author"], c["text"]) for c in seen["comments"]] == [
        ("otto", "For how long?"),
        ("dana", "A week."),
    ]
    assert told(world, "dana", "approval-comment") == 1
    assert told(world, "otto", "approval-comment") == 1
    with pytest.raises(CharterError) as refused:
        approvals.comment(world.rt, world.caller("ria"), asked["id"], "Me too.")
    assert refused.value.status == 404
    approvals.cancel(world.rt, world.caller("dana"), asked["id"], "Not needed any more.")
    with pytest.raises(CharterError) as refused:
        approvals.comment(world.rt, world.caller("dana"), asked["id"], "Oh.")
    assert refused.value.code == "approval-settled"
    assert approvals.get(world.rt, world.caller("otto"), asked["id"])["outcome"] == (
        "Not needed any more."
    )


@spec("AP-1")
def test_the_inbox_is_filtered_by_gate_team_and_requester(world: World) -> None:
    mine = ask(world)
    set_rule(world, approvers=["security-admin"])
    others = ask(world, "otto", "theirs")

    def found(**filters: str) -> list[str]:
        page = approvals.list_page(world.rt, world.caller("admin"), **filters)
        return [item["id"] for item in page["items"]]

    assert found() == [others["id"], mine["id"]]
    assert found(team="payments") == [mine["id"]]
    assert found(requester="otto") == [others["id"]]
    assert found(rule="admission/cpu-needs-approval", team="search") == [others["id"]]
    assert found(rule="none/such") == found(requester="none") == found(team="none") == []
