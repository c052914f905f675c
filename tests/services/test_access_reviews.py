"""Campaigns of access reviews, from their opening to the evidence."""

from __future__ import annotations

import csv
import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from charter.controllers import access_reviews as controller
from charter.core.kernel.errors import (
    CharterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from charter.services import (
    access_campaigns,
    access_evidence,
    access_reviews,
    agent_definitions,
    agents,
    identity,
    overview,
    roles,
    tokens,
    workspaces,
)
from charter.services.workspace_questions import WorkspaceRequest
from tests.spec import spec
from tests.support import World

AGENT = {
    "name": "fixer",
    "task": "Mend it.",
    "repositories": ["git.example.org/payments/api"],
    "tier": "sandboxed",
    "team": None,
    "project": None,
    "minutes": 60,
    "justification": None,
}
FORTNIGHT = {"days": 14, "seconds": 1}


def begin(world: World) -> str:
    return access_campaigns.open_by(world.rt, world.caller("sam"), reason="A laptop was lost.")


def items(world: World, who: str, campaign: str, **which: Any) -> dict[str, dict[str, Any]]:
    found = access_reviews.list_items(world.rt, world.caller(who), campaign, limit=200, **which)
    return {f"{i['holder']}: {i['what']}": i for i in found["items"]}


def say(world: World, who: str, item: dict[str, Any], verdict: str) -> dict[str, Any]:
    return access_reviews.answer(world.rt, world.caller(who), item["id"], verdict, "On purpose.")


def lapse(world: World) -> None:
    """Let the deadline pass; tokens that kept nobody signed in are made anew."""
    world.clock.advance(**FORTNIGHT)
    world.sign_in_again()


def step_out(world: World) -> list[str]:
    done = []
    while (status := controller.step(world.rt)) is not None:
        done += status
    return done


@spec("ID-10")
def test_a_campaign_asks_about_everything_that_is_held_and_those_who_know(world: World) -> None:
    agents.create(world.rt, world.caller("dana"), dict(AGENT))
    tokens.create_token(world.rt, world.caller("dana"), "ci", 30)
    campaign = begin(world)
    seen = items(world, "sam", campaign)
    kinds = {item["kind"] for item in seen.values()}
    assert kinds == {"role", "token"}  # what ends before the deadline anyway is left out
    mine = items(world, "lee", campaign, for_me=True)
    assert {i["holder"] for i in mine.values()} == {"dana"}
    assert "dana: developer in the organisation" in mine
    assert "dana: personal token ci" in mine
    assert items(world, "admin", campaign, for_me=True).keys() == {
        "sam: security-admin in the organisation"
    }
    own = items(world, "dana", campaign)
    assert {i["holder"] for i in own.values()} == {"dana"}
    assert not any(i["may_answer"] for i in own.values())
    with pytest.raises(NotFoundError):
        access_reviews.get_campaign(world.rt, world.caller("dana"), "cam_none")
    told = overview.notices(world.rt, world.caller("lee"))["items"]
    assert any("for your answer until" in notice["message"] for notice in told)


@spec("ID-10")
def test_keep_puts_the_end_back_and_revoke_ends_at_once(world: World) -> None:
    made = tokens.create_token(world.rt, world.caller("dana"), "ci", 60)
    spare = tokens.create_token(world.rt, world.caller("dana"), "old", 60)
    campaign = begin(world)
    waiting = items(world, "lee", campaign, for_me=True)
    kept = say(world, "lee", waiting["dana: personal token ci"], "keep")
    assert (kept["answer"], kept["answered_by"], kept["comment"]) == ("keep", "lee", "On purpose.")
    say(world, "lee", waiting["dana: personal token old"], "revoke")
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_bearer(world.rt, spare["secret"])
    [live] = [
        token
        for token in tokens.list_tokens(world.rt, world.caller("dana"))
        if token["id"] == made["id"]
    ]
    assert live["expires_at"] == made["expires_at"]
    again = say(world, "lee", waiting["dana: personal token ci"], "revoke")
    assert again["answer"] == "revoke"
    with pytest.raises(ConflictError) as settled:
        say(world, "lee", waiting["dana: personal token ci"], "keep")
    assert settled.value.code == "review-settled"


@spec("ID-10")
def test_silence_ends_what_is_held_without_any_controller(world: World) -> None:
    workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("box", "python"))
    spare = tokens.create_token(world.rt, world.caller("dana"), "ci", 60)
    campaign = begin(world)
    waiting = items(world, "lee", campaign, for_me=True)
    assert waiting["dana: developer in the organisation"]["last_used_at"] is not None
    of_sam = items(world, "admin", campaign, for_me=True)["sam: security-admin in the organisation"]
    say(world, "admin", of_sam, "keep")
    [waits] = [
        token
        for token in tokens.list_tokens(world.rt, world.caller("dana"))
        if token["id"] == spare["id"]
    ]
    due_at = access_reviews.get_campaign(world.rt, world.caller("dana"), campaign)["due_at"]
    assert waits["expires_at"] == due_at < spare["expires_at"]
    lapse(world)
    with pytest.raises(ForbiddenError):
        workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("two", "python"))
    with pytest.raises(ConflictError):
        say(world, "sam", waiting["dana: developer in the organisation"], "keep")


@spec("ID-10")
def test_closing_writes_down_what_silence_ended_and_keeps_the_last_admin(world: World) -> None:
    campaign = begin(world)
    before = items(world, "sam", campaign)
    say(world, "admin", before["sam: security-admin in the organisation"], "keep")
    lapse(world)
    assert step_out(world) == ["closed"]
    after = items(world, "sam", campaign)
    assert after["admin: platform-admin in the organisation"]["answer"] == "keep"
    assert after["admin: platform-admin in the organisation"]["answered_by"] is None
    assert after["dana: developer in the organisation"]["answer"] == "lapsed"
    assert after["lee: team-lead in the team payments"]["answer"] == "lapsed"
    held = {b["person"] for b in roles.list_bindings(world.rt, world.admin)["items"]}
    assert held >= {"admin", "sam"}
    assert access_reviews.get_campaign(world.rt, world.admin, campaign)["state"] == "closed"
    told = [n["message"] for n in overview.notices(world.rt, world.caller("dana"))["items"]]
    assert any("has ended: " in message for message in told)


@spec("ID-10")
def test_an_admin_too_many_loses_the_role_when_nobody_answers(world: World) -> None:
    world.add_person("ada", ("platform-admin", None), team=None)
    campaign = begin(world)
    waiting = items(world, "sam", campaign, for_me=True)
    say(world, "sam", waiting["ada: platform-admin in the organisation"], "keep")
    lapse(world)
    assert step_out(world) == ["closed"]
    answers = {name: i["answer"] for name, i in items(world, "ada", campaign).items()}
    assert answers["admin: platform-admin in the organisation"] == "lapsed"
    assert answers["ada: platform-admin in the organisation"] == "keep"


@spec("ID-10")
def test_the_calendar_opens_one_each_quarter_and_reminds(world: World) -> None:
    assert step_out(world) == []
    world.clock.advance(days=93)
    world.sign_in_again()
    assert step_out(world) == ["opened"]
    [campaign] = access_reviews.list_campaigns(world.rt, world.caller("admin"))["items"]
    assert (campaign["name"], campaign["opened_by"]) == ("2026-Q2", "calendar")
    world.clock.advance(days=3, seconds=1)
    world.sign_in_again()
    assert step_out(world) == ["reminded"]
    assert step_out(world) == []
    with pytest.raises(ConflictError) as running:
        begin(world)
    assert running.value.code == "campaign-open"


@spec("ID-10")
def test_two_replicas_open_one_campaign(world: World) -> None:
    world.clock.advance(days=93)
    barrier = threading.Barrier(2)

    def look(_: int) -> str | None:
        barrier.wait(10)
        return access_campaigns.open_due(world.rt)

    with ThreadPoolExecutor(2) as pool:
        opened = list(pool.map(look, range(2)))
    assert sum(each is not None for each in opened) == 1


@spec("ID-10")
def test_only_reviewers_answer_and_nobody_for_themselves(world: World) -> None:
    world.add_person("kim", ("team-lead", "search"), team="search")
    campaign = begin(world)
    every = items(world, "sam", campaign)
    of_dana = every["dana: developer in the organisation"]
    for who, kind in (("kim", NotFoundError), ("otto", NotFoundError), ("ria", NotFoundError)):
        with pytest.raises(kind):
            say(world, who, of_dana, "keep")
    with pytest.raises(ForbiddenError):
        say(world, "dana", of_dana, "keep")
    with pytest.raises(ForbiddenError) as own:
        say(world, "lee", every["lee: team-lead in the team payments"], "keep")
    assert own.value.code == "own-access"
    with pytest.raises(ForbiddenError) as own_admin:
        say(world, "sam", every["sam: security-admin in the organisation"], "keep")
    assert own_admin.value.code == "own-access"
    with pytest.raises(NotFoundError):
        say(world, "lee", every["admin: platform-admin in the organisation"], "revoke")
    for who in ("dana", "lee", "ria"):
        with pytest.raises(ForbiddenError):
            access_campaigns.open_by(world.rt, world.caller(who), reason="Mine.")


@spec("ID-10")
def test_the_last_admin_is_not_revoked_either(world: World) -> None:
    campaign = begin(world)
    item = items(world, "sam", campaign)["admin: platform-admin in the organisation"]
    with pytest.raises(ConflictError) as refused:
        say(world, "sam", item, "revoke")
    assert refused.value.code == "last-admin"


@spec("ID-10")
def test_keep_and_revoke_at_once_end_in_a_revoke(world: World) -> None:
    """Whichever comes first: what was taken away stays away, and a keep can become a revoke."""
    campaign = begin(world)
    item = items(world, "lee", campaign)["dana: developer in the organisation"]
    barrier = threading.Barrier(2)

    def run(who: str, verdict: str) -> str:
        barrier.wait(10)
        try:
            return str(say(world, who, item, verdict)["answer"])
        except CharterError as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        outcomes = set(pool.map(run, ("lee", "sam"), ("keep", "revoke")))
    assert outcomes in ({"keep", "revoke"}, {"review-settled", "revoke"})
    after = items(world, "sam", campaign)["dana: developer in the organisation"]
    assert after["answer"] == "revoke"
    with pytest.raises(ForbiddenError):
        workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("x", "python"))


@spec("ID-10", "AU-1")
def test_the_evidence_has_every_item_and_the_trail_its_digest(world: World) -> None:
    tokens.create_token(world.rt, world.caller("dana"), "=cmd|' /C calc'!A0", 30)
    campaign = begin(world)
    waiting = items(world, "lee", campaign, for_me=True)
    say(world, "lee", waiting["dana: developer in the organisation"], "keep")
    found = access_evidence.export(world.rt, world.caller("sam"), campaign)
    assert found["digest"] == "sha256:" + hashlib.sha256(found["csv"].encode()).hexdigest()
    rows = list(csv.DictReader(io.StringIO(found["csv"])))
    assert len(rows) == len(items(world, "sam", campaign))
    kept = next(r for r in rows if r["what"] == "developer in the organisation" and r["answer"])
    assert (kept["answered_by"], kept["comment"]) == ("lee", "On purpose.")
    assert not any(cell[:1] in "=+-@" for row in rows for cell in row.values() if cell)
    with pytest.raises(ForbiddenError):
        access_evidence.export(world.rt, world.caller("lee"), campaign)


@spec("ID-10")
def test_what_nobody_uses_is_pointed_out(world: World) -> None:
    workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("box", "python"))
    assert access_evidence.list_unused(world.rt, world.caller("sam"))["items"] == []
    world.clock.advance(days=80)
    world.sign_in_again()
    workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("two", "python"))
    world.clock.advance(days=11)
    world.sign_in_again()
    stale = access_evidence.list_unused(world.rt, world.caller("sam"))
    names = {f"{i['holder']}: {i['what']}" for i in stale["items"]}
    assert stale["days"] == 90
    assert "otto: developer in the organisation" in names
    assert "dana: developer in the organisation" not in names
    assert {
        i["holder"] for i in access_evidence.list_unused(world.rt, world.caller("lee"))["items"]
    } <= {
        "dana",
        "lee",
    }


@spec("ID-10", "ID-6")
def test_a_definition_that_nobody_keeps_is_retired(world: World) -> None:
    for name in ("kept", "silent", "revoked"):
        agent_definitions.define(
            world.rt,
            world.admin,
            {
                "name": name,
                "description": "Mends things.",
                "team": "payments",
                "repositories": ["git.example.org/payments/*"],
                "tier": "read-only",
                "max_session_minutes": None,
                "run_by": ["team"],
                "why": "For the test.",
            },
        )
    campaign = begin(world)
    waiting = items(world, "lee", campaign, for_me=True)
    say(world, "lee", waiting["admin: agent definition kept (read-only)"], "keep")
    say(world, "lee", waiting["admin: agent definition revoked (read-only)"], "revoke")
    lapse(world)
    states = {
        name: agent_definitions.get(world.rt, world.admin, name)["state"]
        for name in ("kept", "silent", "revoked")
    }
    assert states == {"kept": "active", "silent": "retired", "revoked": "retired"}
    assert step_out(world) == ["closed"]
    assert (
        items(world, "admin", campaign)["admin: agent definition silent (read-only)"]["answer"]
        == "lapsed"
    )
