"""Attempts to get in that failed: how many are too many, and for how long the door stays shut.

Secrets here are long random texts, so nobody gets in by guessing. What guessing does is load the
system, hide a real break-in among the noise, and show that somebody is trying; so it is counted,
slowed down and told. Two things are counted, each for itself:

* an *address*: whoever shows many wrong secrets, whatever they are for;
* a *credential from one address*: the same one guessed again and again.

No count is ever kept of a person or of a credential wherever it is used from: then a stranger who
knows its name could shut its owner out.

The numbers are data (`data/attempts.json`). Source: Spec ID-5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from charter.core.policy.reading import Reader

_LONGEST_SECONDS = 86_400  # a day; a longer lock is a matter for a firewall


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """Failures within a window that shut a door, and for how long."""

    window_seconds: int = 300
    lock_seconds: int = 300
    address_failures: int = 50
    credential_failures: int = 10


@dataclass(frozen=True, slots=True)
class Failures:
    """How often it failed since when, and until when nobody is heard."""

    count: int
    since: datetime
    locked_until: datetime | None = None

    def wait_seconds(self, now: datetime) -> int:
        """Whole seconds until the next attempt is heard; 0 when it is heard now."""
        if self.locked_until is None or self.locked_until <= now:
            return 0
        return math.ceil((self.locked_until - now).total_seconds())


def after_failure(
    before: Failures | None, most: int, limits: AttemptLimits, now: datetime
) -> Failures:
    """What is known after one more failure; the one that makes `most` shuts the door.

    While it is shut nothing is counted, and afterwards counting begins anew.
    """
    if before is not None and before.wait_seconds(now):
        return before
    stale = (
        before is None
        or before.locked_until is not None
        or now >= before.since + timedelta(seconds=limits.window_seconds)
    )
    count, since = (1, now) if stale or before is None else (before.count + 1, before.since)
    if count < most:
        return Failures(count, since)
    return Failures(count, since, now + timedelta(seconds=limits.lock_seconds))


def read_attempt_limits(root: Reader) -> AttemptLimits:
    """The limits in the data; `root` stands on all documents. Older bundles have the defaults."""
    if not root.has("attempts"):
        return AttemptLimits()
    part = root.child("attempts")
    limits = AttemptLimits(
        window_seconds=part.whole("window_seconds", minimum=1, maximum=_LONGEST_SECONDS),
        lock_seconds=part.whole("lock_seconds", minimum=1, maximum=_LONGEST_SECONDS),
        address_failures=part.whole("address_failures", minimum=1),
        credential_failures=part.whole("credential_failures", minimum=1),
    )
    part.finish()
    return limits
