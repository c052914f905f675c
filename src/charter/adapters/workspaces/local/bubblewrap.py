"""The walls of a sandbox, as arguments of bubblewrap.

*bubblewrap* is a small program that starts another one in new namespaces: its own view of
processes, files, network, users and host name. Charter uses it because it needs no daemon and no
root, and because every wall is an explicit argument:

* user, pid, ipc, uts and cgroup namespaces always, a network namespace with nothing but `lo`
  unless the decision says `host`; no user namespace can be made inside (`--disable-userns`);
* the host's /usr and a short list of /etc, read-only; the root itself and /dev read-only;
* /tmp, /run and /dev/shm in memory, each with a size; the home at /workspace, a read-only bind in
  the read-only tier;
* every capability dropped, no new privileges, a system-call filter, a new terminal session;
* SIGKILL to all of it when the holder dies.

The arguments travel through a pipe-like file, not the command line, because any user of the host
may read a command line and the environment of a workspace may hold secrets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# --disable-userns and --size came with 0.8.
OLDEST_VERSION: Final = (0, 8, 0)
INSTALL: Final = "apt-get install bubblewrap"
USER_INSIDE: Final = 1000
SUPERVISOR_INSIDE: Final = "/run/charter/supervisor.py"
# Hosts merge /bin, /lib and so on into /usr or keep them apart; the sandbox follows.
_TOP_LEVEL: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FROM_ETC: Final = (
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "fonts",
    "gai.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "pki",
    "protocols",
    "python3",
    "services",
    "ssl",
    "terminfo",
)
_MIB: Final = 1024 * 1024
_SMALL_TMPFS_MIB: Final = 64
_LARGEST_TMP_MIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Walls:
    """What differs between sandboxes. `marker` names the sandbox on bubblewrap's command line."""

    marker: str
    hostname: str
    home: str
    writable: bool
    network: str
    tmp_mib: int
    environment: Mapping[str, str]


def tmp_mib(memory_mib: int, *, writable: bool, counted: bool) -> int:
    """The size of /tmp: it is memory, so it is small where no memory limit counts it."""
    if not writable or not counted:
        return _SMALL_TMPFS_MIB
    return max(_SMALL_TMPFS_MIB, min(memory_mib // 2, _LARGEST_TMP_MIB))


def memory_file(name: str, content: bytes) -> int:
    """An anonymous file in memory that holds `content`; the caller closes it."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def resolver(network: str) -> bytes:
    """The content of /etc/resolv.conf inside: the host's where its network is shared, else none."""
    if network != "host":
        return b"# This workspace has no network.\n"
    try:
        return Path("/etc/resolv.conf").read_bytes()
    except OSError:
        return b""


def options(walls: Walls, supervisor: bytes) -> tuple[list[str], list[int]]:
    """The options that travel through `--args`, and the descriptors that they name."""
    words = [
        *("--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid"),
        *("--unshare-uts", "--unshare-cgroup", "--as-pid-1", "--die-with-parent"),
        *("--new-session", "--cap-drop", "ALL", "--hostname", walls.hostname),
        *("--uid", str(USER_INSIDE), "--gid", str(USER_INSIDE)),
    ]
    if walls.network != "host":
        words.append("--unshare-net")
    words += ["--ro-bind", "/usr", "/usr"]
    for name in _TOP_LEVEL:
        path = Path("/") / name
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for name in _FROM_ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    if Path("/etc/ssl/private").is_dir():
        words += ["--tmpfs", "/etc/ssl/private", "--remount-ro", "/etc/ssl/private"]
    who = f"workspace:x:{USER_INSIDE}:{USER_INSIDE}::/workspace:/bin/bash\n"
    small = str(_SMALL_TMPFS_MIB * _MIB)
    words += ["--proc", "/proc", "--dev", "/dev"]
    words += ["--size", small, "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108 - names inside the sandbox
    words += ["--size", str(walls.tmp_mib * _MIB), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108
    words += ["--size", small, "--tmpfs", "/run", "--symlink", "../run", "/var/run"]
    words += ["--dir", "/var/tmp", "--bind" if walls.writable else "--ro-bind", walls.home]  # noqa: S108
    words += ["/workspace", "--chdir", "/workspace", "--clearenv"]
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/workspace/.local/bin",
        "HOME": "/workspace",
        "USER": "workspace",
        "LOGNAME": "workspace",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        **walls.environment,
    }
    for key, value in environment.items():
        words += ["--setenv", key, value]
    descriptors = []
    for place, content in (
        ("/etc/passwd", f"root:x:0:0::/:/usr/sbin/nologin\n{who}".encode()),
        ("/etc/group", f"root:x:0:\nworkspace:x:{USER_INSIDE}:\n".encode()),
        ("/etc/hosts", f"127.0.0.1 localhost {walls.hostname}\n::1 localhost\n".encode()),
        ("/etc/resolv.conf", resolver(walls.network)),
        (SUPERVISOR_INSIDE, supervisor),
    ):
        descriptors.append(memory_file("charter-data", content))
        words += ["--perms", "0444", "--ro-bind-data", str(descriptors[-1]), place]
    return [*words, "--remount-ro", "/dev", "--remount-ro", "/"], descriptors


def command(
    program: str, walls: Walls, seccomp: bytes, supervisor: bytes, info: int | None
) -> tuple[list[str], list[int]]:
    """The command line up to the program to run inside, and the descriptors to pass on.

    `info` is where bubblewrap writes the process id of the sandbox's first process.
    """
    words, descriptors = options(walls, supervisor)
    descriptors.append(memory_file("charter-seccomp", seccomp))
    words += ["--seccomp", str(descriptors[-1])]
    if info is not None:
        words += ["--info-fd", str(info)]
    descriptors.append(memory_file("charter-args", "\0".join([*words, ""]).encode()))
    # The marker stands on the command line so that a sandbox without a holder can be recognised.
    marker = ["--setenv", "CHARTER_SANDBOX", walls.marker]
    return [program, "--args", str(descriptors[-1]), *marker, "--"], descriptors


def python_inside() -> str:
    """The interpreter that runs the supervisor, as seen inside."""
    return "/usr/bin/python3"
