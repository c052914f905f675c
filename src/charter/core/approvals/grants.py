"""Grants: what an approval leaves behind, for one subject, one action, one thing, and for a while.

A grant answers certain rules and no others. It is bound to a digest of what was asked for, so a yes
to 40 vCPU says nothing about 64. It always ends: by its expiry, by being used (when the rule gives
its yes for one request only), by being revoked, with the task that it was given for, or when its
holder may no longer ask for the action at all. Whether it holds is computed each time it is looked
at; nothing waits for a clean-up. A grant never gets longer: who needs it for longer asks anew.

Source: Spec AP-1, AP-4, ID-8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Grant:
    """A yes that was given. `task_id` ties it to one task of an agent."""

    id: str
    request_id: str
    subject_id: str
    action: str
    resource_digest: str
    rules: frozenset[str]
    granted_at: datetime
    expires_at: datetime
    single_use: bool = False
    task_id: str | None = None
    used_at: datetime | None = None
    revoked_at: datetime | None = None


class GrantState(StrEnum):
    """Whether a grant holds, or what ended it."""

    ACTIVE = "active"
    EXPIRED = "expired"
    USED = "used"
    REVOKED = "revoked"
    TASK_ENDED = "task-ended"
    ROLE_LOST = "role-lost"


def state_of(
    grant: Grant, now: datetime, *, task_open: bool = True, holder_may_ask: bool = True
) -> GrantState:
    """Where the grant stands at `now`.

    `task_open` says whether the task it is tied to is, `holder_may_ask` whether its holder has a
    role at all that includes the action; the facts are the caller's to look up.
    """
    if grant.single_use and grant.used_at is not None:
        return GrantState.USED
    if grant.revoked_at is not None and grant.revoked_at <= now:
        return GrantState.REVOKED
    if now >= grant.expires_at:
        return GrantState.EXPIRED
    if grant.task_id is not None and not task_open:
        return GrantState.TASK_ENDED
    return GrantState.ACTIVE if holder_may_ask else GrantState.ROLE_LOST


def active(grant: Grant, now: datetime) -> bool:
    """Whether it holds at `now`: begun, neither expired nor revoked, nor used up."""
    if not grant.granted_at <= now < grant.expires_at:
        return False
    if grant.revoked_at is not None and grant.revoked_at <= now:
        return False
    return not (grant.single_use and grant.used_at is not None)


def covers(
    grant: Grant,
    *,
    subject_id: str,
    action: str,
    resource_digest: str,
    now: datetime,
    task_id: str | None = None,
) -> bool:
    """Whether it holds for this subject doing this action to exactly this, for this task.

    A grant without a task covers the subject whatever the task; one with a task only that task,
    whose being open the caller has already checked.
    """
    return (
        active(grant, now)
        and grant.subject_id == subject_id
        and grant.action == action
        and grant.resource_digest == resource_digest
        and grant.task_id in (None, task_id)
    )


def granted_rules(
    grants: Iterable[Grant],
    *,
    subject_id: str,
    action: str,
    resource_digest: str,
    now: datetime,
    task_id: str | None = None,
) -> frozenset[str]:
    """The rules whose call for an approval these grants have answered."""
    return frozenset().union(
        *(
            grant.rules
            for grant in grants
            if covers(
                grant,
                subject_id=subject_id,
                action=action,
                resource_digest=resource_digest,
                now=now,
                task_id=task_id,
            )
        )
    )


def run_ends_at(grants: Iterable[Grant]) -> datetime | None:
    """When a run ends that stands on these grants; None when none of them ends it.

    A rule that was answered twice (a grant and its renewal) holds until the later end, and the run
    ends with the first rule that is not answered any more. A yes that was good for one request
    answers its rules for good: what it let begin is not taken back by its having been used.
    """
    ends: dict[str, datetime] = {}
    for grant in grants:
        if grant.single_use:
            continue
        end = min(grant.expires_at, grant.revoked_at or grant.expires_at)
        for rule in grant.rules:
            ends[rule] = max(ends.get(rule, end), end)
    return min(ends.values(), default=None)
