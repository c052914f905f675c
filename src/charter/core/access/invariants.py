"""The invariants: what no policy can allow, checked before any policy is asked.

`invariants` answers with every reason at once, so that a person fixes a request in one go. The only
exception is existence: somebody who may not know that a thing exists gets that single violation
(`invariant/not-visible`) and services answer "not found", because a list of reasons would tell
them what they were not to learn. Own things are never hidden from their owner.

The rules, by id:

* `invariant/not-visible`: the subject may not know that the thing exists;
* `invariant/deactivated`: the person or agent has been switched off;
* `invariant/permission`: no role gives this permission here;
* `invariant/reach`, `invariant/task-scope`: a permission, but not for this thing;
* `invariant/task-ended`: the agent's task is closed or past its deadline;
* `invariant/tier`: outside the agent's tier;
* `invariant/credential-scope`: outside what the agent's credential was issued for;
* `invariant/delegation-bound`: more than the agent's sponsor may do now;
* `invariant/own-request`: approving what one asked for oneself, or one's own agent did;
* `invariant/break-glass-withheld`, `invariant/own-review`: what an emergency role does not give,
  and reviewing one's own emergency;
* `invariant/agent-never-approves`, `invariant/own-change`: an agent that votes, or merges its own
  change.

Source: Spec ID-1, ID-6, ID-7, ID-9, ID-11, AG-1, AG-2.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from charter.core.access.break_glass import withheld
from charter.core.access.delegation import delegation_reach, effective_tier, tier_permissions
from charter.core.access.permissions import BY_ENTITLEMENT, READS, VIEW_OF_KIND, Permission
from charter.core.access.reach import human_reaches, is_own, may_reach
from charter.core.access.refusal import refuse
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import (
    ROLE_PERMISSIONS,
    RoleName,
    permissions_anywhere,
    permissions_of,
    roles_granting,
)
from charter.core.access.subjects import Agent, Human, Subject
from charter.core.agents.tasks import task_open, task_state
from charter.core.agents.tiers import lowest_tier_with
from charter.core.kernel.decision import Violation

__all__ = ["ResourceRef", "invariants", "visible"]


def visible(subject: Subject, resource: ResourceRef, now: datetime) -> bool:
    """Whether the subject may know that this thing exists."""
    view = VIEW_OF_KIND.get(resource.kind)
    if resource.id is None or view is None or is_own(subject, resource):
        return True
    if isinstance(subject, Human):
        return subject.active and (
            subject.id in resource.entitled_ids or human_reaches(subject, view, resource, now)
        )
    return resource.kind == "template"


def invariants(
    subject: Subject, action: Permission, resource: ResourceRef, now: datetime
) -> tuple[Violation, ...]:
    """Every invariant that forbids `subject` to do `action` to `resource` now; empty if none."""
    if not visible(subject, resource, now):
        return (
            refuse(
                "not-visible",
                f"There is no such {resource.kind}, or it is not yours to know of.",
                "Check the identifier; if it is right, ask its owner or your team lead.",
                source="Spec ID-1",
            ),
        )
    if isinstance(subject, Human):
        return tuple(_for_human(subject, action, resource, now))
    return tuple(_for_agent(subject, action, resource, now))


def _for_human(
    human: Human, action: Permission, resource: ResourceRef, now: datetime
) -> Iterator[Violation]:
    if not human.active:
        yield refuse(
            "deactivated",
            f"{human.handle} is deactivated and may do nothing.",
            "Ask a platform-admin to reactivate the account.",
            source="Spec ID-3",
        )
        return
    if resource.is_collection and action in READS:
        held = permissions_anywhere(human.bindings, now)
    else:
        held = permissions_of(human.bindings, resource.chain, now)
    if action in BY_ENTITLEMENT and human.id in resource.entitled_ids:
        pass
    elif action not in held:
        roles = " or ".join(roles_granting(action))
        yield refuse(
            "permission",
            f"{human.handle} holds no role here that includes {action}.",
            f"Ask a platform-admin for the role {roles} in this scope, or ask somebody who has it.",
            source="Spec ID-1",
        )
    elif (out_of_reach := may_reach(human, action, resource, now)) is not None:
        yield out_of_reach
    elif (kept_back := withheld(human, action, resource, now)) is not None:
        yield kept_back
    if action is Permission.BREAK_GLASS_REVIEW and human.id == resource.owner_id:
        yield refuse(
            "own-review",
            "Nobody reviews their own emergency.",
            "Leave it to another reviewer.",
            source="Spec ID-11",
        )
    if action is Permission.APPROVAL_VOTE and human.id in (
        resource.requester_id,
        resource.sponsor_id,
    ):
        yield refuse(
            "own-request",
            "Nobody approves their own request, nor that of an agent they sponsor.",
            "Wait for another approver; the request names who may vote.",
            source="Spec ID-9",
        )


def _for_agent(
    agent: Agent, action: Permission, resource: ResourceRef, now: datetime
) -> Iterator[Violation]:
    if not agent.active:
        yield refuse(
            "deactivated",
            "This agent has been switched off and may do nothing.",
            "Its sponsor can start a new agent for the task.",
            source="Spec AG-4",
        )
        return
    if agent.task is not None and not task_open(agent.task, now):
        yield refuse(
            "task-ended",
            f"The agent's task has ended ({task_state(agent.task, now)}); "
            "an agent acts only while its task is open.",
            "Ask the sponsor to open a new task.",
            source="Spec AG-2",
        )
    yield from _agent_permission(agent, action, now)
    if (bound := delegation_reach(agent, action, resource, now)) is not None:
        yield bound
    if (out_of_reach := may_reach(agent, action, resource, now)) is not None:
        yield out_of_reach
    if action is Permission.CODE_MERGE and agent.id in (resource.owner_id, resource.requester_id):
        yield refuse(
            "own-change",
            "An agent never merges its own change.",
            "Ask a person to review and merge it.",
            source="Spec ID-9",
        )


def _agent_permission(agent: Agent, action: Permission, now: datetime) -> Iterator[Violation]:
    if action is Permission.APPROVAL_VOTE:
        yield refuse(
            "agent-never-approves",
            "Agents never approve anything; approvals are given by people.",
            "Ask the sponsor or a team lead to look at the request.",
            source="Spec ID-9",
        )
    elif action not in ROLE_PERMISSIONS[RoleName.AGENT]:
        yield refuse(
            "permission",
            f"The role of agents does not include {action}.",
            "Ask the sponsor to do it, or to ask somebody who may.",
            source="Spec ID-6",
        )
    elif action not in tier_permissions(agent, now):
        yield refuse(
            "tier",
            f"The {effective_tier(agent, now)} tier does not include {action}.",
            f"Ask for the {lowest_tier_with(action)} tier: a team lead can approve it for this "
            "task (charter agent elevate).",
            source="Spec AG-1",
        )
    elif agent.scope is not None and action not in agent.scope:
        yield refuse(
            "credential-scope",
            f"The credential was issued for less: {action} is not in its scope.",
            "Exchange for a credential whose scope includes it.",
            source="Spec ID-6",
        )
