"""Telling one process from the next one that gets its number.

A pid names a process only until it ends; the kernel then gives the number to somebody else. A
process that was written down in a file is therefore named by three things: its pid, the moment it
started (in clock ticks since boot, which never repeats for one pid within one boot) and the boot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_POLL_SECONDS: Final = 0.005
_STATE_FIELD: Final = 0  # counted after the command's name, which may hold spaces and brackets
_START_FIELD: Final = 19


def start_in(stat_line: str, boot_id: str) -> str:
    """When the process of this line of /proc/<pid>/stat started: `<boot id>:<ticks>`."""
    return f"{boot_id}:{stat_line.rpartition(')')[2].split()[_START_FIELD]}"


def start_of(pid: int) -> str | None:
    """When process `pid` started; None when there is none or only its exit status is left."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if line.rpartition(")")[2].split()[_STATE_FIELD] in ("Z", "X"):
        return None
    return start_in(line, Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Poll until `condition` holds; False when it still does not after `timeout_seconds`."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
