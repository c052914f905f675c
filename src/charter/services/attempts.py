"""How often somebody may try: a count for each address in this process, forgotten after a while.

It keeps a stranger from making Charter work for nothing. It is no protection of secrets: those are
too long to be guessed, whoever tries, and however often.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from charter.core.kernel.errors import TooManyError

_MOST_KEPT = 10_000


class Attempts:
    """At most `most` failures in `seconds` for each key."""

    def __init__(self, most: int, seconds: int) -> None:
        self._most, self._span = most, timedelta(seconds=seconds)
        self._failed: dict[str, tuple[int, datetime]] = {}
        self._lock = threading.Lock()

    def check(self, key: str, now: datetime) -> None:
        """Raise `TooManyError` once there were too many."""
        with self._lock:
            count, since = self._failed.get(key, (0, now))
        if count >= self._most and now < since + self._span:
            raise TooManyError(
                "Too many links were tried from here that are none.",
                fix=f"Wait {int(self._span.total_seconds() // 60)} minutes, or use the inbox.",
                code="too-many-attempts",
            )

    def failed(self, key: str, now: datetime) -> None:
        """One more failure."""
        with self._lock:
            count, since = self._failed.get(key, (0, now))
            if now >= since + self._span:
                count, since = 0, now
            if key not in self._failed and len(self._failed) >= _MOST_KEPT:
                self._failed.clear()
            self._failed[key] = (count + 1, since)
