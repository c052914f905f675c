"""What no policy can allow: tables of who may do what to which thing, and why not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.invariants import invariants, visible
from charter.core.access.permissions import READS, Permission
from charter.core.access.reach import may_reach, reach_set, voting_roles
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import ORGANISATION, RoleName
from charter.core.access.subjects import Agent
from charter.core.agents.tasks import TaskState
from charter.core.agents.tiers import Tier
from tests.core.access.people import (
    AGENTS,
    DANA,
    HUMANS,
    KIM,
    LATER,
    LEE,
    NOW,
    RED,
    RESOURCES,
    ROOT,
    SAM,
    SHOP,
    TASK,
    VIEW,
    agent,
    person,
    workspace,
)
from tests.spec import spec


def rules(subject, action: str, resource: ResourceRef, now=NOW) -> set[str]:
    found = invariants(subject, Permission(action), resource, now)
    assert all(v.fix and v.message.endswith(".") for v in found)
    return {v.rule.removeprefix("invariant/") for v in found}


HERS = workspace(DANA)
NEW = workspace(DANA, id_=None)
POLICY = ResourceRef("policy")
ALL_WORKSPACES = ResourceRef("workspace")

PEOPLE = [
    # who, what, to which thing, the rules that forbid it
    (DANA, "workspace.create", NEW, set()),
    (DANA, "workspace.create", workspace(DANA, None, id_=None), set()),
    (DANA, "workspace.create", workspace(DANA, "blue", id_=None), {"reach"}),
    (DANA, "workspace.create", workspace(KIM, "red", id_=None), {"reach"}),
    (LEE, "workspace.create", workspace(LEE, None, id_=None), {"permission"}),
    (VIEW, "workspace.create", workspace(VIEW, None, id_=None), {"permission"}),
    (DANA, "workspace.stop", HERS, set()),
    (LEE, "workspace.stop", HERS, set()),
    (ROOT, "workspace.stop", HERS, set()),
    (SAM, "workspace.stop", HERS, set()),
    (SAM, "workspace.start", HERS, {"permission"}),
    (VIEW, "workspace.stop", HERS, {"permission"}),
    (KIM, "workspace.stop", HERS, {"not-visible"}),
    (KIM, "workspace.view", HERS, {"not-visible"}),
    (DANA, "workspace.view", workspace(KIM, "red"), {"not-visible"}),
    (LEE, "workspace.stop", workspace(KIM, "blue"), {"not-visible"}),
    # managing somebody's workspace is not being let into it
    (DANA, "workspace.execute", HERS, set()),
    (LEE, "workspace.execute", HERS, {"reach"}),
    (ROOT, "workspace.read-files", HERS, {"reach"}),
    (SAM, "workspace.read-files", HERS, {"permission"}),
    # a sponsor owns what the agent owns
    (DANA, "workspace.read-files", workspace(agent()), set()),
    (DANA, "agent.kill", ResourceRef("agent", "agt_1", "agt_1", "agent", DANA.id, "red"), set()),
    (LEE, "agent.kill", ResourceRef("agent", "agt_1", "agt_1", "agent", DANA.id, "red"), set()),
    (LEE, "agent.kill", ResourceRef("agent", team_id="red"), set()),
    (LEE, "agent.kill", ResourceRef("agent", team_id="blue"), {"permission"}),
    (LEE, "agent.kill", ResourceRef("agent"), {"permission"}),
    (SAM, "agent.kill", ResourceRef("agent"), set()),
    # collections may be asked for by everybody who sees a part of them
    (DANA, "workspace.view", ALL_WORKSPACES, set()),
    (LEE, "workspace.view", ALL_WORKSPACES, set()),
    (LEE, "usage.view-team", ResourceRef("usage"), set()),
    (DANA, "usage.view-team", ResourceRef("usage"), {"permission"}),
    # what belongs to everybody
    (LEE, "template.view", ResourceRef("template", "tpl_1"), set()),
    (LEE, "policy.view", POLICY, set()),
    (ROOT, "policy.apply", POLICY, set()),
    (SAM, "policy.apply", POLICY, {"permission"}),
    (person("boss", ("platform-admin", RED)), "policy.apply", POLICY, {"permission"}),
    (ROOT, "role.bind", ResourceRef("binding"), set()),
    (LEE, "role.bind", ResourceRef("binding"), {"permission"}),
    (DANA, "token.manage", ResourceRef("token", "tok_1", DANA.id), set()),
    (KIM, "token.manage", ResourceRef("token", "tok_1", DANA.id), {"not-visible"}),
    (ROOT, "token.manage", ResourceRef("token", "tok_1", DANA.id), {"not-visible"}),
]


@spec("ID-1")
@pytest.mark.parametrize(
    ("who", "action", "thing", "expected"),
    PEOPLE,
    ids=lambda value: getattr(value, "handle", None) or (value if isinstance(value, str) else ""),
)
def test_what_people_may_do(who, action, thing, expected) -> None:
    assert rules(who, action, thing) == expected


@spec("ID-3")
def test_a_deactivated_person_may_do_nothing() -> None:
    gone = replace(DANA, active=False)
    assert rules(gone, "workspace.stop", HERS) == {"deactivated"}
    assert rules(gone, "template.view", ResourceRef("template")) == {"deactivated"}


def request(requester: str, sponsor: str | None = None, team: str | None = "red") -> ResourceRef:
    return ResourceRef(
        "approval", "apr_1", requester_id=requester, sponsor_id=sponsor, team_id=team
    )


@spec("ID-9", "AP-1")
@pytest.mark.parametrize(
    ("who", "thing", "expected"),
    [
        (LEE, request(DANA.id), set()),
        (ROOT, request(DANA.id), set()),
        (LEE, request(KIM.id, team="blue"), {"not-visible"}),
        (LEE, request(LEE.id), {"own-request"}),
        (ROOT, request(ROOT.id), {"own-request"}),
        (LEE, request("agt_1", LEE.id), {"own-request"}),
        (LEE, request("agt_1", DANA.id), set()),
        (DANA, request(DANA.id), {"permission", "own-request"}),
        (VIEW, request(DANA.id), {"not-visible"}),
    ],
)
def test_who_may_vote(who, thing, expected) -> None:
    assert rules(who, "approval.vote", thing) == expected


@spec("AP-1")
def test_the_roles_that_a_vote_counts_with() -> None:
    both = person("mo", ("team-lead", ORGANISATION), ("platform-admin", RED), teams="blue")
    assert voting_roles(both, request(DANA.id), NOW) == {RoleName.PLATFORM_ADMIN}
    assert voting_roles(both, request(DANA.id, team="blue"), NOW) == {RoleName.TEAM_LEAD}
    assert voting_roles(replace(both, active=False), request(DANA.id), NOW) == frozenset()
    assert voting_roles(both, ResourceRef("approval"), NOW) == frozenset()


READ_ONLY, SANDBOXED = agent(tier=Tier.READ_ONLY), agent()
STANDARD, TRUSTED = agent(tier=Tier.STANDARD), agent(tier=Tier.TRUSTED)
CHANGE = ResourceRef(
    "change", "pr_1", owner_id="per_x", team_id="red", repository="shop", task_id=None
)
OWN_CHANGE = replace(CHANGE, owner_id="agt_1")

AGENT_TABLE = [
    (READ_ONLY, "workspace.create", workspace(READ_ONLY, id_=None), set()),
    (READ_ONLY, "workspace.read-files", workspace(READ_ONLY), set()),
    (READ_ONLY, "workspace.execute", workspace(READ_ONLY), {"tier"}),
    (READ_ONLY, "workspace.write-files", workspace(READ_ONLY), {"tier"}),
    (SANDBOXED, "workspace.execute", workspace(SANDBOXED), set()),
    (SANDBOXED, "workspace.write-files", workspace(SANDBOXED), set()),
    (SANDBOXED, "code.propose", CHANGE, {"tier"}),
    (STANDARD, "code.propose", CHANGE, set()),
    (STANDARD, "code.merge", CHANGE, {"tier"}),
    (TRUSTED, "code.merge", CHANGE, set()),
    (TRUSTED, "code.merge", OWN_CHANGE, {"own-change"}),
    (TRUSTED, "code.merge", replace(CHANGE, repository="site"), {"task-scope"}),
    (TRUSTED, "code.merge", replace(CHANGE, repository=None), {"task-scope"}),
    # only its own things, of its own task, in its own repositories
    (SANDBOXED, "workspace.create", workspace(SANDBOXED, id_=None, task_id=None), {"task-scope"}),
    (SANDBOXED, "workspace.create", workspace(SANDBOXED, id_=None, task_id="t"), {"task-scope"}),
    (
        SANDBOXED,
        "workspace.create",
        workspace(SANDBOXED, id_=None, repository="site"),
        {"task-scope"},
    ),
    (SANDBOXED, "workspace.execute", HERS, {"not-visible"}),
    (SANDBOXED, "workspace.view", ALL_WORKSPACES, set()),
    (SANDBOXED, "template.view", ResourceRef("template", "tpl_1"), set()),
    (SANDBOXED, "workspace.create", replace(NEW, task_id="tsk_1"), {"reach"}),
    (SANDBOXED, "task.close", ResourceRef("task", "tsk_1", sponsor_id=DANA.id), set()),
    (SANDBOXED, "task.close", ResourceRef("task", "tsk_1", team_id="red"), set()),
    (SANDBOXED, "task.close", ResourceRef("task", "tsk_2", sponsor_id=DANA.id), {"not-visible"}),
    (SANDBOXED, "agent.view", ResourceRef("agent", "agt_1", sponsor_id=DANA.id), set()),
    # never, in any tier
    (TRUSTED, "workspace.extend", workspace(TRUSTED), {"permission"}),
    (TRUSTED, "agent.create", ResourceRef("agent", owner_id="agt_1"), {"permission"}),
    (TRUSTED, "approval.vote", request("agt_1"), {"agent-never-approves", "delegation-bound"}),
    # a workspace in a team that its sponsor does not belong to
    (
        SANDBOXED,
        "workspace.create",
        workspace(SANDBOXED, "blue", id_=None),
        {"delegation-bound"},
    ),
]


@spec("AG-1", "ID-6", "ID-9")
@pytest.mark.parametrize(("who", "action", "thing", "expected"), AGENT_TABLE)
def test_what_agents_may_do(who, action, thing, expected) -> None:
    assert rules(who, action, thing) == expected


@spec("AG-2")
def test_an_agent_acts_only_while_its_task_is_open() -> None:
    mine = workspace(SANDBOXED)
    assert rules(SANDBOXED, "workspace.execute", mine, LATER) == {"task-ended"}
    closed = agent(task=replace(TASK, state=TaskState.COMPLETED))
    assert rules(closed, "workspace.execute", mine) == {"task-ended"}
    assert "task-scope" in rules(agent(task=None), "workspace.execute", mine)


@spec("AG-4")
def test_a_killed_agent_may_do_nothing() -> None:
    assert rules(agent(active=False), "workspace.view", workspace(SANDBOXED)) == {"deactivated"}


@spec("ID-7")
def test_the_narrower_of_agent_tier_and_task_tier_counts() -> None:
    careful = agent(tier=Tier.TRUSTED, task=replace(TASK, tier=Tier.READ_ONLY))
    assert rules(careful, "workspace.execute", workspace(careful)) == {"tier"}


ACTIONS = st.sampled_from(Permission)


@spec("ID-7")
@given(AGENTS, ACTIONS, RESOURCES)
def test_what_an_agent_may_do_its_sponsor_may_do_to_a_thing_of_their_own(
    someone, action, thing
) -> None:
    if invariants(someone, action, thing, NOW):
        return
    sponsor = someone.sponsor
    own = replace(thing, sponsor_id=sponsor.id) if thing.id or thing.owner_id else thing
    assert may_reach(sponsor, action, own, NOW) is None
    assert sponsor.active
    assert someone.active
    assert action is not Permission.APPROVAL_VOTE


@spec("ID-9")
@given(HUMANS | AGENTS, RESOURCES)
def test_nobody_approves_their_own_request(someone, thing) -> None:
    found = {v.rule for v in invariants(someone, Permission.APPROVAL_VOTE, thing, NOW)}
    own = someone.id in (thing.requester_id, thing.sponsor_id)
    assert not (own or isinstance(someone, Agent)) or found


@spec("ID-1")
@given(HUMANS, ACTIONS, RESOURCES, st.data())
def test_losing_a_binding_never_allows_more(someone, action, thing, data) -> None:
    if not someone.bindings or not invariants(someone, action, thing, NOW):
        return
    gone = data.draw(st.integers(0, len(someone.bindings) - 1))
    fewer = replace(someone, bindings=someone.bindings[:gone] + someone.bindings[gone + 1 :])
    assert invariants(fewer, action, thing, NOW)


@spec("ID-1")
@given(HUMANS | AGENTS, ACTIONS, RESOURCES)
def test_what_is_not_visible_is_the_only_thing_said(someone, action, thing) -> None:
    found = invariants(someone, action, thing, NOW)
    hidden = not visible(someone, thing, NOW)
    assert ([v.rule for v in found] == ["invariant/not-visible"]) == hidden


@spec("ID-1")
@given(HUMANS, st.sampled_from(sorted(READS)), RESOURCES)
def test_a_list_shows_exactly_what_a_single_look_would(someone, action, thing) -> None:
    if thing.is_collection or thing.id is None:
        return
    reach = reach_set(someone, action, NOW)
    listed = (
        reach.everything
        or thing.team_id in reach.teams
        or thing.project_id in reach.projects
        or (reach.own and thing.belongs_to(someone.id))
    )
    if may_reach(someone, action, thing, NOW) is None:
        assert listed
    elif listed:  # own things in a scope where the role does not hold: known to exist, not usable
        assert thing.belongs_to(someone.id)


def test_the_reach_of_agents() -> None:
    assert reach_set(SANDBOXED, Permission.TEMPLATE_VIEW, NOW).everything
    own = reach_set(SANDBOXED, Permission.WORKSPACE_VIEW, NOW)
    assert (own.everything, own.teams, own.own) == (False, frozenset(), True)
    assert not reach_set(SANDBOXED, Permission.POLICY_APPLY, NOW).own


def test_the_reach_of_a_project_lead() -> None:
    lead = person("pat", ("team-lead", SHOP))
    assert reach_set(lead, Permission.WORKSPACE_VIEW, NOW).projects == {"shop"}
    assert rules(lead, "workspace.stop", workspace(KIM, "red", project_id="shop")) == set()
    assert rules(lead, "workspace.stop", workspace(KIM, "red")) == {"not-visible"}
