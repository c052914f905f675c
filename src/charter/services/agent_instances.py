"""What a new instance is an instance of, and whom it works for: checked before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from charter.core.access.sub_agents import sub_agent_bound
from charter.core.access.subjects import Human
from charter.core.agents.definitions import Definition, instance_bound
from charter.core.agents.tiers import Tier
from charter.core.kernel.decision import Violation
from charter.core.kernel.errors import ForbiddenError
from charter.services import agent_definitions
from charter.services import agent_records as records
from charter.services.access import missing
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_agent
from charter.store.unit_of_work import Tx


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the instance will be bound by. An implied definition is not written down yet."""

    definition: Definition
    parent_id: str | None

    def kept(self, tx: Tx, caller: Caller) -> Definition:
        """The definition, in the database in any case."""
        if self.definition.id:
            return self.definition
        return agent_definitions.keep_implied(tx, caller, self.definition)


def bounds(
    rt: Runtime,
    tx: Tx,
    caller: Caller,
    request: Mapping[str, Any],
    *,
    team_id: str,
    deadline: datetime,
) -> Bounds:
    """The definition and parent that `request` names; raises where it is wider than they are."""
    if not isinstance(caller.subject, Human):
        raise ForbiddenError("Only people sponsor agents.", fix="Ask your sponsor.")
    settings = rt.policy.active(tx).data.agents
    if request.get("definition") is not None:
        definition = agent_definitions.named(tx, caller, request["definition"])
    elif settings.without_definition:
        definition = agent_definitions.implied(request, team_id=team_id, person_id=caller.id)
    else:
        raise ForbiddenError(
            "Agents run by a definition here, and none was named.",
            fix="Name one: charter agent definitions shows those that you may run.",
            code="definition-needed",
        )
    tier, repositories = Tier(request["tier"]), list(request["repositories"])
    found = instance_bound(
        definition,
        person_id=caller.id,
        teams=caller.subject.teams,
        tier=tier,
        repositories=repositories,
        seconds=request["minutes"] * 60,
    )
    parent_id = None
    if request.get("parent") is not None:
        parent_id = records.find(tx, caller, request["parent"])
        if not settings.sub_agents:
            raise ForbiddenError(
                "Policy does not let agents have agents of their own.",
                fix="Leave the parent out: the agent then works for you alone.",
                code="no-sub-agents",
            )
        parent = load_agent(tx, parent_id)
        if parent is None:
            raise missing("agent")
        found += sub_agent_bound(
            parent,
            person_id=caller.id,
            tier=tier,
            repositories=repositories,
            deadline=deadline,
            deepest=settings.sub_agents_depth,
            now=tx.now,
        )
    _refuse(found)
    return Bounds(definition, parent_id)


def _refuse(found: Sequence[Violation]) -> None:
    if not found:
        return
    raise ForbiddenError(
        " ".join(violation.message for violation in found),
        fix=" ".join(dict.fromkeys(violation.fix for violation in found)),
        code=found[0].rule.removeprefix("invariant/"),
        details={"rules": [violation.rule for violation in found]},
    )
