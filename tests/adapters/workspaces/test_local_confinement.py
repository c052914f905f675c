"""The walls and the limits of a local sandbox, attacked from inside."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path

import pytest

from charter.adapters.workspaces.local import cgroups
from charter.adapters.workspaces.local.processes import (
    ProcessName,
    all_pids,
    pids_of_uid,
    started_with,
)
from charter.adapters.workspaces.local.provider import LocalProvider
from charter.adapters.workspaces.local.records import load
from charter.adapters.workspaces.port import (
    CapabilityName,
    SandboxFailedError,
    SandboxState,
    WorkspaceFileError,
)
from tests.adapters.workspaces import needs
from tests.adapters.workspaces.support import python, shell, spec_of, wait_for
from tests.spec import spec

pytestmark = needs.sandbox

# Calls the kernel directly; argv: number on x86-64, number on aarch64, then the arguments.
RAW = (
    "import ctypes, platform, sys; libc = ctypes.CDLL(None, use_errno=True);"
    "words = [int(word, 0) for word in sys.argv[1:]];"
    "number = words[0] if platform.machine() == 'x86_64' else words[1];"
    "result = libc.syscall(number, *[ctypes.c_long(word) for word in words[2:]]);"
    "print(result, ctypes.get_errno())"
)
SYS_CLONE, SYS_SOCKET, SYS_IOCTL, SYS_UNSHARE = (56, 220), (41, 198), (16, 29), (272, 97)
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97


@pytest.fixture
def inside(provider: LocalProvider) -> str:
    """A workspace that runs for all attacks which leave it running."""
    provider.ensure_running(spec_of("ws_attack"), 1)
    return "ws_attack"


def raw(provider: LocalProvider, where: str, numbers: tuple[int, int], *words: int) -> list[int]:
    """Result and errno of one system call made inside."""
    result = python(provider, where, RAW, *map(str, (*numbers, *words)))
    assert result.exit_code == 0, result.stderr
    return [int(word) for word in result.stdout.split()]


# --- walls


@spec("PV-1")
def test_every_wall_is_reported_as_standing(provider: LocalProvider) -> None:
    held = provider.capabilities()
    for name in (
        CapabilityName.USER_NAMESPACE,
        CapabilityName.PID_NAMESPACE,
        CapabilityName.NETWORK_ISOLATION,
        CapabilityName.SECCOMP,
        CapabilityName.NO_NEW_PRIVILEGES,
        CapabilityName.PROCESS_LIMIT,
        CapabilityName.READ_ONLY_ROOT,
        CapabilityName.ATOMIC_KILL,
    ):
        assert held.has(name), name
    assert held.has(CapabilityName.OWN_UID) == (os.geteuid() == 0)


def test_no_privilege_is_left(provider: LocalProvider, inside: str) -> None:
    status = shell(provider, inside, "cat /proc/self/status").stdout.decode()
    facts = dict(line.split(":\t", 1) for line in status.splitlines())
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(facts[name], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    assert facts["Seccomp"] == "2"
    assert shell(provider, inside, "id -u; id -g").stdout == b"1000\n1000\n"


def test_only_the_loop_back_interface_and_no_way_out(provider: LocalProvider, inside: str) -> None:
    script = (
        "import json, os, socket\n"
        "seen = {'interfaces': sorted(n for _, n in socket.if_nameindex())}\n"
        "def attempt(name, call):\n"
        "    try: call(); seen[name] = 'went out'\n"
        "    except OSError as error: seen[name] = error.errno or 'refused'\n"
        "udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "attempt('udp', lambda: udp.sendto(b'x', ('192.0.2.1', 53)))\n"
        "attempt('tcp', lambda: socket.create_connection(('192.0.2.1', 443), 2))\n"
        "attempt('v6', lambda: socket.create_connection(('2001:db8::1', 443), 2))\n"
        "attempt('dns', lambda: socket.getaddrinfo('example.com', 443))\n"
        "attempt('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))\n"
        "print(json.dumps(seen))\n"
    )
    seen = json.loads(python(provider, inside, script).stdout)
    assert seen.pop("interfaces") == ["lo"]
    assert "went out" not in seen.values(), seen
    assert len(seen) == 5


def test_loop_back_itself_works(provider: LocalProvider, inside: str) -> None:
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', 0));"
        "c = socket.create_connection(s.getsockname()); print('ok')"
    )
    assert python(provider, inside, script).stdout == b"ok\n"


def test_no_namespace_can_be_made(provider: LocalProvider, inside: str) -> None:
    assert shell(provider, inside, "unshare -Ur true").exit_code != 0
    for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000, 0x2000000, 0x8000000, 0x4000000):
        assert raw(provider, inside, SYS_UNSHARE, flag) == [-1, EPERM]
        assert raw(provider, inside, SYS_CLONE, flag | 17, 0, 0, 0, 0) == [-1, EPERM]
    assert raw(provider, inside, (435, 435), 0, 0) == [-1, ENOSYS]  # clone3


def test_nothing_can_be_mounted(provider: LocalProvider, inside: str) -> None:
    assert shell(provider, inside, "mount -t tmpfs none /tmp").exit_code != 0
    assert shell(provider, inside, "mount -o remount,rw /usr").exit_code != 0
    # open_tree, move_mount, fsopen, mount_setattr, open_tree_attr: the same numbers everywhere
    for number in (428, 429, 430, 442, 467):
        assert raw(provider, inside, (number, number), 0, 0, 0, 0, 0) == [-1, EPERM]


@pytest.mark.parametrize("family", [40, 17, 38, 15, 40 | 1 << 32, 38 | 1 << 40, 44, 63])
def test_socket_families_that_leave_the_sandbox(
    provider: LocalProvider, inside: str, family: int
) -> None:
    assert raw(provider, inside, SYS_SOCKET, family, 1, 0) == [-1, EAFNOSUPPORT]


def test_system_calls_that_no_tool_needs(provider: LocalProvider, inside: str) -> None:
    for numbers in ((321, 280), (323, 282), (250, 219), (248, 217), (298, 241)):
        # bpf, userfaultfd, keyctl, add_key, perf_event_open
        assert raw(provider, inside, numbers, 0, 0, 0, 0, 0) == [-1, EPERM], numbers
    for number in (425, 426, 427):  # io_uring
        assert raw(provider, inside, (number, number), 1, 0) == [-1, ENOSYS]
    for request in (0x5412, 0x5412 | 1 << 32):  # TIOCSTI, also hidden behind the upper half
        assert raw(provider, inside, SYS_IOCTL, 0, request, 0) == [-1, EPERM]


def test_the_root_is_read_only(provider: LocalProvider, inside: str) -> None:
    for path in ("/x", "/usr/x", "/etc/x", "/dev/x", "/etc/passwd", "/run/charter/supervisor.py"):
        result = shell(provider, inside, f"echo x >> {path}")
        assert result.exit_code != 0, path
    assert shell(provider, inside, "echo x > /tmp/x && echo y > /workspace/y").exit_code == 0


def test_host_processes_and_files_are_out_of_sight(
    provider: LocalProvider, inside: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("of the host")
    script = f"ls /proc | grep -c '^[0-9]'; ls {tmp_path} {provider._root} /root /home /var/lib"
    result = shell(provider, inside, script)
    assert int(result.stdout.split()[0]) <= 5
    assert result.stdout.count(b"\n") == 1, result.stdout
    assert shell(provider, inside, f"kill -9 {os.getpid()}").exit_code != 0


def test_workspaces_do_not_see_each_other(provider: LocalProvider, inside: str) -> None:
    provider.ensure_running(spec_of("ws_other"), 1)
    provider.write_file("ws_other", "secret-of-the-other", b"")
    shell(provider, "ws_other", "setsid sleep 98765 >/dev/null 2>&1 &")
    find = (
        "find /workspace /tmp /run /etc /dev /var -name 'secret-of*' 2>/dev/null; cat /proc/*/stat"
    )
    seen = shell(provider, inside, find).stdout
    assert b"secret-of-the-other" not in seen
    assert b"(sleep)" not in seen
    assert b"(cat)" in seen
    provider.delete("ws_other", 2)


@needs.root
def test_every_workspace_has_a_uid_of_its_own(provider: LocalProvider, inside: str) -> None:
    provider.ensure_running(spec_of("ws_second"), 1)
    found = []
    for workspace in (inside, "ws_second"):
        uid = load(provider._home(workspace).record)["uid"]
        init = ProcessName.from_json(load(provider._home(workspace).holder)["init"])
        assert init is not None
        assert Path(f"/proc/{init.pid}/status").read_text().split("Uid:\t")[1].split()[0] == str(
            uid
        )
        assert len(pids_of_uid(uid)) >= 2
        found.append(uid)
    assert len(set(found)) == 2
    assert 0 not in found
    provider.delete("ws_second", 2)


def test_the_supervisor_is_out_of_reach(provider: LocalProvider, inside: str) -> None:
    script = "kill -9 1; kill -9 -1 & wait; ls /proc/1/fd; cat /proc/1/environ; cat /proc/1/mem"
    result = shell(provider, inside, script)
    assert result.stdout == b""
    assert shell(provider, inside, "echo alive").stdout == b"alive\n"
    descriptors = python(provider, inside, "import os; print(sorted(os.listdir('/proc/self/fd')))")
    assert descriptors.stdout == b"['0', '1', '2', '3']\n"  # 3 is the listing itself
    ptrace = "import ctypes; print(ctypes.CDLL(None).ptrace(16, 1, 0, 0))"
    assert python(provider, inside, ptrace).stdout == b"-1\n"


def test_orphans_are_reaped(provider: LocalProvider, inside: str) -> None:
    shell(provider, inside, "for i in 1 2 3 4 5 6 7 8; do setsid true & done")
    zombies = "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l"
    wait_for(lambda: shell(provider, inside, zombies).stdout.strip() == b"0", "they are reaped")


def test_secrets_do_not_stand_on_a_command_line(provider: LocalProvider) -> None:
    provider.ensure_running(spec_of("ws_secret", environment={"TOKEN": "s3cr3t-of-dana"}), 1)
    assert shell(provider, "ws_secret", "echo $TOKEN").stdout == b"s3cr3t-of-dana\n"
    for pid in all_pids():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        assert b"s3cr3t-of-dana" not in line
    for path in provider._home("ws_secret").folder.rglob("*.json"):
        assert "s3cr3t-of-dana" not in path.read_text()
    provider.delete("ws_secret", 2)


def test_the_host_network_where_it_is_decided(provider: LocalProvider) -> None:
    provider.ensure_running(spec_of("ws_host", network="host"), 1)
    script = "import socket; print(sorted(n for _, n in socket.if_nameindex()))"
    names = sorted(name for _, name in socket.if_nameindex())
    assert python(provider, "ws_host", script).stdout.decode().strip() == str(names)
    resolver = provider.execute("ws_host", ["cat", "/etc/resolv.conf"], timeout_seconds=5)
    assert resolver.stdout == Path("/etc/resolv.conf").read_bytes()
    trust = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 0)"
    expected = Path("/etc/ssl/certs/ca-certificates.crt").exists()
    assert python(provider, "ws_host", trust).stdout.decode().strip() == str(expected)
    provider.delete("ws_host", 2)


# --- the read-only tier


@spec("PV-1", "AG-1")
def test_the_read_only_tier_cannot_write_whatever_is_tried(provider: LocalProvider) -> None:
    provider.ensure_running(spec_of("ws_ro"), 1)
    provider.write_file("ws_ro", "given", b"readable")
    provider.ensure_running(spec_of("ws_ro", writable=False), 2)
    assert provider.read_file("ws_ro", "given", max_bytes=100) == b"readable"
    forced = shell(provider, "ws_ro", "echo x > /workspace/forced")
    assert forced.exit_code != 0
    assert b"Read-only file system" in forced.stderr
    assert shell(provider, "ws_ro", "rm given; chmod 777 given; touch given").exit_code != 0
    assert shell(provider, "ws_ro", "mount -o remount,rw /workspace").exit_code != 0
    with pytest.raises(WorkspaceFileError, match="EROFS"):
        provider.write_file("ws_ro", "given", b"changed")
    size = shell(provider, "ws_ro", "df -m --output=size /tmp | tail -1").stdout
    assert int(size) == 64
    assert provider.read_file("ws_ro", "given", max_bytes=100) == b"readable"
    provider.delete("ws_ro", 3)


# --- limits


@pytest.fixture
def limited(provider: LocalProvider) -> str:
    """A small workspace of its own."""
    wanted = spec_of("ws_limits", vcpu=3, memory_mib=96, disk_mib=24, max_processes=24)
    provider.ensure_running(wanted, provider.observe("ws_limits").generation)
    return "ws_limits"


def test_memory_is_limited_and_the_workspace_survives(
    provider: LocalProvider, limited: str
) -> None:
    greedy = "x = bytearray(300 << 20); import time; time.sleep(1000)"
    assert python(provider, limited, greedy).exit_code == 137
    together = (
        "import subprocess, sys\n"
        "one = 'x = bytearray(50 << 20); import time; time.sleep(1000)'\n"
        "many = [subprocess.Popen([sys.executable, '-c', one]) for _ in range(3)]\n"
        "import os; print(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "[process.kill() for process in many]\n"
    )
    assert python(provider, limited, together).stdout == b"-9\n"
    assert shell(provider, limited, "echo alive").stdout == b"alive\n"


def test_processes_are_limited(provider: LocalProvider, limited: str) -> None:
    script = (
        "import os\nread, write = os.pipe()\ncount = 0\ntry:\n"
        "  while True:\n    if os.fork() == 0:\n"
        "      os.close(write); os.read(read, 1); os._exit(0)\n"
        "    count += 1\n"
        "except OSError as error:\n  print(count, error.errno)\n"
    )
    count, number = python(provider, limited, script).stdout.split()
    assert int(number) == 11  # EAGAIN
    assert 5 <= int(count) < 24
    wait_for(
        lambda: shell(provider, limited, "echo alive").stdout == b"alive\n", "there is room again"
    )


@needs.images
def test_a_full_disk_is_full(provider: LocalProvider, limited: str) -> None:
    result = shell(provider, limited, "dd if=/dev/zero of=big bs=1M count=64; rm -f big")
    assert b"No space left on device" in result.stderr
    assert shell(provider, limited, "echo fine > f && cat f").stdout == b"fine\n"


@needs.images
def test_a_home_grows_with_its_spec_and_keeps_its_files(provider: LocalProvider) -> None:
    provider.ensure_running(spec_of("ws_grow", disk_mib=16), 1)
    provider.write_file("ws_grow", "kept", b"kept")
    provider.ensure_running(spec_of("ws_grow", disk_mib=48), 2)
    shell(provider, "ws_grow", "dd if=/dev/zero of=big bs=1M count=30")
    assert provider.read_file("ws_grow", "kept", max_bytes=10) == b"kept"
    assert provider.list_files("ws_grow", "")[0].size_bytes == 30 << 20
    smaller = provider.ensure_running(spec_of("ws_grow", disk_mib=16), 3)
    assert any("can grow but not shrink" in notice for notice in smaller.notices)
    provider.delete("ws_grow", 4)


@pytest.mark.skipif(
    needs.WHY_NO_SANDBOX == "" and needs.probe.findings().disk == "loop",
    reason="optional: here the kernel limits the disk; the watchdog is for ordinary users",
)
def test_a_home_without_a_kernel_limit_is_watched(provider: LocalProvider) -> None:
    started = provider.ensure_running(spec_of("ws_watched", disk_mib=16), 1)
    assert any("disk-limit is not enforced" in notice for notice in started.notices)
    one_file = "dd if=/dev/zero of=big bs=1M count=64; code=$?; rm big; exit $code"
    assert shell(provider, "ws_watched", one_file).exit_code != 0
    with contextlib.suppress(SandboxFailedError):  # it may be ended while this still writes
        shell(provider, "ws_watched", "for i in 1 2 3; do head -c 12M /dev/zero > f$i; done")
    wait_for(lambda: provider.observe("ws_watched").state is SandboxState.FAILED, "it is ended")
    assert "limit of 16 MiB" in provider.observe("ws_watched").detail
    provider.ensure_running(spec_of("ws_watched", disk_mib=16), 2)
    assert shell(provider, "ws_watched", "rm f*").exit_code == 0
    provider.delete("ws_watched", 3)


@needs.limits
def test_limits_stand_in_the_control_groups(provider: LocalProvider, limited: str) -> None:
    trees = cgroups.find()
    assert trees is not None
    group = cgroups.ControlGroup(trees, provider._group_name(provider._home(limited)))
    if "cpu" in group.legacy:
        quota = int((group.legacy["cpu"] / "cpu.cfs_quota_us").read_text())
        period = int((group.legacy["cpu"] / "cpu.cfs_period_us").read_text())
        memory = int((group.legacy["memory"] / "memory.limit_in_bytes").read_text())
        processes = int((group.legacy["pids"] / "pids.max").read_text())
    else:
        assert group.unified is not None
        quota, period = map(int, (group.unified / "cpu.max").read_text().split())
        memory = int((group.unified / "memory.max").read_text())
        processes = int((group.unified / "pids.max").read_text())
    assert quota / period == 3
    assert (memory, processes) == (96 << 20, 24)
    inside_of_it = set(group.pids())
    assert {name.pid for name in started_with(provider._group_name(provider._home(limited)))} <= (
        inside_of_it
    )
    usage = provider.observe(limited).usage
    assert usage is not None
    assert usage.cpu_usec is not None
    assert usage.cpu_usec > 0


def test_a_limit_above_the_host_is_a_ceiling_and_says_so(provider: LocalProvider) -> None:
    found = provider.ensure_running(spec_of("ws_huge", vcpu=4096, memory_mib=1 << 30), 1)
    assert found.state is SandboxState.RUNNING
    assert any(notice.startswith("4096 vCPU is a ceiling") for notice in found.notices)
    assert any("of memory is a ceiling" in notice for notice in found.notices)
    provider.delete("ws_huge", 2)
