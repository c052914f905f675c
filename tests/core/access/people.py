"""Short ways to write people, agents and things for the tests of this folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from charter.core.access.resource import ResourceRef
from charter.core.access.roles import ORGANISATION, Binding, RoleName, Scope, ScopeKind
from charter.core.access.subjects import Agent, Human
from charter.core.agents.tasks import TaskScope, TaskState
from charter.core.agents.tiers import Tier

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
RED, BLUE = Scope(ScopeKind.TEAM, "red"), Scope(ScopeKind.TEAM, "blue")
SHOP = Scope(ScopeKind.PROJECT, "shop")


def person(handle: str, *held: tuple[str, Scope], teams: str = "red", active: bool = True) -> Human:
    """`handle` with these roles in these scopes; `teams` are separated by spaces."""
    return Human(
        id=f"per_{handle}",
        handle=handle,
        bindings=tuple(Binding(RoleName(role), scope) for role, scope in held),
        teams=frozenset(teams.split()),
        active=active,
    )


DANA = person("dana", ("developer", ORGANISATION))
LEE = person("lee", ("team-lead", RED))
ROOT = person("root-admin", ("platform-admin", ORGANISATION), teams="")
SAM = person("sam", ("security-admin", ORGANISATION), teams="")
VIEW = person("viewer", ("read-only", ORGANISATION), teams="")
KIM = person("kim", ("developer", ORGANISATION), teams="blue")

TASK = TaskScope("tsk_1", frozenset({"shop"}), Tier.TRUSTED, LATER)


def agent(
    sponsor: Human = DANA,
    tier: Tier = Tier.SANDBOXED,
    task: TaskScope | None = TASK,
    *,
    active: bool = True,
) -> Agent:
    """The agent of `sponsor`."""
    return Agent("agt_1", sponsor, tier, task, "red", "crd_1", active)


def workspace(
    owner: Human | Agent, team: str | None = "red", *, id_: str | None = "ws_1", **facts: str | None
) -> ResourceRef:
    """A workspace of `owner`, or one to be created when `id_` is None."""
    is_agent = isinstance(owner, Agent)
    return ResourceRef(
        kind="workspace",
        id=id_,
        owner_id=owner.id,
        owner_kind="agent" if is_agent else "human",
        sponsor_id=owner.sponsor.id if is_agent else None,
        team_id=team,
        task_id=facts.get("task_id", owner.task.id if is_agent and owner.task else None),
        project_id=facts.get("project_id"),
        repository=facts.get("repository"),
    )


SCOPES = st.sampled_from([ORGANISATION, RED, BLUE, SHOP])
BINDINGS = st.lists(
    st.builds(
        Binding,
        st.sampled_from(RoleName),
        SCOPES,
        st.sampled_from([None, NOW - timedelta(seconds=1), NOW, LATER]),
    ),
    max_size=5,
).map(tuple)
HUMANS = st.builds(
    Human,
    id=st.sampled_from(["per_a", "per_b"]),
    handle=st.just("somebody"),
    bindings=BINDINGS,
    teams=st.frozensets(st.sampled_from(["red", "blue"])),
    session=st.none(),
    active=st.booleans() | st.just(value=True),
)
TASKS = st.none() | st.builds(
    TaskScope,
    id=st.sampled_from(["tsk_1", "tsk_2"]),
    repositories=st.frozensets(st.sampled_from(["shop", "site"])),
    tier=st.sampled_from(Tier),
    deadline=st.sampled_from([NOW, LATER]) | st.just(LATER),
    state=st.just(TaskState.OPEN) | st.sampled_from(TaskState),
)
AGENTS = st.builds(
    Agent,
    id=st.sampled_from(["agt_1", "agt_2"]),
    sponsor=HUMANS,
    tier=st.sampled_from(Tier),
    task=TASKS,
    team_id=st.sampled_from([None, "red"]),
    credential_id=st.just("crd_1"),
    active=st.booleans() | st.just(value=True),
)
OWNERS = st.sampled_from([None, "per_a", "per_b", "agt_1", "agt_2"])
RESOURCES = st.builds(
    ResourceRef,
    kind=st.sampled_from(
        ["workspace", "agent", "approval", "template", "policy", "decision", "change", "task"]
    ),
    id=st.sampled_from([None, "ws_1", "agt_1", "tsk_1", "per_a"]),
    owner_id=OWNERS,
    owner_kind=st.none(),
    sponsor_id=st.sampled_from([None, "per_a", "per_b"]),
    team_id=st.sampled_from([None, "red", "blue"]),
    project_id=st.sampled_from([None, "shop"]),
    task_id=st.sampled_from([None, "tsk_1", "tsk_2"]),
    requester_id=OWNERS,
    repository=st.sampled_from([None, "shop", "other"]),
)
