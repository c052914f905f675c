"""What a supervisor writes down about itself, and what can be read from it.

`run/supervisor.json` names the supervisor and its children by pid and start time, so that nobody is
ever signalled by a number that has passed on to another process. `run/supervisor.lock` is what
makes it the only one: the record may be left over from a killed supervisor, a lock cannot be.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from charter.core.kernel.errors import ConflictError
from charter.processes import start_of, wait_until

MARKER: Final = "charter-state"  # a file that marks a directory as ours, so that it may be deleted
_MARKER_TEXT: Final = (
    "This folder belongs to Charter; `charter reset` deletes it with its contents.\n"
)
_LEFTOVER_TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process: who it is, since when it runs (Unix seconds), how often it was started again."""

    name: str
    pid: int
    started: str
    since: float
    restarts: int = 0

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return start_of(self.pid) == self.started

    def signal(self, number: int) -> None:
        """Send it a signal, if it is still the same process."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A line of `charter status`: `running`, `restarting` or `stopped`; `since` in Unix time."""

    name: str
    state: str
    pid: int | None = None
    since: float | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """What runs for one state directory. `ready` is false while it starts or a part is missing."""

    state_dir: Path
    ready: bool
    url: str | None
    processes: tuple[ProcessStatus, ...]

    def as_json(self) -> dict[str, object]:
        """For `charter status --json`."""
        return {
            "state_dir": str(self.state_dir),
            "ready": self.ready,
            "url": self.url,
            "processes": [asdict(process) for process in self.processes],
        }


@dataclass(frozen=True, slots=True)
class Record:
    """The contents of the record file."""

    supervisor: ProcessRecord
    children: tuple[ProcessRecord, ...] = ()
    ready: bool = False
    url: str | None = None

    def write(self, state_dir: Path) -> None:
        """Replace the record at once: a reader sees the old one or the new one."""
        path = record_path(state_dir)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)))
        fresh.replace(path)


def record_path(state_dir: Path) -> Path:
    """Where the record stands."""
    return state_dir / "run" / "supervisor.json"


def read_record(state_dir: Path) -> Record | None:
    """The record, which a killed supervisor may have left; None without one (or half of one)."""
    try:
        found = json.loads(record_path(state_dir).read_text())
        return Record(
            supervisor=ProcessRecord(**found["supervisor"]),
            children=tuple(ProcessRecord(**child) for child in found["children"]),
            ready=bool(found["ready"]),
            url=found["url"],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def claim(state_dir: Path) -> IO[str]:
    """Become the one supervisor of `state_dir`, as long as the returned file is open.

    Raises ConflictError with the other one's pid when there is one.
    """
    for name in ("run", "logs"):
        (state_dir / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    (state_dir / MARKER).write_text(_MARKER_TEXT)
    lock = (state_dir / "run" / "supervisor.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        record = read_record(state_dir)
        whose = f" (pid {record.supervisor.pid})" if record else ""
        raise ConflictError(
            f"Charter already runs on {state_dir}{whose}.",
            fix="`charter status` shows it, `charter down` stops it. For a second instance choose "
            "another CHARTER_STATE_DIR and CHARTER_PORT.",
            code="already-running",
        ) from None
    return lock


def end_leftovers(record: Record | None) -> None:
    """Kill the recorded children that outlived their supervisor, and wait until they are gone."""
    for child in record.children if record else ():
        child.signal(signal.SIGKILL)
        wait_until(lambda child=child: not child.alive, _LEFTOVER_TIMEOUT_SECONDS)  # type: ignore[misc]
