"""What this host really enforces, found by trying.

A version number or a configuration file says what should work; a container, a security module or a
missing permission says otherwise. So a sandbox with every wall is started once per process, and a
small program in it attacks the walls and reports; groups are made, limited and removed; an image is
made and mounted. What was seen to hold is enforced, everything else is reported as it is. Where a
wall on which all the others lean does not stand (namespaces, the filter, no new privileges), no
workspace is started at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from charter.adapters.workspaces.local import bubblewrap, cgroups, disk, uids
from charter.adapters.workspaces.local.seccomp import filter_program
from charter.adapters.workspaces.port import (
    Capabilities,
    Capability,
    CapabilityName,
    ProviderUnavailableError,
)

_SECONDS: Final = 20.0
_PROCESSES_TRIED: Final = 12

# Runs inside, on the system's Python. Each line of the answer is something that was seen.
_ATTACK: Final = """
import ctypes, json, os, resource, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def refused(call):
    try:
        call()
    except OSError as error:
        return error.errno
    return 0
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
def spawn(most):
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    held, write = os.pipe()
    count = 1
    try:
        for _ in range(most * 3):
            if os.fork() == 0:
                os.close(write)
                os.read(held, 1)
                os._exit(0)
            count += 1
    except OSError:
        pass
    os.close(write)
    return count
seen = {
    "uid_map": open("/proc/self/uid_map").read().split(),
    "pid": os.getpid(),
    "visible": len([name for name in os.listdir("/proc") if name.isdigit()]),
    "interfaces": sorted(os.listdir("/proc/self/net") and
        [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]),
    "no_new_privileges": int(status["NoNewPrivs"]),
    "seccomp": int(status["Seccomp"]),
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "vsock": refused(lambda: socket.socket(40, socket.SOCK_STREAM)),
    "unshare": (libc.unshare(0x10000000), ctypes.get_errno())[1],
    "write_root": refused(lambda: open("/x", "w")),
    "write_usr": refused(lambda: open("/usr/x", "w")),
    "write_etc": refused(lambda: open("/etc/x", "w")),
    "write_dev": refused(lambda: open("/dev/x", "w")),
    "processes": spawn(int(sys.argv[1])),
}
print(json.dumps(seen))
"""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the holder needs to know to build on this host."""

    capabilities: Capabilities
    bubblewrap: str
    groups: frozenset[str]  # of memory, cpu, pids: what control groups limit here
    disk: str  # loop | watched
    own_uid: bool


_lock = threading.Lock()
_known: dict[tuple[int, str], Findings] = {}


def findings() -> Findings:
    """The findings of this process; probed at the first call (about a fifth of a second).

    Raises ProviderUnavailableError, with the command that helps, where no sandbox can be made.
    A failure is not remembered: after the command has helped, the next call succeeds.
    """
    key = (os.geteuid(), os.environ.get("PATH", ""))
    with _lock:
        if key not in _known:
            _known[key] = _probe()
        return _known[key]


def _probe() -> Findings:
    program = find_bubblewrap()
    as_root = os.geteuid() == 0
    seen = _attack(program, as_root=as_root)
    groups, group_items = _probe_groups()
    disk_item = _probe_disk(as_root=as_root)
    processes_within = seen["processes"] <= _PROCESSES_TRIED
    names = CapabilityName
    items = [
        *_walls(seen),
        *group_items.values(),
        disk_item,
        Capability(
            names.OWN_UID,
            as_root,
            "one host uid per workspace"
            if as_root
            else "workspaces share the uid of this user; only root can give each its own",
        ),
    ]
    if "pids" not in groups:
        how = "RLIMIT_NPROC, counted inside the workspace's user namespace"
        if not processes_within:
            how = f"no control groups, and this kernel does not keep {how}"
        items = [item for item in items if item.name != names.PROCESS_LIMIT]
        items.append(Capability(names.PROCESS_LIMIT, processes_within, how))
    order = list(CapabilityName)
    items.sort(key=lambda item: order.index(CapabilityName(item.name)))
    return Findings(
        capabilities=Capabilities("local", "namespaces", tuple(items)),
        bubblewrap=program,
        groups=groups,
        disk="loop" if disk_item.enforced else "watched",
        own_uid=as_root,
    )


def find_bubblewrap() -> str:
    """The path of a bubblewrap that is new enough, or ProviderUnavailableError."""
    program = disk.tool("bwrap")
    if program is None:
        raise ProviderUnavailableError(
            "bubblewrap is not installed, and without it no workspace is confined.",
            fix=bubblewrap.INSTALL,
        )
    done = subprocess.run(
        [program, "--version"], capture_output=True, check=False, timeout=_SECONDS
    )
    match = re.search(rb"(\d+)\.(\d+)\.(\d+)", done.stdout)
    version = tuple(int(part) for part in match.groups()) if match else (0, 0, 0)
    if version < bubblewrap.OLDEST_VERSION:
        wanted = ".".join(map(str, bubblewrap.OLDEST_VERSION))
        found = ".".join(map(str, version))
        raise ProviderUnavailableError(
            f"bubblewrap {found} is too old; {wanted} or newer is needed.",
            fix=f"{bubblewrap.INSTALL} (from a release that has {wanted} or newer)",
        )
    if not Path(bubblewrap.python_inside()).exists():
        raise ProviderUnavailableError(
            f"{bubblewrap.python_inside()} is missing; it runs commands inside a workspace.",
            fix="apt-get install python3",
        )
    return program


def _attack(program: str, *, as_root: bool) -> dict[str, Any]:
    """Build a sandbox as for a workspace and let it report what it could do."""
    user: int | None = None
    if as_root:
        candidates = uids.uid_range(Path("/proc/self/uid_map").read_text())
        if candidates is None:
            raise ProviderUnavailableError(
                "Charter runs as root, and too few uids are mapped to give each workspace its own.",
                fix="Start Charter as an ordinary user, or where at least 65536 uids are mapped.",
            )
        user = candidates[secrets.randbelow(len(candidates))]
    walls = bubblewrap.Walls("probe", "probe", "/usr", False, "none", 64, {})
    words, descriptors = bubblewrap.command(program, walls, filter_program(), b"", None)
    words += [bubblewrap.python_inside(), "-I", "-S", "-c", _ATTACK, str(_PROCESSES_TRIED)]
    try:
        done = subprocess.run(
            words,
            pass_fds=descriptors,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
            cwd="/",
            env={"PATH": os.defpath},
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        seen: dict[str, Any] = json.loads(done.stdout)
    except (ValueError, OSError, subprocess.SubprocessError) as error:
        said = ""
        if isinstance(error, ValueError):
            said = done.stderr.decode(errors="replace").strip()[-300:]
        raise ProviderUnavailableError(
            f"bubblewrap cannot build a sandbox on this host: {said or error}.",
            fix=_namespace_fix(),
        ) from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    broken = [item.name for item in _walls(seen) if not item.enforced]
    if broken:
        raise ProviderUnavailableError(
            f"A sandbox on this host would not hold: {', '.join(broken)}.",
            fix="Use a kernel of 5.14 or newer with namespaces and seccomp, or another provider.",
        )
    return seen


def _namespace_fix() -> str:
    """The command that allows user namespaces, by what forbids them here."""
    for name, wanted in (
        ("kernel.unprivileged_userns_clone", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "0"),
        ("user.max_user_namespaces", "16384"),
    ):
        path = Path("/proc/sys") / name.replace(".", "/")
        with contextlib.suppress(OSError):
            value = path.read_text().strip()
            if (value == "0") == (wanted != "0"):
                return f"sysctl -w {name}={wanted}"
    return "Allow user namespaces: run Charter outside a container, or in one that permits them."


def _walls(seen: dict[str, Any]) -> list[Capability]:
    """What the attack found about the walls that every workspace leans on."""
    only_lo = seen["interfaces"] == ["lo"]
    alone = seen["pid"] == 1 and seen["visible"] == 1
    sealed = all(seen[f"write_{name}"] for name in ("root", "usr", "etc", "dev"))
    filtered = seen["seccomp"] == 2 and bool(seen["vsock"])  # noqa: PLR2004 - a filter is loaded
    mapped = seen["uid_map"][:1] == [str(bubblewrap.USER_INSIDE)] and bool(seen["unshare"])
    unprivileged = seen["no_new_privileges"] == 1 and seen["capabilities"] == 0
    names = CapabilityName
    return [
        Capability(names.USER_NAMESPACE, mapped, "bubblewrap; none can be made inside"),
        Capability(names.PID_NAMESPACE, alone, "bubblewrap; only the workspace's own are visible"),
        Capability(names.NETWORK_ISOLATION, only_lo, "network namespace with nothing but lo"),
        Capability(names.SECCOMP, filtered, "libseccomp filter"),
        Capability(names.NO_NEW_PRIVILEGES, unprivileged, "no_new_privs, and no capability left"),
        Capability(
            names.READ_ONLY_ROOT, sealed, "read-only mounts; only /workspace and /tmp differ"
        ),
    ]


def _probe_groups() -> tuple[frozenset[str], dict[str, Capability]]:
    """Make a group, limit it, kill it; which of the limits exist here."""
    names = CapabilityName
    why = "no control groups are mounted here"
    held: set[str] = set()
    freeze = kill = False
    trees = cgroups.find()
    if trees is not None:
        why = f"{trees.version} may not be changed by this user"
        group = cgroups.ControlGroup(trees, f"probe-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            group.create()
            for name, limit, least in (
                ("memory", group.limit_memory, 64),
                ("cpu", group.limit_cpu, 1),
                ("pids", group.limit_processes, 16),
            ):
                with contextlib.suppress(OSError):
                    limit(least)
                    held.add(name)
            freeze = group.can_freeze()
            kill = group.can_kill()
            why = trees.version
        except OSError:
            held.clear()
        finally:
            with contextlib.suppress(OSError):
                group.remove()
    watchdog = f"{why}; a watchdog ends the largest process when all use more than the limit"
    affinity = f"{why}; processes are started on that many cores, which they may change"
    kill_how = "cgroup.kill" if kill else "SIGKILL to the first process of the pid namespace"
    found = {
        "memory": Capability(
            names.MEMORY_LIMIT, "memory" in held, why if "memory" in held else watchdog
        ),
        "cpu": Capability(names.CPU_LIMIT, "cpu" in held, why if "cpu" in held else affinity),
        "pids": Capability(names.PROCESS_LIMIT, "pids" in held, why),
        "freeze": Capability(names.FREEZE, freeze, why),
        "kill": Capability(names.ATOMIC_KILL, True, kill_how),
    }
    return frozenset(held), found


def _probe_disk(*, as_root: bool) -> Capability:
    """Make an image and mount it, in a mount namespace that ends with the attempt."""
    name = CapabilityName.DISK_LIMIT
    watched = "the home is measured, and the workspace stopped when it grew over its limit"
    if not as_root:
        return Capability(name, False, f"only root may mount images; {watched}")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from charter.adapters.workspaces.local import disk; image = Path(sys.argv[2]);"
        "disk.make_image(image, disk.SMALLEST_MIB, 0); disk.own_mount_namespace();"
        "target = disk.reachable_folder(image.parent); disk.mount_image(image, target);"
        "disk.unmount(target)"
    )
    with tempfile.TemporaryDirectory(prefix="charter-probe-") as folder:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, source_root(), f"{folder}/disk.img"],
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode == 0:
        return Capability(name, True, "an ext4 image of that size is the home")
    said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][-200:]
    return Capability(name, False, f"an image cannot be mounted ({said}); {watched}")


def source_root() -> str:
    """The folder that `charter` is imported from."""
    return str(Path(__file__).resolve().parents[4])
