"""Requirements: what the rules that spoke ask of people, and of the request itself.

Each rule asks for so many different people out of certain *approvers*, in one step or in several.
Approvers are plain words to this module: a role, `manager`, `person:ID` or `team:ID`. Which of
these words are true of somebody is found out by whoever loads them; the rules here only compare.

Steps of one rule with the same number are asked together. Steps with a higher number are asked when
the lower ones are complete. Different rules know nothing of each other.

Source: Spec AP-1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from charter.core.approvals.rules import DURATION, JUSTIFICATION, TICKET, ApprovalSettings
from charter.core.kernel.decision import Effect, Violation


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one step of one rule asks for: `count` different people, each being one of `roles`.

    `requires` names what the request itself must carry. `grant_seconds` is how long the yes lasts;
    None means that it is good for this one request. `max_grant_seconds` bounds the duration that a
    request may name; with None, `grant_seconds` does. `escalate_to` are entitled as well once the
    step, having been opened, lacks answers for `escalate_seconds`.
    """

    rule: str
    roles: frozenset[str]
    count: int = 1
    requires: tuple[str, ...] = ()
    grant_seconds: int | None = None
    step: int = 0
    max_grant_seconds: int | None = None
    escalate_seconds: int | None = None
    escalate_to: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.count < 1 or not self.roles:
            raise ValueError("a requirement needs at least one person of at least one role")
        if self.grant_seconds is not None and self.grant_seconds <= 0:
            raise ValueError("a grant lasts at least one second")
        if self.step < 0 or (self.escalate_seconds is not None and self.escalate_seconds < 0):
            raise ValueError("steps and times count from zero")


@dataclass(frozen=True, slots=True)
class Carried:
    """What a request carries beside what it asks for."""

    justification: str = ""
    ticket: str = ""
    duration_seconds: int | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Carried:
        """What a request with these fields carries."""
        return cls(
            fields.get("justification") or "",
            fields.get("ticket") or "",
            fields.get("duration_seconds"),
        )

    @property
    def fields(self) -> dict[str, Any]:
        """The same as `of` reads it, with None for what is not there."""
        return {
            "justification": self.justification or None,
            "ticket": self.ticket or None,
            "duration_seconds": self.duration_seconds,
        }

    @property
    def given(self) -> frozenset[str]:
        """The names of what is there."""
        return frozenset(
            name
            for name, there in (
                (JUSTIFICATION, bool(self.justification.strip())),
                (TICKET, bool(self.ticket.strip())),
                (DURATION, self.duration_seconds is not None),
            )
            if there
        )


NOTHING: Final = Carried()
"""A request that carries nothing."""


def requirements_from(
    violations: Iterable[Violation], settings: ApprovalSettings | None = None
) -> tuple[Requirement, ...]:
    """The requirements that follow from the violations of a decision, ordered by rule and step.

    The violation says who is asked first; `settings` what policy adds to that: further steps, an
    escalation, the longest duration. Raises ValueError when a rule asks for an approval and names
    nobody who could give it.
    """
    needed = {
        requirement
        for violation in violations
        if violation.effect is Effect.REQUIRE_APPROVAL
        for requirement in _of(violation, settings)
    }
    return tuple(sorted(needed, key=lambda r: (r.rule, r.step, sorted(r.roles), r.count)))


def _of(violation: Violation, settings: ApprovalSettings | None) -> Iterable[Requirement]:
    rule = None if settings is None else settings.of(violation.rule)
    steps = [(0, violation.approvers, violation.approvals_needed)]
    if rule is not None:
        steps += [(0, step.approvers, step.count) for step in rule.also]
        steps += [(at, step.approvers, step.count) for at, step in enumerate(rule.then, start=1)]
    escalation = None if rule is None else rule.escalation
    longest = None if rule is None else rule.max_grant_seconds
    for at, approvers, count in steps:
        yield Requirement(
            rule=violation.rule,
            roles=frozenset(approvers),
            count=count,
            requires=violation.requires,
            grant_seconds=violation.grant_seconds,
            step=at,
            max_grant_seconds=longest,
            escalate_seconds=None if escalation is None else escalation.after_seconds,
            escalate_to=frozenset() if escalation is None else frozenset(escalation.approvers),
        )


def missing_fields(requirements: Iterable[Requirement], carried: Carried) -> tuple[str, ...]:
    """What the request must carry and does not; an unknown demand is never met."""
    demanded = {field for requirement in requirements for field in requirement.requires}
    return tuple(sorted(demanded - carried.given))


def longest_duration(requirements: Iterable[Requirement]) -> int | None:
    """The longest duration that a request under these may name; None when none may be named.

    A requirement whose yes is good for one request only, and which sets no maximum, lets nothing
    last.
    """
    bounds = [needed.max_grant_seconds or needed.grant_seconds for needed in requirements]
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known and len(known) == len(bounds) else None


def grant_span(
    requirements: Iterable[Requirement], duration_seconds: int | None
) -> tuple[int | None, bool]:
    """For how many seconds an approved request is granted, and whether for one use only.

    As long as was asked for, within the bounds; else the shortest of what the requirements give.
    The seconds are None when no requirement gives any.
    """
    needed = tuple(requirements)
    longest = longest_duration(needed)
    if duration_seconds is not None and longest is not None:
        return min(duration_seconds, longest), False
    spans = [requirement.grant_seconds for requirement in needed]
    lasting = [seconds for seconds in spans if seconds is not None]
    return (min(lasting) if lasting else None), len(lasting) < len(spans)
