"""`up`, `down`, `status` and `reset`, as functions that the command line calls."""

from __future__ import annotations

import codecs
import contextlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from charter.adapters.workspaces.local.provider import LocalProvider
from charter.core.kernel.errors import CharterError, ConflictError, UnavailableError
from charter.processes import wait_until
from charter.supervisor.plan import Plan, Progress, embedded_database
from charter.supervisor.record import (
    MARKER,
    ProcessStatus,
    SystemStatus,
    claim,
    end_leftovers,
    read_record,
    record_path,
)
from charter.supervisor.supervise import (
    StopRequested,
    Supervisor,
    interruptible,
    refuse_taken_port,
    stop_signals,
)

_DOWN_TIMEOUT_SECONDS: Final = 90.0  # children get 10 s, the database 60 s, and both are rare
_READY_BYTE: Final = b"\0"  # in the pipe from a detached supervisor: the start has succeeded


def up(plan: Plan, *, detach: bool = False, write: Callable[[str], object] | None = None) -> int:
    """Start everything and return an exit code.

    Attached, it returns when it was asked to stop (Ctrl-C, SIGTERM, `down`); detached, as soon as
    the system is ready, or has failed to become so. Progress goes to `write` (default: standard
    error). Must be called from the main thread of a process without other threads.
    """
    out = write or _to_stderr
    plan = _resolved(plan)
    if not detach:
        return _run(plan, out, lambda: None)
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    if (middle := os.fork()) != 0:
        os.close(writer)
        os.waitpid(middle, 0)
        return _follow(reader, out)
    # The second fork gives the supervisor to init: no terminal can ever reach it.
    os.close(reader)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    code = 1
    try:
        code = _run_detached(plan, writer)
    finally:
        os._exit(code)  # the caller's cleanup belongs to the caller's process


def down(state_dir: Path, *, write: Callable[[str], object] | None = None) -> bool:
    """Stop everything of `state_dir`; False when nothing ran.

    Works after a kill -9 of the supervisor too: what it left is ended.
    """
    progress = Progress(write or _to_stderr)
    state_dir = state_dir.resolve()
    record = read_record(state_dir)
    ran = False
    if record is not None and record.supervisor.alive:
        ran = True
        with progress.step("Stopping Charter"):
            record.supervisor.signal(signal.SIGTERM)
            supervisor = record.supervisor
            if not wait_until(lambda: not supervisor.alive, _DOWN_TIMEOUT_SECONDS):
                raise UnavailableError(
                    f"The supervisor (pid {supervisor.pid}) does not stop.",
                    fix=f"`kill -9 {supervisor.pid}`, then `charter down` again.",
                    code="supervisor-not-stopped",
                )
    end_leftovers(read_record(state_dir))
    record_path(state_dir).unlink(missing_ok=True)
    if (state_dir / "pg").is_dir() and embedded_database(state_dir).status().pid is not None:
        ran = True
        with progress.step("Stopping the database"):
            embedded_database(state_dir).stop()
    return ran


def status(state_dir: Path) -> SystemStatus:
    """What runs for `state_dir`, judged by the processes themselves."""
    state_dir = state_dir.resolve()
    record = read_record(state_dir)
    supervised = record is not None and record.supervisor.alive
    rows: list[ProcessStatus] = []
    if (state_dir / "pg").is_dir():
        found = embedded_database(state_dir).status()
        rows.append(ProcessStatus("database", "running" if found.running else "stopped", found.pid))
    absent = "restarting" if supervised else "stopped"
    rows.extend(
        ProcessStatus(process.name, "running", process.pid, process.since, process.restarts)
        if process.alive
        else ProcessStatus(process.name, absent, restarts=process.restarts)
        for process in ((record.supervisor, *record.children) if record else ())
    )
    complete = supervised and all(row.state == "running" for row in rows)
    ready = record is not None and record.ready and complete
    url = record.url if record is not None and supervised else None
    return SystemStatus(state_dir, ready, url, tuple(rows))


def reset(state_dir: Path, *, write: Callable[[str], object] | None = None) -> None:
    """Stop everything and delete the state directory for good; asking first is the caller's part.

    Refuses a directory that Charter did not make, and one into which something is still mounted:
    deleting would follow the mount.
    """
    state_dir = state_dir.resolve()
    if not state_dir.exists():
        return
    if not (state_dir / MARKER).is_file():
        raise ConflictError(
            f"{state_dir} does not look like a state directory of Charter; nothing was deleted.",
            fix="Check CHARTER_STATE_DIR.",
            code="not-a-state-directory",
        )
    down(state_dir, write=write)
    lock = claim(state_dir)  # nobody may start while the ground is taken away
    try:
        _end_sandboxes(state_dir / "workspaces", Progress(write or _to_stderr))
        if mounts := _mounts_below(state_dir):
            raise ConflictError(
                f"Something is still mounted below the state directory: {', '.join(mounts)}.",
                fix="Stop the workspaces, or `umount` these, then reset again.",
                code="state-directory-in-use",
            )
        with Progress(write or _to_stderr).step(f"Deleting {state_dir}"):
            embedded_database(state_dir).reset()
            shutil.rmtree(state_dir)
    finally:
        lock.close()


def _end_sandboxes(root: Path, progress: Progress) -> None:
    """End and delete every workspace: each has a process of its own, which outlives the others.

    Without its records nobody would ever find, limit or end it again.
    """
    if not root.is_dir():
        return
    provider = LocalProvider(root)
    found = provider.observe_all()
    if not found:
        return
    with progress.step(f"Deleting {len(found)} workspace{'' if len(found) == 1 else 's'}"):
        for workspace in found:
            provider.delete(workspace.workspace_id, workspace.generation)


def _run(plan: Plan, out: Callable[[str], object], on_ready: Callable[[], None]) -> int:
    """The life of a supervisor, from its lock to its last child."""
    progress = Progress(out)
    try:
        lock = claim(plan.state_dir)
    except CharterError as error:
        return _explain(progress, error)
    code = 0
    with lock, stop_signals() as wake_up:
        supervisor: Supervisor | None = None
        try:
            with interruptible():
                end_leftovers(read_record(plan.state_dir))
                Supervisor(plan, None, progress).write_record()  # `down` works from here on
                notes, supervisor = _start(plan, progress)
                with progress.step("Starting " + ", ".join(c.name for c in plan.children)):
                    supervisor.start_children()
            for note in notes:
                out(note + "\n")
            on_ready()
            supervisor.watch(wake_up)
        except StopRequested:
            progress.say("Stopping, as asked.")
        except CharterError as error:
            code = _explain(progress, error)
        finally:
            _stop(plan, supervisor, progress)
            record_path(plan.state_dir).unlink(missing_ok=True)
    return code


def _start(plan: Plan, progress: Progress) -> tuple[list[str], Supervisor]:
    """The database and the preparations; gives what is to be shown, and the supervisor."""
    if plan.listen is not None:
        refuse_taken_port(*plan.listen)
    url = plan.database_url
    if url is None:
        with progress.step("Starting the database"):
            url = plan.postgres().start()
    notes = []
    for step in plan.prepare:
        with progress.step(step.title):
            note = step.run(url)
        if note:
            notes.append(note)
    return notes, Supervisor(plan, url, progress)


def _stop(plan: Plan, supervisor: Supervisor | None, progress: Progress) -> None:
    if supervisor is not None:
        with progress.step("Stopping " + ", ".join(c.name for c in plan.children)):
            supervisor.stop_children()
    if plan.database_url is None:
        with progress.step("Stopping the database"):
            plan.postgres().stop()


def _run_detached(plan: Plan, pipe: int) -> int:
    """The supervisor's life without a terminal: it tells the one who started it until it is ready.

    After that its progress goes to its log only. What the preparations want to be shown goes to the
    terminal alone, because a sign-in link does not belong in a log.
    """
    logs = plan.state_dir / "logs"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = os.open(logs / "supervisor.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    told = True

    def write(text: str) -> None:
        nonlocal told
        if told:
            try:
                os.write(pipe, text.encode())
            except BrokenPipeError:  # whoever started us has gone; that changes nothing
                told = False
        else:
            os.write(log, text.encode())

    def ready() -> None:
        nonlocal told
        with contextlib.suppress(BrokenPipeError):
            os.write(pipe, _READY_BYTE)
        os.close(pipe)
        told = False

    try:
        return _run(plan, write, ready)
    except Exception as error:  # noqa: BLE001 - there is nobody else left to tell
        traceback.print_exc()  # standard error is the log by now
        write(f"! Charter did not start: {error}\n  Details: {logs / 'supervisor.log'}\n")
        return 1


def _follow(pipe: int, out: Callable[[str], object]) -> int:
    """Pass on what the detached supervisor says, until it is ready or gone."""
    seen_ready = False
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    with os.fdopen(pipe, "rb", buffering=0) as said:
        while chunk := said.read(4096):
            seen_ready = seen_ready or _READY_BYTE in chunk
            out(decode(chunk.replace(_READY_BYTE, b"")))
    return 0 if seen_ready else 1


def _explain(progress: Progress, error: CharterError) -> int:
    progress.say(f"! {error.message}\n  {error.fix}")
    return 1


def _resolved(plan: Plan) -> Plan:
    """The same plan with an absolute state directory, for a change of working directory."""
    return replace(plan, state_dir=plan.state_dir.resolve())


def _mounts_below(directory: Path) -> list[str]:
    """Mount points under `directory`, from the kernel's table, which writes spaces in octal."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split(" ")[4].replace("\\040", " ") for line in lines)
    return sorted(point for point in points if Path(point).is_relative_to(directory))


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
