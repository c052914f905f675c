"""Where approvals wait: figures from stored times, of what the asker may see."""

from __future__ import annotations

from charter.controllers import expiry
from charter.services import approval_waiting, approvals
from tests.services.test_approvals import ask
from tests.spec import spec
from tests.support import World

GATE = "admission/cpu-needs-approval"


@spec("AP-7")
def test_waiting_times_follow_from_what_is_stored(world: World) -> None:
    for minutes in (10, 20, 90):
        asked = ask(world, "dana", f"decided-{minutes}")
        world.clock.advance(minutes=minutes)
        world.sign_in_again()
        approvals.deny(world.rt, world.caller("lee"), asked)
    ask(world, "dana", "forgotten")
    world.clock.advance(days=4)
    world.sign_in_again()
    ask(world, "dana", "waits")
    began = world.clock.moment
    world.clock.advance(hours=25)
    world.sign_in_again()
    while expiry.step(world.rt) is not None:
        pass
    found = approval_waiting.waiting(world.rt, world.caller("lee"), days=30)
    [gate] = [each for each in found["gates"] if each["rule"] == GATE]
    assert gate == {
        "rule": GATE,
        "open": 1,
        "oldest_at": began,
        "decided": 3,
        "median_seconds": 1200,
        "p90_seconds": 4560,
        "reminders": 1,
        "escalated": 0,
        "expired": 1,
        "expired_share": 0.25,
    }
    lead = next(each for each in found["approvers"] if each["approver"] == "team-lead")
    assert (lead["open"], lead["decided"], lead["median_seconds"]) == (1, 3, 1200)
    [person] = found["people"]
    assert (person["person"], person["decided"], person["median_seconds"]) == ("lee", 3, 1200)


@spec("AP-7")
def test_a_stranger_measures_nothing(world: World) -> None:
    ask(world, "dana", "waits")
    found = approval_waiting.waiting(world.rt, world.caller("otto"))
    assert (found["gates"], found["approvers"], found["people"]) == ([], [], [])
