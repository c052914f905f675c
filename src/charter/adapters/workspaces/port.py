"""The port of workspace providers: how Charter makes a decided workspace real.

A *provider* turns a decision ("this workspace shall run, with these limits") into something that
runs: a sandbox on this machine, a pod, a virtual machine. The division of knowledge is strict: the
database is the truth about what should be, a provider only reports what is. So every call is
idempotent, may be repeated after any crash, and carries the *generation* of the desired state it
acts for. An executor that slept through a change arrives with an older generation and is refused;
it can never undo what was decided after it.

What every provider promises
* `ensure_running`: after it returns, the sandbox runs under the limits of `spec`, and there is
  exactly one, however many callers asked at the same time. With the same generation and spec a
  running sandbox is left as it is; with another spec it is restarted; an older generation raises
  `StaleGenerationError`.
* `stop`: SIGTERM to everything, then kill after the grace; the home is kept.
* `kill`: nothing graceful; when it returns no process of the sandbox is left (`survivors == 0`).
  The home is kept. A later `ensure_running` of the same or an older generation is refused.
* `delete`: stops, then removes home and record; repeating it is harmless, and a later
  `ensure_running` of the same or an older generation is refused.
* `execute` and the file calls run inside the confinement. What comes back was made by hostile
  code: it is bounded in size and time, and a malformed answer is an error, never a crash.
* A capability that is missing is reported, and a spec that requires it is refused. Nothing is
  ever silently weaker.

What is not promised: that a sandbox survives a restart of the host, that a command's output is
true, and any order between calls that run at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from charter.core.kernel.errors import (
    CharterError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)

# A command's output and a file are held in memory while they pass through: 4 MiB is far above what
# a person or an agent reads, and far below what would hurt the control plane.
DEFAULT_OUTPUT_BYTES: Final = 4 * 1024 * 1024
# No single answer out of a sandbox may be larger than this, whatever the caller asked for.
LARGEST_TRANSFER_BYTES: Final = 64 * 1024 * 1024
# A folder with more entries is cut here; a hostile workspace must not fill the caller's memory.
LARGEST_LISTING: Final = 10_000


class CapabilityName(StrEnum):
    """What a provider can enforce; the words a policy uses in `require`."""

    USER_NAMESPACE = "user-namespace"
    PID_NAMESPACE = "pid-namespace"
    NETWORK_ISOLATION = "network-isolation"
    SECCOMP = "seccomp"
    NO_NEW_PRIVILEGES = "no-new-privileges"
    MEMORY_LIMIT = "memory-limit"
    CPU_LIMIT = "cpu-limit"
    PROCESS_LIMIT = "process-limit"
    DISK_LIMIT = "disk-limit"
    READ_ONLY_ROOT = "read-only-root"
    FREEZE = "freeze"
    ATOMIC_KILL = "atomic-kill"
    OWN_UID = "own-uid"


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What shall run. `writable` is False for the read-only tier; `network` is `none` or `host`."""

    workspace_id: str
    hostname: str
    vcpu: int
    memory_mib: int
    disk_mib: int
    max_processes: int
    writable: bool
    network: str
    environment: Mapping[str, str] = field(default_factory=dict)
    require: frozenset[str] = frozenset()


class SandboxState(StrEnum):
    """What a provider found."""

    ABSENT = "absent"  # never made here, or deleted
    STOPPED = "stopped"  # a home, and nothing that runs
    RUNNING = "running"
    FAILED = "failed"  # ended, or never came up, without anybody having asked for it


@dataclass(frozen=True, slots=True)
class Usage:
    """What a running sandbox uses, measured from outside it.

    `running_commands` and `last_command_at` count what came through `execute`: asking for this
    value is never itself use of the workspace.
    """

    cpu_usec: int | None
    memory_mib: int
    processes: int
    disk_used_mib: int
    running_commands: int = 0
    last_command_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What is, at one moment. `detail` says why something failed; `notices` are for people."""

    workspace_id: str
    state: SandboxState
    generation: int
    started_at: datetime | None = None
    detail: str = ""
    notices: tuple[str, ...] = ()
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class KillReport:
    """How a kill went; `milliseconds` lie between the order and the last process being gone."""

    workspace_id: str
    processes_before: int
    milliseconds: float
    survivors: int


@dataclass(frozen=True, slots=True)
class ExecResult:
    """A finished command. A signal n is exit code 128+n; a timeout is a result, not an error."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry of a folder; `kind` is `file`, `directory`, `symlink` or `other`."""

    name: str
    kind: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing a provider may enforce, with the mechanism, or why it does not."""

    name: str
    enforced: bool
    how: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider really enforces on this host; found by trying, not by guessing."""

    provider: str
    isolation: str
    items: tuple[Capability, ...]

    def has(self, name: str) -> bool:
        """Whether `name` is enforced; a name nobody knows is not."""
        return any(item.name == name and item.enforced for item in self.items)

    def missing(self, required: frozenset[str]) -> tuple[str, ...]:
        """The required names that are not enforced, in order."""
        return tuple(sorted(name for name in required if not self.has(name)))


class ProviderError(UnavailableError):
    """Base of what a provider could not do; nothing was weakened to go on without it."""

    code = "provider-error"


class ProviderUnavailableError(ProviderError):
    """The host lacks what the provider stands on; `fix` is the exact command."""

    code = "provider-unavailable"


class CapabilityMissingError(ProviderError):
    """A policy requires a capability that this provider does not have here."""

    code = "capability-missing"


class SandboxFailedError(ProviderError):
    """The sandbox did not come up, ended, or answered with something malformed."""

    code = "sandbox-failed"


class StaleGenerationError(ConflictError):
    """The caller acts for a desired state that has been replaced since."""

    code = "stale-generation"


class NotRunningError(ConflictError):
    """The workspace is not running, so there is nothing in which this could be done."""

    code = "not-running"


class WorkspacePathError(InvalidInputError):
    """A path that is malformed, or that leads out of /workspace."""

    code = "invalid-path"


class WorkspaceFileNotFoundError(NotFoundError):
    """There is no such file or folder in the workspace."""

    code = "file-not-found"


class WorkspaceFileError(ConflictError):
    """The file is not what the call needs (a folder, too large) or cannot be changed."""

    code = "file-refused"


PROVIDER_ERRORS: Final[tuple[type[CharterError], ...]] = (
    ProviderError,
    StaleGenerationError,
    NotRunningError,
    WorkspacePathError,
    WorkspaceFileNotFoundError,
    WorkspaceFileError,
)


class Provider(Protocol):
    """See the module's text for what each call promises."""

    name: str

    def capabilities(self) -> Capabilities:
        """What is really enforced here."""

    def ensure_running(self, spec: SandboxSpec, generation: int) -> Observation:
        """Make it run, once, under the limits of `spec`."""

    def stop(
        self, workspace_id: str, generation: int, *, grace_seconds: float = 10.0
    ) -> Observation:
        """End it gracefully, then by force; the home is kept."""

    def kill(self, workspace_id: str, generation: int) -> KillReport:
        """End it now, all of it at once; the home is kept."""

    def delete(self, workspace_id: str, generation: int) -> None:
        """End it and remove its home and record."""

    def observe(self, workspace_id: str) -> Observation:
        """What is; changes nothing."""

    def observe_all(self) -> list[Observation]:
        """Everything found on the host, also what nobody asked for."""

    def execute(
        self,
        workspace_id: str,
        argv: Sequence[str],
        *,
        timeout_seconds: float,
        stdin: bytes = b"",
        max_output_bytes: int = DEFAULT_OUTPUT_BYTES,
    ) -> ExecResult:
        """Run `argv` in /workspace, inside the confinement."""

    def read_file(self, workspace_id: str, path: str, *, max_bytes: int) -> bytes:
        """The content of a file below /workspace; larger than `max_bytes` is refused."""

    def write_file(self, workspace_id: str, path: str, content: bytes) -> None:
        """Replace a file below /workspace at once; missing folders are made."""

    def list_files(self, workspace_id: str, path: str) -> list[FileEntry]:
        """The entries of a folder below /workspace, sorted by name."""
