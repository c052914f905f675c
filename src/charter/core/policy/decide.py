"""The decision point: invariants and policy and grants, merged into one answer.

Three voices speak to every request. *Invariants* are checked by Python and no policy can loosen
them. *Policy* is what the Rego bundle says, and an administrator changes it. *Grants* are approvals
that were given before: each covers the named approval rules, for one subject, one action, one
resource as it was approved, until it expires. A grant answers a "require approval"; it never
touches a deny.

`decide` is a pure function: the same document, the same policy answer and the same grants give the
same `Decision`, whenever it is computed again. Time comes from `context.now` of the document.

Source: Spec PC-2, AP-1, RG-5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from charter.core.kernel.canonical import digest, parse_rfc3339
from charter.core.kernel.decision import Decision, Effect, Violation, decide_from
from charter.core.policy.result import PolicyFailure, PolicyOutcome

UNAVAILABLE_RULE: Final = "invariant/policy-unavailable"
UNKNOWN_OBLIGATION_RULE: Final = "invariant/unknown-obligation"

_APPROVED_FIELDS: Final = ("kind", "spec", "labels", "owner", "team", "project", "data_class")
"""What an approver looked at. The id is left out: at the time of asking there is none yet."""

_MOVES_WITH_TIME: Final = frozenset({"deadline"})
"""Moments that follow from the time of asking. The span, which the approver saw, stands beside."""

_ALSO_COVERED: Final = {"workspace.create": frozenset({"workspace.start"})}
"""A yes to creating a workspace is a yes to starting that same workspace again while it lasts."""


@dataclass(frozen=True, slots=True)
class GrantView:
    """What the decision needs to know of a grant.

    `rules` are the ids of the approval rules it answers. `resource_digest` (of `resource_digest`)
    ties it to one resource as it was approved; None covers any resource, which only an
    approver's explicit choice may produce.
    """

    id: str
    subject_id: str
    action: str
    resource_digest: str | None
    rules: frozenset[str]
    expires_at: datetime
    revoked_at: datetime | None = None


def _part(document: Mapping[str, object], key: str) -> Mapping[str, object]:
    part = document.get(key)
    return part if isinstance(part, Mapping) else {}


def resource_digest(document: Mapping[str, object]) -> str:
    """The digest of the resource as an approver sees it: everything but its id and its state."""
    resource = _part(document, "resource")
    approved = {name: resource.get(name) for name in _APPROVED_FIELDS}
    spec = approved["spec"]
    if isinstance(spec, Mapping):
        approved["spec"] = {k: v for k, v in spec.items() if k not in _MOVES_WITH_TIME}
    return digest(approved)


def decision_time(document: Mapping[str, object]) -> datetime | None:
    """`context.now` of the document, or None when it is missing or unreadable."""
    now = _part(document, "context").get("now")
    if not isinstance(now, str):
        return None
    try:
        return parse_rfc3339(now)
    except ValueError:
        return None


def covers(
    grant: GrantView, rule: str, document: Mapping[str, object], now: datetime | None = None
) -> bool:
    """Whether `grant` answers the approval that `rule` asks for in this request.

    `now` defaults to the document's own time; without a time, nothing is covered.
    """
    moment = now or decision_time(document)
    action = _part(document, "action").get("name")
    return (
        moment is not None
        and rule in grant.rules
        and grant.revoked_at is None
        and moment < grant.expires_at
        and grant.subject_id == _part(document, "subject").get("id")
        and (action == grant.action or action in _ALSO_COVERED.get(grant.action, ()))
        and grant.resource_digest in (None, resource_digest(document))
    )


def _missing(violation: Violation, document: Mapping[str, object]) -> tuple[str, ...]:
    """What the approval request must carry and this document's context does not."""
    context = _part(document, "context")
    return tuple(name for name in violation.requires if not _given(context.get(name)))


def _given(value: object) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _spelled_out(violation: Violation, document: Mapping[str, object]) -> Violation:
    """An approval that lacks something says so in its fix."""
    missing = _missing(violation, document)
    if violation.effect is not Effect.REQUIRE_APPROVAL or not missing:
        return violation
    return replace(violation, fix=f"{violation.fix} Add first: {', '.join(missing)}.")


def _unavailable(failure: PolicyFailure) -> Violation:
    return Violation(
        rule=UNAVAILABLE_RULE,
        effect=Effect.DENY,
        message=f"No policy decision could be made ({failure.code}). {failure.message}",
        fix="Nothing was changed. Ask a platform admin to check `charter policy status`.",
        severity="critical",
    )


def _unknown_obligation(kind: str) -> Violation:
    return Violation(
        rule=UNKNOWN_OBLIGATION_RULE,
        effect=Effect.DENY,
        message=f"The policy demands '{kind}', which this enforcement point cannot do.",
        fix="Ask a platform admin to remove the obligation or to update Charter.",
        severity="high",
    )


def decide(
    document: Mapping[str, object],
    invariants: Iterable[Violation],
    policy: PolicyOutcome | PolicyFailure,
    grants: Sequence[GrantView] = (),
    known_obligations: AbstractSet[str] = frozenset(),
    now: datetime | None = None,
) -> Decision:
    """The decision on `document`.

    `invariants` are violations that Python found. `known_obligations` are the types which the
    caller can carry out. `now` defaults to the document's own `context.now`, which is what a
    replay uses; without either, no grant counts.

    An approval that is covered by a grant drops out of the reasons; the caller keeps the ids of the
    grants it used through `used_grants`.
    """
    if isinstance(policy, PolicyFailure):
        return decide_from((*invariants, _unavailable(policy)))
    spoken = [
        _spelled_out(violation, document)
        for violation in policy.violations
        if violation.effect is not Effect.REQUIRE_APPROVAL
        or not any(covers(grant, violation.rule, document, now) for grant in grants)
    ]
    unknown = sorted({o.type for o in policy.obligations} - known_obligations)
    return decide_from(
        (*invariants, *spoken, *map(_unknown_obligation, unknown)),
        policy.obligations,
        policy.shadow,
    )


def used_grants(
    document: Mapping[str, object],
    policy: PolicyOutcome | PolicyFailure,
    grants: Sequence[GrantView],
    now: datetime | None = None,
) -> tuple[str, ...]:
    """Ids of the grants that answered an approval in this request, for the record and `explain`."""
    if isinstance(policy, PolicyFailure):
        return ()
    asked = [v.rule for v in policy.violations if v.effect is Effect.REQUIRE_APPROVAL]
    return tuple(
        sorted(g.id for g in grants if any(covers(g, rule, document, now) for rule in asked))
    )
