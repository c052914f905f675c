"""Agents of agents: one that works for another is never wider than that one.

What it may do is bound at every request (`delegation.py`). Here is what is looked at when it is
started: it answers to the same person, in the repositories, the tier and the time of its parent.

Source: Spec ID-7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from charter.core.access.delegation import effective_tier
from charter.core.access.reach import task_repositories
from charter.core.access.refusal import refuse
from charter.core.access.subjects import Agent
from charter.core.agents.tasks import task_open
from charter.core.agents.tiers import Tier
from charter.core.kernel.decision import Violation

_SOURCE = "Spec ID-7"


def depth(agent: Agent) -> int:
    """How many agents this one works for, one for the other."""
    return 0 if agent.parent is None else 1 + depth(agent.parent)


def sub_agent_bound(
    parent: Agent,
    *,
    person_id: str,
    tier: Tier,
    repositories: Iterable[str],
    deadline: datetime,
    deepest: int,
    now: datetime,
) -> tuple[Violation, ...]:
    """Everything in which an agent that is to work for `parent` would be wider than it."""
    if parent.sponsor.id != person_id:
        return (
            refuse(
                "not-the-sponsor",
                "Only the sponsor of an agent starts agents that work for it.",
                "Ask the sponsor.",
                source=_SOURCE,
            ),
        )
    return tuple(_wider(parent, tier, repositories, deadline, deepest, now))


def _wider(
    parent: Agent,
    tier: Tier,
    repositories: Iterable[str],
    deadline: datetime,
    deepest: int,
    now: datetime,
) -> Iterator[Violation]:
    if not parent.active or parent.task is None or not task_open(parent.task, now):
        yield refuse(
            "parent-ended",
            "The agent that it is to work for has ended.",
            "Sponsor an agent of its own for the work.",
            source=_SOURCE,
        )
        return
    if depth(parent) + 1 > deepest:
        yield refuse(
            "sub-agent-depth",
            f"Agents work for agents {deepest} deep at most here.",
            "Let it work for the first agent, or for you.",
            source=_SOURCE,
        )
    widest = effective_tier(parent, now)
    if tier.rank > widest.rank:
        yield refuse(
            "sub-agent-tier",
            f"The agent that it is to work for runs in the {widest} tier, and {tier} is wider.",
            f"Ask for {widest} or a narrower tier.",
            source=_SOURCE,
        )
    outside = sorted(set(repositories) - task_repositories(parent, now))
    if outside:
        yield refuse(
            "sub-agent-repositories",
            f"The agent that it is to work for may not work in {', '.join(outside)}.",
            "Choose among the repositories of that agent's task.",
            source=_SOURCE,
        )
    if deadline > parent.task.deadline:
        yield refuse(
            "sub-agent-deadline",
            "It would outlive the task of the agent that it is to work for.",
            "Give it less time.",
            source=_SOURCE,
        )
