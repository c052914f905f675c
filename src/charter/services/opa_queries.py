"""OPA's data API on Charter's policy: what `data.<path>` is for an input.

Two paths are decisions of Charter's: `charter/decision` and `charter/allow` go through invariants,
policy and grants like every request and are stored and audited. Every other path asks the policy as
it is loaded (a single rule, a package, a document of settings): a look, not a decision.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.errors import UnavailableError
from charter.core.policy.external import external_document
from charter.core.policy.result import PolicyFailure
from charter.services.decisions import Answer
from charter.services.enforcement_points import EnforcementPoint
from charter.services.external_decisions import decide
from charter.services.runtime import Runtime

_DECISION: Final = ("charter", "decision")
_ALLOW: Final = ("charter", "allow")


class Queried(NamedTuple):
    """Whether the path is defined, its value, and the decision's id where one was made."""

    defined: bool
    value: Any
    decision_id: str | None


def query(rt: Runtime, point: EnforcementPoint, path: tuple[str, ...], document: object) -> Queried:
    """`data.<path>` for `document`; raises `UnavailableError` when the policy cannot be asked."""
    if path == _DECISION:
        answer = decide(rt, point, document)
        return Queried(True, spelled_for_opa(answer), answer.id)
    if path == _ALLOW:
        answer = decide(rt, point, document)
        return Queried(True, answer.decision.allowed, answer.id)
    if path[:1] == ("charter",) and path[1:2] not in (("sources",), ("facts",)):
        # Whatever else the aggregator says is a part of a decision: only the whole is one.
        return Queried(False, None, None)
    with rt.database.reading() as tx:
        policy = rt.policy.active(tx)
        given = external_document(document, point=point.as_policy_sees_it(), now=tx.now)
    found = policy.engine.query(path, canonical_json(given))
    if isinstance(found, PolicyFailure):
        raise UnavailableError(found.message, fix="Ask a platform admin.", code=found.code)
    return Queried(*found, None)


def spelled_for_opa(answer: Answer) -> dict[str, Any]:
    """The decision in the words of the aggregator's answer, with `allow` beside it."""
    decision = answer.decision.as_json()
    return {
        **decision,
        "allow": answer.decision.allowed,
        "violations": [{**v.as_json(), "id": v.rule} for v in answer.decision.violations],
    }
