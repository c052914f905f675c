"""Reading bundles from folders, and the bundle that ships with Charter."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from charter.core.kernel.errors import InvalidInputError, NotFoundError
from charter.core.policy.bundle import Bundle

SUFFIXES: Final = (".rego", ".json", ".md", ".yaml")
_LARGEST_FILE_BYTES: Final = 1 << 20  # the engine's own limit for a module
_MOST_FILES: Final = 2_000  # far above any real policy; a wrong folder is noticed quickly


def load_directory(path: Path) -> Bundle:
    """The bundle in the folder `path`: its Rego modules, JSON data and documents.

    Hidden files and folders are left out (a checkout brings `.git`), symbolic links are refused
    (they could bring in a file that no reviewer saw).
    """
    if not path.is_dir():
        raise NotFoundError(
            f"There is no policy folder {path}.",
            fix="Give the path of a folder that holds .rego files.",
            code="policy-folder-missing",
        )
    found: dict[str, bytes | str] = {}
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        if any(part.startswith((".", "__")) for part in relative.parts):
            continue
        if file.is_symlink():
            raise _refused(f"{relative} is a symbolic link.", "Put the file itself there.")
        if not file.is_file() or file.suffix not in SUFFIXES:
            continue
        if file.stat().st_size > _LARGEST_FILE_BYTES or len(found) >= _MOST_FILES:
            raise _refused(
                f"{relative} is larger than 1 MiB, or there are more than {_MOST_FILES} files.",
                "Give the policy folder itself, not a folder around it.",
            )
        found[relative.as_posix()] = file.read_bytes()
    if not any(name.endswith(".rego") for name in found):
        raise _refused(f"{path} holds no .rego file.", "Give a folder that holds policies.")
    return Bundle(found)


def _refused(message: str, fix: str) -> InvalidInputError:
    return InvalidInputError(message, fix=fix, code="policy-folder")


@cache
def shipped_bundle() -> Bundle:
    """The starter policies that come with Charter."""
    return load_directory(Path(str(files("charter"))) / "policies")
