"""What Python itself says to a request that an external enforcement point brings.

Where Charter knows the subject, the ordinary invariants hold. Two cases remain. Somebody whom
Charter does not know has no roles here, so only policy can speak about them, with one exception: an
*agent* always has a sponsor known to Charter (Spec ID-6), so an unknown one is refused unless the
point is trusted to bring agents of its own. And an action outside Charter's vocabulary cannot be
held against roles; for people policy alone judges it, and agents, whose role is a closed list, do
not get it.

A request without a subject, an action or a resource is refused: silence is no consent.

Source: Spec PC-2, PC-12, ID-6, AG-2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from charter.core.access.refusal import refuse
from charter.core.access.subjects import Agent, Subject
from charter.core.kernel.decision import Violation


def incomplete(document: Mapping[str, Any]) -> Iterator[Violation]:
    """A violation for each part that a decision cannot do without."""
    for part, key in (("subject", "id"), ("action", "name"), ("resource", "kind")):
        if not document[part].get(key):
            yield refuse(
                "incomplete-request",
                f"The request does not say {part}.{key}.",
                "Let the enforcement point send subject.id, action.name and resource.kind.",
                source="Spec PC-2",
            )


def stranger(document: Mapping[str, Any], *, own_agents: bool) -> Iterator[Violation]:
    """What stands against a subject whom Charter does not know."""
    if document["subject"].get("kind") == "system":
        yield refuse(
            "system-by-claim",
            "An enforcement point cannot speak for a system of Charter's own.",
            "Name the person, agent or service account that asks.",
            source="Spec ID-3",
        )
    if document["subject"].get("kind") == "agent" and not own_agents:
        yield refuse(
            "unknown-agent",
            "Charter does not know this agent, so nobody answers for it.",
            "Sponsor it here (charter agent create), or let an administrator trust this "
            "enforcement point to bring its own agents (setting own_agents).",
            source="Spec ID-6",
        )


def outside_vocabulary(subject: Subject, action: str) -> Iterator[Violation]:
    """What stands against a known subject in an action for which Charter has no permission."""
    if not subject.active:
        yield refuse(
            "deactivated",
            "This identity has been switched off and may do nothing.",
            "Ask a platform-admin to reactivate it.",
            source="Spec ID-3",
        )
    elif isinstance(subject, Agent):
        yield refuse(
            "permission",
            f"The role of agents does not include {action}.",
            "Ask the sponsor to do it, or to ask somebody who may.",
            source="Spec ID-6",
        )
