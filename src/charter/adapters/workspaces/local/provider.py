# house: allow file-length — one adapter: every method of the port, over the modules beside it
"""The local provider: workspaces as sandboxes on this machine, with no daemon and no container.

What every call promises stands in the port; how a sandbox is held in `holder`; what is on disk, and
why no crash leaves it undefined, in `records`. This module is the part that any process of the
control plane runs: it decides under the workspace's lock, starts holders and finds them again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from signal import Signals
from typing import Any, Final

from charter.adapters.workspaces.local import (
    bubblewrap,
    cgroups,
    channel,
    disk,
    files,
    probe,
    records,
    specs,
    uids,
)
from charter.adapters.workspaces.local.processes import (
    ProcessName,
    boot_id,
    children,
    end_all_of_uid,
    family,
    memory_by_pid,
    pids_of_uid,
    started_with,
)
from charter.adapters.workspaces.local.seccomp import filter_program
from charter.adapters.workspaces.port import (
    DEFAULT_OUTPUT_BYTES,
    Capabilities,
    CapabilityMissingError,
    CapabilityName,
    ExecResult,
    FileEntry,
    KillReport,
    NotRunningError,
    Observation,
    SandboxFailedError,
    SandboxSpec,
    SandboxState,
    StaleGenerationError,
    Usage,
)

# A start takes a third of a second; growing a large home may take a minute.
_START_SECONDS: Final = 90.0
_LOCK_SECONDS: Final = 100.0
_KILL_SECONDS: Final = 5.0
_GONE_SECONDS: Final = 10.0
_RESTART_GRACE_SECONDS: Final = 5.0
_MIB: Final = 1024 * 1024


class LocalProvider:
    """Workspaces in sandboxes of this host; `root` is `<state dir>/workspaces`."""

    name = "local"

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        records.prepare_root(self._root)
        self._root = self._root.resolve()
        # Two instances of Charter on one host must not share groups, whatever their ids are.
        self._instance = hashlib.sha256(os.fsencode(self._root)).hexdigest()[:8]

    def capabilities(self) -> Capabilities:
        """What this host enforces; see `probe`."""
        return probe.findings().capabilities

    # --- changes ----------------------------------------------------------------------------

    def ensure_running(self, spec: SandboxSpec, generation: int) -> Observation:
        """Make it run, once; see the port."""
        specs.check(spec)
        found = probe.findings()
        home = self._home(spec.workspace_id)
        self._require(spec, found, home)
        with self._locked(home):
            record = records.load(home.record)
            _refuse_stale(home, record, generation, lowest=home.lowest_startable())
            if self._is_running_as(home, record, spec):
                self._write_record(home, record, generation=generation, stopped=False)
                return self.observe(spec.workspace_id)
            self._terminate(home, _RESTART_GRACE_SECONDS)
            self._end_everything(home)
            home.folder.mkdir(mode=0o700, exist_ok=True)
            home.control.mkdir(mode=0o700, exist_ok=True)
            launch = secrets.token_hex(8)
            self._write_record(
                home,
                record,
                generation=generation,
                stopped=False,
                launch=launch,
                uid=uids.claim(self._root, home.id) if found.own_uid else None,
            )
            try:
                self._launch(home, spec, generation, launch, found)
            except BaseException:
                self._end_everything(home)
                raise
        return self.observe(spec.workspace_id)

    def stop(
        self, workspace_id: str, generation: int, *, grace_seconds: float = 10.0
    ) -> Observation:
        """End it gracefully, then by force; see the port."""
        home = self._home(workspace_id)
        with self._locked(home):
            record = records.load(home.record)
            _refuse_stale(home, record, generation)
            if home.folder.exists():
                self._write_record(home, record, generation=generation, stopped=True, launch=None)
                self._terminate(home, grace_seconds)
                self._end_everything(home)
        return self.observe(workspace_id)

    def kill(self, workspace_id: str, generation: int) -> KillReport:
        """End it now; see the port. It takes no lock, so nothing can make it wait."""
        started = time.monotonic()
        home = self._home(workspace_id)
        record = records.load(home.record)
        _refuse_stale(home, record, generation)
        group, init = self._group(home), self._init_of(home)
        # Before the first signal as little as possible: a storm leaves this process little time.
        if group is not None:
            group.freeze(wait=not group.can_kill())
        before = _count(group, init)
        self._strike(group, init)
        # The fence goes up before anybody is looked for; whoever comes up later meets it.
        home.raise_fence(generation + 1)
        document = records.load(home.holder)
        init, holder = self._init_of(home) or init, self._holder_of(home)
        if holder is not None and document.get("phase") == "starting":
            holder.send(Signals.SIGKILL)  # it is still building, and would build on
        gone = self._kill_processes(group, init, _KILL_SECONDS)
        if document.get("phase") == "starting":
            self._end_strays(home)
        milliseconds = (time.monotonic() - started) * 1000
        if holder is not None and not holder.wait_gone(2.0):
            holder.send(Signals.SIGKILL)
            holder.wait_gone(2.0)
        uid = record.get("uid")
        if isinstance(uid, int):  # its own: what runs under it can only be of this workspace
            end_all_of_uid(uid, _KILL_SECONDS)
        if holder is not None and group is not None and gone:
            group.remove()
        deadline = time.monotonic() + _KILL_SECONDS
        while survivors := self._survivors(record, group, init):
            # A start that was under way may still bring something up before it meets the fence.
            group = self._group(home)
            self._strike(group, init)
            milliseconds = (time.monotonic() - started) * 1000
            if time.monotonic() > deadline:
                break
            time.sleep(0.002)
        return KillReport(workspace_id, before, milliseconds, survivors)

    def delete(self, workspace_id: str, generation: int) -> None:
        """End it and remove its home; see the port."""
        home = self._home(workspace_id)
        with self._locked(home):
            record = records.load(home.record)
            _refuse_stale(home, record, generation)
            home.raise_fence(generation + 1)
            self._end_everything(home)
            if home.image.exists():
                disk.wait_released(home.image)
            uid = record.get("uid")
            if home.folder.exists():
                # The record goes last: what is interrupted here is found and repeated.
                for entry in home.folder.iterdir():
                    if entry != home.record:
                        _remove(entry)
                _remove(home.folder)
            if isinstance(uid, int):
                uids.release(self._root, uid)
            uids.release_of(self._root, home.id)
            records.prune_fences(self._root, time.time())
            home.lock.unlink(missing_ok=True)

    # --- observation ------------------------------------------------------------------------

    def observe(self, workspace_id: str) -> Observation:
        """What is; changes nothing."""
        home = self._home(workspace_id)
        if not home.folder.exists():
            return Observation(workspace_id, SandboxState.ABSENT, 0)
        record, document = records.load(home.record), records.load(home.holder)
        generation = _integer(record.get("generation"))
        if not document:
            state, detail = SandboxState.STOPPED, "It was never started."
            return Observation(workspace_id, state, generation, detail=detail)
        holder, init = self._holder_of(home), self._init_of(home)
        if holder is not None and document.get("phase") == "running" and init is not None:
            return Observation(
                workspace_id,
                SandboxState.RUNNING,
                generation,
                started_at=_moment(document.get("started_at")),
                notices=tuple(str(notice) for notice in document.get("notices", ())),
                usage=self._usage(home, init),
            )
        if holder is not None and document.get("phase") == "starting":
            return Observation(
                workspace_id, SandboxState.STOPPED, generation, detail="It is being started."
            )
        return self._not_running(home, record, document)

    def observe_all(self) -> list[Observation]:
        """Everything found here."""
        return [self.observe(name) for name in records.known_ids(self._root)]

    # --- use --------------------------------------------------------------------------------

    def execute(
        self,
        workspace_id: str,
        argv: Sequence[str],
        *,
        timeout_seconds: float,
        stdin: bytes = b"",
        max_output_bytes: int = DEFAULT_OUTPUT_BYTES,
    ) -> ExecResult:
        """Run `argv` in /workspace; see the port."""
        home = self._running(workspace_id)
        with home.running_command():
            return files.execute(
                home.control, argv, timeout_seconds, stdin=stdin, most_bytes=max_output_bytes
            )

    def read_file(self, workspace_id: str, path: str, *, max_bytes: int) -> bytes:
        """The content of a file below /workspace."""
        return files.read(self._running(workspace_id).control, path, max_bytes)

    def write_file(self, workspace_id: str, path: str, content: bytes) -> None:
        """Replace a file below /workspace at once."""
        files.write(self._running(workspace_id).control, path, content)

    def list_files(self, workspace_id: str, path: str) -> list[FileEntry]:
        """The entries of a folder below /workspace."""
        return files.listing(self._running(workspace_id).control, path)

    # --- inside -----------------------------------------------------------------------------

    def _not_running(
        self, home: records.Home, record: Mapping[str, Any], document: Mapping[str, Any]
    ) -> Observation:
        """Whether what does not run was meant to end."""
        generation = _integer(record.get("generation"))
        if record.get("launch") not in (None, document.get("launch")):
            # Whoever began it was killed; a start that nobody repeats stays this way.
            detail = "A start was begun and has not come up."
            return Observation(home.id, SandboxState.STOPPED, generation, detail=detail)
        killed = home.lowest_startable() > _integer(document.get("generation"))
        if record.get("stopped") is True or killed:
            return Observation(home.id, SandboxState.STOPPED, generation)
        detail = _why_failed(document)
        return Observation(home.id, SandboxState.FAILED, generation, detail=detail)

    def _home(self, workspace_id: str) -> records.Home:
        return records.Home(self._root, workspace_id)

    @contextlib.contextmanager
    def _locked(self, home: records.Home) -> Iterator[None]:
        try:
            with records.locked(home.lock, _LOCK_SECONDS):
                yield
        except TimeoutError as error:
            raise SandboxFailedError(
                f"Another change of {home.id} has been under way for too long.",
                fix="Look at the workspace's state and try again.",
            ) from error

    def _running(self, workspace_id: str) -> records.Home:
        home = self._home(workspace_id)
        running = records.load(home.holder).get("phase") == "running"
        if not running or self._holder_of(home) is None:
            raise NotRunningError(
                f"The workspace {workspace_id} is not running.", fix="Start the workspace first."
            )
        return home

    def _require(self, spec: SandboxSpec, found: probe.Findings, home: records.Home) -> None:
        missing = set(found.capabilities.missing(spec.require))
        if found.own_uid and home.plain.exists():  # made where no image could be mounted
            missing |= spec.require & {CapabilityName.DISK_LIMIT.value}
        if missing:
            names = ", ".join(sorted(missing))
            raise CapabilityMissingError(
                f"A policy requires {names}, which the local provider does not enforce here.",
                fix="Run `charter provider capabilities` to see why, or use another provider.",
                details={"missing": sorted(missing)},
            )

    def _write_record(
        self, home: records.Home, record: Mapping[str, Any], **changes: object
    ) -> None:
        records.replace(home.record, {**record, **changes})

    def _group_name(self, home: records.Home) -> str:
        return f"{self._instance}-{home.id}"

    def _group(self, home: records.Home) -> cgroups.ControlGroup | None:
        trees = cgroups.find()
        if trees is None or os.geteuid() != 0:
            return None
        return cgroups.ControlGroup(trees, self._group_name(home))

    def _holder_of(self, home: records.Home) -> ProcessName | None:
        return _alive(records.load(home.holder).get("holder"))

    def _init_of(self, home: records.Home) -> ProcessName | None:
        return _alive(records.load(home.holder).get("init"))

    def _is_running_as(
        self, home: records.Home, record: Mapping[str, Any], spec: SandboxSpec
    ) -> bool:
        """Whether a sandbox with exactly this spec runs; one that is just coming up is awaited."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            document = records.load(home.holder)
            holder = self._holder_of(home)
            same = document.get("spec_digest") == specs.digest(spec)
            authorised = document.get("launch") == record.get("launch")
            if holder is None or not same or not authorised:
                return False
            if document.get("phase") == "running":
                return self._init_of(home) is not None
            if document.get("phase") != "starting" or time.monotonic() > deadline:
                return False
            # Whoever started it was killed meanwhile; the start itself goes on.
            holder.wait_gone(0.01)

    def _launch(
        self,
        home: records.Home,
        spec: SandboxSpec,
        generation: int,
        launch: str,
        found: probe.Findings,
    ) -> None:
        """Start a holder and wait until the sandbox answers."""
        plan = self._plan(home, spec, generation, launch, found)
        read_end, write_end = os.pipe()
        document = bubblewrap.memory_file("charter-plan", json.dumps(plan).encode())
        filter_file = bubblewrap.memory_file("charter-seccomp", filter_program())
        code = (
            "import sys; sys.path.insert(0, sys.argv.pop(1));"
            "from charter.adapters.workspaces.local.holder import main; main()"
        )
        words = [sys.executable, "-I", "-S", "-c", code, probe.source_root()]
        try:
            subprocess.run(
                [*words, str(filter_file), str(write_end)],
                stdin=document,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(filter_file, write_end),
                start_new_session=True,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                check=False,
                timeout=_START_SECONDS,
            )
            os.close(write_end)
            write_end = -1
            word = _await_word(read_end, _START_SECONDS)
        finally:
            for descriptor in (read_end, write_end, document, filter_file):
                if descriptor >= 0:
                    os.close(descriptor)
        if word == "ready":
            return
        _refuse_stale(home, {}, generation, lowest=home.lowest_startable())
        detail = str(records.load(home.holder).get("detail", "")) or "its holder ended"
        if word is None:
            detail = f"it did not answer within {_START_SECONDS:g} seconds"
        elif word == "busy":
            detail = "a tool still works on its home"
        raise SandboxFailedError(
            f"The sandbox of {home.id} could not be started: {detail}.",
            fix="Correct what it says and start the workspace again; the home is kept.",
        )

    def _plan(
        self,
        home: records.Home,
        spec: SandboxSpec,
        generation: int,
        launch: str,
        found: probe.Findings,
    ) -> dict[str, object]:
        kind = "plain" if home.plain.exists() or found.disk != "loop" else "loop"
        if home.image.exists() and kind != "loop":
            raise SandboxFailedError(
                f"The home of {home.id} is an image, which cannot be mounted here.",
                fix="Start Charter as root, with loop devices, as when the workspace was made.",
            )
        return {
            "root": str(self._root),
            "workspace_id": home.id,
            "generation": generation,
            "launch": launch,
            "spec_digest": specs.digest(spec),
            "uid": records.load(home.record).get("uid"),
            "hostname": spec.hostname,
            "vcpu": spec.vcpu,
            "memory_mib": spec.memory_mib,
            "disk_mib": spec.disk_mib,
            "max_processes": spec.max_processes,
            "writable": spec.writable,
            "network": spec.network,
            "environment": dict(spec.environment),
            "bubblewrap": found.bubblewrap,
            "group": self._group_name(home),
            "groups": sorted(found.groups),
            "disk": kind,
            "notices": specs.notices(spec, found, home, kind),
        }

    def _strike(self, group: cgroups.ControlGroup | None, init: ProcessName | None) -> None:
        if group is not None:
            group.kill()
            group.lift_cpu_limit()
        if init is not None:
            init.send(Signals.SIGKILL)

    def _kill_processes(
        self,
        group: cgroups.ControlGroup | None,
        init: ProcessName | None,
        seconds: float,
    ) -> bool:
        """SIGKILL to everything of the sandbox, found on every way; whether all is gone."""
        self._strike(group, init)
        gone = group is None or group.wait_empty(seconds)
        if init is not None:
            # Its end is the end of the pid namespace: the kernel waits for every process in it.
            gone = init.wait_gone(seconds) and gone
        return gone

    def _survivors(
        self,
        record: Mapping[str, Any],
        group: cgroups.ControlGroup | None,
        init: ProcessName | None,
    ) -> int:
        left = set(group.pids()) if group is not None else set()
        if init is not None and init.is_alive():
            left |= set(family(init.pid))
        uid = record.get("uid")
        if isinstance(uid, int):
            left |= set(pids_of_uid(uid))  # counted by the system, not by what was written down
        return len(left)

    def _terminate(self, home: records.Home, grace_seconds: float) -> None:
        """Ask what runs to end, and wait for it at most the grace."""
        if self._holder_of(home) is None or grace_seconds <= 0:
            return
        request: dict[str, object] = {"op": "terminate", "grace_seconds": grace_seconds}
        with contextlib.suppress(NotRunningError, SandboxFailedError):
            channel.ask(home.control, request, seconds=grace_seconds + 2.0, most_bytes=0)

    def _end_strays(self, home: records.Home) -> None:
        """End a bubblewrap that a killed holder left half started, before it joined a group."""
        for stray in started_with(self._group_name(home)):
            stray.send(Signals.SIGKILL)
            stray.wait_gone(_GONE_SECONDS)

    def _end_everything(self, home: records.Home) -> None:
        """Afterwards nothing of the sandbox is left but its home and its records.

        Called under the lock, from whatever state a crash left behind.
        """
        holder, init = self._holder_of(home), self._init_of(home)
        group = self._group(home)
        phase = records.load(home.holder).get("phase")
        if holder is not None and phase == "starting":
            holder.send(Signals.SIGKILL)
        self._kill_processes(group, init, _GONE_SECONDS)
        if holder is not None and not holder.wait_gone(_GONE_SECONDS):
            holder.send(Signals.SIGKILL)
            holder.wait_gone(_GONE_SECONDS)
        if holder is not None or phase in ("starting", "running", "ending"):
            self._end_strays(home)
        if group is not None:
            group.kill()
            if not (group.wait_empty(_GONE_SECONDS) and group.remove()):
                raise SandboxFailedError(
                    f"Processes of {home.id} do not end.",
                    fix="Look for processes in an uninterruptible state on the host.",
                )
        deadline = time.monotonic() + _GONE_SECONDS
        while home.holder_lock_is_held():
            # A holder may have come up after it was looked for; it sees the record and ends.
            late = self._holder_of(home)
            if late is not None:
                late.send(Signals.SIGKILL)
            if time.monotonic() > deadline:
                raise SandboxFailedError(
                    f"A tool still works on the home of {home.id}.",
                    fix="Wait until it has finished and try again.",
                )
            time.sleep(0.005)

    def _usage(self, home: records.Home, init: ProcessName) -> Usage:
        group = self._group(home)
        pids = group.pids() if group is not None else family(init.pid)
        memory = group.memory_mib() if group is not None else None
        if memory is None:
            memory = sum(memory_by_pid(pids).values()) // _MIB
        last = home.last_command_at()
        return Usage(
            cpu_usec=group.cpu_usec() if group is not None else None,
            memory_mib=memory,
            processes=len(pids),
            disk_used_mib=disk.used_mib(home.image)
            if home.image.exists()
            else _integer(records.load(home.usage).get("disk_used_mib")),
            running_commands=home.running_commands(),
            last_command_at=None if last is None else datetime.fromtimestamp(last, UTC),
        )


def _refuse_stale(
    home: records.Home, record: Mapping[str, Any], generation: int, *, lowest: int = 0
) -> None:
    """StaleGenerationError when something newer has been decided."""
    newest = max(_integer(record.get("generation")), lowest)
    if generation < newest:
        raise StaleGenerationError(
            f"Generation {generation} of {home.id} has been replaced; {newest} is the oldest"
            " that may still act.",
            fix="Read the workspace's present state and act for that.",
            details={"generation": generation, "oldest_accepted": newest},
        )


def _count(group: cgroups.ControlGroup | None, init: ProcessName | None) -> int:
    """How many processes there are: all where a group knows them, else the first two generations.

    To count all without a group means to walk through /proc; a kill does not wait for that.
    """
    if group is not None and (pids := group.pids()):
        return len(pids)
    return 1 + len(children(init.pid)) if init is not None else 0


def _alive(document: object) -> ProcessName | None:
    name = ProcessName.from_json(document)
    return name if name is not None and name.is_alive() else None


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _moment(value: object) -> datetime | None:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else None


def _why_failed(document: Mapping[str, Any]) -> str:
    if document.get("phase") in ("failed", "ending", "ended"):
        return f"It ended: {document.get('detail', 'nobody knows why')}."
    name = ProcessName.from_json(document.get("holder"))
    if name is not None and name.is_alive():
        return "The sandbox ended by itself."
    if name is not None and name.boot != boot_id():
        return "The host was restarted."
    return "Its holder was killed."


def _await_word(descriptor: int, seconds: float) -> str | None:
    """The holder's report; empty when it ended without one, None when the time is up."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    if not poller.poll(seconds * 1000):
        return None
    return os.read(descriptor, 64).decode(errors="replace").strip()


def _remove(path: Path) -> None:
    """Remove a file or a folder; links are removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
