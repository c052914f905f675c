"""One host uid per workspace.

Two workspaces that share a host uid could signal and trace each other if ever both sat in one
namespace by mistake; with a uid each, the oldest protection of the system stands behind all the
newer ones. A uid is drawn at random from a range that no distribution hands out, claimed by
creating a file exclusively, and given back when the workspace is deleted. Randomness keeps two
Charter instances on one host apart; a candidate that any process or account uses is skipped.
"""

from __future__ import annotations

import os
import pwd
import secrets
from pathlib import Path
from typing import Final

from charter.adapters.workspaces.local.processes import pids_of_uid
from charter.adapters.workspaces.port import SandboxFailedError

# systemd's "Users, Groups, UIDs and GIDs on systemd Systems" leaves this block unassigned.
_WIDE: Final = range(0x7000_0000, 0x7FFF_FFFF)
# Where only 65536 uids are mapped (a container): below the block of systemd's dynamic users.
_NARROW: Final = range(30_000, 60_000)
_TRIES: Final = 200


def uid_range(uid_map: str) -> range | None:
    """The range to draw from, given the text of /proc/self/uid_map; None when none is mapped."""
    for wanted in (_WIDE, _NARROW):
        for line in uid_map.splitlines():
            inside, _, count = (int(word) for word in line.split())
            if inside <= wanted.start and wanted.stop <= inside + count:
                return wanted
    return None


def claim(root: Path, workspace_id: str) -> int:
    """A uid that belongs to `workspace_id` from now on (a claim it already has is found again)."""
    for path in (root / ".uids").iterdir():
        if path.name.isdigit() and path.read_text() == workspace_id:
            return int(path.name)
    candidates = uid_range(Path("/proc/self/uid_map").read_text())
    if candidates is None:
        raise SandboxFailedError(
            "This user namespace maps no uids that a workspace could have.",
            fix="Start Charter where at least 65536 uids are mapped, or as an ordinary user.",
        )
    for _ in range(_TRIES):
        uid = candidates[secrets.randbelow(len(candidates))]
        if _has_account(uid) or pids_of_uid(uid):
            continue
        temporary = root / ".uids" / f".{os.getpid()}-{secrets.token_hex(4)}"
        temporary.write_text(workspace_id)
        try:
            os.link(temporary, root / ".uids" / str(uid))  # exclusive, and never half written
        except FileExistsError:
            continue
        finally:
            temporary.unlink()
        return uid
    raise SandboxFailedError(
        "No free uid was found for the workspace.", fix="Delete workspaces that are not needed."
    )


def release(root: Path, uid: int) -> None:
    """Give `uid` back."""
    (root / ".uids" / str(uid)).unlink(missing_ok=True)


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def release_of(root: Path, workspace_id: str) -> None:
    """Give back whatever `workspace_id` still has, also where its record is lost."""
    for path in (root / ".uids").iterdir():
        if path.name.isdigit() and path.read_text() == workspace_id:
            path.unlink(missing_ok=True)
