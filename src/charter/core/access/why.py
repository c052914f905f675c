"""Why somebody may do something, step by step: bindings, reach, and for agents the delegation.

`steps` answers the question that a refusal leaves open: what was looked at, and what each of it
gave. Each binding of a person is one step, which says how far it carries; an agent's steps are the
four sets whose intersection it may do (its role, its tier, its task, its sponsor now), and the
scope of its credential where that is less. `matrix` is the same knowledge without a person: which
role holds which permission, and how far.

The steps explain the invariants and decide nothing: what counts is `invariants`, and a property
test holds that the two never disagree.

Source: Spec ID-1, ID-2, ID-7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from charter.core.access.delegation import (
    base_tier,
    delegation_reach,
    effective_tier,
    seen_by_sponsor,
    tier_permissions,
)
from charter.core.access.permissions import READS, Permission
from charter.core.access.reach import binding_reaches, may_reach
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import (
    ROLE_REACH,
    Binding,
    CustomRole,
    Reach,
    RoleName,
    ScopeKind,
    reach_of,
)
from charter.core.access.subjects import Agent, Human, Subject
from charter.core.agents.tasks import task_open, task_state
from charter.core.agents.tiers import TIER_PERMISSIONS

_REACHES = {
    Reach.OWN: "own things",
    Reach.TEAM: "the team's things",
    Reach.ALL: "everything there",
    Reach.SHARED: "what belongs to everybody",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at; `holds` says whether it speaks for the action.

    `of` is whose step it is (`role`, `binding`, `tier`, `task`, `scope`, `sponsor`,
    `sponsor-binding`, `account`); the scope is that of a binding, for its name to be put beside it.
    """

    of: str
    text: str
    holds: bool
    scope_kind: str | None = None
    scope_id: str | None = None


def steps(
    subject: Subject, action: Permission, resource: ResourceRef, now: datetime
) -> tuple[Step, ...]:
    """What speaks for and against `subject` doing `action` to `resource`, policy left out."""
    if isinstance(subject, Human):
        return tuple(_person(subject, action, resource, now, of="binding"))
    return tuple(_agent(subject, action, resource, now))


def _person(
    human: Human, action: Permission, resource: ResourceRef, now: datetime, *, of: str
) -> Iterator[Step]:
    if not human.active:
        yield Step("account", f"{human.handle} is deactivated", holds=False)
    if not human.bindings:
        yield Step(of, f"{human.handle} holds no role", holds=False)
    for binding in human.bindings:
        holds, why = _binding(human, binding, action, resource, now)
        yield Step(
            of,
            f"{human.handle} is {binding.role}: {why}",
            holds=holds and human.active,
            scope_kind=binding.scope.kind.value,
            scope_id=binding.scope.id,
        )


def _binding(
    human: Human, binding: Binding, action: Permission, resource: ResourceRef, now: datetime
) -> tuple[bool, str]:
    reach = binding.reach_of(action)
    if not binding.live(now):
        return False, "it has ended"
    if reach is None:
        return False, f"it does not include {action}"
    carries = f"{action} for {_REACHES[reach]}"
    if binding_reaches(human, binding, action, resource):
        return True, carries
    if not (resource.is_collection and action in READS) and not binding.covers(resource.chain):
        return False, f"{carries}, and this {resource.kind} lies outside its scope"
    if reach is Reach.TEAM and binding.scope.kind is ScopeKind.ORGANISATION:
        return False, f"{carries}, and the {resource.kind} is of no team of {human.handle}'s"
    return False, f"{carries}, and this {resource.kind} is not"


def _agent(
    agent: Agent, action: Permission, resource: ResourceRef, now: datetime
) -> Iterator[Step]:
    if not agent.active:
        yield Step("account", "the agent has been switched off", holds=False)
    included = action in ROLE_REACH[RoleName.AGENT]
    says = "includes" if included else "does not include"
    yield Step("role", f"the role of agents {says} {action}", holds=included)
    tier, within = effective_tier(agent, now), action in tier_permissions(agent, now)
    says = "includes" if within else "does not include"
    raised = "" if tier is base_tier(agent) else f" (raised from {base_tier(agent)} for its task)"
    given = within and action not in TIER_PERMISSIONS[tier]
    text = f"{action} was given to it for its task" if given else f"the {tier} tier {says} {action}"
    yield Step("tier", f"{text}{raised}", holds=within)
    yield from _task(agent, action, resource, now)
    if agent.scope is not None:
        within = action in agent.scope
        says = "includes" if within else "does not include"
        yield Step("scope", f"the scope of its credential {says} {action}", holds=within)
    sponsor = agent.sponsor
    bound = delegation_reach(agent, action, resource, now)
    says = "may do it now" if bound is None else "may not do it now"
    yield Step("sponsor", f"its sponsor {sponsor.handle} {says}", holds=bound is None)
    answered_for = seen_by_sponsor(agent, resource)
    yield from _person(sponsor, action, answered_for, now, of="sponsor-binding")


def _task(agent: Agent, action: Permission, resource: ResourceRef, now: datetime) -> Iterator[Step]:
    task = agent.task
    if task is None:
        yield Step("task", "it has no task", holds=False)
        return
    is_open = task_open(task, now)
    state = "open" if is_open else str(task_state(task, now))
    yield Step("task", f"its task is {state}", holds=is_open)
    outside = may_reach(agent, action, resource, now)
    text = f"this {resource.kind} is the task's" if outside is None else outside.message
    yield Step("task", text, holds=outside is None)


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """What one role holds of one permission: its reach, or None."""

    permission: Permission
    role: str
    reach: Reach | None


def matrix(custom: Iterable[CustomRole] = ()) -> tuple[MatrixCell, ...]:
    """Every permission and every role: the built-in ones in their order, then the `custom` ones."""
    roles: dict[str, CustomRole | str] = {role.value: role.value for role in RoleName}
    roles |= {role.name: role for role in custom}
    return tuple(
        MatrixCell(permission, name, reach_of(role, permission))
        for permission in Permission
        for name, role in roles.items()
    )
