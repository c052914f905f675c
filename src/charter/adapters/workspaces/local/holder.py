"""The holder: the one process that a sandbox hangs on.

A sandbox must survive the processes of Charter (an upgrade of the API stops no workspace) and must
not survive alone (nobody would enforce its limits or find it again). So each one is held by a
process of its own, detached from whoever started it: it makes the home, the groups and the walls,
writes down how far it got, watches the limits that the kernel does not keep, and cleans up. If it
is killed, the kernel kills the sandbox with it (`die with parent`), and the mounts go with them.
While bubblewrap builds, that promise has gaps; a pipe that only the holder keeps open closes them.

It is started as `python -I -S` with its plan on standard input, imports the standard library and
this package only, and is single-threaded: it forks. What the order of its first steps is good for
is told in `records`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, NoReturn

from charter.adapters.workspaces.local import bubblewrap, cgroups, channel, disk
from charter.adapters.workspaces.local.processes import ProcessName, family, memory_by_pid
from charter.adapters.workspaces.local.records import Home, load, replace, try_lock
from charter.core.kernel.errors import CharterError

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_LOCK_SECONDS: Final = 10.0
_SUPERVISOR_SECONDS: Final = 15.0
_WATCH_SECONDS: Final = 0.25
_DISK_WATCH_SECONDS: Final = 5.0
_NICENESS: Final = 10
_OPEN_FILES: Final = 65_536
_LOG_BYTES: Final = 1 << 20
_MIB: Final = 1024 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class SupersededError(Exception):
    """Somebody decided otherwise while this start was under way."""


class Holder:
    """One sandbox, from plan to clean-up."""

    def __init__(self, plan: dict[str, Any], seccomp: bytes, report: int) -> None:
        self.plan, self.seccomp, self.report_to = plan, seccomp, report
        self.home = Home(Path(plan["root"]), plan["workspace_id"])
        self.uid: int | None = plan["uid"]
        me = ProcessName.of(os.getpid())
        if me is None:
            raise OSError("/proc does not show this process")
        self.document: dict[str, object] = {
            "holder": me.as_json(),
            "launch": plan["launch"],
            "generation": plan["generation"],
            "spec_digest": plan["spec_digest"],
            "notices": plan["notices"],
            "phase": "starting",
        }
        self.group: cgroups.ControlGroup | None = None
        self.walls: subprocess.Popen[bytes] | None = None
        self.init: ProcessName | None = None
        self.mounted: Path | None = None
        self.lifeline = -1
        self.reason = ""
        self.disk_ceiling_mib = 0

    def write(self, **changes: object) -> None:
        """Note how far it got."""
        self.document.update(changes)
        replace(self.home.holder, self.document)

    def tell(self, word: str) -> None:
        """Tell whoever started this, if that process is still there."""
        with contextlib.suppress(OSError):
            os.write(self.report_to, f"{word}\n".encode())

    def check_wanted(self) -> None:
        """SupersededError when a kill, a stop or another start came in between."""
        launch = load(self.home.record).get("launch")
        if launch != self.plan["launch"]:
            raise SupersededError
        if self.plan["generation"] < self.home.lowest_startable():
            raise SupersededError

    # --- start ------------------------------------------------------------------------------

    def run(self) -> None:
        """Hold the sandbox until it ends."""
        lock = os.open(self.home.holder_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOCK_SECONDS
        while not try_lock(lock):
            if time.monotonic() > deadline:
                self.tell("busy")
                return
            time.sleep(0.002)
        self.check_wanted()  # an outdated holder must not even overwrite the note of a newer one
        self.write()
        try:
            self.check_wanted()
            self.make_group()
            home = self.make_home(lock)
            listener = channel.listen(self.home.control)
            self.raise_walls(home, listener)
            listener.close()
            self.await_supervisor()
            self.check_wanted()
            self.write(phase="running", started_at=time.time())
            self.tell("ready")
            os.close(self.report_to)
            self.report_to = -1
            self.watch()
        except SupersededError:
            self.end("ended", "another decision came in between")
        except (OSError, CharterError, subprocess.SubprocessError) as error:
            self.end("failed", f"{error}{self.last_words()}")
        else:
            self.end("ended", self.reason)

    def make_group(self) -> None:
        """The control groups, with every limit that the host can keep."""
        if not self.plan["groups"]:
            return
        trees = cgroups.find()
        if trees is None:
            raise OSError("the control groups that were there when Charter started are gone")
        self.group = cgroups.ControlGroup(trees, self.plan["group"])
        self.group.create()
        if "memory" in self.plan["groups"]:
            self.group.limit_memory(self.plan["memory_mib"])
        if "cpu" in self.plan["groups"]:
            self.group.limit_cpu(self.plan["vcpu"])
        if "pids" in self.plan["groups"]:
            self.group.limit_processes(self.plan["max_processes"])

    def make_home(self, lock: int) -> Path:
        """The folder that becomes /workspace."""
        owner = os.geteuid() if self.uid is None else self.uid
        if self.uid is None:
            return self.plain_home(owner)
        if self.plan["disk"] == "loop":  # as yet outside the private namespace: nothing is mounted
            disk.wait_released(self.home.image)
            if not self.home.image.exists():
                disk.make_image(self.home.image, self.plan["disk_mib"], owner, [lock])
            disk.grow_image(self.home.image, self.plan["disk_mib"], [lock])
        disk.own_mount_namespace()
        target = disk.reachable_folder(self.home.root) / "home"
        target.mkdir()
        if self.plan["disk"] == "loop":
            disk.mount_image(self.home.image, target, [lock])
            self.mounted = target
            with contextlib.suppress(OSError):
                (target / "lost+found").rmdir()
            disk.give(target, owner)
        else:
            disk.bind(self.plain_home(owner), target)
        return target

    def plain_home(self, owner: int) -> Path:
        """A plain folder, where images cannot be mounted."""
        self.home.plain.mkdir(mode=0o700, exist_ok=True)
        disk.give(self.home.plain, owner)
        # A home that is too full already may be cleaned up, but not grow.
        self.disk_ceiling_mib = max(self.plan["disk_mib"], disk.folder_mib(self.home.plain))
        return self.home.plain

    def raise_walls(self, home: Path, listener: socket.socket) -> None:
        """Start bubblewrap and, in it, the supervisor."""
        read_info, write_info = os.pipe()
        walls = bubblewrap.Walls(
            marker=self.plan["group"],
            hostname=self.plan["hostname"],
            home=str(home),
            writable=self.plan["writable"],
            network=self.plan["network"],
            tmp_mib=bubblewrap.tmp_mib(
                self.plan["memory_mib"],
                writable=self.plan["writable"],
                counted="memory" in self.plan["groups"],
            ),
            environment=self.plan["environment"],
        )
        source = Path(__file__).with_name("supervisor.py").read_bytes()
        words, descriptors = bubblewrap.command(
            self.plan["bubblewrap"], walls, self.seccomp, source, write_info
        )
        within = 0 if "pids" in self.plan["groups"] else self.plan["max_processes"]
        words += [bubblewrap.python_inside(), "-I", "-S", bubblewrap.SUPERVISOR_INSIDE]
        # Whatever moment this process is killed at, the supervisor sees the end of this pipe.
        lifeline, self.lifeline = os.pipe()
        words += [str(listener.fileno()), str(within), str(lifeline)]
        parent = os.getpid()
        self.walls = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None,  # the holder's log
            pass_fds=[*descriptors, write_info, listener.fileno(), lifeline],
            cwd="/",
            env={"PATH": os.defpath},
            preexec_fn=lambda: self.confine(parent),  # noqa: PLW1509 - no thread runs here
        )
        for descriptor in (*descriptors, write_info, lifeline):
            os.close(descriptor)
        with os.fdopen(read_info, "rb") as info:
            said = info.read(1 << 16)
        try:
            self.init = ProcessName.of(int(json.loads(said)["child-pid"]))
        except (ValueError, KeyError, TypeError) as error:
            raise OSError("bubblewrap could not build the sandbox") from error
        if self.init is None:
            raise OSError("the sandbox ended while it was built")
        self.write(init=self.init.as_json())

    def confine(self, parent: int) -> None:
        """In the child, before bubblewrap: limits first, then the workspace's own uid."""
        if self.group is not None:
            self.group.join()
        os.umask(0o022)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if self.uid is None:
            if self.plan["disk"] != "loop":
                size = self.disk_ceiling_mib * _MIB
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            # Without a CPU limit, what runs inside must at least not crowd out who could end it.
            os.nice(_NICENESS)
            cores = sorted(os.sched_getaffinity(0))[: self.plan["vcpu"]]
            os.sched_setaffinity(0, cores)
        else:
            os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
        # A change of uid clears this, so it comes last; if the holder died before, nobody would
        # deliver the signal any more.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    def await_supervisor(self) -> None:
        """Wait until the supervisor answers."""
        answer, _ = channel.ask(
            self.home.control, {"op": "ping"}, seconds=_SUPERVISOR_SECONDS, most_bytes=0
        )
        if answer.get("ok") is not True:
            raise OSError("the supervisor refused to start")

    def last_words(self) -> str:
        """The end of the log, for the reason of a failure."""
        with contextlib.suppress(OSError):
            text = self.home.log.read_bytes()[-500:].decode(errors="replace").strip()
            return f" ({text})" if text else ""
        return ""

    # --- life -------------------------------------------------------------------------------

    def watch(self) -> None:
        """Keep the limits that the kernel does not keep, until the sandbox ends."""
        if self.walls is None or self.init is None:
            raise OSError("there is no sandbox to watch")
        told_to_end = _SignalPipe(signal.SIGTERM, signal.SIGINT)
        ended = os.pidfd_open(self.walls.pid)
        poller = select.poll()
        poller.register(ended, select.POLLIN)
        poller.register(told_to_end.descriptor, select.POLLIN)
        watches_memory = "memory" not in self.plan["groups"]
        watches_disk = self.plan["disk"] != "loop"
        pause = _WATCH_SECONDS * 1000 if watches_memory or watches_disk else None
        next_disk = 0.0
        while True:
            seen = {descriptor for descriptor, _ in poller.poll(pause)}
            if ended in seen:
                code = self.walls.wait()
                self.reason = self.reason or f"the sandbox ended by itself (exit code {code})"
                return
            if told_to_end.descriptor in seen:
                self.reason = "the holder was told to end"
                return
            if watches_memory:
                self.keep_memory()
            if watches_disk and time.monotonic() >= next_disk:
                started = time.monotonic()
                used = disk.folder_mib(self.home.plain)
                replace(self.home.usage, {"disk_used_mib": used})
                # A home of a million files must not turn the holder into a busy loop.
                next_disk = started + max(_DISK_WATCH_SECONDS, 20 * (time.monotonic() - started))
                if used > self.disk_ceiling_mib:
                    self.reason = f"the home grew over its limit of {self.plan['disk_mib']} MiB"
                    return

    def keep_memory(self) -> None:
        """While all together use more than the limit, end the largest."""
        if self.init is None:
            return
        used = memory_by_pid(family(self.init.pid))
        limit = self.plan["memory_mib"] * _MIB
        while sum(used.values()) > limit:
            candidates = [pid for pid in used if pid != self.init.pid]
            if not candidates:
                return
            largest = max(candidates, key=lambda pid: used[pid])
            victim = ProcessName.of(largest)
            # It may have ended since it was measured; only what still is in the sandbox is killed.
            if victim is not None and largest in family(self.init.pid):
                victim.send(signal.SIGKILL)
            del used[largest]

    def end(self, phase: str, detail: str) -> None:
        """Note why, kill what is left, and give everything back."""
        with contextlib.suppress(OSError):
            self.write(phase="ending", detail=detail[:2000])
        if self.walls is not None and self.walls.poll() is None:
            if self.init is not None:
                self.init.send(signal.SIGKILL)
            else:
                self.walls.kill()
        if self.group is not None:
            self.group.kill()
            self.group.wait_empty(5.0)
        if self.walls is not None:
            self.walls.wait()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):  # what the sandbox left to its subreaper
                pass
        with contextlib.suppress(OSError):
            (self.home.control / channel.SOCKET).unlink()
        if self.mounted is not None:
            disk.unmount(self.mounted)
        if self.group is not None:
            self.group.remove()
        with contextlib.suppress(OSError):  # the folder is gone where the workspace was deleted
            self.write(phase=phase, detail=detail[:2000], ended_at=time.time())
        if self.report_to >= 0:
            self.tell(phase)


class _SignalPipe:
    """Turns signals into something that poll() sees."""

    def __init__(self, *signals: signal.Signals) -> None:
        self.descriptor, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, lambda *_: None)


def main() -> NoReturn:
    """Detach, then hold. Standard input is the plan; the arguments are two descriptors."""
    plan = json.load(sys.stdin)
    seccomp_file, report = int(sys.argv[1]), int(sys.argv[2])
    if os.fork():
        os._exit(0)  # whoever started this reaps it at once and is not our parent any more
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    os.set_inheritable(report, False)
    with os.fdopen(seccomp_file, "rb") as file:
        seccomp = file.read()
    log = Home(Path(plan["root"]), plan["workspace_id"]).log
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    for target, source in ((0, nothing), (1, descriptor), (2, descriptor)):
        os.dup2(source, target)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        Holder(plan, seccomp, report).run()
    except SupersededError:
        os._exit(0)
    sys.exit(0)
