"""What the local provider keeps on disk, so that any process finds any sandbox again.

Under the provider's root (`<state>/workspaces`):

    .locks/ID           flock around every change of one workspace, except a kill
    .fences/ID.json     the lowest generation that may still start; outlives a deleted workspace
    .uids/UID           which workspace owns this host uid (created exclusively: never two)
    ID/record.json      written by the provider under the lock: generation, uid, authorised launch
    ID/holder.json      written by the holder alone: its process, what it reached, why it ended
    ID/holder.lock      flock that the one holder keeps for as long as it lives
    ID/disk.img|home/   the home: an ext4 image, or a plain folder where images cannot be mounted
    ID/ctl/             the supervisor's socket, reachable by the control plane's uid only
    ID/commands/        one locked file per running command

A kill never waits for the lock, which a slow start may hold. It raises the fence first and looks
for the holder second; a holder writes down its process first and looks at fence and authorised
launch second. In whatever order these four steps meet, either the kill sees the holder, or the
holder sees the fence.

Every file is replaced as a whole (written beside, renamed), so a reader sees the old or the new
one. A file that cannot be read counts as missing, and what it described is cleaned up, not trusted.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from charter.core.kernel.errors import InvalidInputError

_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# An executor that was asleep for longer than this has been given up by whoever started it.
_FENCE_KEPT_SECONDS: Final = 30 * 24 * 3600
_MEBIBYTE: Final = 1024 * 1024


def check_id(workspace_id: str) -> str:
    """`workspace_id`, which becomes a file name, or InvalidInputError."""
    if not _ID.fullmatch(workspace_id):
        raise InvalidInputError(
            f"{workspace_id!r} cannot name a workspace.",
            fix="Use 1 to 63 of a-z, 0-9, '_' and '-', beginning with a letter or digit.",
        )
    return workspace_id


def replace(path: Path, document: Mapping[str, object]) -> None:
    """Put `document` in the place of `path` at once."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.chmod(0o600)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: Path) -> dict[str, Any]:
    """The document at `path`; empty when it is missing or not a JSON object."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MEBIBYTE))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


@contextlib.contextmanager
def locked(path: Path, seconds: float) -> Iterator[int]:
    """Hold the flock of `path`; TimeoutError when another keeps it longer than `seconds`.

    The file may be removed by whoever holds it; then the lock just taken is that of a file nobody
    else will find, and it is taken again.
    """
    deadline = time.monotonic() + seconds
    pause = 0.001
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if try_lock(descriptor) and _still_there(path, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)
        if time.monotonic() > deadline:
            raise TimeoutError(errno.ETIMEDOUT, "the lock is held by another process", str(path))
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Whether the flock of `descriptor` could be taken at once."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_there(path: Path, descriptor: int) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


class Home:
    """The folder of one workspace under the provider's root."""

    def __init__(self, root: Path, workspace_id: str) -> None:
        self.root, self.id = root, check_id(workspace_id)
        self.folder = root / self.id
        self.record = self.folder / "record.json"
        self.holder = self.folder / "holder.json"
        self.holder_lock = self.folder / "holder.lock"
        self.image = self.folder / "disk.img"
        self.plain = self.folder / "home"
        self.control = self.folder / "ctl"
        self.log = self.folder / "holder.log"
        self.usage = self.folder / "usage.json"
        self.commands = self.folder / "commands"
        self.last_command = self.folder / "last-command"
        self.fence = root / ".fences" / f"{self.id}.json"
        self.lock = root / ".locks" / self.id

    def holder_lock_is_held(self) -> bool:
        """Whether some holder (or a tool it started) still works on this workspace."""
        try:
            descriptor = os.open(self.holder_lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not try_lock(descriptor)
        finally:
            os.close(descriptor)

    def lowest_startable(self) -> int:
        """The fence: a start for an older generation is refused."""
        lowest = load(self.fence).get("lowest", 0)
        return lowest if isinstance(lowest, int) else 0

    def raise_fence(self, lowest: int) -> None:
        """From now on refuse to start any generation below `lowest`."""
        with locked(self.root / ".fences" / ".lock", 10.0):
            if lowest > self.lowest_startable():
                replace(self.fence, {"lowest": lowest})

    @contextlib.contextmanager
    def running_command(self) -> Iterator[None]:
        """Count one command as running for as long as this context lives."""
        self.commands.mkdir(mode=0o700, exist_ok=True)
        path = self.commands / f"{os.getpid()}-{time.monotonic_ns()}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try_lock(descriptor)
            self.last_command.touch()
            yield
        finally:
            with contextlib.suppress(OSError):
                self.last_command.touch()
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def running_commands(self) -> int:
        """How many commands run; what a dead caller left behind is not counted."""
        count = 0
        with contextlib.suppress(FileNotFoundError):
            for path in self.commands.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                    try:
                        count += not try_lock(descriptor, shared=True)
                    finally:
                        os.close(descriptor)
        return count

    def last_command_at(self) -> float | None:
        """When a command last began or ended, in seconds since the epoch."""
        try:
            return self.last_command.stat().st_mtime
        except FileNotFoundError:
            return None


def prepare_root(root: Path) -> None:
    """Make the provider's folders, reachable by the control plane's uid only."""
    for folder in (root, root / ".locks", root / ".fences", root / ".uids"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    root.chmod(0o700)


def known_ids(root: Path) -> list[str]:
    """Every workspace that has a folder here, sorted."""
    try:
        names = os.listdir(root)  # noqa: PTH208 - names are all that is wanted
    except FileNotFoundError:
        return []
    return sorted(name for name in names if _ID.fullmatch(name) and (root / name).is_dir())


def prune_fences(root: Path, now: float) -> None:
    """Forget the fences of workspaces that were deleted long ago."""
    for path in (root / ".fences").glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            old = now - path.stat().st_mtime > _FENCE_KEPT_SECONDS
            if old and not (root / path.stem).exists():
                path.unlink()
