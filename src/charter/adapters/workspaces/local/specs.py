"""What a local sandbox can be made from, and what people should know about it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Final

from charter.adapters.workspaces.local import disk, probe, records
from charter.adapters.workspaces.port import CapabilityName, SandboxSpec
from charter.core.kernel.errors import InvalidInputError
from charter.core.kernel.units import show_mib

_MIB: Final = 1024 * 1024
_HOSTNAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_MOST_VARIABLES: Final = 256
_LONGEST_VALUE: Final = 32_768
_LEAST_MEMORY_MIB: Final = 64  # the supervisor itself takes about 15 MiB
_LEAST_PROCESSES: Final = 8  # the supervisor and its threads count


def check(spec: SandboxSpec) -> None:
    """InvalidInputError for a spec that no sandbox could be made from."""
    records.check_id(spec.workspace_id)
    rules = (
        (_HOSTNAME.fullmatch(spec.hostname), "the host name is not a DNS label"),
        (spec.vcpu >= 1, "at least 1 vCPU is needed"),
        (
            spec.memory_mib >= _LEAST_MEMORY_MIB,
            f"at least {_LEAST_MEMORY_MIB} MiB of memory are needed",
        ),
        (
            spec.disk_mib >= disk.SMALLEST_MIB,
            f"at least {disk.SMALLEST_MIB} MiB of disk are needed",
        ),
        (
            spec.max_processes >= _LEAST_PROCESSES,
            f"at least {_LEAST_PROCESSES} processes are needed",
        ),
        (spec.network in ("none", "host"), "the network is 'none' or 'host'"),
        (
            len(spec.environment) <= _MOST_VARIABLES,
            f"at most {_MOST_VARIABLES} variables are passed on",
        ),
    )
    problems = [problem for holds, problem in rules if not holds]
    problems += [
        f"the variable {key!r} cannot be passed on"
        for key, value in spec.environment.items()
        if not _VARIABLE.fullmatch(key) or "\0" in value or len(value) > _LONGEST_VALUE
    ]
    if problems:
        raise InvalidInputError(
            f"The sandbox cannot be described so: {'; '.join(problems)}.",
            fix="Correct the request.",
        )


def digest(spec: SandboxSpec) -> str:
    """Tells apart what a running sandbox would have to be restarted for; reveals no variable."""
    parts = [
        getattr(spec, name) for name in spec.__slots__ if name not in ("require", "environment")
    ]
    text = json.dumps([*parts, sorted(spec.environment.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def notices(spec: SandboxSpec, found: probe.Findings, home: records.Home, kind: str) -> list[str]:
    """What people should know: limits above the host's, and limits that are not kept."""
    told = []
    cores = len(os.sched_getaffinity(0))
    if spec.vcpu > cores:
        plural = "core" if cores == 1 else "cores"
        told.append(f"{spec.vcpu} vCPU is a ceiling; this host has {cores} {plural}.")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB
    if spec.memory_mib > memory:
        told.append(
            f"{show_mib(spec.memory_mib)} of memory is a ceiling; this host has {memory} MiB."
        )
    if home.image.exists() and disk.size_mib(home.image) > spec.disk_mib:
        size = show_mib(disk.size_mib(home.image))
        told.append(f"The home stays at {size}; a home can grow but not shrink.")
    told += [
        f"The {item.name} is not enforced by the kernel here: {item.how}."
        for item in found.capabilities.items
        if not item.enforced and item.name.endswith("-limit")
    ]
    if kind == "plain" and found.capabilities.has(CapabilityName.DISK_LIMIT):
        told.append("This home was made without a disk limit; it is only measured.")
    return told
