"""Standing in: who may answer for an approver who is away.

Somebody who will be away names one delegate for a span of time. While it lasts, the delegate may
vote where the absent person may, in their stead, and what they say counts as that person's word.
Nothing is handed over: what the delegate may do follows, at each vote, from what the absent person
may do then. So a delegation ends by itself when its span does, when it is revoked, when the absent
person loses the role, and when either of them leaves.

What it never does:

* let somebody decide about their own request: neither delegate nor absent person may have asked;
* join what may not be held together: a role that conflicts with one of the delegate's own is not
  lent to them (`conflicts`, Spec ID-9), and neither is a role that was taken in an emergency;
* run in a circle: when following delegates leads back, none of the circle stands in for another;
* run on: a chain is followed as deep as policy says, by default one step.

An agent is nobody's delegate: only people can be named, and only people vote.

Source: Spec AP-1, ID-9.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from charter.core.access.roles import Binding
from charter.core.access.separation import RoleConflict, conflicts
from charter.core.access.subjects import Human
from charter.core.approvals.rules import DelegationLimits
from charter.core.kernel.errors import CharterError, ConflictError, InvalidInputError


@dataclass(frozen=True, slots=True)
class Absence:
    """Somebody is away from `starts_at` until `ends_at`, and `delegate_id` answers for them.

    `max_depth` is how far a chain over it may reach, by the policy of when it was entered.
    """

    id: str
    person_id: str
    delegate_id: str
    starts_at: datetime
    ends_at: datetime
    max_depth: int = 1
    revoked_at: datetime | None = None

    def live(self, now: datetime) -> bool:
        """Whether it holds at `now`; it ends at the very moment of its end."""
        revoked = self.revoked_at is not None and self.revoked_at <= now
        return self.starts_at <= now < self.ends_at and not revoked

    def meets(self, other: Absence) -> bool:
        """Whether both hold at some moment, as far as is known today."""
        if self.revoked_at is not None or other.revoked_at is not None:
            return False
        return self.starts_at < other.ends_at and other.starts_at < self.ends_at


def stood_in_for(delegate_id: str, absences: Iterable[Absence], now: datetime) -> tuple[str, ...]:
    """The ids of those in whose stead `delegate_id` may act now, nearest first."""
    live = {absence.person_id: absence for absence in absences if absence.live(now)}
    found: list[str] = []
    nearest, depth = {delegate_id}, 0
    while nearest:
        depth += 1
        nearest = {
            person
            for person, absence in live.items()
            if absence.delegate_id in nearest
            and absence.max_depth >= depth
            and person not in (delegate_id, *found)
            and not _returns(person, live)
        }
        found.extend(sorted(nearest))
    return tuple(found)


def _returns(person_id: str, live: Mapping[str, Absence]) -> bool:
    """Whether following the delegates of this person leads back to them."""
    seen: set[str] = set()
    at = person_id
    while at in live and at not in seen:
        seen.add(at)
        at = live[at].delegate_id
        if at == person_id:
            return True
    return False


def lent(
    bindings: Iterable[Binding],
    delegate: Human,
    now: datetime,
    listed: Iterable[RoleConflict] = (),
) -> tuple[Binding, ...]:
    """Those of an absent person's bindings that may count for this delegate."""
    own = {binding.custom or binding.role for binding in delegate.bindings if binding.live(now)}
    known = tuple(listed)
    if not delegate.active or not own:
        return ()
    return tuple(
        binding
        for binding in bindings
        if binding.live(now)
        and binding.break_glass is None
        and not conflicts({binding.custom or binding.role, *own}, known)
    )


def why_not_named(
    wanted: Absence, others: Sequence[Absence], now: datetime, limits: DelegationLimits
) -> CharterError | None:
    """Why this absence cannot be entered beside these; None when it can."""
    if wanted.delegate_id == wanted.person_id:
        return InvalidInputError(
            "Nobody stands in for themselves.", fix="Name somebody else.", code="own-delegate"
        )
    if wanted.ends_at <= max(now, wanted.starts_at):
        return InvalidInputError(
            "The absence ends before it begins, or has ended already.",
            fix="Choose an end that lies ahead.",
            code="span-invalid",
        )
    if wanted.ends_at - max(now, wanted.starts_at) > timedelta(seconds=limits.max_seconds):
        return InvalidInputError(
            f"Somebody may be stood in for {limits.max_seconds // 86_400} days at a stretch.",
            fix="Choose an earlier end; name a delegate again if it lasts longer.",
            code="span-too-long",
        )
    overlapping = [other for other in others if other.meets(wanted)]
    if any(other.person_id == wanted.person_id for other in overlapping):
        return ConflictError(
            "There is a delegate for a part of that time already.",
            fix="End the other absence first: charter away end.",
            code="already-away",
        )
    if _leads_to(wanted.delegate_id, wanted.person_id, overlapping):
        return ConflictError(
            "That would be a circle: the delegate, or theirs, is stood in for by you.",
            fix="Name somebody who is there in that time.",
            code="delegation-circle",
        )
    return None


def _leads_to(start: str, goal: str, absences: Sequence[Absence]) -> bool:
    """Whether delegates lead from `start` to `goal`, whatever the moment."""
    reached, frontier = {start}, {start}
    while frontier:
        frontier = {a.delegate_id for a in absences if a.person_id in frontier} - reached
        reached |= frontier
    return goal in reached
