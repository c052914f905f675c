"""Read the numbers of access reviews from the policy's data (`core.access.reviews`)."""

from __future__ import annotations

from types import MappingProxyType

from charter.core.access.dormancy import DormancyRules
from charter.core.access.reviews import DEFAULT_RULES, Place, ReviewRules
from charter.core.policy.reading import Reader

_MOST_MONTHS = 12
_MOST_DAYS = 366
_DAY_SECONDS = 86_400


def read_access_reviews(root: Reader) -> ReviewRules:
    """The rules in the data; `root` stands on all documents."""
    if not root.has("access_reviews"):
        return DEFAULT_RULES
    part = root.child("access_reviews")

    def days(name: str) -> int:
        return part.whole(name, minimum=1, maximum=_MOST_DAYS) * _DAY_SECONDS

    reviewers = part.child("reviewers")
    dormancy = None
    if part.has("dormant"):
        sleeping = part.child("dormant")
        warn = sleeping.whole("warn_days", minimum=1, maximum=_MOST_DAYS)
        end = sleeping.whole("deactivate_days", minimum=1, maximum=_MOST_DAYS)
        if warn >= end:
            sleeping.complain("warn_days", "must be less than deactivate_days")
        dormancy = DormancyRules(warn * _DAY_SECONDS, end * _DAY_SECONDS)
    rules = ReviewRules(
        every_months=part.whole("every_months", minimum=1, maximum=_MOST_MONTHS),
        answer_seconds=days("answer_days"),
        reminder_seconds=days("reminder_days"),
        unused_seconds=days("unused_days"),
        privileged_roles=frozenset(part.texts("privileged_roles", least=1)),
        reviewers=MappingProxyType(
            {place: frozenset(reviewers.texts(place.value, least=1)) for place in Place}
        ),
        dormancy=dormancy,
    )
    part.finish()
    return rules
