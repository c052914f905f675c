"""Being away: the delegate votes in one's stead, and only there, then and so far."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from charter.core.kernel.errors import CharterError
from charter.services import absences, approvals, people, roles
from tests.services.approval_policy import ask, set_manager, set_rule, told
from tests.services.test_approval_engine import agree
from tests.services.test_approvals import inbox
from tests.spec import spec
from tests.support import World


def leave(world: World, who: str, delegate: str, *, hours: float = 24, start: float = 0) -> Any:
    now = world.clock.moment
    return absences.enter(
        world.rt,
        world.caller(who),
        delegate=delegate,
        starts_at=now + timedelta(hours=start),
        ends_at=now + timedelta(hours=hours),
    )


def refused(call: Any) -> str:
    with pytest.raises(CharterError) as error:
        call()
    return error.value.code


@pytest.fixture
def staffed(world: World) -> World:
    """With Tom, a developer of the team, and Lin, its second lead."""
    world.add_person("tom", ("developer", None), team="payments")
    world.add_person("lin", ("team-lead", "payments"), team="payments")
    return world


@spec("AP-1")
def test_a_delegate_votes_in_somebodys_stead_while_they_are_away(staffed: World) -> None:
    world = staffed
    made = leave(world, "lee", "tom", hours=24, start=1)
    assert told(world, "tom", "absence") == 1
    asked = ask(world)
    everybody = ("lee", "tom", "lin", "dana", "admin")
    agree(world, *everybody)
    assert inbox(world, "tom") == []
    world.clock.advance(hours=1)
    world.sign_in_again()
    agree(world, *everybody)
    assert inbox(world, "tom") == [asked["id"]]
    seen = approvals.get(world.rt, world.caller("tom"), asked["id"])
    assert (seen["can_vote"], seen["votes_for"]) == (True, "lee")
    done = approvals.approve(world.rt, world.caller("tom"), asked["id"])
    [vote] = done["votes"]
    assert (done["state"], vote["approver"], vote["for_name"]) == ("approved", "tom", "lee")
    assert absences.end(world.rt, world.caller("lee"), made["id"])["state"] == "ended"


@spec("AP-1")
def test_delegates_are_told_of_what_waits(staffed: World) -> None:
    leave(staffed, "lee", "tom")
    ask(staffed)
    assert told(staffed, "tom") == 1


@spec("AP-1", "ID-9")
def test_delegate_and_principal_count_once(staffed: World) -> None:
    world = staffed
    set_rule(world, approvers=["team-lead"], approvals_needed=2)
    leave(world, "lee", "tom")
    asked = ask(world)
    approvals.approve(world.rt, world.caller("tom"), asked["id"])
    agree(world, "lee", "tom", "lin")
    again = refused(lambda: approvals.approve(world.rt, world.caller("lee"), asked["id"]))
    assert again == "vote-twice"
    assert approvals.get(world.rt, world.caller("dana"), asked["id"])["state"] == "pending"
    done = approvals.approve(world.rt, world.caller("lin"), asked["id"])
    assert done["state"] == "approved"


@spec("AP-1")
@pytest.mark.parametrize(
    "how", ["over", "ended", "role", "delegate's role", "left", "delegate left"]
)
def test_it_ends_by_itself(staffed: World, how: str) -> None:
    world = staffed
    made = leave(world, "lee", "tom", hours=1)
    asked = ask(world)
    assert inbox(world, "tom") == [asked["id"]]
    tom = world.caller("tom")
    match how:
        case "over":
            world.clock.advance(hours=1)
        case "ended":
            absences.end(world.rt, world.caller("tom"), made["id"])
        case "left":
            people.deactivate(world.rt, world.admin, "lee")
        case "delegate left":
            people.deactivate(world.rt, world.admin, "tom")
        case _:
            loser = "lee" if how == "role" else "tom"
            [held] = roles.list_bindings(world.rt, world.admin, person=loser)["items"]
            roles.revoke_role(world.rt, world.admin, held["id"])
    code = refused(
        lambda: approvals.approve(
            world.rt, world.caller("tom") if how != "delegate left" else tom, asked["id"]
        )
    )
    assert code in ("not-found", "not-an-approver", "unauthenticated", "denied")
    assert approvals.get(world.rt, world.caller("dana"), asked["id"])["state"] == "pending"


@spec("AP-1", "ID-9")
def test_the_requester_never_decides_through_an_absence(staffed: World) -> None:
    world = staffed
    leave(world, "lee", "dana")  # dana asks, and stands in for her lead
    asked = ask(world)
    assert inbox(world, "dana") == []
    assert told(world, "dana") == 0
    code = refused(lambda: approvals.approve(world.rt, world.caller("dana"), asked["id"]))
    assert code in ("own-request", "denied")
    leave(world, "lin", "tom")  # and a lead who asks does not decide through their delegate
    own = ask(world, "lin", "leads-own")
    assert own["id"] not in inbox(world, "tom")
    code = refused(lambda: approvals.approve(world.rt, world.caller("tom"), own["id"]))
    assert code == "own-request"


@spec("AP-1", "ID-9")
def test_naming_is_checked_against_circles_conflicts_and_spans(staffed: World) -> None:
    world = staffed
    leave(world, "lee", "tom")
    assert refused(lambda: leave(world, "lee", "lin")) == "already-away"
    assert refused(lambda: leave(world, "tom", "lee")) == "delegation-circle"
    assert refused(lambda: leave(world, "tom", "tom")) == "own-delegate"
    assert refused(lambda: leave(world, "lin", "tom", hours=24 * 46)) == "span-too-long"
    assert refused(lambda: leave(world, "sam", "admin")) == "delegate-conflicts"
    people.deactivate(world.rt, world.admin, "tom")
    assert refused(lambda: leave(world, "lin", "tom")) == "delegate-not-able"


@spec("ID-9")
def test_a_platform_admin_does_not_become_security_by_standing_in(world: World) -> None:
    world.add_person("pam", ("developer", None), team="search")
    leave(world, "sam", "pam")
    set_rule(world, approvers=["security-admin"])
    asked = ask(world)
    assert inbox(world, "pam") == [asked["id"]]
    roles.bind_role(
        world.rt, world.admin, person="pam", role="platform-admin", scope_kind="organisation",
        scope=None,
    )  # fmt: skip
    agree(world, "pam")
    assert inbox(world, "pam") == []


@spec("AP-1")
def test_a_manager_can_be_stood_in_for_and_chains_end_where_policy_says(world: World) -> None:
    world.add_person("mona", ("developer", None), team="search")
    set_manager(world, "dana", "mona")
    set_rule(world, approvers=["manager"])
    leave(world, "mona", "otto")
    leave(world, "otto", "ria")
    asked = ask(world)
    agree(world, "mona", "otto", "ria")
    assert inbox(world, "otto") == [asked["id"]]
    assert inbox(world, "ria") == []
    done = approvals.approve(world.rt, world.caller("otto"), asked["id"])
    assert (done["state"], done["votes"][0]["for_name"]) == ("approved", "mona")


@spec("AP-1")
def test_a_longer_chain_where_policy_lets_it(world: World) -> None:
    world.add_person("mona", ("developer", None), team="search")
    set_manager(world, "dana", "mona")
    set_rule(world, approvers=["manager"], delegation={"max_seconds": 86400, "max_depth": 2})
    leave(world, "mona", "otto")
    leave(world, "otto", "ria")
    asked = ask(world)
    agree(world, "mona", "otto", "ria")
    assert inbox(world, "ria") == [asked["id"]]


@spec("AP-1")
def test_only_the_two_of_them_see_and_end_it(staffed: World) -> None:
    world = staffed
    made = leave(world, "lee", "tom")
    for stranger in ("lin", "admin", "sam", "dana"):
        assert absences.list_mine(world.rt, world.caller(stranger)) == []
        code = refused(lambda who=stranger: absences.end(world.rt, world.caller(who), made["id"]))
        assert code == "not-found"
    assert [a["mine"] for a in absences.list_mine(world.rt, world.caller("tom"))] == [False]
    absences.end(world.rt, world.caller("tom"), made["id"])
    assert told(world, "lee", "absence") == 1
    assert absences.list_mine(world.rt, world.caller("lee")) == []
    assert len(absences.list_mine(world.rt, world.caller("lee"), past=True)) == 1
