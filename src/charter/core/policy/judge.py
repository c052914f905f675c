"""From stored facts to a decision: the one function that live decisions and replays share.

`facts` is a JSON document with everything a decision depends on besides the bundle:

* `document`: the decision document that policy sees (its `context.now` is the time of judgement);
* `subject`, `resource`: what the invariants see;
* `quota`: the lines and the wanted amount, where something is to be reserved;
* `grants`: approvals given before;
* `known_obligations`: what the enforcement point can carry out;
* `enforcement_point`: there only when an external point brought the document: its id, and whether
  it may bring its own agents. Then `subject` is null for somebody whom Charter does not know.

Because a live decision is made *from these facts* and not beside them, a replay cannot drift.

Source: Spec PC-2, PC-6; design, rule 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from charter.core.access.external import incomplete, outside_vocabulary, stranger
from charter.core.access.invariants import invariants
from charter.core.access.permissions import Permission
from charter.core.access.resource import ResourceRef
from charter.core.access.snapshot import resource_from_json, subject_from_json
from charter.core.access.subjects import Subject, System
from charter.core.access.systems import for_system
from charter.core.kernel.canonical import parse_rfc3339, rfc3339
from charter.core.kernel.decision import Decision, Violation
from charter.core.policy.decide import GrantView, decide
from charter.core.policy.result import PolicyFailure, PolicyOutcome
from charter.core.resources.amounts import Amount
from charter.core.resources.quotas import QuotaLine, may_reserve

_VOCABULARY: Final = frozenset(Permission)


def quota_json(lines: tuple[QuotaLine, ...], wanted: Amount) -> dict[str, object]:
    """What is to be reserved, against which lines, as facts."""
    return {
        "wanted": wanted.as_json(),
        "lines": [
            {
                "scope": line.scope,
                "label": line.label,
                "limit": line.limit.as_json(),
                "used": line.used.as_json(),
            }
            for line in lines
        ],
    }


def grant_json(grant: GrantView) -> dict[str, object]:
    """A grant as facts."""
    return {
        "id": grant.id,
        "subject_id": grant.subject_id,
        "action": grant.action,
        "resource_digest": grant.resource_digest,
        "rules": sorted(grant.rules),
        "expires_at": rfc3339(grant.expires_at),
        "revoked_at": None if grant.revoked_at is None else rfc3339(grant.revoked_at),
    }


def _grant(stored: Mapping[str, Any]) -> GrantView:
    revoked = stored["revoked_at"]
    return GrantView(
        id=stored["id"],
        subject_id=stored["subject_id"],
        action=stored["action"],
        resource_digest=stored["resource_digest"],
        rules=frozenset(stored["rules"]),
        expires_at=parse_rfc3339(stored["expires_at"]),
        revoked_at=None if revoked is None else parse_rfc3339(revoked),
    )


def _quota_violations(stored: Mapping[str, Any] | None) -> tuple[Violation, ...]:
    if stored is None:
        return ()
    lines = [
        QuotaLine(line["scope"], Amount(**line["limit"]), Amount(**line["used"]), line["label"])
        for line in stored["lines"]
    ]
    return may_reserve(lines, Amount(**stored["wanted"]))


def _external_violations(facts: Mapping[str, Any]) -> tuple[Violation, ...]:
    """The invariants for a document that an external enforcement point brought."""
    document, point = facts["document"], facts["enforcement_point"]
    if missing := tuple(incomplete(document)):
        return missing
    if facts["subject"] is None:
        return tuple(stranger(document, own_agents=point["own_agents"]))
    subject = subject_from_json(facts["subject"])
    action = document["action"]["name"]
    if action not in _VOCABULARY and not isinstance(subject, System):
        return tuple(outside_vocabulary(subject, action))
    return _held_against(
        subject,
        Permission(action),
        resource_from_json(facts["resource"]),
        parse_rfc3339(document["context"]["now"]),
    )


def _held_against(
    subject: Subject | System, action: Permission, resource: ResourceRef, now: datetime
) -> tuple[Violation, ...]:
    if isinstance(subject, System):
        return tuple(for_system(subject, action))
    return invariants(subject, action, resource, now)


def judge_invariants(facts: Mapping[str, Any]) -> tuple[Violation, ...]:
    """What Python itself says about these facts, before any policy."""
    if "enforcement_point" in facts:
        return _external_violations(facts)
    document = facts["document"]
    now = parse_rfc3339(document["context"]["now"])
    return (
        *_held_against(
            subject_from_json(facts["subject"]),
            Permission(document["action"]["name"]),
            resource_from_json(facts["resource"]),
            now,
        ),
        *_quota_violations(facts.get("quota")),
    )


def judge(facts: Mapping[str, Any], policy: PolicyOutcome | PolicyFailure) -> Decision:
    """The decision on these facts, given what policy said of `facts["document"]`."""
    return decide(
        facts["document"],
        judge_invariants(facts),
        policy,
        [_grant(stored) for stored in facts["grants"]],
        frozenset(facts["known_obligations"]),
    )
