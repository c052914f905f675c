"""Subjects: the people, the agents and the systems that ask for things.

An agent is not a flag on a person. It is an identity of its own, which always hangs on a sponsor
(the person who answers for it) and on a task (what it is for). It carries no bindings: what it may
do follows from its tier, its task and whatever its sponsor may do at this moment.

A *system* is a program of the organisation's own that acts in nobody's name: a directory that
provisions people. It holds no roles; what it may do is a closed list (`systems.py`).

Source: Spec ID-3, ID-6, AG-2.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from charter.core.access.permissions import Permission
from charter.core.access.roles import Binding
from charter.core.agents.elevation import Elevation
from charter.core.agents.tasks import TaskScope
from charter.core.agents.tiers import Tier


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """How and when a person proved who they are; policy may ask for more than was shown.

    Of a personal token: how and when its owner had, when it was made. `has_passkey` says whether
    the person could show a second factor here.
    """

    id: str
    method: str
    authenticated_at: datetime
    mfa: bool = False
    ip: str | None = None
    has_passkey: bool = False


@dataclass(frozen=True, slots=True)
class Human:
    """A person, with everything they hold. `session` is None unless they are asking right now."""

    id: str
    handle: str
    bindings: tuple[Binding, ...] = ()
    teams: frozenset[str] = frozenset()
    session: SessionFacts | None = None
    active: bool = True


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent instance; `active` is False once it was killed or its credential was revoked.

    `elevations` are all that it was ever given; which of them count is asked with the time.
    `scope` is what the credential that was shown was narrowed to, None when it was not. `parent`
    is the agent that this one works for.
    """

    id: str
    sponsor: Human
    tier: Tier
    task: TaskScope | None
    team_id: str | None
    credential_id: str
    active: bool = True
    elevations: tuple[Elevation, ...] = ()
    scope: frozenset[Permission] | None = None
    parent: Agent | None = None


@dataclass(frozen=True, slots=True)
class System:
    """A program with a credential of its own; `name` is what administrators call it."""

    id: str
    name: str


Subject = Human | Agent
