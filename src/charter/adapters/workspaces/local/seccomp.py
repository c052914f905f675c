"""The system calls a workspace may not make.

A *seccomp filter* is a small program that the kernel runs before every system call of a process
and of everything it starts; it cannot be taken off again. Namespaces hide what is not the
workspace's; the filter shrinks the kernel itself, because a bug in a system call that no
development tool needs is still a way out.

Refused are: making namespaces and mounts, loading code into the kernel (modules, bpf, kexec),
interfaces that have a history of escapes (io_uring, userfaultfd, keyrings), setting the clock,
pushing characters into a terminal (TIOCSTI), and every socket family except unix, IPv4, IPv6 and
netlink. The families matter: AF_VSOCK is in no namespace and talks to the hypervisor. Limits
(prlimit) are set for oneself only.

Arguments are compared in their low 32 bits only. The kernel itself reads an `int` argument so; a
comparison of all 64 bits would let a program pass 40 + 2**32 for AF_VSOCK.
"""

from __future__ import annotations

import errno
import functools
import platform
import tempfile
from typing import Any, Final

from charter.adapters.workspaces.port import ProviderUnavailableError

SUPPORTED_MACHINES: Final = ("x86_64", "aarch64")

_REFUSED: Final = (
    # namespaces and mounts, old and new interface
    "unshare",
    "setns",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_tree",
    "mount_setattr",
    # code and data into the kernel
    "bpf",
    "perf_event_open",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "userfaultfd",
    "add_key",
    "request_key",
    "keyctl",
    "lookup_dcookie",
    "fanotify_init",
    # files behind the mount table, storage, machine state
    "open_by_handle_at",
    "name_to_handle_at",
    "quotactl",
    "swapon",
    "swapoff",
    "acct",
    "reboot",
    "syslog",
    "vhangup",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "modify_ldt",
    "nfsservctl",
    "vmsplice",
)
# Programs have a fall-back for a kernel that does not know these, and none for a refusal.
_UNKNOWN: Final = ["io_uring_setup", "io_uring_enter", "io_uring_register", "clone3"]
# Younger than the libseccomp of Debian 12 and Ubuntu 22.04: by number, the same on both machines.
_REFUSED_NUMBERS: Final = (442, 467)  # mount_setattr, open_tree_attr
_ABSENT_HERE: Final = {"aarch64": {"iopl", "ioperm", "modify_ldt"}, "x86_64": set[str]()}

_NAMESPACE_FLAGS: Final = (
    0x00020000,  # CLONE_NEWNS
    0x02000000,  # CLONE_NEWCGROUP
    0x04000000,  # CLONE_NEWUTS
    0x08000000,  # CLONE_NEWIPC
    0x10000000,  # CLONE_NEWUSER
    0x20000000,  # CLONE_NEWPID
    0x40000000,  # CLONE_NEWNET
)
_ALLOWED_FAMILIES: Final = frozenset({1, 2, 10, 16})  # unix, IPv4, IPv6, netlink
_FAMILIES: Final = 64  # the kernel knows 46; the rest is room for what it may learn
_TERMINAL_REQUESTS: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_LOW_32_BITS: Final = 0xFFFFFFFF


@functools.cache
def filter_program() -> bytes:
    """The compiled filter for this machine, as `bwrap --seccomp` reads it.

    Raises ProviderUnavailableError where libseccomp is missing or the machine is not supported:
    without the filter there is no sandbox.
    """
    machine = platform.machine()
    if machine not in SUPPORTED_MACHINES:
        raise ProviderUnavailableError(
            f"No system-call filter is written for the machine type {machine}.",
            fix="Run workspaces on x86-64 or aarch64, or use another provider.",
        )
    try:
        import pyseccomp as sc  # noqa: PLC0415 - loads libseccomp, and raises where it is missing
    except (ImportError, RuntimeError, OSError) as error:
        raise ProviderUnavailableError(
            "libseccomp is missing, so no system-call filter can be made.",
            fix="apt-get install libseccomp2",
        ) from error
    try:
        return _compile(sc, machine)
    except (OSError, ValueError) as error:
        raise ProviderUnavailableError(
            f"The system-call filter could not be made: {error}.",
            fix="apt-get install --only-upgrade libseccomp2",
        ) from error


def _compile(sc: Any, machine: str) -> bytes:
    """The filter by the bindings `sc`."""
    program = sc.SyscallFilter(sc.ALLOW)
    refuse, unknown = sc.ERRNO(errno.EPERM), sc.ERRNO(errno.ENOSYS)
    for names, action in ((_REFUSED, refuse), (_UNKNOWN, unknown)):
        for name in names:
            if name not in _ABSENT_HERE[machine]:
                program.add_rule(action, name)
    for number in _REFUSED_NUMBERS:
        program.add_rule(refuse, number)
    for flag in _NAMESPACE_FLAGS:
        program.add_rule(refuse, "clone", sc.Arg(0, sc.MASKED_EQ, flag, flag))
    # A program of the same user may set the limits of any other, process 1 included, and so end it.
    program.add_rule(refuse, "prlimit64", sc.Arg(0, sc.NE, 0))
    for request in _TERMINAL_REQUESTS:
        program.add_rule(refuse, "ioctl", sc.Arg(1, sc.MASKED_EQ, _LOW_32_BITS, request))
    no_family = sc.ERRNO(errno.EAFNOSUPPORT)
    for family in range(_FAMILIES):
        if family not in _ALLOWED_FAMILIES:
            low = sc.Arg(0, sc.MASKED_EQ, _LOW_32_BITS, family)
            program.add_rule(no_family, "socket", low)
            program.add_rule(no_family, "socketpair", low)
    with tempfile.TemporaryFile() as file:
        program.export_bpf(file)
        file.seek(0)
        return bytes(file.read())
