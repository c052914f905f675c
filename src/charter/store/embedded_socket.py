"""Where clients find the socket of the embedded database.

It stands in the data directory. The server binds it by a relative path, but clients name it by an
absolute one, and the kernel takes no socket path of more than 107 bytes. A state directory deep in
somebody's home therefore gets a short alias: a link in a directory that belongs to the same user.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

from charter.core.kernel.errors import UnavailableError

SOCKET_NAME: Final = ".s.PGSQL.5432"
_SOCKET_PATH_LIMIT_BYTES: Final = 107  # sockaddr_un.sun_path is 108 bytes with its final zero


def client_directory(data: Path) -> Path:
    """The directory that clients name: the data directory itself, or its short alias."""
    if len(os.fsencode(data / SOCKET_NAME)) <= _SOCKET_PATH_LIMIT_BYTES:
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    return _runtime_directory() / f"pg-{digest}"


def link_client_directory(data: Path) -> None:
    """Make the alias where one is needed.

    Raises UnavailableError when the place for it belongs to somebody else: a link that others
    control could lead to a server of theirs.
    """
    alias = client_directory(data)
    if alias == data:
        return
    parent = alias.parent
    with contextlib.suppress(FileExistsError):
        parent.mkdir(mode=0o700)
    found = parent.lstat()
    if parent.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise UnavailableError(
            f"{parent} should be a directory of this user only, and it is not.",
            fix=f"Remove {parent}, or choose a CHARTER_STATE_DIR with a shorter path.",
            code="unsafe-runtime-directory",
        )
    if not alias.is_symlink() or alias.readlink() != data:
        alias.unlink(missing_ok=True)
        alias.symlink_to(data)


def unlink_client_directory(data: Path) -> None:
    """Remove the alias, if there is one."""
    alias = client_directory(data)
    if alias != data:
        alias.unlink(missing_ok=True)


def _runtime_directory() -> Path:
    """A short directory of this user."""
    if os.geteuid() == 0:
        return Path("/run/charter")
    given = os.environ.get("XDG_RUNTIME_DIR")
    short_enough = 40  # leaves room for the alias and the socket's name
    if given and Path(given).is_dir() and len(given) <= short_enough:
        return Path(given) / "charter"
    return Path(f"/tmp/charter-{os.geteuid()}")  # noqa: S108 - owner and mode are checked at use
