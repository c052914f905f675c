"""Limits on a whole tree of processes: control groups, version 2, version 1 and both at once.

A *control group* is a folder of the kernel: processes are put into it, their children stay in it,
and files in it say how much memory, CPU and how many processes all of them together may use. In
version 2 there is one tree; in version 1 one tree per resource; a *hybrid* host has version 1 for
the limits and a version 2 tree beside it, which still offers the two things that make a kill
atomic: `cgroup.freeze` (nothing runs, so nothing can fork) and `cgroup.kill`.

Everything of Charter lives below a group named `charter`; nothing outside it is touched, except
that on a version 2 host the root must pass the three controllers down.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PARENT: Final = "charter"
CONTROLLERS: Final = ("memory", "cpu", "pids", "cpuacct", "freezer")
_PERIOD_USEC: Final = 100_000
_MIB: Final = 1024 * 1024
# What touching a group answers that somebody else removes: before, and while the file is open.
_REMOVED: Final = frozenset({errno.ENOENT, errno.ENODEV})
_FREEZE_SECONDS: Final = (
    0.25  # a task in the kernel may take a while to freeze; the kill works anyway
)


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where the trees are mounted: `unified` is version 2, `legacy` maps controllers to trees."""

    unified: Path | None
    legacy: dict[str, Path]

    @property
    def version(self) -> str:
        """For people: which arrangement this host has."""
        if self.unified is not None and self.legacy:
            return "cgroup v1 with a v2 tree beside it"
        return "cgroup v2" if self.unified is not None else "cgroup v1"


def find_hierarchies(mountinfo: str) -> Hierarchies | None:
    """The trees named in the text of /proc/self/mountinfo; None when there are none."""
    unified: Path | None = None
    legacy: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        words, kinds = before.split(), after.split()
        if len(words) < 5 or len(kinds) < 3:  # noqa: PLR2004 - the documented columns
            continue
        point = Path(re.sub(r"\\(\d{3})", lambda match: chr(int(match.group(1), 8)), words[4]))
        if kinds[0] == "cgroup2":
            unified = unified or point
        elif kinds[0] == "cgroup":
            for option in kinds[2].split(","):
                if option in CONTROLLERS:
                    legacy.setdefault(option, point)
    return Hierarchies(unified, legacy) if unified or legacy else None


def _write(path: Path, value: object) -> None:
    with path.open("w") as file:
        file.write(str(value))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


class ControlGroup:
    """The groups of one sandbox, in every tree that has a use for it."""

    def __init__(self, hierarchies: Hierarchies, name: str) -> None:
        self._trees = hierarchies
        self.unified = hierarchies.unified / PARENT / name if hierarchies.unified else None
        self._limits_in_v2 = not ({"memory", "cpu", "pids"} & set(hierarchies.legacy))
        self.legacy = {key: root / PARENT / name for key, root in hierarchies.legacy.items()}

    @property
    def folders(self) -> list[Path]:
        """Every folder of this sandbox, each once."""
        return [*dict.fromkeys(self.legacy.values()), *([self.unified] if self.unified else [])]

    def create(self) -> None:
        """Make the folders; OSError where the host does not allow it."""
        if self.unified is not None and self._limits_in_v2 and self._trees.unified is not None:
            self.unified.parent.mkdir(exist_ok=True)
            for folder in (self._trees.unified, self.unified.parent):
                present = (folder / "cgroup.subtree_control").read_text().split()
                for controller in ("cpu", "memory", "pids"):
                    if controller not in present:
                        with contextlib.suppress(OSError):
                            _write(folder / "cgroup.subtree_control", f"+{controller}")
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)

    def limit_memory(self, mib: int) -> None:
        """At most `mib` of memory for all together, swap included where the host counts it."""
        if "memory" in self.legacy:
            folder = self.legacy["memory"]
            _write(folder / "memory.limit_in_bytes", mib * _MIB)
            with contextlib.suppress(FileNotFoundError):  # swap accounting is off: none is used
                _write(folder / "memory.memsw.limit_in_bytes", mib * _MIB)
        else:
            folder = self._v2()
            _write(folder / "memory.max", mib * _MIB)
            with contextlib.suppress(FileNotFoundError):
                _write(folder / "memory.swap.max", 0)

    def limit_cpu(self, vcpu: int) -> None:
        """At most the time of `vcpu` processors."""
        if "cpu" in self.legacy:
            _write(self.legacy["cpu"] / "cpu.cfs_period_us", _PERIOD_USEC)
            _write(self.legacy["cpu"] / "cpu.cfs_quota_us", vcpu * _PERIOD_USEC)
        else:
            _write(self._v2() / "cpu.max", f"{vcpu * _PERIOD_USEC} {_PERIOD_USEC}")

    def lift_cpu_limit(self) -> None:
        """No CPU limit any more: what is about to die needs time to die, and must get it now."""
        with contextlib.suppress(OSError):
            if "cpu" in self.legacy:
                _write(self.legacy["cpu"] / "cpu.cfs_quota_us", -1)
            elif self.unified is not None:
                _write(self.unified / "cpu.max", "max")

    def limit_processes(self, count: int) -> None:
        """At most `count` processes and threads."""
        _write((self.legacy.get("pids") or self._v2()) / "pids.max", count)

    def _v2(self) -> Path:
        if self.unified is None:
            raise FileNotFoundError(errno.ENOENT, "no control group tree for this limit")
        return self.unified

    def join(self) -> None:
        """Put the calling process in; everything it starts stays in."""
        for folder in self.folders:
            _write(folder / "cgroup.procs", 0)

    def pids(self) -> list[int]:
        """Every process in the group; empty also when the group does not exist."""
        for folder in (self.unified, self.legacy.get("pids"), self.legacy.get("freezer")):
            if folder is not None:
                try:
                    return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
                except OSError as error:
                    if error.errno not in _REMOVED:
                        raise
        return []

    def can_freeze(self) -> bool:
        """Whether the whole group can be frozen."""
        return "freezer" in self.legacy or bool(
            self.unified and (self.unified / "cgroup.freeze").exists()
        )

    def can_kill(self) -> bool:
        """Whether one write kills the whole group."""
        return bool(self.unified and (self.unified / "cgroup.kill").exists())

    def freeze(self, *, wait: bool = True) -> bool:
        """Stop everything in the group where it stands; whether it was reached in time."""
        deadline = time.monotonic() + _FREEZE_SECONDS
        try:
            if self.unified is not None and (self.unified / "cgroup.freeze").exists():
                _write(self.unified / "cgroup.freeze", 1)
                state, frozen = self.unified / "cgroup.events", "frozen 1"
            elif "freezer" in self.legacy:
                _write(self.legacy["freezer"] / "freezer.state", "FROZEN")
                state, frozen = self.legacy["freezer"] / "freezer.state", "FROZEN"
            else:
                return False
            while wait and frozen not in state.read_text():
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.0005)
        except OSError:
            return False
        return True

    def thaw(self) -> None:
        """Let it run again (a frozen process of version 1 does not even die)."""
        with contextlib.suppress(OSError):
            if self.unified is not None and (self.unified / "cgroup.freeze").exists():
                _write(self.unified / "cgroup.freeze", 0)
            elif "freezer" in self.legacy:
                _write(self.legacy["freezer"] / "freezer.state", "THAWED")

    def kill(self) -> None:
        """SIGKILL to everything in the group: by one write, or (version 1) while it is frozen."""
        if self.unified is not None and (self.unified / "cgroup.kill").exists():
            try:
                _write(self.unified / "cgroup.kill", 1)
            except OSError as error:  # somebody else killed and removed it meanwhile
                if error.errno not in _REMOVED:
                    raise
            return
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.thaw()

    def wait_empty(self, seconds: float) -> bool:
        """Wait until no process is left in the group; False when some are after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.pids():
            if time.monotonic() > deadline:
                return False
            if not self.can_kill():
                self.kill()  # version 1 alone: something may have forked in between
            time.sleep(0.0005)
        return True

    def remove(self) -> bool:
        """Remove the folders (the kernel only lets go of empty ones); whether all are gone."""
        for folder in self.folders:
            for _ in range(200):  # a dying process keeps its group busy for a moment
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY:
                        break
                    time.sleep(0.005)
                else:
                    break
        return not any(folder.exists() for folder in self.folders)

    def cpu_usec(self) -> int | None:
        """CPU time used by the group since it was made."""
        if self.unified is not None:
            with contextlib.suppress(OSError, IndexError, ValueError):
                return int((self.unified / "cpu.stat").read_text().split()[1])
        if "cpuacct" in self.legacy:
            nanoseconds = _number(self.legacy["cpuacct"] / "cpuacct.usage")
            return None if nanoseconds is None else nanoseconds // 1000
        return None

    def memory_mib(self) -> int | None:
        """Memory in use by the group, page cache included."""
        if "memory" in self.legacy:
            used = _number(self.legacy["memory"] / "memory.usage_in_bytes")
        else:
            used = _number(self.unified / "memory.current") if self.unified else None
        return None if used is None else used // _MIB


def find() -> Hierarchies | None:
    """The trees of this host."""
    return find_hierarchies(Path("/proc/self/mountinfo").read_text())
