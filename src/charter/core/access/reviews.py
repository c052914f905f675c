"""Access reviews: whether people still need what they hold, asked of somebody else, with an end.

Every quarter a *campaign* lists what is held: roles, grants, agents, tokens. For each *item*
somebody who knows says keep or revoke; never the holder. Silence is a no: what nobody answered by
the deadline ends with it. That needs no clean-up, because the end of everything in a campaign is
brought forward to its deadline when it opens, and put back where it was by whoever keeps it.

The one exception is the role of platform admin in the whole organisation. Were it to end by
silence, a quarter in which everybody is on holiday would lock everybody out; it is taken away when
the campaign closes, one by one, as long as another admin is left.

Who answers depends on where the thing is: for a team its lead, for what reaches the whole
organisation the security admins, for what they hold themselves the platform admins. These roles,
and all numbers, are policy data (`data/access_reviews.json`).

Source: Spec ID-10.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from charter.core.access.dormancy import DormancyRules
from charter.core.access.refusal import refuse
from charter.core.access.roles import Binding, RoleName, scope_chain
from charter.core.access.subjects import Human
from charter.core.kernel.decision import Violation


class Kind(StrEnum):
    """What is reviewed."""

    ROLE = "role"
    GRANT = "grant"
    AGENT = "agent"  # one run, with its task
    DEFINITION = "definition"  # what agents can be run of
    TOKEN = "token"  # noqa: S105  a kind of thing, no secret


class Place(StrEnum):
    """Who has to know whether something is still needed."""

    TEAM = "team"
    ORGANISATION = "organisation"
    WATCHERS = "watchers"  # what the reviewers of the organisation hold themselves


class Answer(StrEnum):
    """What became of an item; `lapsed` is the answer that silence gives, `gone` ended before."""

    KEEP = "keep"
    REVOKE = "revoke"
    LAPSED = "lapsed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """The numbers and roles of access reviews."""

    every_months: int
    answer_seconds: int
    reminder_seconds: int
    unused_seconds: int
    privileged_roles: frozenset[str]
    reviewers: Mapping[Place, frozenset[str]]
    dormancy: DormancyRules | None = None


_DAY: Final = 86_400
DEFAULT_RULES: Final = ReviewRules(
    every_months=3,
    answer_seconds=14 * _DAY,
    reminder_seconds=3 * _DAY,
    unused_seconds=90 * _DAY,
    privileged_roles=frozenset({RoleName.PLATFORM_ADMIN.value, RoleName.SECURITY_ADMIN.value}),
    reviewers=MappingProxyType(
        {
            Place.TEAM: frozenset({RoleName.TEAM_LEAD.value}),
            Place.ORGANISATION: frozenset({RoleName.SECURITY_ADMIN.value}),
            Place.WATCHERS: frozenset({RoleName.PLATFORM_ADMIN.value}),
        }
    ),
    dormancy=DormancyRules(warn_seconds=76 * _DAY, deactivate_seconds=90 * _DAY),
)
"""What holds for bundles that were made before there was a document of access reviews."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that somebody holds. `holder_id` is who answers for it: of an agent its sponsor."""

    kind: Kind
    holder_id: str
    team_id: str | None
    role: str | None
    privileged: bool
    answer: Answer | None = None


def place_of(item: Item) -> Place:
    """Whose business the item is."""
    if item.role == RoleName.SECURITY_ADMIN:
        return Place.WATCHERS
    if item.privileged or item.team_id is None:
        return Place.ORGANISATION
    return Place.TEAM


def reviewer_roles(item: Item, rules: ReviewRules) -> frozenset[str]:
    """The roles that may answer; the organisation's reviewers stand in for a team's."""
    place = place_of(item)
    found = rules.reviewers[place]
    return found | rules.reviewers[Place.ORGANISATION] if place is Place.TEAM else found


def may_answer(
    reviewer: Human, item: Item, rules: ReviewRules, *, deadline: datetime, now: datetime
) -> Violation | None:
    """Why `reviewer` may not answer for `item` now; None when they may.

    A keep can still become a revoke until the deadline; what was taken away stays away.
    """
    if reviewer.id == item.holder_id:
        return refuse(
            "own-access",
            "Nobody reviews their own access.",
            "Leave it to another reviewer; the campaign names who may answer.",
            source="Spec ID-10",
        )
    roles = reviewer_roles(item, rules)
    if not roles & _roles_at(reviewer.bindings, item.team_id, now):
        return refuse(
            "not-a-reviewer",
            "You are none of those who answer for this.",
            f"Leave it to somebody who is {' or '.join(sorted(roles))} there.",
            source="Spec ID-10",
        )
    if now >= deadline or item.answer not in (None, Answer.KEEP):
        return refuse(
            "review-settled",
            "This was settled: it was taken away, has ended, or the deadline has passed.",
            "If it is still needed, give it anew.",
            source="Spec ID-10",
        )
    return None


def _roles_at(bindings: Iterable[Binding], team_id: str | None, now: datetime) -> frozenset[str]:
    """The roles that hold there; one that was borrowed in an emergency answers for nothing."""
    chain = scope_chain(team_id)
    return frozenset(
        b.role for b in bindings if b.live(now) and b.covers(chain) and b.break_glass is None
    )


def ends_by_silence(item: Item, scope_kind: str | None) -> bool:
    """Whether the item's own end is brought forward; see the module about the exception."""
    return not (item.role == RoleName.PLATFORM_ADMIN and scope_kind == "organisation")


def unused(
    since: datetime, last_used_at: datetime | None, rules: ReviewRules, now: datetime
) -> bool:
    """Whether nobody has used it for as long as the rules call stale."""
    return now - (last_used_at or since) >= timedelta(seconds=rules.unused_seconds)


def quarter(moment: datetime) -> str:
    """The name of the quarter, such as 2026-Q4."""
    return f"{moment.year}-Q{(moment.month - 1) // 3 + 1}"
