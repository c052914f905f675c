"""Reach: holding a permission is one thing, holding it for *this* workspace is another.

For people, reach follows from the binding that carries the permission (`roles.py`): own things, the
team's, everything in scope, or things that are everybody's. For an agent there is one rule only:
its own things, for its own task, in the repositories of that task.

`reach_set` gives the same answer as a description, from which a service builds the filter of a
list, so that a list never shows a row which a single look-up would refuse.

Source: Spec ID-1, ID-6, AG-2.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from charter.core.access.permissions import READS, Permission
from charter.core.access.refusal import refuse
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import (
    ROLE_REACH,
    Binding,
    Reach,
    RoleName,
    ScopeKind,
    roles_granting,
)
from charter.core.access.subjects import Agent, Human, Subject
from charter.core.agents.elevation import in_force, raised_repositories
from charter.core.agents.tasks import TaskScope
from charter.core.kernel.decision import Violation

# Actions that place something new into a team, or reach into what is a team's, so that being the
# owner is not enough: the owner must belong there, or anybody could spend any team's quota.
_PLACING = frozenset(
    {
        Permission.WORKSPACE_CREATE,
        Permission.AGENT_CREATE,
        Permission.QUOTA_REQUEST,
        Permission.PRODUCTION_ACCESS,
    }
)

_AGENT_REACH = ROLE_REACH[RoleName.AGENT]

# Actions on code are aimed at a repository, not at something that the agent owns.
_ON_CODE = frozenset({Permission.CODE_PROPOSE, Permission.CODE_MERGE, Permission.PIPELINE_RUN})


def binding_reaches(
    human: Human, binding: Binding, action: Permission, resource: ResourceRef
) -> bool:
    """Whether this one binding, were it live, carries `action` as far as `resource`."""
    reach = binding.reach_of(action)
    if reach is Reach.SHARED or (reach and resource.is_collection and action in READS):
        return True
    if reach is None or not binding.covers(resource.chain):
        return False
    # A binding inside a team or project speaks for that place; one in the organisation only for
    # the teams that its holder is a member of.
    at_home = binding.scope.kind is not ScopeKind.ORGANISATION or resource.team_id in human.teams
    if reach is Reach.ALL or (reach is Reach.TEAM and at_home):
        return True
    welcome = action not in _PLACING or at_home or resource.team_id is None
    return welcome and resource.belongs_to(human.id)


def human_reaches(human: Human, action: Permission, resource: ResourceRef, now: datetime) -> bool:
    """Whether one of the person's live bindings carries `action` as far as `resource`."""
    return human.active and any(
        binding.live(now) and binding_reaches(human, binding, action, resource)
        for binding in human.bindings
    )


def voting_roles(human: Human, resource: ResourceRef, now: datetime) -> frozenset[str]:
    """The roles with which the person may vote on a request about `resource` (Spec AP-1)."""
    if not human.active:
        return frozenset()
    return frozenset(
        binding.role
        for binding in human.bindings
        if binding.live(now)
        and binding.break_glass is None  # nobody approves by an emergency
        and binding_reaches(human, binding, Permission.APPROVAL_VOTE, resource)
    )


def is_own(subject: Subject, resource: ResourceRef) -> bool:
    """Whether the thing is the subject's own business, and so no secret to it."""
    if isinstance(subject, Human):
        return resource.belongs_to(subject.id) or resource.id == subject.id
    own_task = subject.task is not None and resource.id == subject.task.id
    return (
        own_task
        or resource.id == subject.id
        or subject.id in (resource.owner_id, resource.requester_id)
    )


def task_repositories(agent: Agent, now: datetime) -> frozenset[str]:
    """The repositories that the agent may touch for its task at `now`; never more than a parent."""
    if agent.task is None:
        return frozenset()
    found = raised_repositories(agent.task, in_force(agent.elevations, agent.task, now))
    return found if agent.parent is None else found & task_repositories(agent.parent, now)


def may_reach(
    subject: Subject, action: Permission, resource: ResourceRef, now: datetime
) -> Violation | None:
    """Why `action` does not carry as far as `resource`; None when it does.

    Judges reach only: an agent's tier, its sponsor and the state of its task are judged by the
    delegation bound and the invariants.
    """
    if isinstance(subject, Human):
        return _human_reach(subject, action, resource, now)
    return _agent_reach(subject, action, resource, now)


def _human_reach(
    human: Human, action: Permission, resource: ResourceRef, now: datetime
) -> Violation | None:
    if human_reaches(human, action, resource, now):
        return None
    if action in _PLACING and resource.belongs_to(human.id):
        return refuse(
            "reach",
            f"{human.handle} does not belong to the team or project that this would be placed in.",
            "Choose one of your own teams, or ask for a role in that team or project.",
            source="Spec ID-1",
        )
    roles = " or ".join(roles_granting(action)) or "a role"
    return refuse(
        "reach",
        f"{human.handle} holds no role that carries {action} as far as this {resource.kind}.",
        f"Ask its owner, or somebody who is {roles} there.",
        source="Spec ID-1",
    )


def _agent_reach(
    agent: Agent, action: Permission, resource: ResourceRef, now: datetime
) -> Violation | None:
    task = agent.task
    if task is None:
        return refuse(
            "task-scope",
            "This agent has no task, so nothing lies within its scope.",
            "Ask the sponsor to give the agent a task.",
            source="Spec AG-2",
        )
    if resource.repository is not None and resource.repository not in task_repositories(agent, now):
        return refuse(
            "task-scope",
            f"The repository {resource.repository} does not belong to the agent's task.",
            "Work in the repositories of the task, or ask for this one for the task "
            "(charter agent elevate).",
            source="Spec ID-6",
        )
    if action in _ON_CODE and resource.repository is None:
        return refuse(
            "task-scope",
            f"{action} names no repository, so it cannot be held against the agent's task.",
            "Name the repository that the action is aimed at.",
            source="Spec ID-6",
        )
    shared = _AGENT_REACH.get(action) is Reach.SHARED
    if shared or action in _ON_CODE or (resource.is_collection and action in READS):
        return None
    return _agent_owns(agent, task, resource)


def _agent_owns(agent: Agent, task: TaskScope, resource: ResourceRef) -> Violation | None:
    other_task = resource.task_id != task.id
    if other_task and (resource.kind == "workspace" or resource.task_id is not None):
        return refuse(
            "task-scope",
            f"An agent uses only what belongs to its task; this {resource.kind} does not.",
            "Name the agent's task when creating it, and use what was made for this task.",
            source="Spec AG-2",
        )
    if is_own(agent, resource):
        return None
    return refuse(
        "reach",
        f"This {resource.kind} is not the agent's own.",
        "An agent acts on what it created for its task; ask the sponsor for anything else.",
        source="Spec ID-6",
    )


@dataclass(frozen=True, slots=True)
class ReachSet:
    """Which rows a subject may see: all, or those of these teams or projects, and its own."""

    everything: bool
    teams: frozenset[str]
    projects: frozenset[str]
    own: bool


def reach_set(subject: Subject, action: Permission, now: datetime) -> ReachSet:
    """How far `action` carries for `subject`, as a filter over many resources.

    Agrees with `may_reach` on things that already exist (not on placing new ones in a team). For
    an agent `own` means: owned, asked for or being the agent itself, and of its task.
    """
    teams: set[str] = set()
    projects: set[str] = set()
    everything = False
    own = False
    if isinstance(subject, Agent):
        everything = _AGENT_REACH.get(action) is Reach.SHARED
        return ReachSet(everything, frozenset(), frozenset(), own=action in _AGENT_REACH)
    for binding in subject.bindings if subject.active else ():
        reach = binding.reach_of(action)
        if reach is None or not binding.live(now):
            continue
        own = True
        if reach is Reach.SHARED:
            everything = True
        elif reach is not Reach.OWN:
            match binding.scope.kind:
                case ScopeKind.TEAM:
                    teams.add(binding.scope.id)
                case ScopeKind.PROJECT:
                    projects.add(binding.scope.id)
                case ScopeKind.ORGANISATION if reach is Reach.ALL:
                    everything = True
                case ScopeKind.ORGANISATION:
                    teams |= subject.teams
    return ReachSet(everything, frozenset(teams), frozenset(projects), own)
