"""The watching itself: start children, start them again, stop them in order."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from charter.core.kernel.errors import ConflictError, UnavailableError
from charter.processes import start_of
from charter.supervisor.plan import Child, Plan, Progress
from charter.supervisor.record import ProcessRecord, Record

_READY_TIMEOUT_SECONDS: Final = 60.0  # a cold start on a busy small host; the usual is two seconds
_READY_POLL_SECONDS: Final = 0.05
_TICK_SECONDS: Final = 1.0  # how often database and log sizes are looked at
_STOP_TIMEOUT_SECONDS: Final = 10.0  # then a child that ignores SIGTERM is killed
_FIRST_PAUSE_SECONDS: Final = 0.2  # before the first restart; doubled for each further one
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0  # a child that lived this long failed afresh: its pause starts over
_MAX_LOG_BYTES: Final = 8 * 1024 * 1024  # a log and its predecessor take 16 MiB at most
_LOG_TAIL_LINES: Final = 15
_PR_SET_PDEATHSIG: Final = 1

# Loaded before any fork: between fork and exec nothing may be looked up.
_libc: Final = ctypes.CDLL(None, use_errno=True)


class StopRequested(KeyboardInterrupt):
    """SIGTERM, SIGINT or SIGHUP came while the system was still starting."""


class _Watched:
    """A child and its history."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.process: subprocess.Popen[bytes] | None = None
        self.record: ProcessRecord | None = None
        self.restarts = 0
        self.pause_seconds = _FIRST_PAUSE_SECONDS
        self.began = 0.0
        self.start_at = 0.0


class Supervisor:
    """Keeps the children of one plan alive until it is asked to stop."""

    def __init__(self, plan: Plan, database_url: str | None, progress: Progress) -> None:
        self._plan = plan
        self._progress = progress
        self._postgres = plan.postgres() if plan.database_url is None else None
        self._database_url = database_url
        self._watched = [_Watched(child) for child in plan.children]
        self._ready = False
        me = os.getpid()
        self._me = ProcessRecord("supervisor", me, start_of(me) or "", time.time())

    def start_children(self) -> None:
        """Start them all and wait until the system is ready.

        A child that ends before that fails the start, with the last lines of its log: starting it
        again would only repeat a mistake of configuration.
        """
        for watched in self._watched:
            self._start(watched)
        deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
        while not self._answers():
            for watched in self._watched:
                if watched.process is not None and watched.process.poll() is not None:
                    raise self._failure(watched, f"ended with {_outcome(watched.process)}")
            if time.monotonic() > deadline:
                slow = self._watched[0]
                raise self._failure(slow, f"was not ready after {_READY_TIMEOUT_SECONDS:.0f} s")
            time.sleep(_READY_POLL_SECONDS)
        self._ready = True
        self.write_record()

    def watch(self, wake_up: socket.socket) -> None:
        """Until a stop is asked for: start again what ends, keep logs within bounds.

        `wake_up` becomes readable with every signal, so that a death is noticed at once.
        """
        next_tick = 0.0
        while not _stop_wanted():
            for watched in self._watched:
                self._care_for(watched)
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + _TICK_SECONDS
                self._care_for_database()
                for log in (self._plan.state_dir / "logs").glob("*.log"):
                    bound_log(log)
            waiting = [w.start_at for w in self._watched if w.process is None]
            pause = min([next_tick, *waiting]) - time.monotonic()
            if select.select([wake_up], [], [], max(pause, 0.0))[0]:
                wake_up.recv(4096)

    def stop_children(self) -> None:
        """SIGTERM to all of them, and SIGKILL to those that do not follow in time."""
        running = [w for w in self._watched if w.process is not None and w.process.poll() is None]
        for watched in running:
            assert watched.process is not None  # noqa: S101 - said by the line above
            watched.process.terminate()
        deadline = time.monotonic() + _STOP_TIMEOUT_SECONDS
        for watched in running:
            process = watched.process
            assert process is not None  # noqa: S101
            try:
                process.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                self._progress.say(f"! {watched.child.name} does not stop; it is killed.")
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def write_record(self) -> None:
        """Write down who runs."""
        children = tuple(w.record for w in self._watched if w.record is not None)
        listen = self._plan.listen
        url = f"http://{listen[0]}:{listen[1]}" if listen else None
        Record(self._me, children, self._ready, url).write(self._plan.state_dir)

    # ---- one child

    def _start(self, watched: _Watched) -> None:
        child, state_dir = watched.child, self._plan.state_dir
        environment = {**os.environ, **child.env, "CHARTER_STATE_DIR": str(state_dir)}
        if self._database_url is not None:
            environment["CHARTER_DATABASE_URL"] = self._database_url
        log = os.open(log_path(state_dir, child), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        supervisor = os.getpid()

        def follow_supervisor_into_death() -> None:
            # The kernel sends SIGKILL when the forking thread ends; the supervisor has only one.
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != supervisor:
                os._exit(1)

        try:
            watched.process = subprocess.Popen(
                child.argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the supervisor only, which stops in order
                preexec_fn=follow_supervisor_into_death,  # noqa: PLW1509 - see above: one thread
            )
        finally:
            os.close(log)
        watched.began = time.monotonic()
        pid = watched.process.pid
        # A child that has already ended has no start any more; it is never signalled by its record.
        started = start_of(pid) or "gone"
        watched.record = ProcessRecord(child.name, pid, started, time.time(), watched.restarts)
        self.write_record()

    def _care_for(self, watched: _Watched) -> None:
        process = watched.process
        if process is not None:
            if process.poll() is None:
                return
            if time.monotonic() - watched.began > _STEADY_SECONDS:
                watched.pause_seconds = _FIRST_PAUSE_SECONDS
            self._progress.say(
                f"! {watched.child.name} ended with {_outcome(process)}; it is started again in "
                f"{watched.pause_seconds:.1f} s ({log_path(self._plan.state_dir, watched.child)})"
            )
            watched.process = None
            watched.start_at = time.monotonic() + watched.pause_seconds
            watched.pause_seconds = min(watched.pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
            watched.restarts += 1
            watched.record = ProcessRecord(
                watched.child.name, 0, "between two starts", time.time(), watched.restarts
            )
            self.write_record()
        elif time.monotonic() >= watched.start_at:
            self._start(watched)

    def _care_for_database(self) -> None:
        if self._postgres is None or self._postgres.status().running:
            return
        try:
            with self._progress.step("The database had ended; recovering it"):
                self._postgres.start()
        except UnavailableError as error:  # tried again at the next tick; the children answer 503
            self._progress.say(f"! {error.message}")

    def _failure(self, watched: _Watched, what: str) -> UnavailableError:
        log = log_path(self._plan.state_dir, watched.child)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
        return UnavailableError(
            f"{watched.child.name} {what}. Its last words:\n{tail or '(nothing)'}",
            fix=f"Mend what the log says ({log}) and start again.",
            code="child-not-started",
        )

    def _answers(self) -> bool:
        if any(w.process is None or w.process.poll() is not None for w in self._watched):
            return False
        return self._plan.listen is None or is_healthy(*self._plan.listen)


def is_healthy(host: str, port: int) -> bool:
    """Whether `GET /healthz` answers 200 there, within two seconds."""
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def refuse_taken_port(host: str, port: int) -> None:
    """Raise ConflictError when something else already listens there.

    Otherwise its answer to /healthz could be taken for ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConflictError(
                f"Charter cannot listen on {host} port {port}: {error.strerror}.",
                fix="Stop what listens there, or set CHARTER_PORT (and CHARTER_HOST) to others.",
                code="port-taken",
            ) from None


def bound_log(log: Path) -> None:
    """Move a log that has grown too large to `<name>.log.1` and go on with an empty one.

    The writers keep their file open in append mode, so the contents are copied and the file is
    emptied: no writer has to be told. A line written in between is lost; logs are not evidence.
    """
    if log.stat().st_size > _MAX_LOG_BYTES:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


def log_path(state_dir: Path, child: Child) -> Path:
    """Where a child's output goes."""
    return state_dir / "logs" / f"{child.name}.log"


_signals: Final[list[int]] = []  # what came; a signal handler may only append
_starting: Final[list[bool]] = []


def _on_stop(number: int, _frame: FrameType | None) -> None:
    _signals.append(number)
    if _starting:
        raise StopRequested


def _stop_wanted() -> bool:
    return bool(_signals)


@contextlib.contextmanager
def stop_signals() -> Iterator[socket.socket]:
    """While this lasts, SIGTERM, SIGINT and SIGHUP ask for an orderly stop.

    Gives a socket that becomes readable when any signal comes, SIGCHLD included.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    _signals.clear()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, _on_stop) for number in numbers}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
    wake_up = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wake_up)
        for number, handler in before.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While this lasts, a stop signal interrupts what is being done, by raising StopRequested."""
    _starting.append(True)
    try:
        if _signals:
            raise StopRequested
        yield
    finally:
        _starting.clear()


def _reachable(host: str) -> str:
    """An address to connect to when the service listens on all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def _outcome(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
