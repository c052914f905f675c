"""Commands and files of a running workspace, asked for at its supervisor and checked here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from charter.adapters.workspaces.local import channel
from charter.adapters.workspaces.port import (
    LARGEST_LISTING,
    LARGEST_TRANSFER_BYTES,
    ExecResult,
    FileEntry,
    SandboxFailedError,
    WorkspaceFileError,
    WorkspaceFileNotFoundError,
    WorkspacePathError,
)
from charter.core.kernel.errors import InvalidInputError

_FILE_SECONDS: Final = 30.0
# The supervisor ends a command on time; its answer may take a little longer on a busy host.
_ANSWER_SECONDS: Final = 10.0
_LONGEST_COMMAND_SECONDS: Final = 24 * 3600
_LARGEST_ARGV_BYTES: Final = 512 * 1024
_LARGEST_LISTING_BYTES: Final = 8 * 1024 * 1024
_LONGEST_PATH: Final = 4096
_KINDS: Final = frozenset({"file", "directory", "symlink", "other"})
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def execute(
    control: Path, argv: Sequence[str], timeout_seconds: float, *, stdin: bytes, most_bytes: int
) -> ExecResult:
    """Run a command; its output is cut at `most_bytes` per stream."""
    words = list(argv)
    if not words or any("\0" in word for word in words):
        raise InvalidInputError(
            "A command is a program and its arguments, without zero bytes.",
            fix="Send at least the name of a program.",
        )
    if sum(len(word.encode(errors="surrogatepass")) for word in words) > _LARGEST_ARGV_BYTES:
        raise InvalidInputError(
            "The command is too long.", fix="Pass large data on standard input or in a file."
        )
    if not 0 < timeout_seconds <= _LONGEST_COMMAND_SECONDS:
        raise InvalidInputError(
            "A command runs for more than 0 and at most 86400 seconds.", fix="Change the timeout."
        )
    _check_size(len(stdin), "standard input")
    room = max(0, min(most_bytes, LARGEST_TRANSFER_BYTES // 2))
    head: dict[str, object] = {
        "op": "execute",
        "argv": words,
        "timeout_seconds": timeout_seconds,
        "max_output_bytes": room,
    }
    seconds = timeout_seconds + _ANSWER_SECONDS
    # An error text of the supervisor itself may come where no output was wanted.
    most = 2 * room + _LONGEST_PATH * 2
    answer, bodies = channel.ask(control, head, stdin, seconds=seconds, most_bytes=most)
    _check(answer, "the command")
    code = answer.get("exit_code")
    if type(code) is not int or not 0 <= code <= 0xFF or len(bodies) != 2:  # noqa: PLR2004
        raise SandboxFailedError(
            "The sandbox's supervisor gave no exit code.", fix="Restart the workspace."
        )
    return ExecResult(
        exit_code=code,
        stdout=bodies[0][:room],
        stderr=bodies[1][:room],
        timed_out=answer.get("timed_out") is True,
        truncated=answer.get("truncated") is True,
    )


def read(control: Path, path: str, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`."""
    most = max(0, min(max_bytes, LARGEST_TRANSFER_BYTES))
    head: dict[str, object] = {"op": "read", "path": _relative(path), "max_bytes": most}
    answer, bodies = channel.ask(control, head, seconds=_FILE_SECONDS, most_bytes=most)
    _check(answer, path)
    return bodies[0] if bodies else b""


def write(control: Path, path: str, content: bytes) -> None:
    """Replace a regular file at once."""
    _check_size(len(content), "file")
    head: dict[str, object] = {"op": "write", "path": _relative(path)}
    answer, _ = channel.ask(control, head, content, seconds=_FILE_SECONDS, most_bytes=0)
    _check(answer, path)


def listing(control: Path, path: str) -> list[FileEntry]:
    """The entries of a folder, sorted by name."""
    head: dict[str, object] = {"op": "list", "path": _relative(path)}
    most = _LARGEST_LISTING_BYTES
    answer, bodies = channel.ask(control, head, seconds=_FILE_SECONDS, most_bytes=most)
    _check(answer, path)
    try:
        entries = [_entry(*row) for row in json.loads(bodies[0])[:LARGEST_LISTING]]
    except (ValueError, TypeError, IndexError, RecursionError, OverflowError) as error:
        raise SandboxFailedError(
            "The sandbox's supervisor gave a listing that cannot be used.",
            fix="Restart the workspace; report it if this happens again.",
        ) from error
    return sorted(entries, key=lambda entry: entry.name)


def _entry(name: object, kind: object, size: object, modified: object) -> FileEntry:
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_PATH or "/" in name:
        raise ValueError
    if kind not in _KINDS or type(size) is not int or not 0 <= size < 1 << 63:
        raise ValueError
    if not isinstance(modified, int | float):
        raise TypeError
    # The workspace may set any time on its files, also one that no calendar here can show.
    moment = datetime.fromtimestamp(min(max(modified, 0.0), _LATEST), UTC)
    return FileEntry(name, str(kind), size, moment)


def _relative(path: str) -> str:
    """`path` as the supervisor takes it; what leads out by its letters alone is refused here."""
    bare = path.removeprefix("/workspace").lstrip("/") if path.startswith("/") else path
    outside = path.startswith("/") and not (path + "/").startswith("/workspace/")
    if outside or "\0" in path or len(path) > _LONGEST_PATH or ".." in bare.split("/"):
        raise WorkspacePathError(
            "The path does not lie below /workspace.",
            fix="Give a path relative to /workspace, without '..'.",
        )
    return bare


def _check_size(count: int, what: str) -> None:
    if count > LARGEST_TRANSFER_BYTES:
        limit = LARGEST_TRANSFER_BYTES // (1024 * 1024)
        raise InvalidInputError(f"The {what} is larger than {limit} MiB.", fix="Send less at once.")


def _check(answer: dict[str, Any], what: str) -> None:
    if answer.get("ok") is not True:
        _refuse(answer, what)


def _refuse(answer: dict[str, Any], what: str) -> NoReturn:
    """Raise what the supervisor's refusal means; its text is cut and printable."""
    raw = answer.get("why")
    why = "".join(c for c in raw[:300] if c.isprintable()) if isinstance(raw, str) else ""
    code = answer.get("code")
    if code == "file-not-found":
        raise WorkspaceFileNotFoundError(
            f"There is no {what!r} in the workspace.", fix="List the folder to see what is there."
        )
    if code == "invalid-path":
        raise WorkspacePathError(
            f"The path {what!r} leads out of /workspace or cannot be used. {why}".strip(),
            fix="Give a path below /workspace that no link leads out of.",
        )
    if code == "file-refused":
        raise WorkspaceFileError(
            f"{what!r} was refused: {why}", fix="Check the file, its size and the workspace's tier."
        )
    if code == "process-limit":
        raise SandboxFailedError(why, fix="End processes in the workspace, or restart it.")
    raise SandboxFailedError(
        f"The sandbox's supervisor could not do it: {why or 'it gave no reason'}",
        fix="Restart the workspace; report it if this happens again.",
    )
