"""Break-glass: at once, alerted, marked, over by itself, reviewed, and no way to more than that."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from charter.controllers import elevations
from charter.core.kernel.errors import CharterError, ForbiddenError
from charter.services import (
    agents,
    approvals,
    break_glass,
    custom_roles,
    identity,
    overview,
    people,
    policies,
    roles,
    workspaces,
)
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec
from tests.support import World

WHY = "Nothing starts any more and nobody answers."


def start(world: World, who: str = "lee", **fields: Any) -> Any:
    asked = {"role": "platform-admin", "reason": WHY, **fields}
    return break_glass.start(world.rt, world.caller(who), **asked)


def code(attempt: Any) -> str:
    try:
        attempt()
    except CharterError as refused:
        return refused.code
    return "done"


def rules(refused: pytest.ExceptionInfo[ForbiddenError]) -> set[str]:
    return {v["rule"] for v in refused.value.details["decision"]["violations"]}


def rows(world: World, table: sa.Table) -> list[Any]:
    with world.rt.database.reading() as tx:
        return list(tx.all(sa.select(table)))


@spec("ID-11")
def test_it_works_at_once_and_everybody_who_has_to_know_hears_of_it(world: World) -> None:
    box = workspaces.create(world.rt, world.caller("otto"), WorkspaceRequest("box", "python"))
    box_id = box["workspace"]["id"]
    with pytest.raises(CharterError):
        workspaces.stop(world.rt, world.caller("lee"), box_id)
    made = start(world)
    assert (made["state"], made["review"], made["person"]) == ("active", "open", "lee")
    assert workspaces.stop(world.rt, world.caller("lee"), box_id)["workspace"]["state"]
    for who in ("admin", "sam"):
        found = overview.notices(world.rt, world.caller(who))["items"]
        assert any(n["kind"] == "break-glass" and WHY in n["message"] for n in found), who
    assert not any(
        n["kind"] == "break-glass"
        for n in overview.notices(world.rt, world.caller("dana"))["items"]
    )


@spec("ID-11")
def test_everything_under_it_is_marked(world: World) -> None:
    made = start(world)
    workspaces.create(world.rt, world.caller("lee"), WorkspaceRequest("box", "python"))
    world.clock.advance(minutes=1)
    break_glass.end(world.rt, world.caller("lee"), made["id"])
    workspaces.create(world.rt, world.caller("lee"), WorkspaceRequest("later", "python"))
    marks = [
        json.loads(row["facts"])["document"]["subject"].get("break_glass")
        for row in rows(world, t.decisions)
        if row["action"] == "workspace.create"
    ]
    assert marks == [made["id"], None]
    leaves = [bytes(row["leaf"]).decode() for row in rows(world, t.audit_pending)]
    marked = [leaf for leaf in leaves if f'"break_glass":"{made["id"]}"' in leaf]
    for action in ("break-glass.started", "workspace.create", "workspace.created"):
        assert any(f'"{action}"' in leaf for leaf in marked), action
    shown = break_glass.get(world.rt, world.caller("sam"), made["id"])
    assert "workspace.create" in {d["action"] for d in shown["decisions"]}


@spec("ID-11", "ID-8")
def test_it_ends_by_itself(world: World) -> None:
    start(world)
    assert overview.overview(world.rt, world.caller("lee"))
    held = {r["role"] for r in overview.me(world.rt, world.caller("lee"))["roles"]}
    assert held == {"team-lead", "platform-admin"}
    world.clock.advance(hours=1)
    held = {r["role"] for r in overview.me(world.rt, world.caller("lee"))["roles"]}
    assert held == {"team-lead"}  # no controller has looked yet
    assert elevations.step(world.rt) == {"emergencies": 1}
    assert elevations.step(world.rt) is None
    [row] = rows(world, t.break_glass)
    assert row["ended_at"] == row["expires_at"]
    told = overview.notices(world.rt, world.caller("sam"))["items"]
    assert any("Review it until" in n["message"] for n in told)


@spec("ID-11")
def test_only_whom_policy_names_and_only_what_it_names(world: World) -> None:
    for who, role in (("dana", "platform-admin"), ("lee", "security-admin"), ("lee", "nonsense")):
        with pytest.raises(ForbiddenError) as refused:
            start(world, who, role=role)
        assert "break-glass/not-named" in rules(refused), (who, role)
    with pytest.raises(ForbiddenError) as refused:
        start(world, minutes=61)
    assert rules(refused) == {"break-glass/too-long"}
    with pytest.raises(ForbiddenError) as refused:
        start(world, reason="  ")
    assert rules(refused) == {"break-glass/no-reason"}
    assert rows(world, t.break_glass) == []


@spec("ID-11", "ID-4")
def test_an_old_session_is_not_enough(world: World) -> None:
    world.clock.advance(minutes=16)
    with pytest.raises(ForbiddenError) as refused:
        start(world)
    assert refused.value.code == "step-up-required"


@spec("ID-11")
def test_two_at_the_same_moment_are_one(world: World) -> None:
    lee = world.caller("lee")

    def begin(_: int) -> str:
        return code(lambda: break_glass.start(world.rt, lee, role="platform-admin", reason=WHY))

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(begin, range(4)))
    assert answers == ["break-glass-active"] * 3 + ["done"]
    assert len(rows(world, t.break_glass)) == 1
    assert sum(row["break_glass_id"] is not None for row in rows(world, t.role_bindings)) == 1


@spec("ID-11")
def test_the_next_waits_for_the_cool_down_and_for_an_overdue_review(world: World) -> None:
    first = start(world)
    break_glass.end(world.rt, world.caller("lee"), first["id"])
    world.clock.advance(minutes=10)
    assert code(lambda: start(world)) == "break-glass-cool-down"
    world.clock.advance(days=4)
    world.sign_in_again()
    _freshen(world)
    assert code(lambda: start(world)) == "break-glass-review-overdue"
    assert elevations.step(world.rt) == {"emergencies": 1}
    reviewed = break_glass.review(
        world.rt, world.caller("sam"), first["id"], outcome="justified", findings="A real outage."
    )
    assert (reviewed["review"], reviewed["reviewer"]) == ("done", "sam")
    assert code(lambda: start(world)) == "done"


def _freshen(world: World) -> None:
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.api_tokens, authenticated_at=tx.now)


@spec("ID-11", "ID-9")
def test_nobody_reviews_their_own_or_twice_or_before_the_end(world: World) -> None:
    made = start(world)

    def review(who: str) -> str:
        return code(
            lambda: break_glass.review(
                world.rt, world.caller(who), made["id"], outcome="justified", findings="Fine."
            )
        )

    assert review("lee") == "denied"
    assert review("admin") == "denied"  # the policy names security admins
    assert review("dana") == "not-found"
    assert review("sam") == "break-glass-active"
    break_glass.end(world.rt, world.caller("sam"), made["id"])
    assert code(lambda: break_glass.end(world.rt, world.caller("lee"), made["id"])) == (
        "break-glass-over"
    )
    assert review("lee") == "denied"
    assert review("sam") == "done"
    assert review("sam") == "break-glass-reviewed"


@spec("ID-11", "ID-9")
def test_a_reviewer_does_not_review_the_emergency_that_was_their_own(world: World) -> None:
    """Lee becomes a security admin afterwards; it is still Lee's emergency."""
    made = start(world)
    break_glass.end(world.rt, world.caller("lee"), made["id"])
    roles.bind_role(
        world.rt, world.admin, person="lee", role="security-admin", scope_kind="organisation",
        scope=None,
    )  # fmt: skip
    with pytest.raises(ForbiddenError) as refused:
        break_glass.review(
            world.rt, world.caller("lee"), made["id"], outcome="justified", findings="Mine."
        )
    assert "invariant/own-review" in rules(refused)


@spec("ID-11", "ID-9")
def test_borrowed_power_does_not_become_lasting_power(world: World) -> None:
    waiting = workspaces.create(
        world.rt, world.caller("otto"), WorkspaceRequest("big", "python", vcpu=40)
    )["approval"]["id"]
    start(world)
    lee, rt = world.caller("lee"), world.rt
    bundle = policies.active(rt, world.admin)["digest"]
    attempts = {
        "bind a role to oneself": lambda: roles.bind_role(
            rt, lee, person="lee", role="platform-admin", scope_kind="organisation", scope=None
        ),
        "bind a role to a friend": lambda: roles.bind_role(
            rt, lee, person="dana", role="platform-admin", scope_kind="organisation", scope=None
        ),
        "make an account": lambda: people.create_person(
            rt, lee, handle="twin", display_name=None, email=None, time_zone="UTC"
        ),
        "sign in as the administrator": lambda: people.sign_in_link(rt, lee, "admin"),
        "switch the watcher off": lambda: people.deactivate(rt, lee, "sam"),
        "approve elsewhere": lambda: approvals.approve(rt, lee, waiting),
        "put a policy into force": lambda: policies.activate(rt, lee, bundle),
    }
    assert {name: code(attempt) for name, attempt in attempts.items()} == dict.fromkeys(
        attempts, "denied"
    )
    page = approvals.list_page(rt, lee, for_me=True)["items"]
    assert waiting not in {item["id"] for item in page}


@spec("ID-11", "ID-9")
def test_conflicting_roles_do_not_meet_in_an_emergency(world: World) -> None:
    world.add_person("pat", ("security-admin", None), ("team-lead", "payments"), team="payments")
    assert code(lambda: start(world, "pat")) == "separation-of-duties"
    start(world)
    with pytest.raises(CharterError) as refused:
        roles.bind_role(
            world.rt, world.admin, person="lee", role="security-admin",
            scope_kind="organisation", scope=None,
        )  # fmt: skip
    assert refused.value.code == "separation-of-duties"
    world.clock.advance(hours=1)
    roles.bind_role(
        world.rt, world.admin, person="lee", role="security-admin", scope_kind="organisation",
        scope=None,
    )  # fmt: skip


@spec("ID-11", "ID-7")
def test_agents_have_no_part_in_it(world: World) -> None:
    request = {
        "name": "fixer", "task": "Mend it.", "repositories": ["git.example.org/a"],
        "tier": "sandboxed", "minutes": 60, "team": None, "project": None,
        "justification": None,
    }  # fmt: skip
    asked = agents.create(world.rt, world.caller("lee"), request)
    agent = identity.authenticate_bearer(world.rt, asked["credential"]["token"])
    with pytest.raises(ForbiddenError) as refused:
        break_glass.start(world.rt, agent, role="platform-admin", reason=WHY)
    assert {"invariant/permission", "agent/humans-only"} <= rules(refused)
    before = agents.get(world.rt, agent, "self")["permissions"]
    box = workspaces.create(world.rt, world.caller("otto"), WorkspaceRequest("box", "python"))
    start(world)
    agent = identity.authenticate_bearer(world.rt, asked["credential"]["token"])
    assert agents.get(world.rt, agent, "self")["permissions"] == before
    assert code(lambda: workspaces.stop(world.rt, agent, box["workspace"]["id"])) == "not-found"


@spec("ID-11")
def test_no_policy_makes_a_watcher_in_an_emergency(world: World) -> None:
    from charter.core.policy.data import PolicyData  # noqa: PLC0415
    from tests.support import STARTER  # noqa: PLC0415

    documents = STARTER.settings()
    elevation: Any = json.loads(json.dumps(documents["elevation"]))
    elevation["break_glass"]["roles"]["security-admin"] = elevation["break_glass"]["roles"].pop(
        "platform-admin"
    )
    with pytest.raises(CharterError) as refused:
        PolicyData.from_documents({**documents, "elevation": elevation})
    assert "is never an emergency role" in refused.value.message


@spec("ID-11")
def test_a_role_of_ones_own_does_not_hold_what_is_withheld(world: World) -> None:
    """Whoever holds a withheld permission for good keeps it in an emergency."""
    custom_roles.define(
        world.rt,
        world.admin,
        "inviter",
        title="Makes accounts",
        permissions={"people.manage": "all"},
    )
    roles.bind_role(
        world.rt, world.admin, person="lee", role="inviter", scope_kind="organisation",
        scope=None,
    )  # fmt: skip
    start(world)
    people.create_person(
        world.rt, world.caller("lee"), handle="twin", display_name=None, email=None,
        time_zone="UTC",
    )  # fmt: skip
