# house: allow file-length — handed into the sandbox as one file, with no package around it
"""Process 1 of a sandbox: runs commands and touches files for the control plane.

Run by the system's Python inside the sandbox, never imported by Charter (standard library only).
Because commands are started here, each of them inherits the whole confinement; nothing ever enters
the sandbox from outside. The listening socket is inherited as a file descriptor: it has no name
inside the sandbox, so nothing in there can connect to it, remove it or take its place.

One connection carries one request: a length (4 bytes, big endian), a JSON head, then as many bytes
as the head announces; the answer has the same form. Both sides bound every length.

The workspace's own programs run as the same user. They cannot end this process (the kernel shields
the first process of a pid namespace from signals of its own namespace), and they cannot read its
memory or take its descriptors, because it is marked as not dumpable. As process 1 it also reaps
what lost its parent.

Arguments: descriptor of the listening socket, most processes (0: limited elsewhere), descriptor of
a pipe that ends when the holder does; a sandbox without a holder must not be.
"""

import contextlib
import ctypes
import errno
import json
import os
import pathlib
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from typing import IO, Any

HOME = "/workspace"
LARGEST_HEAD = 1 << 20
LARGEST_BODY = 64 << 20
LARGEST_LISTING = 10_000
REQUESTS_AT_ONCE = 128
SECONDS_FOR_A_REQUEST = 30.0
CHUNK = 1 << 16

PR_SET_DUMPABLE = 4
SYS_OPENAT2 = 437  # the same number on x86-64 and aarch64
RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH = 0x02, 0x08

LIBC = ctypes.CDLL(None, use_errno=True)


class Children:
    """Every child is reaped once: a command by the thread that follows it, an orphan by `reap`.

    A dead child keeps its number until somebody waits for it, and starting and reaping exclude
    each other; so a number seen here always means the same process.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.commands: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, argv: list[bytes]) -> "subprocess.Popen[bytes]":
        """Start a command in its own session."""
        with self.changed:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=HOME,
                start_new_session=True,
                bufsize=0,
            )
            self.commands[process.pid] = process
            self.changed.notify_all()
            return process

    def finish(self, process: "subprocess.Popen[bytes]") -> int:
        """The exit status of a command that has ended or been killed."""
        code = process.wait()
        with self.changed:
            del self.commands[process.pid]
        return code

    def reap(self) -> None:
        """Wait for orphans for ever."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            except ChildProcessError:
                with self.changed:
                    self.changed.wait(1.0)
                continue
            with self.changed:
                command = self.commands.get(found.si_pid) if found else None
                if command is not None:
                    command.poll()
                elif found is not None:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(found.si_pid, os.WNOHANG)


CHILDREN = Children()


class Refused(Exception):  # noqa: N818 - a verdict with a code, not a malfunction
    """What the caller is told: a code it knows and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def receive_exactly(connection: socket.socket, count: int) -> bytes:
    """`count` bytes, or ConnectionError where the peer ended before."""
    parts = []
    while count:
        part = connection.recv(min(count, CHUNK * 4))
        if not part:
            raise ConnectionError("the request ended early")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def receive_request(connection: socket.socket) -> tuple[dict[str, Any], bytes]:
    """The head and the body of one request."""
    (length,) = struct.unpack("!I", receive_exactly(connection, 4))
    if length > LARGEST_HEAD:
        raise ConnectionError("the head is too long")
    head = json.loads(receive_exactly(connection, length))
    body_bytes = int(head.get("body_bytes", 0))
    if not 0 <= body_bytes <= LARGEST_BODY:
        raise ConnectionError("the body is too long")
    return head, receive_exactly(connection, body_bytes)


def send_answer(connection: socket.socket, head: dict[str, Any], *bodies: bytes) -> None:
    """One answer: head, then the bodies whose lengths it announces."""
    head["bodies"] = [len(body) for body in bodies]
    encoded = json.dumps(head).encode()
    connection.sendall(struct.pack("!I", len(encoded)) + encoded)
    for body in bodies:
        connection.sendall(body)


# --- commands ------------------------------------------------------------------------------------


class Stream:
    """One output pipe of a command; keeps the first `room` bytes and drains the rest."""

    def __init__(self, descriptor: int, room: int) -> None:
        self.descriptor, self.room = descriptor, room
        self.parts: list[bytes] = []
        self.truncated = False
        os.set_blocking(descriptor, False)

    def pump(self) -> "bool | None":
        """Read once; False at the end of the pipe, None when nothing waits."""
        try:
            part = os.read(self.descriptor, CHUNK)
        except BlockingIOError:
            return None
        if len(part) > self.room:
            self.truncated = True
        self.parts.append(part[: self.room])
        self.room -= len(self.parts[-1])
        return bool(part)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the command and to what it started in its own session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()


class Command:
    """A running command between its pipes and the caller who waits for it."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", connection: socket.socket, room: int
    ) -> None:
        self.process, self.connection = process, connection
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise OSError("the command has no pipes")
        self.stdin: IO[bytes] = process.stdin
        self.out = Stream(process.stdout.fileno(), room)
        self.err = Stream(process.stderr.fileno(), room)
        self.rest = memoryview(b"")
        self.poller = select.poll()

    def follow(self, stdin: bytes, deadline: float) -> bool:
        """Feed and drain it until it ends; True when its time was up.

        ConnectionError when the caller has gone: nobody wants the answer, so it is ended.
        """
        ended = os.pidfd_open(self.process.pid)
        try:
            for descriptor in (self.out.descriptor, self.err.descriptor, ended):
                self.poller.register(descriptor, select.POLLIN)
            self.poller.register(self.connection.fileno(), select.POLLRDHUP | select.POLLHUP)
            self.begin_feeding(stdin)
            while (left := deadline - time.monotonic()) > 0:
                seen = {found for found, _ in self.poller.poll(min(left, 3600) * 1000)}
                if ended in seen:
                    self.drain(deadline)
                    return False
                if self.connection.fileno() in seen:
                    raise ConnectionError("the caller has gone")
                self.move(seen)
        finally:
            os.close(ended)
        return True

    def begin_feeding(self, stdin: bytes) -> None:
        """Take up standard input."""
        self.rest = memoryview(stdin)
        if self.rest:
            os.set_blocking(self.stdin.fileno(), False)
            self.poller.register(self.stdin.fileno(), select.POLLOUT)
        else:
            self.stdin.close()

    def move(self, seen: "set[int]") -> None:
        """Move what is ready on the pipes."""
        if not self.stdin.closed and self.stdin.fileno() in seen:
            try:
                self.rest = self.rest[os.write(self.stdin.fileno(), self.rest[:CHUNK]) :]
            except BlockingIOError:
                pass
            except OSError:
                self.rest = self.rest[:0]  # it does not read; that is its own affair
            if not self.rest:
                self.poller.unregister(self.stdin.fileno())
                self.stdin.close()
        for stream in (self.out, self.err):
            if stream.descriptor in seen and stream.pump() is False:
                self.poller.unregister(stream.descriptor)

    def drain(self, deadline: float) -> None:
        """Read what it wrote before it ended; something it left behind may write without end."""
        while (self.out.pump() or self.err.pump()) and time.monotonic() < deadline:
            pass

    def finish(self) -> int:
        """End it if it still runs, and close what belongs to it; the exit status."""
        if self.process.poll() is None:
            end_group(self.process)
        code = CHILDREN.finish(self.process)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return code


def run_command(connection: socket.socket, head: dict[str, Any], stdin: bytes) -> None:
    """Answer `execute`."""
    deadline = time.monotonic() + float(head["timeout_seconds"])
    try:
        process = CHILDREN.start([os.fsencode(word) for word in head["argv"]])
    except FileNotFoundError as error:
        return send_answer(connection, {"ok": True, "exit_code": 127}, b"", f"{error}\n".encode())
    except BlockingIOError as error:
        raise Refused("process-limit", "The workspace has reached its process limit.") from error
    except (OSError, ValueError) as error:
        return send_answer(connection, {"ok": True, "exit_code": 126}, b"", f"{error}\n".encode())
    room = min(int(head["max_output_bytes"]), LARGEST_BODY // 2)
    command = Command(process, connection, room)
    try:
        timed_out = command.follow(stdin, deadline)
    finally:
        code = command.finish()
    answer = {
        "ok": True,
        "exit_code": code if code >= 0 else 128 - code,
        "timed_out": timed_out,
        "truncated": command.out.truncated or command.err.truncated,
    }
    return send_answer(connection, answer, b"".join(command.out.parts), b"".join(command.err.parts))


# --- files ---------------------------------------------------------------------------------------


def open_beneath(path: str, flags: int) -> int:
    """A descriptor of `path` below /workspace; the kernel refuses every way that leads out."""
    how = struct.pack(
        "=QQQ", flags | os.O_CLOEXEC | os.O_NOCTTY, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
    )
    name = os.fsencode(path) or b"."
    if b"\0" in name:
        raise Refused("invalid-path", "A path cannot hold a zero byte.")
    root = os.open(HOME, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(100):  # EAGAIN: something was renamed while the kernel walked
            descriptor = int(LIBC.syscall(SYS_OPENAT2, root, name, how, len(how)))
            if descriptor >= 0:
                return descriptor
            if ctypes.get_errno() != errno.EAGAIN:
                break
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(root)


def split(path: str) -> tuple[str, str]:
    """Folder and last part of `path`; without a usable last part it is refused."""
    folder, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise Refused("invalid-path", "The path must end in the name of a file.")
    return folder, name


def open_folder(folder: str) -> int:
    """A descriptor of `folder`, made with all that leads to it where it is missing."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        return open_beneath(folder, flags)
    except FileNotFoundError:
        parent, name = split(folder)
        above = open_folder(parent)
        try:
            os.mkdir(name, 0o755, dir_fd=above)
        except FileExistsError:
            pass
        finally:
            os.close(above)
        return open_beneath(folder, flags)


def read_file(connection: socket.socket, head: dict[str, Any], _body: bytes) -> None:
    """Answer `read`."""
    most = min(int(head["max_bytes"]), LARGEST_BODY)
    descriptor = open_beneath(head["path"], os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("file-refused", "It is not a regular file.")
        content = file.read(most + 1)
    if len(content) > most:
        raise Refused("file-refused", f"The file is larger than {most} bytes.")
    send_answer(connection, {"ok": True}, content)


def write_file(connection: socket.socket, head: dict[str, Any], body: bytes) -> None:
    """Answer `write`: a new file beside the old one, then put in its place at once."""
    folder, name = split(head["path"])
    directory = open_folder(folder)
    temporary = f".{threading.get_native_id()}-{time.monotonic_ns()}.new"
    try:
        try:
            old = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            mode = 0o644
        else:
            if not stat.S_ISREG(old.st_mode):
                raise Refused("file-refused", "It exists and is not a regular file.")
            mode = stat.S_IMODE(old.st_mode)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, mode, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            os.unlink(temporary, dir_fd=directory)
            raise
    finally:
        os.close(directory)
    send_answer(connection, {"ok": True})


def list_files(connection: socket.socket, head: dict[str, Any], _body: bytes) -> None:
    """Answer `list`: a JSON body, because a folder may be longer than a head."""
    descriptor = open_beneath(head["path"], os.O_RDONLY | os.O_DIRECTORY)
    entries: list[list[Any]] = []
    try:
        with os.scandir(descriptor) as found:
            for entry in found:
                if len(entries) >= LARGEST_LISTING:
                    break
                try:
                    facts = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # gone since
                name = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
                entries.append([name, kind_of(facts.st_mode), facts.st_size, facts.st_mtime])
    finally:
        os.close(descriptor)
    send_answer(connection, {"ok": True}, json.dumps(entries).encode())


def kind_of(mode: int) -> str:
    """The word for the type in `mode`."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "other"


# --- life ----------------------------------------------------------------------------------------


def others_alive() -> bool:
    """Whether any process but this one runs (zombies do not)."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
        if name.isdigit() and name != "1":
            try:
                with pathlib.Path(f"/proc/{name}/stat").open("rb") as file:
                    if file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X"):
                        return True
            except OSError:
                continue
    return False


def terminate(connection: socket.socket, head: dict[str, Any], _body: bytes) -> None:
    """Answer `terminate`: SIGTERM to everything, wait at most the grace, then end the sandbox."""
    deadline = time.monotonic() + float(head["grace_seconds"])
    try:
        os.kill(-1, signal.SIGTERM)  # everything but this process
        os.kill(-1, signal.SIGCONT)  # a stopped process could not act on it
    except ProcessLookupError:
        pass
    pause = 0.002
    while others_alive() and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    home = os.open(HOME, os.O_RDONLY | os.O_DIRECTORY)
    LIBC.syncfs(home)
    send_answer(connection, {"ok": True})
    os._exit(0)


def ping(connection: socket.socket, _head: dict[str, Any], _body: bytes) -> None:
    """Answer `ping`."""
    send_answer(connection, {"ok": True})


OPERATIONS = {
    "execute": run_command,
    "read": read_file,
    "write": write_file,
    "list": list_files,
    "terminate": terminate,
    "ping": ping,
}
CODES = {
    errno.ENOENT: "file-not-found",
    errno.ENOTDIR: "file-not-found",
    errno.EXDEV: "invalid-path",
    errno.ELOOP: "invalid-path",
    errno.ENAMETOOLONG: "invalid-path",
}


def serve(connection: socket.socket, places: threading.Semaphore) -> None:
    """One connection from request to answer; nothing in it may end the supervisor."""
    try:
        with connection:
            connection.settimeout(SECONDS_FOR_A_REQUEST)
            try:
                head, body = receive_request(connection)
                OPERATIONS[head["op"]](connection, head, body)
            except Refused as refusal:
                send_answer(connection, {"ok": False, "code": refusal.code, "why": str(refusal)})
            except ConnectionError:
                return
            except OSError as error:
                code = CODES.get(error.errno or 0, "file-refused")
                why = f"{error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})."
                send_answer(connection, {"ok": False, "code": code, "why": why})
            except Exception as error:  # noqa: BLE001 - a bad request must not end the supervisor
                send_answer(connection, {"ok": False, "code": "malformed", "why": repr(error)})
    except (OSError, MemoryError):
        pass
    finally:
        places.release()


def end_with_holder(lifeline: int) -> None:
    """Wait for the end of the pipe, then end the sandbox: the kernel kills all that is in it."""
    while os.read(lifeline, 1):
        pass
    os._exit(1)


def main() -> None:
    """Serve until told to end."""
    LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.set_inheritable(False)
    most_processes = int(sys.argv[2])
    if most_processes:
        # Set inside the user namespace it counts this workspace only, and cannot be raised again.
        resource.setrlimit(resource.RLIMIT_NPROC, (most_processes, most_processes))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)  # whatever goes wrong from here on must not fill the holder's log
    os.close(nothing)
    threading.stack_size(256 * 1024)
    threading.Thread(target=CHILDREN.reap, daemon=True).start()
    lifeline = int(sys.argv[3])
    os.set_inheritable(lifeline, False)
    threading.Thread(target=end_with_holder, args=(lifeline,), daemon=True).start()
    places = threading.Semaphore(REQUESTS_AT_ONCE)
    while True:
        places.acquire()
        try:
            connection, _ = listener.accept()
        except OSError:
            places.release()
            continue
        worker = threading.Thread(target=serve, args=(connection, places), daemon=True)
        try:
            worker.start()
        except RuntimeError:  # no process left for a thread: the workspace used them all
            try:
                refusal = "The workspace has reached its process limit."
                send_answer(connection, {"ok": False, "code": "process-limit", "why": refusal})
            except OSError:
                pass
            connection.close()
            places.release()


if __name__ == "__main__":
    main()
