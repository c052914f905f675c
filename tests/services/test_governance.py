"""Reviews of the policy from the calendar to their end, and the count that their figures show."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from charter.controllers import reviews
from charter.core.kernel.errors import ConflictError, ForbiddenError, InvalidInputError
from charter.core.policy.reviews import Side
from charter.services import audit, governance, overview, workspaces
from charter.services.rule_usage import said_in
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec
from tests.support import World

SEATS = list(zip(("sam", "admin", "otto", "dana", "lee"), (s.value for s in Side), strict=True))


@spec("PC-11")
def test_the_calendar_opens_a_review_once_and_tells_who_may_hold_it(world: World) -> None:
    assert reviews.step(world.rt) is None
    world.clock.advance(days=80)
    world.sign_in_again()
    opened = reviews.step(world.rt)
    assert opened is not None
    assert reviews.step(world.rt) is None
    (found,) = governance.list_page(world.rt, world.admin)["items"]
    assert (found["kind"], found["trigger"], found["state"]) == (
        "effectiveness",
        "calendar",
        "open",
    )
    told = [n["kind"] for n in overview.notices(world.rt, world.caller("sam"))["items"]]
    assert "review-opened" in told
    others = overview.notices(world.rt, world.caller("dana"))["items"]
    assert "review-opened" not in {n["kind"] for n in others}

    world.clock.advance(days=20)
    world.sign_in_again()
    assert reviews.step(world.rt) is not None  # reminds once
    assert reviews.step(world.rt) is None
    assert governance.get(world.rt, world.admin, found["id"])["state"] == "overdue"


@spec("PC-11")
def test_a_review_because_of_an_incident_from_committee_to_findings(world: World) -> None:
    rt, sam = world.rt, world.caller("sam")
    with pytest.raises(ForbiddenError):
        governance.open_review(rt, world.caller("dana"), "incident", "Mine.")
    with pytest.raises(InvalidInputError):
        governance.open_review(rt, sam, "calendar", "By hand.")
    made = governance.open_review(rt, sam, "incident", "A token was in a log.")
    assert made["due_at"] == world.clock.moment + timedelta(days=7)
    with pytest.raises(ConflictError) as refused:
        governance.close(rt, sam, made["id"], "effective")
    assert len(refused.value.details["lacking"]) == 3

    with pytest.raises(InvalidInputError):
        governance.hold(rt, sam, made["id"], governance.Held(None, [("sam", "audience")]))
    tomorrow = world.clock.moment + timedelta(days=1)
    with pytest.raises(InvalidInputError):
        governance.hold(rt, sam, made["id"], governance.Held(tomorrow, SEATS))
    held = governance.hold(rt, sam, made["id"], governance.Held(None, SEATS))
    assert {(m["person"], m["side"]) for m in held["committee"]} == set(SEATS)
    action = governance.Action("Mask tokens in logs", "dana", date(2026, 4, 1))
    minuted = governance.write_minutes(rt, sam, made["id"], "We met.", [action])
    assert minuted["lacking"] == []
    closed = governance.close(rt, sam, made["id"], "changes-needed")
    assert (closed["state"], closed["closed_by"]) == ("closed", "sam")
    told = " ".join(n["message"] for n in overview.notices(rt, world.caller("dana"))["items"])
    assert "Mask tokens" in told

    with pytest.raises(ConflictError):
        governance.write_minutes(rt, sam, made["id"], "Something else.", [])
    done = governance.finish_action(rt, sam, made["id"], 1)
    assert done["findings"][0]["done_at"] is not None
    world.settle()
    actions = {e["action"] for e in audit.events_page(rt, sam, limit=200)["items"]}
    assert {
        "review.opened",
        "review.held",
        "review.minuted",
        "review.closed",
        "review.action-done",
    } <= actions


@spec("PC-11")
def test_its_figures_are_those_of_its_period(world: World) -> None:
    rt, dana = world.rt, world.caller("dana")
    for name in ("one", "two", "three"):
        workspaces.create(rt, dana, WorkspaceRequest(name=name, template="python", vcpu=40))
    made = governance.open_review(rt, world.caller("sam"), "friction", "Too many approvals.")
    assert made["figures"]["spoke"] == 0  # not counted yet: their transactions could be open
    world.clock.advance(minutes=2)
    assert reviews.count(rt) is not None
    assert reviews.count(rt) is None
    figures = governance.get(rt, world.admin, made["id"])["figures"]
    counts = {each["rule"]: each["count"] for each in figures["rules"]}
    assert counts["admission/cpu-needs-approval"] == 3
    assert figures["spoke"] == sum(counts.values())

    with rt.database.reading() as tx:
        stored = tx.all(sa.select(t.decisions.c.result))
    said = [each for row in stored for each in said_in(json.loads(row["result"]))]
    assert len(said) == figures["spoke"]


def test_what_an_exemption_silences_is_told_from_a_dry_run() -> None:
    reason = {"rule": "a/one", "effect": "deny"}
    result = {
        "violations": [{**reason, "mode": "enforce"}],
        "shadow": [
            {**reason, "mode": "dry-run"},
            {**reason, "mode": "enforce", "exemption": {"owner": "lee"}},
        ],
    }
    assert list(said_in(result)) == [
        ("a/one", "deny", "spoke", ""),
        ("a/one", "deny", "dry-run", ""),
        ("a/one", "deny", "exempted", '{"owner":"lee"}'),
    ]
