"""Small tools of the sandbox tests: specs, waiting on a condition, looking for what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from charter.adapters.workspaces.local import cgroups
from charter.adapters.workspaces.local.processes import ProcessName, all_pids, children
from charter.adapters.workspaces.local.provider import LocalProvider
from charter.adapters.workspaces.local.records import load
from charter.adapters.workspaces.port import ExecResult, Provider, SandboxSpec
from charter.processes import wait_until


def spec_of(workspace_id: str, **changes: object) -> SandboxSpec:
    """A small writable sandbox without a network."""
    facts: dict[str, object] = {
        "workspace_id": workspace_id,
        "hostname": workspace_id.replace("_", "-"),
        "vcpu": 1,
        "memory_mib": 192,
        "disk_mib": 32,
        "max_processes": 64,
        "writable": True,
        "network": "none",
        "environment": {},
    }
    return SandboxSpec(**(facts | changes))  # type: ignore[arg-type]


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until `condition` holds; the limit only ends a test that hangs."""
    assert wait_until(lambda: bool(condition()), seconds), f"never happened: {what}"


def shell(provider: Provider, workspace_id: str, script: str, **more: object) -> ExecResult:
    """Run a shell script inside."""
    return provider.execute(workspace_id, ["sh", "-c", script], timeout_seconds=60, **more)  # type: ignore[arg-type]


def python(provider: Provider, workspace_id: str, script: str, *arguments: str) -> ExecResult:
    """Run a Python script inside."""
    argv = ["/usr/bin/python3", "-I", "-c", script, *arguments]
    return provider.execute(workspace_id, argv, timeout_seconds=60)


def holder_of(provider: LocalProvider, workspace_id: str) -> ProcessName:
    """The process that holds the sandbox."""
    name = ProcessName.from_json(load(provider._home(workspace_id).holder)["holder"])
    assert name is not None
    return name


def walls_of(provider: LocalProvider, workspace_id: str | None = None) -> set[int]:
    """Living bubblewrap processes of this sandbox, or of all that `provider` has."""
    prefix = f"{provider._instance}-{workspace_id or ''}".encode()
    found = set()
    for pid in all_pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = [word == prefix if workspace_id else word.startswith(prefix) for word in words]
        name = ProcessName.of(pid)
        if words[0].endswith(b"bwrap") and any(ours) and name is not None and name.is_alive():
            found.add(pid)
    # While it builds, bubblewrap is two processes of that name, one the child of the other.
    return {pid for pid in found if not any(pid in children(other) for other in found)}


def groups_of(provider: LocalProvider) -> list[str]:
    """Control groups that belong to `provider`."""
    trees = cgroups.find()
    if trees is None:
        return []
    folders = [*trees.legacy.values(), *([trees.unified] if trees.unified else [])]
    return [
        str(path)
        for folder in folders
        for path in (folder / cgroups.PARENT).glob(f"{provider._instance}-*")
    ]


def loops_of(provider: LocalProvider) -> list[str]:
    """Loop devices over an image of `provider`."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if path.read_text().startswith(str(provider._root)):
                found.append(path.parts[3])
        except OSError:
            continue
    return found
