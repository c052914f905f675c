"""Definitions and their instances: bounds, versions, narrowing, retiring, agents of agents."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from charter.api.app import build_api
from charter.core.kernel.errors import CharterError, ForbiddenError, UnauthenticatedError
from charter.services import agent_credentials, agent_definitions, agents, overview, policies
from charter.services import workspaces as ws
from charter.services.workspaces import WorkspaceRequest
from charter.store import tables as t
from tests.agents import exchange, sponsored
from tests.spec import spec
from tests.support import BRIEF, World

KEEPER: dict[str, Any] = {
    "name": "keeper",
    "team": "payments",
    "description": "Keeps the docs in order.",
    "repositories": ["git.example.org/payments/*"],
    "tier": "sandboxed",
    "max_session_seconds": 3600,
    "run_by": ["team"],
}


@pytest.fixture
def defined(world: World) -> World:
    """The world with a definition of the team payments."""
    agent_definitions.define(world.rt, world.caller("lee"), KEEPER)
    return world


def refusal(world: World, who: str = "dana", **fields: object) -> ForbiddenError:
    with pytest.raises(ForbiddenError) as refused:
        sponsored(world, who=who, definition="keeper", **fields)
    return refused.value


@spec("ID-6")
def test_an_instance_is_never_wider_than_its_definition(defined: World) -> None:
    world = defined
    made = sponsored(world, definition="keeper")["agent"]
    assert (made["definition"], made["definition_version"]) == ("keeper", 1)
    again = sponsored(world, definition="keeper")["agent"]
    assert again["id"] != made["id"]
    assert again["definition_id"] == made["definition_id"]
    everything = refusal(
        world,
        tier="standard",
        minutes=61,
        repositories=["git.example.org/payments/api", "git.example.org/payments/../search/api"],
    )
    assert everything.details["rules"] == [
        "invariant/definition-tier",
        "invariant/definition-repositories",
        "invariant/definition-session",
    ]
    with pytest.raises(CharterError) as hidden:  # another team's, and not his to run
        sponsored(world, who="otto", definition="keeper")
    assert hidden.value.status == 404
    assert ("agent.create", "denied") in _events(world)


def _events(world: World) -> list[tuple[str, str]]:
    world.settle()
    with world.rt.database.reading() as tx:
        rows = tx.all(sa.select(t.audit_log.c.leaf))
    leaves = [json.loads(bytes(row["leaf"])) for row in rows]
    return [(leaf["action"], leaf["outcome"]) for leaf in leaves]


@spec("ID-6")
def test_whom_a_definition_names_may_run_it_and_nobody_else(defined: World) -> None:
    world, rt, lee = defined, defined.rt, defined.caller("lee")
    agent_definitions.change(rt, lee, "keeper", {"run_by": ["person:otto"], "why": "His now."})
    assert refusal(world).code == "definition-runners"
    made = sponsored(world, who="otto", definition="keeper")["agent"]
    assert made["sponsor"] == "otto"
    agent_definitions.change(rt, lee, "keeper", {"run_by": ["everybody"], "why": "For all."})
    assert sponsored(world, definition="keeper")["agent"]["definition_version"] == 3
    shown = agent_definitions.get(rt, world.caller("otto"), "keeper")
    assert shown["runnable"]
    assert [v["run_by"] for v in shown["versions"]] == [["everybody"], ["person:otto"], ["team"]]
    # What an instance of then was allowed can be told.
    then = next(v for v in shown["versions"] if v["version"] == made["definition_version"])
    assert (then["made_by"], then["why"]) == ("lee", "His now.")


@spec("ID-6", "AG-1")
def test_a_definition_that_is_narrowed_narrows_what_runs_and_never_widens_it(
    defined: World,
) -> None:
    world, rt, lee = defined, defined.rt, defined.caller("lee")
    made = sponsored(world, definition="keeper")
    world.tokens["agent"] = made["credential"]["token"]
    assert "workspace.execute" in overview.me(rt, world.caller("agent"))["permissions"]
    agent_definitions.change(rt, lee, "keeper", {"tier": "read-only", "why": "It wrote too much."})
    assert "workspace.execute" not in overview.me(rt, world.caller("agent"))["permissions"]
    agent_definitions.change(
        rt, lee, "keeper", {"tier": "trusted", "repositories": ["other/*"], "why": "A slip."}
    )
    agent = world.caller("agent").subject
    assert agent.tier.value == "sandboxed"
    assert agent.task.repositories == frozenset()


@spec("ID-6")
def test_a_retired_definition_ends_what_runs_within_minutes(defined: World) -> None:
    world, rt = defined, defined.rt
    made = sponsored(world, definition="keeper")
    world.tokens["agent"] = made["credential"]["token"]
    agent_definitions.retire(rt, world.caller("lee"), "keeper", "Replaced.")
    assert overview.me(rt, world.caller("agent"))["kind"] == "agent"
    for who, ref in (("agent", "self"), ("dana", made["agent"]["id"])):
        with pytest.raises(CharterError) as ended:
            agent_credentials.issue_credential(rt, world.caller(who), ref)
        assert ended.value.code == "definition-retired"
    world.clock.advance(minutes=15)
    with pytest.raises(UnauthenticatedError):
        world.caller("agent")
    assert refusal(world).code == "definition-retired"
    for act in (
        lambda: agent_definitions.change(rt, world.caller("lee"), "keeper", {"why": "x"}),
        lambda: agent_definitions.retire(rt, world.caller("lee"), "keeper", "Again."),
    ):
        with pytest.raises(CharterError) as late:
            act()
        assert late.value.code == "definition-retired"
    # Its name is free again, and means the new one.
    agent_definitions.define(rt, world.caller("lee"), KEEPER)
    assert sponsored(world, definition="keeper")["agent"]["definition_version"] == 1


@spec("ID-1", "ID-6")
def test_only_where_somebody_may_define_agents_do_they(defined: World) -> None:
    world, rt = defined, defined.rt
    for who in ("dana", "sam", "ria"):
        with pytest.raises(ForbiddenError):
            agent_definitions.define(rt, world.caller(who), {**KEEPER, "name": "mine"})
    with pytest.raises(ForbiddenError):  # the lead of payments, for another team
        agent_definitions.define(
            rt, world.caller("lee"), {**KEEPER, "name": "spy", "team": "search"}
        )
    with pytest.raises(ForbiddenError):  # nor is one handed to a team that is not hers
        agent_definitions.change(
            rt, world.caller("lee"), "keeper", {"team": "search", "why": "Yours."}
        )
    implied = sponsored(world)["agent"]["definition_id"]
    with pytest.raises(CharterError) as refused:
        agent_definitions.change(rt, world.admin, implied, {"tier": "trusted", "why": "x"})
    assert refused.value.code == "definition-implied"
    listed = agent_definitions.list_page(rt, world.admin)["items"]
    assert [d["name"] for d in listed] == ["keeper"]


# --- what policy sets ---------------------------------------------------------------------------
def with_policy(world: World, **changed: Any) -> None:
    """Put the starter in force with these entries of data/agents.json."""
    files = {path: BRIEF.text(path) for path in BRIEF.files}
    data = {**json.loads(files["data/agents.json"]), **changed}
    policies.apply(world.rt, world.admin, {**files, "data/agents.json": json.dumps(data)}, "")


@spec("ID-6")
def test_policy_may_ask_for_a_definition(defined: World) -> None:
    world = defined
    with_policy(world, without_definition=False)
    with pytest.raises(ForbiddenError) as refused:
        sponsored(world)
    assert refused.value.code == "definition-needed"
    assert sponsored(world, definition="keeper")["agent"]["definition"] == "keeper"


@spec("ID-7")
def test_an_agent_of_an_agent_needs_policy_and_is_never_wider(world: World) -> None:
    parent = sponsored(world, minutes=30)
    with pytest.raises(ForbiddenError) as refused:
        sponsored(world, parent=parent["agent"]["id"])
    assert refused.value.code == "no-sub-agents"
    with_policy(world, sub_agents={"allowed": True, "depth": 1})
    with pytest.raises(ForbiddenError) as refused:
        sponsored(
            world,
            parent=parent["agent"]["id"],
            tier="standard",
            minutes=31,
            repositories=["git.example.org/payments/web"],
        )
    assert refused.value.details["rules"] == [
        "invariant/sub-agent-tier",
        "invariant/sub-agent-repositories",
        "invariant/sub-agent-deadline",
    ]
    child = sponsored(world, parent=parent["agent"]["id"], name="helper", minutes=20)["agent"]
    with pytest.raises(ForbiddenError) as deep:
        sponsored(world, parent=child["id"], minutes=10)
    assert "invariant/sub-agent-depth" in deep.value.details["rules"]
    world.add_person("dora", ("developer", None), team="payments")
    with pytest.raises(ForbiddenError) as foreign:  # somebody else's agent as a parent
        sponsored(world, who="dora", parent=parent["agent"]["id"], minutes=10)
    assert foreign.value.code == "not-the-sponsor"


@spec("ID-7", "AG-4")
def test_a_parent_gives_its_child_a_credential_with_the_chain_and_takes_it_along(
    world: World,
) -> None:
    with_policy(world, sub_agents={"allowed": True, "depth": 2})
    parent = sponsored(world)
    child = sponsored(world, parent=parent["agent"]["id"], name="helper", minutes=30)["agent"]
    other = sponsored(world, name="other")
    with TestClient(build_api(world.rt), raise_server_exceptions=False) as http:
        for wrong in (other["credential"]["token"], "nonsense"):
            assert exchange(http, wrong, client_id=child["id"]).status_code == 400
        narrow = exchange(
            http, world.tokens["dana"], client_id=parent["agent"]["id"], scope="workspace.view"
        ).json()["access_token"]
        wider = exchange(http, narrow, client_id=child["id"], scope="workspace.create")
        assert wider.json()["error"] == "invalid_scope"
        held = exchange(http, narrow, client_id=child["id"]).json()
        assert held["scope"] == "workspace.view"
        fresh = exchange(http, world.tokens["dana"], client_id=parent["agent"]["id"]).json()
        answer = exchange(http, fresh["access_token"], client_id=child["id"])
        assert answer.status_code == 200, answer.text
        token = answer.json()["access_token"]
        claims = json.loads(_payload(token))
        assert claims["act"] == {"sub": child["id"], "act": {"sub": parent["agent"]["id"]}}
        assert claims["sub"] == world.caller("dana").id
        world.tokens["child"] = token
        box = WorkspaceRequest(
            name="box", template="python", size="agent", egress_allowlist=["git.example.org"]
        )
        ws.create(world.rt, world.caller("child"), box)
        report = agents.kill(world.rt, world.caller("sam"), parent["agent"]["id"], "Astray.")
        assert len(report["workspaces"]) == 1
        with pytest.raises(UnauthenticatedError):
            world.caller("child")
        assert agents.get(world.rt, world.caller("dana"), child["id"])["state"] == "killed"
        assert exchange(http, fresh["access_token"], client_id=child["id"]).status_code == 400


def _payload(token: str) -> bytes:
    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
