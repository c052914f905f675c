"""Tidies up what was given for a while: emergencies and raised quotas that have ended.

Nothing waits for this: every reader computes the end from the clock. The sweep closes the books and
tells people, and sees to it that a review that nobody does is not forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter.services import break_glass_records, quota_overrides
from charter.services.runtime import Runtime


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Write down some of what has ended."""
    with rt.database.unit_of_work() as tx:
        emergencies, overrides = break_glass_records.sweep(rt, tx), quota_overrides.sweep(tx)
        done = {"emergencies": emergencies, "overrides": overrides}
        return {what: count for what, count in done.items() if count} or None
