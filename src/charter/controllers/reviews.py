"""The calendar of reviews, and the count of what rules said that their figures stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from charter.services import governance_calendar, rule_usage
from charter.services.runtime import Runtime

_ROUNDS: Final = 50  # batches in one look: 100,000 decisions, then others get the processor


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Open the reviews that are due, and remind of the overdue."""
    done = governance_calendar.open_due(rt)
    return {"reviews": done} if done else None


def count(rt: Runtime) -> Mapping[str, Any] | None:
    """Count what the rules said in the next decisions."""
    counted = 0
    for _ in range(_ROUNDS):
        some = rule_usage.count_some(rt)
        counted += some
        if some < rule_usage.BATCH:
            break
    return {"counted": counted} if counted else None
