"""How long an agent's credential may live, when it may be renewed, and when its signing key goes.

A credential ends with the first of four things: its own few minutes, the task, the session of the
instance, and whatever the person who asked for it set. Renewing hands the agent the next one and
ends the one before after a short overlap, so that an answer that got lost on the way can be asked
for again. Within the overlap that gives a second successor and ends the first; so an instance never
has two lasting credentials. Whoever renews with a credential whose successor is in use *after* the
overlap holds a copy: then nobody can tell the agent from the thief, and all of the instance's
credentials end.

The key that signs credentials has a schedule of its own: an age at which it signs no more, and a
warning some time before.

Source: Spec ID-6; RFC 9700 §4.14 (rotation and reuse of what refreshes access).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The spans that policy sets, in seconds."""

    credential_seconds: int
    session_seconds: int
    overlap_seconds: int


def session_end(
    created_at: datetime, limits: Lifetimes, definition_seconds: int | None
) -> datetime:
    """When the session of an instance ends: policy's limit, or the definition's where narrower."""
    seconds = limits.session_seconds
    if definition_seconds is not None:
        seconds = min(seconds, definition_seconds)
    return created_at + timedelta(seconds=seconds)


def credential_end(
    now: datetime, limits: Lifetimes, *, deadline: datetime, session_ends_at: datetime
) -> datetime:
    """When a credential that is made now ends: never after the task or the session."""
    return min(now + timedelta(seconds=limits.credential_seconds), deadline, session_ends_at)


class Renewal(StrEnum):
    """What it means that a credential is shown to get the next one."""

    FIRST = "first"  # the usual case
    AGAIN = "again"  # within the overlap: the first successor ends
    REUSED = "reused"  # after it: somebody holds a copy
    DEAD = "dead"  # it was revoked or has run out, and was never renewed


def renewal(
    *,
    now: datetime,
    expires_at: datetime,
    revoked_at: datetime | None,
    superseded_at: datetime | None,
    overlap_seconds: int,
) -> Renewal:
    """What renewing with this credential now amounts to.

    A credential that was renewed stays recognisable after its end: that is what gives a copy away.
    """
    if superseded_at is None:
        return Renewal.DEAD if revoked_at is not None or now >= expires_at else Renewal.FIRST
    within = now < superseded_at + timedelta(seconds=overlap_seconds)
    return Renewal.AGAIN if within and revoked_at is None else Renewal.REUSED


@dataclass(frozen=True, slots=True)
class KeySchedule:
    """How old a signing key may become, and how long before that people are told; seconds."""

    max_age_seconds: int
    warning_seconds: int


class KeyState(StrEnum):
    """What a signing key is good for at a moment."""

    SIGNING = "signing"
    DUE = "due"  # it signs, and will be replaced soon
    VERIFYING = "verifying"  # it signs no more; what it signed still counts
    RETIRED = "retired"  # nothing that it signed counts any more


def key_end(created_at: datetime, schedule: KeySchedule) -> datetime:
    """The moment from which the key signs nothing more, whoever forgot to rotate it."""
    return created_at + timedelta(seconds=schedule.max_age_seconds)


def key_state(
    *,
    now: datetime,
    created_at: datetime,
    verifies_until: datetime | None,
    schedule: KeySchedule,
) -> KeyState:
    """The state as of `now`. `verifies_until` is set once the key was retired."""
    if verifies_until is not None:
        return KeyState.VERIFYING if now < verifies_until else KeyState.RETIRED
    end = key_end(created_at, schedule)
    if now >= end:
        return KeyState.VERIFYING
    return (
        KeyState.DUE
        if now >= end - timedelta(seconds=schedule.warning_seconds)
        else (KeyState.SIGNING)
    )
