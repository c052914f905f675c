"""Dormant accounts: what nobody has used for a long time is switched off before somebody finds it.

An account that sleeps still opens doors, and nobody would notice who uses it. So after a while its
owner is told, and when nothing happens it is deactivated, as if the person had left: an
administrator gives it back with one command. The last platform admin is never switched off by
silence; the others are told of that instead.

Use is being signed in or a personal token at work. Source: Spec ID-10.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class DormancyRules:
    """After how long without use the owner is told, and after how long the account ends; seconds.

    None where accounts may sleep for ever.
    """

    warn_seconds: int
    deactivate_seconds: int


class Dormancy(StrEnum):
    """How an account is doing."""

    USED = "used"
    SLEEPY = "sleepy"  # its owner is told
    DORMANT = "dormant"  # it is to be switched off


def dormancy(last_seen_at: datetime, rules: DormancyRules | None, now: datetime) -> Dormancy:
    """How an account is doing that was last used (or made) at `last_seen_at`."""
    if rules is None:
        return Dormancy.USED
    idle = now - last_seen_at
    if idle >= timedelta(seconds=rules.deactivate_seconds):
        return Dormancy.DORMANT
    return Dormancy.SLEEPY if idle >= timedelta(seconds=rules.warn_seconds) else Dormancy.USED


def ends_at(last_seen_at: datetime, rules: DormancyRules) -> datetime:
    """When the account is switched off if nobody uses it."""
    return last_seen_at + timedelta(seconds=rules.deactivate_seconds)
