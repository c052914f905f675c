"""What the policy engine answered, read strictly.

The aggregator rule `data.charter.decision` answers with JSON. This module turns it into values of
the kernel, or into a `PolicyFailure`. Anything unexpected (a missing key, an unknown effect, an
effect weaker than its own violations, no rule evaluated at all) is a failure, and a failure is
turned into a deny by `decide`: a policy that cannot be understood never says yes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from charter.core.kernel.decision import Effect, Mode, Obligation, SparedBy, Violation


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """What the rules said, before invariants and grants; `evaluated` counts the rules asked."""

    violations: tuple[Violation, ...]
    obligations: tuple[Obligation, ...]
    shadow: tuple[Violation, ...]
    evaluated: int


@dataclass(frozen=True, slots=True)
class PolicyFailure:
    """The engine gave no usable answer; `message` never holds a part of the input."""

    code: str
    message: str


class _MalformedError(Exception):
    """A part of the answer does not have the promised shape."""


_SEVERITIES: Final = frozenset({"low", "medium", "high", "critical"})


def _string(item: dict[str, object], key: str, where: str, *, default: str | None = None) -> str:
    value = item.get(key, default)
    if not isinstance(value, str):
        raise _MalformedError(f"{where} has no text in '{key}'")
    return value


def _strings(item: dict[str, object], key: str, where: str) -> tuple[str, ...]:
    value = item.get(key, [])
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise _MalformedError(f"{where} has something other than a list of texts in '{key}'")
    return tuple(value)


def _whole(item: dict[str, object], key: str, where: str, *, minimum: int) -> int | None:
    value = item.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise _MalformedError(f"{where} needs a whole number of at least {minimum} in '{key}'")
    return value


def _objects(answer: dict[str, object], key: str) -> list[dict[str, object]]:
    value = answer.get(key)
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise _MalformedError(f"the answer has no list of objects in '{key}'")
    return value


def _violation(item: dict[str, object]) -> Violation:
    rule = _string(item, "id", "a violation")
    where = f"the violation of {rule}"
    try:
        effect = Effect(_string(item, "effect", where))
        mode = Mode(_string(item, "mode", where))
    except ValueError as error:
        raise _MalformedError(f"{where} has an effect or a mode that nobody knows") from error
    severity = _string(item, "severity", where, default="medium")
    if not rule or effect is Effect.ALLOW or severity not in _SEVERITIES:
        raise _MalformedError(f"{where} has no id, allows, or has an unknown severity")
    return Violation(
        rule=rule,
        effect=effect,
        message=_string(item, "message", where),
        fix=_string(item, "fix", where),
        severity=severity,
        mode=mode,
        controls=_strings(item, "controls", where),
        approvers=_strings(item, "approvers", where),
        approvals_needed=_whole(item, "approvals_needed", where, minimum=1) or 1,
        requires=_strings(item, "requires", where),
        grant_seconds=_whole(item, "grant_seconds", where, minimum=1),
        source=_string(item, "source", where, default=""),
        exemption=_spared(item, where),
    )


def _spared(item: dict[str, object], where: str) -> SparedBy | None:
    exemption = item.get("exemption")
    if exemption is None:
        return None
    if not isinstance(exemption, dict):
        raise _MalformedError(f"{where} has an exemption that is no object")
    return SparedBy(
        owner=_string(exemption, "owner", where),
        reason=_string(exemption, "reason", where),
        expires_at=_string(exemption, "expires_at", where),
    )


def _obligation(item: dict[str, object]) -> Obligation:
    kind = _string(item, "type", "an obligation")
    params = item.get("params", {})
    if not kind or not isinstance(params, dict):
        raise _MalformedError("an obligation has no type or no object of params")
    return Obligation(type=kind, params=params)


def _outcome(answer: object) -> PolicyOutcome:
    if not isinstance(answer, dict):
        raise _MalformedError("the answer is not an object")
    violations = tuple(_violation(item) for item in _objects(answer, "violations"))
    for item in violations:
        if item.effect is Effect.REQUIRE_APPROVAL and not item.approvers:
            raise _MalformedError(f"{item.rule} requires an approval that nobody may give")
    strongest = max((v.effect for v in violations), key=lambda e: e.rank, default=Effect.ALLOW)
    if answer.get("effect") != strongest.value:
        raise _MalformedError("the effect does not follow from the violations")
    evaluated = _whole(answer, "evaluated", "the answer", minimum=0)
    if evaluated is None:
        raise _MalformedError("the answer does not say how many rules were evaluated")
    return PolicyOutcome(
        violations=violations,
        obligations=tuple(_obligation(item) for item in _objects(answer, "obligations")),
        shadow=tuple(_violation(item) for item in _objects(answer, "shadow")),
        evaluated=evaluated,
    )


def parse_outcome(text: str) -> PolicyOutcome | PolicyFailure:
    """The outcome in `text`, or the failure that it is.

    Zero evaluated rules count as a failure: an empty bundle has no opinion, and no opinion is
    not a yes.
    """
    try:
        outcome = _outcome(json.loads(text))
    except _MalformedError as error:
        return PolicyFailure("policy-output-malformed", f"The policy answered badly: {error}.")
    except (ValueError, RecursionError):
        return PolicyFailure("policy-output-malformed", "The policy answered with invalid JSON.")
    if outcome.evaluated == 0:
        return PolicyFailure("policy-no-rules", "The policy bundle holds no rule at all.")
    return outcome
