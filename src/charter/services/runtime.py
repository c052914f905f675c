"""What a service needs from the outside, in one frozen value that `wiring` builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from charter.adapters.identity.oidc import OidcProvider
from charter.adapters.workspaces.port import Provider
from charter.core.access.subjects import Agent, Human, System
from charter.services.policy_point import PolicyPoint
from charter.settings import Settings
from charter.store.group_commit import GroupCommit
from charter.store.unit_of_work import Database


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the audit log's checkpoints, of policy bundles, and of what browsers keep for us.

    From `notifications` come the keys that sign approval links and seal the secrets of channels.

    Those that sign agents' credentials come and go; see `services/keys.py`.
    """

    sealing: Ed25519PrivateKey
    audit: Ed25519PrivateKey
    policy: Ed25519PrivateKey
    notifications: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts that services work with; no service reaches for anything else."""

    settings: Settings
    database: Database
    policy: PolicyPoint
    provider: Provider
    keys: Keys
    now: Callable[[], datetime]
    randomness: Callable[[int], bytes]
    groups: dict[str, GroupCommit[Any, Any]] = field(default_factory=dict)
    sign_in_providers: Mapping[str, OidcProvider] = field(default_factory=dict)

    def group(self, name: str, make: Callable[[], GroupCommit[Any, Any]]) -> GroupCommit[Any, Any]:
        """The group commit `name`, which all threads of this runtime share."""
        # setdefault is atomic: two threads that come first together get the same one.
        return self.groups.get(name) or self.groups.setdefault(name, make())

    @property
    def state_dir(self) -> Path:
        """The instance's folder, absolute."""
        return self.settings.state_dir.absolute()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, and with what: the subject as it stands now and the credential shown.

    `via` is `session`, `token`, `agent` or `local` (the operator's own shell on the machine).
    `csrf_token` is what a form of this session must carry. `ip` is where the request came from,
    None when it did not come over a network, or nobody can say. `key` is the thumbprint of the key
    that an agent has proved with this request. `networks` says why allowlists of
    networks do not count: `set-aside` (by an operator), or `not-asked` where nobody's request
    came in: in a question about somebody, and in what an approval carries out.
    """

    subject: Human | Agent
    via: str
    credential_id: str
    csrf_token: str | None = None
    ip: str | None = None
    key: str | None = None
    networks: str | None = None

    @property
    def id(self) -> str:
        """The subject's identifier."""
        return self.subject.id

    @property
    def is_agent(self) -> bool:
        """Whether an agent is asking."""
        return isinstance(self.subject, Agent)

    @property
    def person(self) -> Human:
        """The human who is asking or, for an agent, its sponsor."""
        return self.subject.sponsor if isinstance(self.subject, Agent) else self.subject


@dataclass(frozen=True, slots=True)
class Provisioner:
    """A directory that provisions by SCIM: the system that is asking, by which token of its own."""

    subject: System
    directory: str
    ip: str | None = None
    networks: str | None = None

    @property
    def id(self) -> str:
        """The system's identifier, which is its token's."""
        return self.subject.id

    @property
    def credential_id(self) -> str:
        """The token that was shown."""
        return self.subject.id

    @property
    def via(self) -> str:
        """By which door it came."""
        return "scim"

    @property
    def is_agent(self) -> bool:
        """No."""
        return False


@dataclass(frozen=True, slots=True)
class Clockwork:
    """Charter itself, when it does by the clock what a person or a directory could do as well."""

    id: str


Actor = Caller | Provisioner
Doer = Actor | Clockwork
