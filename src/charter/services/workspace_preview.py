"""What would be decided about a workspace, while it is being asked for.

Nothing is stored or reserved. A request that would not pass comes back with the smallest change of
it that would, where one is found in the little time that somebody who is typing has.
"""

from __future__ import annotations

from typing import Any

from charter.core.resources.amounts import DIMENSIONS
from charter.services import quotas, suggestions
from charter.services.decisions import preview as ask_preview
from charter.services.runtime import Caller, Runtime
from charter.services.workspace_questions import (
    WorkspaceRequest,
    create_question,
    quota_scopes_to_ask,
    resolve_plan,
)


def preview(rt: Runtime, caller: Caller, request: WorkspaceRequest) -> dict[str, Any]:
    """What would be decided now; `suggestion` is None for what would pass, or was not found."""
    with rt.database.unit_of_work() as tx:
        plan = resolve_plan(rt, tx, caller, request)
        scopes = quota_scopes_to_ask(tx, caller, plan)
        quotas.ensure(rt, tx, scopes)
        answer = ask_preview(rt, tx, create_question(rt, tx, caller, plan, lock=False))
        lines = quotas.lines(tx, scopes)
        bundle = rt.policy.active(tx).bundle
        passes = answer.decision.allowed
        known = None if passes else suggestions.known_to(tx, answer.facts, now=True)
    return {
        "decision": answer.as_json(),
        "suggestion": None
        if known is None
        else suggestions.for_preview(rt, bundle, answer.facts, known),
        "amounts": {
            "name": request.size,
            **{d: plan.amount.of(d) for d in DIMENSIONS if d != "workspaces"},
        },
        "quota": [
            {
                "scope": line.name,
                "dimension": d,
                "limit": line.limit.of(d),
                "used": line.used.of(d),
                "after": line.used.of(d) + plan.amount.of(d),
            }
            for line in lines
            for d in DIMENSIONS
            if plan.amount.of(d)
        ],
    }
