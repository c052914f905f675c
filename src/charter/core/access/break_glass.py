"""Break-glass: a role that somebody takes in an emergency, without asking, and answers for.

Nobody can approve what is needed this minute at night. So policy names people who may take an
emergency role for a short while. It works at once, everybody who has to know hears of it, it ends
by itself, and somebody else looks at it afterwards: until that review is done in time, the same
person gets no other.

It is borrowed power, so it must not turn into lasting power. What it withholds, whatever the role
holds, is written here and no policy can loosen it: giving or widening roles and accounts,
approving, answering access reviews, putting policies into force, registering what could act later
(points, definitions of agents, channels), taking evidence out, and reviewing emergencies. Agents
get nothing of it, their sponsor's least of all.

Source: Spec ID-11, ID-9.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from charter.core.access.permissions import Permission
from charter.core.access.reach import human_reaches
from charter.core.access.refusal import refuse
from charter.core.access.resource import ResourceRef
from charter.core.access.subjects import Human
from charter.core.kernel.decision import Violation

WITHHELD: Final = frozenset(
    {
        Permission.ROLE_BIND,
        Permission.ROLE_DEFINE,
        Permission.PEOPLE_MANAGE,
        Permission.TEAM_MANAGE,
        Permission.APPROVAL_VOTE,
        Permission.ACCESS_REVIEW_OPEN,
        Permission.ACCESS_REVIEW_ANSWER,
        Permission.AGENT_DEFINE,
        Permission.NOTIFICATION_MANAGE,
        Permission.POLICY_APPLY,
        Permission.POLICY_REVIEW,
        Permission.GOVERNANCE_MANAGE,
        Permission.ENFORCEMENT_POINT_MANAGE,
        Permission.QUOTA_MANAGE,
        Permission.AUDIT_EXPORT,
        Permission.BREAK_GLASS_REVIEW,
    }
)
"""What no emergency gives. Rolling a policy back is left: it returns to what was in force."""


class EmergencyState(StrEnum):
    """Where an emergency stands."""

    ACTIVE = "active"
    ENDED = "ended"


class ReviewState(StrEnum):
    """Where its review stands; overdue is computed, never swept."""

    OPEN = "open"
    OVERDUE = "overdue"
    DONE = "done"


class ReviewOutcome(StrEnum):
    """What the review came to."""

    JUSTIFIED = "justified"
    EXCESSIVE = "excessive"  # the emergency was real, more was done than it needed
    MISUSED = "misused"


@dataclass(frozen=True, slots=True)
class Emergency:
    """One time that somebody broke the glass."""

    id: str
    person_id: str
    started_at: datetime
    expires_at: datetime
    review_due_at: datetime
    ended_at: datetime | None = None
    reviewed_at: datetime | None = None


def over_at(emergency: Emergency) -> datetime:
    """When it ended, or ends if nobody ends it before."""
    return min(emergency.expires_at, emergency.ended_at or emergency.expires_at)


def state_of(emergency: Emergency, now: datetime) -> EmergencyState:
    """Whether it is still going on."""
    return EmergencyState.ACTIVE if now < over_at(emergency) else EmergencyState.ENDED


def review_state(emergency: Emergency, now: datetime) -> ReviewState:
    """Where its review stands."""
    if emergency.reviewed_at is not None:
        return ReviewState.DONE
    return ReviewState.OVERDUE if now >= emergency.review_due_at else ReviewState.OPEN


def _no(rule: str, message: str, fix: str) -> Violation:
    return refuse(rule, message, fix, source="Spec ID-11")


def may_start(
    before: Iterable[Emergency], now: datetime, *, cool_down_seconds: int
) -> Violation | None:
    """Why the person of these earlier emergencies gets no new one now; None when they do."""
    before = tuple(before)
    if any(state_of(each, now) is EmergencyState.ACTIVE for each in before):
        return _no(
            "break-glass-active",
            "Your emergency role is in force already.",
            "Use it, or end it first: charter break-glass end.",
        )
    if any(review_state(each, now) is ReviewState.OVERDUE for each in before):
        return _no(
            "break-glass-review-overdue",
            "The review of your last emergency is overdue, and until it is done there is no other.",
            "Ask a reviewer to do it: charter break-glass reviews.",
        )
    last = max((over_at(each) for each in before), default=None)
    ready = None if last is None else last + timedelta(seconds=cool_down_seconds)
    if ready is not None and now < ready:
        return _no(
            "break-glass-cool-down",
            f"Your last emergency role has just ended; the next is possible from "
            f"{ready:%Y-%m-%d %H:%M} UTC on.",
            "Call somebody else whom the policy names, or wait.",
        )
    return None


def emergency_of(human: Human, now: datetime) -> str | None:
    """The id of the emergency under which the person acts now; None for ordinary times."""
    found = (b.break_glass for b in human.bindings if b.break_glass is not None and b.live(now))
    return next(found, None)


def ordinary(human: Human) -> Human:
    """The person without what an emergency gave them."""
    return replace(human, bindings=tuple(b for b in human.bindings if b.break_glass is None))


def withheld(
    human: Human, action: Permission, resource: ResourceRef, now: datetime
) -> Violation | None:
    """Why an emergency does not give this; None where it does, or where it is not needed."""
    if action not in WITHHELD or emergency_of(human, now) is None:
        return None
    if human_reaches(ordinary(human), action, resource, now):
        return None
    return _no(
        "break-glass-withheld",
        f"{action} is not given in an emergency: what it does would outlast it.",
        "Leave it to somebody who holds the role for good, or until the emergency is over.",
    )
