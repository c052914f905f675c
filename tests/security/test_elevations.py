"""More room for an agent in one task: asked for, given by the team lead, gone with the task."""

from __future__ import annotations

from typing import Any

import pytest

from charter.core.access.permissions import Permission
from charter.core.kernel.errors import CharterError
from charter.services import agents, approvals, elevations, identity, roles, workspaces
from charter.services.runtime import Caller
from charter.services.subjects import load_agent
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec
from tests.support import World

REPOSITORY = "git.example.org/payments/api"
OTHER = "git.example.org/payments/web"


@pytest.fixture
def world(world: World) -> World:
    made = agents.create(
        world.rt, world.caller("dana"),
        {"name": "fixer", "task": "Mend it.", "repositories": [REPOSITORY], "tier": "sandboxed",
         "minutes": 60, "team": None, "project": None, "justification": None},
    )  # fmt: skip
    world.tokens["agent"] = made["credential"]["token"]
    return world


def ask(world: World, who: str = "agent", **fields: Any) -> Any:
    asked = {"tier": None, "permissions": [], "repositories": [], "reason": "The fix is ready."}
    ref = "self" if who == "agent" else "fixer"
    return elevations.request(world.rt, world.caller(who), ref, **{**asked, **fields})


def given(world: World, who: str = "agent", **fields: Any) -> None:
    asked = ask(world, who, **fields)["approval"]["id"]
    done = approvals.approve(world.rt, world.caller("lee"), asked)
    assert done["result_id"], done


def code(attempt: Any) -> str:
    try:
        attempt()
    except CharterError as refused:
        return refused.code
    return "done"


def held(world: World) -> set[str]:
    return set(agents.get(world.rt, world.caller("dana"), "fixer")["permissions"])


def proved(world: World) -> Caller:
    """The agent with a key that it has proved, as the wider tiers ask for."""
    with world.rt.database.reading() as tx:
        agent = load_agent(tx, shown(world)["id"])
    assert agent is not None
    return Caller(agent, "agent", "crd_1")


def shown(world: World) -> Any:
    return agents.get(world.rt, world.caller("dana"), "fixer")


@spec("AP-4")
@pytest.mark.parametrize("who", ["agent", "dana"])
def test_a_wider_tier_for_the_task(world: World, who: str) -> None:
    before = held(world)
    asked = ask(world, who, tier="standard")
    assert asked["approval"]["requirements"][0]["roles"] == ["team-lead"]
    assert held(world) == before
    approvals.approve(world.rt, world.caller("lee"), asked["approval"]["id"])
    assert held(world) - before == {Permission.CODE_PROPOSE}
    assert (shown(world)["tier"], shown(world)["effective_tier"]) == ("sandboxed", "standard")
    assert shown(world)["elevations"][0]["state"] == "active"


@spec("AP-4")
def test_a_permission_and_a_repository(world: World) -> None:
    given(world, permissions=["code.propose"], repositories=[OTHER])
    agent = world.caller("agent")
    with world.rt.database.reading() as tx:
        from charter.core.access.invariants import ResourceRef, invariants  # noqa: PLC0415

        def refused(repository: str, action: Permission = Permission.CODE_PROPOSE) -> bool:
            ref = ResourceRef(
                "repository",
                repository=repository,
                team_id=agent.subject.team_id,  # type: ignore[union-attr]
            )
            return bool(invariants(agent.subject, action, ref, tx.now))

        assert not refused(REPOSITORY)
        assert not refused(OTHER)
        assert refused("git.example.org/search/crawler")
        assert refused(OTHER, Permission.CODE_MERGE)


@spec("AP-4", "ID-9")
def test_nobody_raises_what_is_their_own(world: World) -> None:
    by_agent = ask(world, tier="standard")["approval"]["id"]
    for who in ("agent", "dana"):
        assert code(lambda: approvals.approve(world.rt, world.caller(who), by_agent)) == "denied"  # noqa: B023
    roles.bind_role(
        world.rt, world.admin, person="dana", role="team-lead", scope_kind="team",
        scope="payments",
    )  # fmt: skip
    for request in (by_agent, ask(world, "dana", tier="trusted")["approval"]["id"]):
        assert code(lambda: approvals.approve(world.rt, world.caller("dana"), request)) == "denied"  # noqa: B023
    assert shown(world)["effective_tier"] == "sandboxed"


@spec("AP-4", "ID-7")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"permissions": ["production.access"]}, "denied"),
        ({"permissions": ["approval.vote"]}, "denied"),
        ({"permissions": ["agent.create"]}, "denied"),
        ({"permissions": ["role.bind"]}, "denied"),
        ({"repositories": [f"git.example.org/r/{n}" for n in range(10)]}, "denied"),
        ({"tier": "sandboxed"}, "nothing-wider"),
        ({"tier": "read-only"}, "denied"),
        ({"repositories": [REPOSITORY]}, "nothing-wider"),
        ({"tier": "standard", "reason": " "}, "justification-required"),
    ],
)
def test_what_is_not_given(world: World, fields: dict[str, Any], expected: str) -> None:
    assert code(lambda: ask(world, **fields)) == expected
    assert code(lambda: ask(world, "dana", **fields)) == expected


@spec("AP-4", "ID-7")
def test_never_for_agents_whatever_policy_lists(world: World) -> None:
    from charter.core.access.built_in import ROLE_PERMISSIONS, RoleName  # noqa: PLC0415
    from charter.core.agents.elevation import Wanted, never_given  # noqa: PLC0415

    role = ROLE_PERMISSIONS[RoleName.AGENT]
    everything = frozenset(Permission)
    never, _ = never_given(Wanted(permissions=everything), role, everything)
    assert {"production.access", "approval.vote", "role.bind", "break-glass.start"} <= set(never)
    assert set(never) | role == everything


@spec("AP-4", "ID-7")
def test_never_more_than_the_sponsor_holds_now(world: World) -> None:
    given(world, tier="trusted")
    assert Permission.CODE_MERGE in held(world)
    bindings = roles.list_bindings(world.rt, world.admin, person="dana")["items"]
    roles.revoke_role(world.rt, world.admin, bindings[0]["id"])
    roles.bind_role(
        world.rt, world.admin, person="dana", role="read-only", scope_kind="organisation",
        scope=None,
    )  # fmt: skip
    with world.rt.database.reading() as tx:
        from charter.core.access.delegation import effective_permissions  # noqa: PLC0415
        from charter.core.access.roles import ORGANISATION  # noqa: PLC0415

        subject: Any = proved(world).subject
        assert Permission.CODE_MERGE not in effective_permissions(subject, [ORGANISATION], tx.now)
    assert code(
        lambda: elevations.request(
            world.rt, proved(world), "self", tier=None, permissions=["pipeline.run"],
            repositories=[], reason="To be sure.",
        )
    ) == "denied"  # fmt: skip


@spec("AP-4", "ID-8")
def test_it_ends_with_the_task(world: World) -> None:
    given(world, tier="standard")
    waiting = ask(world, "dana", tier="trusted")["approval"]["id"]
    agents.end(world.rt, world.caller("dana"), "fixer", "completed")
    assert shown(world)["elevations"][0]["state"] == "ended"
    assert held(world) == set()
    assert code(lambda: ask(world, "dana", tier="trusted")) == "task-ended"
    done = approvals.approve(world.rt, world.caller("lee"), waiting)
    assert done["result_id"] is None
    assert len(shown(world)["elevations"]) == 1


@spec("AP-4", "ID-8")
def test_it_ends_with_the_deadline_of_the_task(world: World) -> None:
    given(world, tier="standard")
    assert shown(world)["elevations"][0]["expires_at"] == shown(world)["deadline"]
    world.clock.advance(minutes=60)
    assert held(world) == set()
    assert shown(world)["effective_tier"] == "sandboxed"


@spec("AP-4", "ID-8")
def test_what_runs_beyond_the_agents_own_tier_stops_when_it_ends(world: World) -> None:
    given(world, tier="standard")
    agent = proved(world)
    box = workspaces.create(
        world.rt, agent, WorkspaceRequest("box", "python", size="agent", egress_allowlist=[])
    )["workspace"]
    assert box["tier"] == "standard"
    world.settle()
    elevation = shown(world)["elevations"][0]["id"]
    world.clock.advance(minutes=1)
    assert (
        code(lambda: elevations.revoke(world.rt, world.caller("otto"), "fixer", elevation))
        == "not-found"
    )
    lowered = elevations.revoke(world.rt, world.caller("lee"), "fixer", elevation)
    assert lowered["effective_tier"] == "sandboxed"
    world.settle()
    assert workspaces.get(world.rt, world.admin, box["id"])["state"] == "stopped"
    assert code(lambda: workspaces.start(world.rt, proved(world), box["id"])) == "denied"


@spec("AP-4", "ID-8")
def test_a_revoked_grant_takes_it_back(world: World) -> None:
    given(world, tier="standard")
    world.clock.advance(minutes=1)
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.grants, revoked_at=tx.now)
    assert shown(world)["effective_tier"] == "sandboxed"


@spec("AP-4")
def test_an_agent_asks_for_itself_only(world: World) -> None:
    made = agents.create(
        world.rt, world.caller("dana"),
        {"name": "other", "task": "Something.", "repositories": [REPOSITORY], "tier": "sandboxed",
         "minutes": 60, "team": None, "project": None, "justification": None},
    )  # fmt: skip
    agent = identity.authenticate_bearer(world.rt, world.tokens["agent"])
    nothing = {"permissions": [], "repositories": [], "reason": "For a friend."}
    assert (
        code(
            lambda: elevations.request(
                world.rt, agent, made["agent"]["id"], tier="standard", **nothing
            )
        )
        == "not-found"
    )
    assert (
        code(
            lambda: elevations.request(
                world.rt, world.caller("lee"), "fixer", tier="standard", **nothing
            )
        )
        == "denied"
    )


@spec("AP-4", "ID-6")
def test_the_definition_bounds_it(world: World) -> None:
    from charter.services import agent_definitions  # noqa: PLC0415

    agent_definitions.define(
        world.rt, world.caller("lee"),
        {"name": "tidier", "description": "Tidies.", "team": "payments", "tier": "standard",
         "repositories": ["git.example.org/payments/*"], "max_session_seconds": None,
         "run_by": ["everybody"], "why": ""},
    )  # fmt: skip
    made = agents.create(
        world.rt, world.caller("dana"),
        {"name": "run", "task": "Tidy.", "repositories": [REPOSITORY], "tier": "sandboxed",
         "minutes": 60, "team": None, "project": None, "justification": None,
         "definition": "tidier"},
    )  # fmt: skip
    world.tokens["agent"] = made["credential"]["token"]
    assert code(lambda: ask(world, tier="trusted")) == "exceeds-definition"
    assert code(lambda: ask(world, permissions=["code.merge"])) == "exceeds-definition"
    assert code(lambda: ask(world, repositories=["git.example.org/search/crawler"])) == (
        "exceeds-definition"
    )
    given(world, tier="standard", repositories=[OTHER])
    assert agents.get(world.rt, world.caller("dana"), "run")["effective_tier"] == "standard"
    agent_definitions.change(
        world.rt, world.caller("lee"), "tidier",
        {"description": "Tidies.", "team": "payments", "tier": "sandboxed",
         "repositories": [REPOSITORY], "max_session_seconds": None, "run_by": ["everybody"],
         "why": "Too wide."},
    )  # fmt: skip
    assert agents.get(world.rt, world.caller("dana"), "run")["effective_tier"] == "sandboxed"
