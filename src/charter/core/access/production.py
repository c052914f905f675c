"""Access to production: just in time, for one person, one project, one environment, and a while.

The security team's yes leaves an *access*. Its holder takes the token once, with a fresh second
factor where policy asks for it, and shows it at the door to production; the door asks Charter what
it is worth, and every time that it is worth something is a use that is recorded. An access is worth
nothing when it has ended, was revoked, its approval was revoked, or its holder could not ask for it
any more: switched off, without the role, or out of the team. All of that is computed at the door.

Agents have no access and cannot be given one: the role of agents does not hold the permission, and
what is not a person's is worth nothing here, whatever is stored.

Source: Spec AP-3, ID-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from charter.core.access.invariants import invariants
from charter.core.access.permissions import Permission
from charter.core.access.resource import ResourceRef
from charter.core.access.subjects import Human, Subject


class AccessState(StrEnum):
    """Where an access stands."""

    APPROVED = "approved"  # its token waits to be taken
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Access:
    """One access; `expires_at` is until when the token is to be taken, and then when it ends."""

    id: str
    person_id: str
    team_id: str
    project_id: str
    environment: str
    expires_at: datetime
    issued_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def ref(self) -> ResourceRef:
        """The access as access rules see it."""
        return ResourceRef(
            "production-access",
            id=self.id,
            owner_id=self.person_id,
            owner_kind="human",
            team_id=self.team_id,
            project_id=self.project_id,
        )


def state_of(access: Access, now: datetime) -> AccessState:
    """Where it stands at `now`."""
    if access.revoked_at is not None and access.revoked_at <= now:
        return AccessState.REVOKED
    if now >= access.expires_at:
        return AccessState.EXPIRED
    return AccessState.APPROVED if access.issued_at is None else AccessState.ACTIVE


def worthless(
    access: Access,
    holder: Subject | None,
    now: datetime,
    *,
    project_id: str | None,
    environment: str | None,
) -> str | None:
    """Why the token opens nothing at the door of this project; None when it does.

    `environment` is what the project is now: an access to what was production once is none to what
    it became.
    """
    state = state_of(access, now)
    if state is not AccessState.ACTIVE:
        return state.value
    if project_id != access.project_id:
        return "other-project"
    if environment != access.environment:
        return "other-environment"
    if not isinstance(holder, Human) or holder.id != access.person_id:
        return "holder"
    if invariants(holder, Permission.PRODUCTION_ACCESS, access.ref, now):
        return "holder"
    return None
