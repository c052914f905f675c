"""Exemptions of the bundle in force: with names, with their end, and with what they did."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from charter.controllers import reviews
from charter.core.kernel.canonical import rfc3339
from charter.services import audit, exemptions, lookup, policies, workspaces
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec
from tests.support import BRIEF, World

RULE = "admission/cpu-needs-approval"
OTHER = "admission/gpu-needs-approval"


def load(world: World, *listed: dict[str, Any]) -> None:
    document = {"exemptions": list(listed)}
    bundle = BRIEF.with_files({"data/exemptions.json": json.dumps(document)})
    files = {path: bundle.text(path) for path in bundle.files}
    policies.apply(world.rt, world.admin, files, "Exemptions.")


def exempt(world: World, days: int, rule: str = RULE, **scope: str) -> dict[str, Any]:
    return {
        "rule": rule,
        "owner": "lee",
        "reason": f"Until {days} days have passed.",
        "scope": scope,
        "expires_at": rfc3339(world.clock.moment + timedelta(days=days)),
    }


@spec("PC-7")
def test_they_are_listed_with_names_counted_and_audited(world: World) -> None:
    rt, dana = world.rt, world.caller("dana")
    with rt.database.reading() as tx:
        team = str(lookup.team(tx, "payments")["id"])
    world.clock.advance(seconds=1)
    load(world, exempt(world, 10, team=team), exempt(world, 90, OTHER, subject=dana.id))
    first, second = exemptions.list_all(rt, dana)
    assert (first["state"], second["state"]) == ("soon", "active")
    assert first["scope"] == [{"kind": "team", "value": team, "name": "payments", "problem": None}]
    assert second["scope"][0]["name"] == "dana"
    assert first["loaded_by"] == "admin"
    assert first["title"]
    assert (first["used"], second["used"]) == (0, 0)

    made = workspaces.create(rt, dana, WorkspaceRequest(name="big", template="python", vcpu=40))
    assert made["workspace"] is not None  # no approval is asked for
    world.clock.advance(minutes=2)
    reviews.count(rt)
    used = {e["reason"]: e["used"] for e in exemptions.list_all(rt, dana)}
    assert sorted(used.values()) == [0, 1]

    world.clock.advance(days=11)
    assert [e["state"] for e in exemptions.list_all(rt, dana)] == ["expired", "active"]
    world.sign_in_again()
    load(world, exempt(world, 90, OTHER, subject=dana.id))
    world.settle()
    events = audit.events_page(rt, world.caller("sam"), limit=200)["items"]
    actions = [e["action"] for e in events if e["action"].startswith("exemption.")]
    assert sorted(actions) == ["exemption.ended", "exemption.ended"] + ["exemption.granted"] * 3


@spec("PC-7")
def test_a_scope_that_names_nothing_says_so(world: World) -> None:
    with world.rt.database.reading() as tx:
        team = str(lookup.team(tx, "payments")["id"])
    world.clock.advance(seconds=1)
    load(world, exempt(world, 10, team="payments"), exempt(world, 90, OTHER, project="prj_gone"))
    first, second = exemptions.list_all(world.rt, world.admin)
    named = f"payments is a name; the exemption needs the id, {team}."
    assert first["scope"][0]["problem"] == named
    gone = second["scope"][0]["problem"]
    assert gone == "Charter knows no project with the id prj_gone, so this may never count."


def test_without_any_the_list_is_empty(world: World) -> None:
    assert exemptions.list_all(world.rt, world.admin) == []
    with world.rt.database.reading() as tx:
        assert tx.one(sa.select(sa.func.count()).select_from(t.rule_usage)) is not None
