"""Where the CLI keeps what it was given at sign-in.

One file, `charter/credentials.json` in the user's configuration folder (`XDG_CONFIG_HOME`, else
`~/.config`), readable by its owner only. It maps a server's address to the token for it, so a
token is never sent to another server than the one that issued it. The file is replaced as a whole:
a crash leaves the old or the new one, never half of either.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from charter.cli.errors import CommandError, ExitCode, usage

_DEFAULT_PORT: Final = "8470"
_OTHERS: Final = 0o077  # the permission bits of everybody but the owner
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Saved:
    """One server's entry."""

    url: str
    token: str
    handle: str


@dataclass(frozen=True, slots=True)
class Target:
    """Which server to talk to, and with what; `saved` is the entry that it came from, if any."""

    url: str
    token: str | None
    saved: Saved | None


def path() -> Path:
    """The credentials file."""
    root = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification has relative values ignored.
    base = Path(root) if root.startswith("/") else Path.home() / ".config"
    return base / "charter" / "credentials.json"


def normalised(url: str) -> str:
    """`url` as scheme, host and port, in one spelling; refused when it is no web address."""
    parts = _parts(url)
    scheme = parts.scheme.lower()
    if scheme not in {"http", "https"} or not parts.hostname:
        raise usage(
            f"{url!r} is not the address of a server.",
            "Give an address such as http://127.0.0.1:8470.",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in {None, 443 if scheme == "https" else 80} else f":{parts.port}"
    return f"{scheme}://{host}{port}{parts.path.rstrip('/')}"


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # raises where the port is no number
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine."""
    return (urlsplit(url).hostname or "") in _LOOPBACK


def target(url: str | None) -> Target:
    """The server to talk to: `--url`, else CHARTER_URL, else the saved one, else this machine's."""
    document = _load()
    chosen = (
        url
        or os.environ.get("CHARTER_URL")
        or document.get("current")
        or f"http://{os.environ.get('CHARTER_HOST') or '127.0.0.1'}"
        f":{os.environ.get('CHARTER_PORT') or _DEFAULT_PORT}"
    )
    address = normalised(str(chosen))
    saved = _entry(document, address)
    own = os.environ.get("CHARTER_TOKEN", "").strip()
    if own:
        return Target(address, own, None)
    return Target(address, saved.token if saved else None, saved)


def save(entry: Saved) -> Path:
    """Keep `entry` and make its server the current one."""
    document = _load()
    servers = dict(document.get("servers") or {})
    servers[entry.url] = {"token": entry.token, "handle": entry.handle}
    return _store({"current": entry.url, "servers": servers})


def forget(url: str) -> None:
    """Remove the entry of `url`."""
    document = _load()
    servers = dict(document.get("servers") or {})
    servers.pop(url, None)
    current = document.get("current")
    _store({"current": None if current == url else current, "servers": servers})


def _entry(document: Mapping[str, Any], url: str) -> Saved | None:
    servers = document.get("servers")
    found = servers.get(url) if isinstance(servers, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("token"), str):
        return None
    return Saved(url, found["token"], str(found.get("handle", "")))


def _load() -> dict[str, Any]:
    file = path()
    try:
        with file.open(encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            document = json.load(stream)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CommandError(
            f"The saved sign-in in {file} cannot be read: {error}.",
            fix=f"Remove {file} and sign in again with charter login.",
            code="credentials-unreadable",
            exit_code=ExitCode.NOT_SIGNED_IN,
        ) from error
    if mode & _OTHERS:
        raise CommandError(
            f"Others on this machine may read your saved sign-in: {file} has mode"
            f" {mode & 0o777:04o}.",
            fix=f"chmod 600 {file}; if others have accounts here, sign in again as well.",
            code="credentials-exposed",
            exit_code=ExitCode.NOT_SIGNED_IN,
        )
    return document if isinstance(document, dict) else {}


def _store(document: Mapping[str, Any]) -> Path:
    file = path()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".credentials-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:  # mkstemp made it 0600
                json.dump(document, stream, indent=2)
                stream.write("\n")
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandError(
            f"The sign-in cannot be saved in {file.parent}: {error.strerror or error}.",
            fix="Make that folder writable, or point XDG_CONFIG_HOME at one that is.",
            code="credentials-unwritable",
        ) from error
    return file
