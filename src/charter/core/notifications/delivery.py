"""Sending until it works, or until it is clear that it will not.

A delivery is tried at growing distances: a receiver that restarts gets its messages within
seconds, one that is down for an hour is not knocked at a thousand times. After the last try the
delivery is dead and an operator is told, because a notice that silently never arrives is worse than
none at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

FIRST_RETRY_SECONDS: Final = 5
LONGEST_RETRY_SECONDS: Final = 3600


class DeliveryState(StrEnum):
    """Where a delivery stands; every state but `waiting` is final until an operator retries."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    SKIPPED = "skipped"
    """What it was about is over, or the person or channel is gone."""


class Outcome(StrEnum):
    """What one attempt came to."""

    DELIVERED = "delivered"
    RETRY = "retry"
    UNREACHABLE = "unreachable"
    """As retry; the receiver itself did not answer, so that others for it wait as well."""
    REFUSED = "refused"
    """The receiver says that it will never take this."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of one attempt; `reason` is a sentence for an operator, without secrets."""

    outcome: Outcome
    reason: str = ""
    wait_seconds: int = 0
    """How long the receiver asked to be left alone."""


@dataclass(frozen=True, slots=True)
class Next:
    """What follows from an attempt."""

    state: DeliveryState
    at: datetime


def after(attempt: Attempt, attempts: int, most: int, now: datetime) -> Next:
    """Where the delivery stands after its attempt number `attempts`, of `most`."""
    match attempt.outcome:
        case Outcome.DELIVERED:
            return Next(DeliveryState.DELIVERED, now)
        case Outcome.SKIPPED:
            return Next(DeliveryState.SKIPPED, now)
        case Outcome.REFUSED:
            return Next(DeliveryState.DEAD, now)
        case _ if attempts >= most:
            return Next(DeliveryState.DEAD, now)
        case _:
            grown = FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, 20)
            wait = min(max(grown, attempt.wait_seconds), LONGEST_RETRY_SECONDS)
            return Next(DeliveryState.WAITING, now + timedelta(seconds=wait))
