"""Reviews of the policy: when the next is due, who sits in it, and when it is complete.

Rules that nobody looks at again grow wrong: limits that everybody is exempted from, warnings that
nobody reads. So the calendar brings two reviews by itself (of effectiveness every quarter, of
everything every year), and an event outside the calendar opens one at once: an incident, a new
platform, a change of regulation. The year's review looks at effectiveness as well, so it counts as
that quarter's. A review is complete when it was held by a committee in which every side sits that
has to live with the rules, has minutes, and every finding has somebody who sees to it by a date.

The numbers are data (`data/reviews.json`). Source: Spec PC-11.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from charter.core.policy.reading import Reader

_MONTHS_A_YEAR: Final = 12
_MOST_MONTHS: Final = 120
_MOST_DAYS: Final = 365


class ReviewKind(StrEnum):
    """What a review looks at."""

    EFFECTIVENESS = "effectiveness"
    FULL = "full"
    AD_HOC = "ad-hoc"


class Trigger(StrEnum):
    """Why a review was opened."""

    CALENDAR = "calendar"
    INCIDENT = "incident"
    NEW_PLATFORM = "new-platform"
    NEW_AGENTS = "new-agents"
    REGULATION_CHANGE = "regulation-change"
    NEW_TEAM = "new-team"
    FRICTION = "friction"


class Side(StrEnum):
    """Whom a member of the committee speaks for."""

    SECURITY = "security"
    PLATFORM = "platform"
    AI_ML = "ai-ml"
    DEVELOPMENT = "development"
    MANAGEMENT = "management"


class Outcome(StrEnum):
    """What a review came to."""

    EFFECTIVE = "effective"
    CHANGES_NEEDED = "changes-needed"


AD_HOC_TRIGGERS: Final = tuple(trigger for trigger in Trigger if trigger is not Trigger.CALENDAR)
SCHEDULED: Final = (ReviewKind.EFFECTIVENESS, ReviewKind.FULL)


@dataclass(frozen=True, slots=True)
class ReviewCadence:
    """How often, how long before it is due a review opens, and which sides must sit in it."""

    every_months: Mapping[ReviewKind, int]
    opens_days_before: Mapping[ReviewKind, int]
    due_days: Mapping[Trigger, int]
    sides: tuple[Side, ...]


DEFAULT_CADENCE: Final = ReviewCadence(
    every_months=MappingProxyType({ReviewKind.EFFECTIVENESS: 3, ReviewKind.FULL: 12}),
    opens_days_before=MappingProxyType({ReviewKind.EFFECTIVENESS: 14, ReviewKind.FULL: 30}),
    due_days=MappingProxyType(
        {
            Trigger.INCIDENT: 7,
            Trigger.NEW_PLATFORM: 30,
            Trigger.NEW_AGENTS: 30,
            Trigger.REGULATION_CHANGE: 30,
            Trigger.NEW_TEAM: 60,
            Trigger.FRICTION: 30,
        }
    ),
    sides=tuple(Side),
)
"""What holds for bundles that were made before there was a document of reviews."""


def read_cadence(root: Reader) -> ReviewCadence:
    """The cadence in the data; `root` stands on all documents."""
    if not root.has("reviews"):
        return DEFAULT_CADENCE
    part = root.child("reviews")
    kinds = {kind: part.child(kind.value) for kind in SCHEDULED}
    due = part.child("due_days")
    cadence = ReviewCadence(
        every_months={
            kind: each.whole("every_months", minimum=1, maximum=_MOST_MONTHS)
            for kind, each in kinds.items()
        },
        opens_days_before={
            kind: each.whole("opens_days_before", minimum=0, maximum=_MOST_DAYS)
            for kind, each in kinds.items()
        },
        due_days={
            trigger: due.whole(trigger.value, minimum=1, maximum=_MOST_DAYS)
            for trigger in AD_HOC_TRIGGERS
        },
        sides=tuple(Side(side) for side in part.texts("committee", choices=tuple(Side), least=1)),
    )
    part.finish()
    return cadence


def add_months(moment: datetime, months: int) -> datetime:
    """The same day so many months later, or the month's last where it has no such day."""
    count = moment.year * _MONTHS_A_YEAR + moment.month - 1 + months
    year, month = divmod(count, _MONTHS_A_YEAR)
    last = monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last))


def next_due(
    kind: ReviewKind, cadence: ReviewCadence, held: Mapping[ReviewKind, datetime], began: datetime
) -> datetime:
    """When the next scheduled review of `kind` is due.

    `held` says when the last of each kind was held; before the first one, the clock runs from
    `began`, the moment at which the first bundle was put in force.
    """
    last = [held[each] for each in _covering(kind) if each in held]
    return add_months(max([began, *last]), cadence.every_months[kind])


def _covering(kind: ReviewKind) -> tuple[ReviewKind, ...]:
    """The kinds whose being held counts for `kind`."""
    return SCHEDULED if kind is ReviewKind.EFFECTIVENESS else (kind,)


def to_open(
    cadence: ReviewCadence,
    held: Mapping[ReviewKind, datetime],
    is_open: frozenset[ReviewKind],
    began: datetime,
    now: datetime,
) -> tuple[tuple[ReviewKind, datetime], ...]:
    """The scheduled reviews that should be open by now and are not, with their due dates.

    While a full review is open no review of effectiveness is opened beside it.
    """
    found: list[tuple[ReviewKind, datetime]] = []
    covered = set(is_open)
    for kind in reversed(SCHEDULED):
        due = next_due(kind, cadence, held, began)
        opens = due - timedelta(days=cadence.opens_days_before[kind])
        if now >= opens and not covered & set(_covering(kind)):
            found.append((kind, due))
            covered.add(kind)
    return tuple(found)


def due_of(trigger: Trigger, cadence: ReviewCadence, now: datetime) -> datetime:
    """When a review that `trigger` opens now is due."""
    return now + timedelta(days=cadence.due_days[trigger])


class ReviewState(StrEnum):
    """Where a review stands."""

    OPEN = "open"
    OVERDUE = "overdue"
    HELD = "held"
    CLOSED = "closed"


def state_of(
    *, due_at: datetime, held_at: datetime | None, closed_at: datetime | None, now: datetime
) -> ReviewState:
    """Where a review stands at `now`; overdue is computed, never swept."""
    if closed_at is not None:
        return ReviewState.CLOSED
    if held_at is not None:
        return ReviewState.HELD
    return ReviewState.OVERDUE if now > due_at else ReviewState.OPEN


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in the committee, and the side they speak for."""

    person_id: str
    side: Side


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to be done: by whom, until when, and since when it is done."""

    text: str
    owner_id: str
    due_on: date
    done_at: datetime | None = None


def not_seated(members: Sequence[Member]) -> tuple[str, ...]:
    """What is wrong with a committee, one sentence each; empty when it can sit."""
    ids = [member.person_id for member in members]
    problems = [] if members else ["The committee has no members."]
    if len(set(ids)) != len(ids):
        problems.append("One person cannot speak for two sides.")
    return tuple(problems)


def lacking(
    cadence: ReviewCadence, *, held_at: datetime | None, members: Sequence[Member], minutes: str
) -> tuple[str, ...]:
    """What a review still needs before it can be closed, one sentence each; empty when nothing."""
    return tuple(_lacking(cadence, held_at, members, minutes))


def _lacking(
    cadence: ReviewCadence, held_at: datetime | None, members: Sequence[Member], minutes: str
) -> Iterator[str]:
    if held_at is None:
        yield "It was not held yet."
    missing = [side for side in cadence.sides if side not in {m.side for m in members}]
    if missing:
        yield f"Nobody in the committee speaks for {', '.join(missing)}."
    if not minutes.strip():
        yield "It has no minutes."
