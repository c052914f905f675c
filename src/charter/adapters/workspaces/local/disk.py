"""The home of a workspace: an ext4 file system in a file, so that a full disk is really full.

A *loop device* makes a file look like a disk. The file is sparse: a 10 GiB home takes what is in
it, and `discard` gives back what was deleted. The holder mounts it in a mount namespace of its own,
so the mount is visible nowhere else and disappears with the last process that could use it, also
when all of them are killed; no mount is ever left behind.

One image must never be mounted twice: two file systems writing to one file destroy it. Only the
holder that has the holder lock mounts, and only after the kernel has let go of the image.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# Below this the journal and the tables of ext4 leave no room for files.
SMALLEST_MIB: Final = 16
_MIB: Final = 1024 * 1024
_RELEASE_SECONDS: Final = 10.0
_CLONE_NEWNS: Final = 0x00020000
_MS_REC_PRIVATE: Final = 0x4000 | (1 << 18)
_MS_NOSUID_NODEV: Final = 0x2 | 0x4
_MNT_DETACH: Final = 2
# Folders of every Linux file system that a private tmpfs may cover.
_COVERABLE: Final = ("/mnt", "/media", "/srv", "/opt", "/run", "/tmp")  # noqa: S108
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

_libc = ctypes.CDLL(None, use_errno=True)


def tool(name: str) -> str | None:
    """The path of a system tool; sbin is searched also where a user's PATH lacks it."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def own_mount_namespace() -> None:
    """From here on this process's mounts are seen by it and its children only."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare(mount)")
    _check(
        _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None), "private mounts"
    )


def reachable_folder(besides: Path) -> Path:
    """An empty folder, in this mount namespace only, that every uid may walk to.

    The state directory may lie below a folder that only root may enter; the workspace's uid, as
    which bubblewrap runs, could not reach its home there. `besides` must stay visible.
    """
    kept = besides.resolve()
    for name in _COVERABLE:
        path = Path(name)
        if path.is_dir() and not path.is_symlink() and not kept.is_relative_to(path):
            flags = ctypes.c_ulong(_MS_NOSUID_NODEV)
            options = b"mode=0755,size=1m"
            _check(_libc.mount(b"tmpfs", name.encode(), b"tmpfs", flags, options), f"tmpfs {name}")
            return path
    raise OSError("no folder to mount the home at")


def run_tool(words: Sequence[str], keep: Sequence[int] = ()) -> None:
    """Run a system tool to its end; OSError with what it said when it fails.

    `keep` are descriptors it inherits: with the holder lock among them, nobody starts on an image
    that a tool still works on, even when the holder that started it has been killed.
    """
    path = tool(words[0])
    if path is None:
        raise OSError(f"{words[0]} is not installed")
    done = subprocess.run(
        [path, *words[1:]],
        pass_fds=keep,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    # e2fsck answers 1 for "errors were corrected".
    if done.returncode > (1 if words[0] == "e2fsck" else 0):
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-500:]
        raise OSError(f"{words[0]} failed ({done.returncode}): {said}")


def wait_released(image: Path) -> None:
    """Wait until no loop device uses `image`; OSError when one still does."""
    deadline = time.monotonic() + _RELEASE_SECONDS
    while str(image.resolve()) in _loop_files():
        if time.monotonic() > deadline:
            raise OSError(f"{image.name} is still in use by a loop device")
        time.sleep(0.005)


def _loop_files() -> set[str]:
    found = set()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            found.add(path.read_text().rstrip("\n"))
    return found


def make_image(image: Path, mib: int, uid: int, keep: Sequence[int] = ()) -> None:
    """A new, empty home of `mib`, owned by `uid`. It gets its name when it is complete."""
    for half_made in image.parent.glob(f"{image.name}.*.new"):
        half_made.unlink(missing_ok=True)
    temporary = image.with_name(f"{image.name}.{secrets.token_hex(4)}.new")
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(mib * _MIB)
    extended = f"lazy_itable_init=1,lazy_journal_init=1,root_owner={uid}:{uid}"
    run_tool(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", extended, str(temporary)], keep)
    temporary.rename(image)


def grow_image(image: Path, mib: int, keep: Sequence[int] = ()) -> None:
    """Make the file and its file system at least `mib` large; it is not mounted.

    A mark stands beside the image for as long as the file may be larger than its file system, so
    that what was interrupted is finished by the next start.
    """
    mark = image.with_name(f"{image.name}.growing")
    if image.stat().st_size >= mib * _MIB and not mark.exists():
        return
    mark.touch()
    if image.stat().st_size < mib * _MIB:
        os.truncate(image, mib * _MIB)
    run_tool(["e2fsck", "-f", "-p", str(image)], keep)
    run_tool(["resize2fs", str(image)], keep)
    mark.unlink()


def size_mib(image: Path) -> int:
    """The size of the home in `image`."""
    return image.stat().st_size // _MIB


def used_mib(image: Path) -> int:
    """What `image` takes of the host's disk, rounded up."""
    try:
        return -(-image.stat().st_blocks * 512 // _MIB)
    except FileNotFoundError:
        return 0


def mount_image(image: Path, target: Path, keep: Sequence[int] = ()) -> None:
    """Mount `image` at `target`, in the caller's mount namespace."""
    flags = "loop,nosuid,nodev,noatime,discard"
    run_tool(["mount", "-n", "-t", "ext4", "-o", flags, str(image), str(target)], keep)


def unmount(target: Path) -> None:
    """Unmount `target`; where something still uses it, as soon as it is let go."""
    if _libc.umount2(os.fsencode(target), 0) != 0:
        _libc.umount2(os.fsencode(target), _MNT_DETACH)


def bind(source: Path, target: Path) -> None:
    """Show the folder `source` at `target`, in the caller's mount namespace."""
    flags = ctypes.c_ulong(0x1000)  # MS_BIND
    words = os.fsencode(source), os.fsencode(target)
    _check(_libc.mount(*words, None, flags, None), "bind the home")


def give(folder: Path, uid: int) -> None:
    """Make `uid` the owner of `folder` and all in it, unless the folder is its own already."""
    if folder.stat().st_uid != uid:
        run_tool(["chown", "-Rh", f"{uid}:{uid}", str(folder)])


def folder_mib(folder: Path) -> int:
    """What the files below `folder` take; links are not followed."""
    total = 0
    queue = [str(folder)]
    while queue:
        with contextlib.suppress(OSError), os.scandir(queue.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)
    return -(-total // _MIB)
