"""A PostgreSQL of our own, for every installation that was not given one.

Charter keeps its truth in PostgreSQL and nothing else. Asking a newcomer to install a database
first would lose most of them, so the server's programs come as a Python wheel and this module
starts them: one server per state directory, for this installation only.

What a reader should know about the server that runs here:

* **It listens on a Unix socket and nowhere else.** There is no TCP port to find.
* **Only one account of the host may connect**: the one that runs Charter. PostgreSQL asks the
  kernel who is at the other end of the socket (`peer` authentication), so there is no password to
  steal, and a sandbox, which runs under another uid, is refused by the server even if it could
  see the socket. It cannot see it either: the data directory, which holds the socket, is 0700.
* **It never runs as root**, because PostgreSQL refuses to. When Charter runs as root, the server
  gets a uid that no account on the machine has. The state directory may well stand under a
  directory which that uid cannot enter (`/root` is 0700). Nobody's permissions are changed for
  that: root enters the data directory and the server inherits it as its working directory. All
  of the server's paths are relative to it, through `/proc/self/cwd`.
* **It outlives a crash of Charter.** It is started in a session of its own; the next `start`
  finds it by pid and start time and uses it as it is. If the server itself was killed, the next
  `start` replays the write-ahead log as PostgreSQL always does.

The wheel's own Python wrapper is located but never imported: it opens the permissions of every
parent directory, trusts every local user, and takes a lock in /tmp that other users trip over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from charter.core.kernel.errors import UnavailableError
from charter.processes import start_in, start_of, wait_until
from charter.store.embedded_programs import account_for_initdb, find_programs, give_tree, run_as
from charter.store.embedded_socket import (
    SOCKET_NAME,
    client_directory,
    link_client_directory,
    unlink_client_directory,
)

_MAJOR: Final = "18"
_ROLE: Final = "charter"

# The server's uid when Charter is root. Debian gives the ids from 65000 to 65533 to
# nobody, systemd takes its dynamic users below 65520, and every container that maps the usual 65536
# ids has it. It needs no line in /etc/passwd: only `initdb` insists on a name (see `_initialise`).
_SERVER_UID: Final = 65_526

# A start after a crash replays the log; five minutes is far beyond any embedded database's log.
_START_TIMEOUT_SECONDS: Final = 300.0
_STOP_TIMEOUT_SECONDS: Final = 60.0
_MAX_LOG_BYTES: Final = 8 * 1024 * 1024
_LOG_TAIL_LINES: Final = 12

# Writes down who it is (pid and start time stand in the kernel's line), then becomes the server.
# The file is opened by Charter and inherited as standard input, because the server's own uid can
# neither reach nor rewrite it.
_BECOME_SERVER: Final = (
    "read -r boot </proc/sys/kernel/random/boot_id && read -r line </proc/$$/stat"
    ' && echo "$boot $line" >&0 && exec "$@" </dev/null'
)

_SETTINGS: Final = (
    "listen_addresses=",
    "port=5432",  # only names the socket; a PGPORT in somebody's environment must not change it
    "unix_socket_directories=/proc/self/cwd",
    "unix_socket_permissions=0700",
    # A server that recovers in place looks as if it ran, and stays so for ever when its recovering
    # process is killed. It ends instead, and whoever watches it starts it again.
    "restart_after_crash=off",
    "max_connections=100",
    "shared_buffers=128MB",
    "huge_pages=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_destination=stderr",
    "logging_collector=off",
    "log_checkpoints=off",  # a line every five minutes that nobody reads
)
_DURABLE: Final = ("fsync=on", "full_page_writes=on", "synchronous_commit=on")
_THROW_AWAY: Final = (
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
)


@dataclass(frozen=True, slots=True)
class PostgresStatus:
    """What can be said about the server without connecting to it."""

    running: bool
    pid: int | None
    data_directory: Path
    url: str


class EmbeddedPostgres:
    """The server whose data stands under `home`.

    `durable=False` is for tests: nothing is synced to disk, so a power cut loses the database.
    """

    def __init__(self, home: Path, *, durable: bool = True, log_file: Path | None = None) -> None:
        self.home = home.resolve()
        self.data = self.home / "data"
        self.log_file = (log_file or self.home / "postgres.log").resolve()
        self._durable = durable
        self._identity = self.home / "server.pid"
        self._uid = _SERVER_UID if os.geteuid() == 0 else os.geteuid()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL; the same before and after a restart."""
        directory = quote(str(client_directory(self.data)), safe="/")
        return f"postgresql+psycopg://{_ROLE}@/postgres?host={directory}&port=5432"

    def start(self) -> str:
        """Make the server run, whatever state it was left in, and return its URL.

        Creates the database on first use; returns at once when the server already runs. Raises
        UnavailableError with the server's last words when it cannot be started.
        """
        if not Path("/proc/self/cwd").exists():
            raise UnavailableError(
                "The embedded database needs Linux with /proc mounted.",
                fix="Set CHARTER_DATABASE_URL to a PostgreSQL of your own.",
                code="database-needs-linux",
            )
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock():
            if self._postmaster() is None or not self._ready():
                programs = find_programs(self._uid)
                if not (self.data / "PG_VERSION").exists():
                    self._initialise(programs)
                self._check_data()
                self._start_server(programs)
            link_client_directory(self.data)
        return self.url

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server if it runs; open transactions are rolled back.

        `immediate` skips the final checkpoint: right for throw-away data only.
        """
        if not self.home.is_dir():
            return
        with self._lock():
            self._stop(immediate=immediate)

    def status(self) -> PostgresStatus:
        """Whether the server runs and takes connections, by its process and its lock file."""
        pid = self._postmaster()
        running = pid is not None and self._ready()
        return PostgresStatus(running, pid, self.data, self.url)

    def reset(self) -> None:
        """Stop the server and delete its data for good."""
        if self.home.is_dir():
            with self._lock():
                self._stop(immediate=True)
                unlink_client_directory(self.data)
                shutil.rmtree(self.home)

    # ---- the pieces of a start

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One start or stop at a time, across processes; the kernel drops it with its holder."""
        with (self.home / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _initialise(self, programs: Path) -> None:
        """Create the cluster beside its final place and rename it: half a cluster is never used.

        `initdb` asks for the name of the user it runs as. As root it therefore runs as `nobody`,
        in a directory that only root can reach, and the finished tree is given to the server's
        nameless uid.
        """
        fresh = self.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        account = account_for_initdb()
        os.chown(fresh, account.pw_uid, account.pw_gid)
        options = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
        # Without its own syncing: the finished tree is synced once, after its owner has changed.
        options += ["--auth-local=peer", "--auth-host=reject", "--data-checksums", "--no-sync"]
        argv = [str(programs / "initdb"), "-D", "/proc/self/cwd", "-U", _ROLE, *options]
        with tempfile.TemporaryFile() as output:
            code = run_as(account.pw_uid, argv, fresh, stdin=subprocess.DEVNULL, output=output)
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if code != 0:
            raise UnavailableError(
                f"The embedded database could not be created. `initdb` said:\n{said}",
                fix=f"Free some disk space under {self.home} and start again, or set "
                "CHARTER_DATABASE_URL to a PostgreSQL of your own.",
                code="database-not-created",
            )
        me = pwd.getpwuid(os.geteuid()).pw_name
        (fresh / "pg_hba.conf").write_text(
            "# Only the account that runs Charter, proven by the kernel. No TCP, no passwords.\n"
            f"local all {_ROLE} peer map=charter\n"
        )
        (fresh / "pg_ident.conf").write_text(f'charter "{me}" {_ROLE}\n')
        if os.geteuid() == 0:
            give_tree(fresh, self._uid)
        if self._durable:
            os.sync()
        fresh.rename(self.data)

    def _check_data(self) -> None:
        """Refuse data of another account or of another major version, in words."""
        owner = self.data.stat().st_uid
        if owner != self._uid:
            raise UnavailableError(
                f"The database in {self.data} belongs to uid {owner}, and Charter, started by uid "
                f"{os.geteuid()}, would run it as uid {self._uid}.",
                fix="Start Charter as the user who started it first, or choose another "
                "CHARTER_STATE_DIR.",
                code="database-of-another-user",
            )
        major = (self.data / "PG_VERSION").read_text().strip()
        if major != _MAJOR:
            raise UnavailableError(
                f"The database in {self.data} was written by PostgreSQL {major}; this version of "
                f"Charter brings PostgreSQL {_MAJOR}.",
                fix="Dump it with that version and load it into a new state directory.",
                code="database-of-another-version",
            )

    def _start_server(self, programs: Path) -> None:
        self._await_old_server()
        settings = _SETTINGS + (_DURABLE if self._durable else _THROW_AWAY)
        flags = [word for setting in settings for word in ("-c", setting)]
        self.log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > _MAX_LOG_BYTES:
            self.log_file.replace(self.log_file.with_name(self.log_file.name + ".1"))
        log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        if self._postmaster() is None:
            with self.log_file.open("ab") as log, self._identity.open("wb") as identity:
                # `setsid --fork` hands the server to init: nobody here has to wait for it, and a
                # Ctrl-C in the terminal does not reach it.
                argv = ["setsid", "--fork", "/bin/sh", "-c", _BECOME_SERVER, "sh"]
                argv += [str(programs / "postgres"), "-D", "/proc/self/cwd", *flags]
                run_as(self._uid, argv, self.data, stdin=identity, output=log)
        started = wait_until(lambda: self._ready() or self._gone(log_start), _START_TIMEOUT_SECONDS)
        if not started or not self._ready():
            raise UnavailableError(
                f"The embedded database did not start. Its last words:\n{self._tail(log_start)}",
                fix=f"Read {self.log_file}; `charter reset` deletes the data.",
                code="database-not-started",
            )

    def _await_old_server(self) -> None:
        """After a kill -9 of the server: wait for its last processes, then clear its lock files.

        PostgreSQL takes a lock file for stale only when no process has the pid in it. But pids are
        reused, above all after a reboot, and a killed process keeps its pid until it is reaped, so
        PostgreSQL would refuse to start. Here more is known: the server that was started last is
        gone (pid and start time say so), and the kernel tells whether any of its processes is
        still attached to the shared memory.
        """
        if self._postmaster() is not None:
            return
        lock_file = self.data / "postmaster.pid"
        if not wait_until(lambda: not _memory_in_use(lock_file), _STOP_TIMEOUT_SECONDS):
            raise UnavailableError(
                "A process of the previous database server is still running.",
                fix=f"Look for `postgres` processes with `ps` and end those of {self.data}.",
                code="database-still-stopping",
            )
        lock_file.unlink(missing_ok=True)
        (self.data / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)

    def _gone(self, log_start: int) -> bool:
        """Whether the server was started and has ended: it said something and has no process."""
        said_something = self._identity.stat().st_size > 0 or (
            self.log_file.stat().st_size > log_start
        )
        return said_something and self._postmaster() is None

    def _stop(self, *, immediate: bool) -> None:
        pid = self._postmaster()
        if pid is None:
            return
        wanted = signal.SIGQUIT if immediate else signal.SIGINT
        lock_file = self.data / "postmaster.pid"
        for signal_number in (wanted, signal.SIGQUIT):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
            if wait_until(lambda: self._postmaster() is None, _STOP_TIMEOUT_SECONDS):
                # Backends detach a moment after their postmaster; `reset` deletes under them.
                wait_until(lambda: not _memory_in_use(lock_file), _STOP_TIMEOUT_SECONDS)
                return
        raise UnavailableError(
            f"The embedded database (pid {pid}) does not stop.",
            fix=f"Read {self.log_file}; as a last resort `kill -9 {pid}`: the next start recovers.",
            code="database-not-stopped",
        )

    # ---- what is known about the server

    def _postmaster(self) -> int | None:
        """The pid of our running server; a reused pid does not pass, nor does a zombie."""
        try:
            boot, line = self._identity.read_text().split(" ", 1)
            pid, started = int(line.split()[0]), start_in(line, boot)
        except (FileNotFoundError, ValueError, IndexError):
            return None
        return pid if start_of(pid) == started else None

    def _ready(self) -> bool:
        """Whether the server says, in the last line of its lock file, that it takes connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        pid = self._postmaster()
        ready_line = 7  # the eighth line holds the state
        return len(lines) > ready_line and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _tail(self, start: int) -> str:
        with self.log_file.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:]) or "(nothing)"


@contextlib.contextmanager
def temporary_postgres(directory: Path | None = None) -> Iterator[EmbeddedPostgres]:
    """A running throw-away server for tests: in memory where there is /dev/shm, nothing synced.

    It cannot be left behind: a small shell waits at the other end of a pipe and, should this
    process be killed, stops the server and deletes its data.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the directory made below is 0700 and freshly named
    if directory is None and os.access(memory, os.W_OK):
        directory = memory
    home = Path(tempfile.mkdtemp(prefix="charter-pg-", dir=directory))
    server = EmbeddedPostgres(home, durable=False)
    # Standard input ends when this process does, however it does.
    script = 'read -r _; read -r _ pid _ <"$1/server.pid" && kill -QUIT "$pid"; rm -rf "$1"'
    reaper = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        server.start()
        yield server
    finally:
        reaper.kill()
        reaper.communicate()
        server.reset()


def _memory_in_use(lock_file: Path) -> bool:
    """Whether a process is attached to the shared memory that this lock file names.

    The lock file's seventh line is "key id" of a System V segment; the kernel's table begins with
    the same two columns and has the number of attached processes in the seventh.
    """
    try:
        wanted = lock_file.read_text().split("\n")[6].split()
        table = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    except (FileNotFoundError, IndexError):
        return False
    rows = (row.split() for row in table)
    return any(row[:2] == wanted and int(row[6]) > 0 for row in rows)
