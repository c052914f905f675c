"""Talking to the supervisor inside a sandbox, as to an enemy.

Whoever answers may be hostile: every length is bounded before anything is read, every wait has an
end, every field is checked, and anything malformed raises SandboxFailedError. The socket is opened
through a descriptor of its folder, because a unix socket's path may not be longer than 107 bytes
and a state directory's may.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any, Final

from charter.adapters.workspaces.port import (
    LARGEST_TRANSFER_BYTES,
    NotRunningError,
    SandboxFailedError,
)

SOCKET: Final = "supervisor.sock"
_LARGEST_HEAD: Final = 1 << 16
_LARGEST_REQUEST_HEAD: Final = 1 << 20
_MOST_BODIES: Final = 2
_LOOK_AGAIN: Final = "Look at the workspace's state; restart it if this happens again."


def listen(folder: Path) -> socket.socket:
    """The socket of a new sandbox, in the place of one that was left behind."""
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=directory)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"/proc/self/fd/{directory}/{SOCKET}")
        listener.listen(128)
    finally:
        os.close(directory)
    return listener


def _connect(folder: Path, deadline: float) -> socket.socket:
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        connection.connect(f"/proc/self/fd/{directory}/{SOCKET}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def _malformed(what: str) -> SandboxFailedError:
    return SandboxFailedError(
        f"The sandbox's supervisor gave an answer that cannot be used: {what}.",
        fix="Restart the workspace; report it if this happens again.",
    )


class _Reader:
    """Reads from one connection, never past its deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline

    def exactly(self, count: int) -> bytes:
        """`count` bytes, or an error."""
        parts: list[bytes] = []
        while count:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            part = self._connection.recv(min(count, 1 << 18))
            if not part:
                raise ConnectionError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def ask(
    folder: Path, head: dict[str, object], body: bytes = b"", *, seconds: float, most_bytes: int
) -> tuple[dict[str, Any], list[bytes]]:
    """Send one request; the head and the bodies of the answer.

    Raises NotRunningError where nobody listens, SandboxFailedError for silence and nonsense.
    `most_bytes` bounds all bodies together.
    """
    deadline = time.monotonic() + seconds
    encoded = json.dumps({**head, "body_bytes": len(body)}).encode()
    if len(encoded) > _LARGEST_REQUEST_HEAD or len(body) > LARGEST_TRANSFER_BYTES:
        raise SandboxFailedError(
            "The request is too large for the sandbox.", fix="Send less at a time."
        )
    try:
        with _connect(folder, deadline) as connection:
            connection.sendall(struct.pack("!I", len(encoded)) + encoded)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(body)  # it may answer, and hang up, before it read all
            reader = _Reader(connection, deadline)
            answer = _head(reader)
            return answer, [reader.exactly(size) for size in _sizes(answer, most_bytes)]
    except TimeoutError as error:
        raise SandboxFailedError(
            f"The sandbox did not answer within {seconds:g} seconds.", fix=_LOOK_AGAIN
        ) from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunningError(
            "The workspace is not running.", fix="Start the workspace first."
        ) from error
    except OSError as error:
        raise SandboxFailedError(
            "The sandbox ended while it was asked.", fix=_LOOK_AGAIN
        ) from error


def _head(reader: _Reader) -> dict[str, Any]:
    (length,) = struct.unpack("!I", reader.exactly(4))
    if length > _LARGEST_HEAD:
        raise _malformed(f"a head of {length} bytes")
    try:
        answer = json.loads(reader.exactly(length))
    except (ValueError, RecursionError) as error:
        raise _malformed("a head that is not JSON") from error
    if not isinstance(answer, dict):
        raise _malformed("a head that is not an object")
    return answer


def _sizes(answer: dict[str, Any], most_bytes: int) -> list[int]:
    sizes = answer.get("bodies")
    if not isinstance(sizes, list) or len(sizes) > _MOST_BODIES:
        raise _malformed("no list of body sizes")
    if not all(type(size) is int and 0 <= size <= most_bytes for size in sizes):
        raise _malformed("a body of a size that was not asked for")
    if sum(sizes) > most_bytes:
        raise _malformed("bodies larger than what was asked for")
    return sizes
