"""A repository of policies as a mirror: branches, commits, and the bundle that a commit holds.

The mirror is bare: nothing is ever checked out, so neither paths nor links of the repository touch
the file system. Files are read by the hashes that git lists, after their number and sizes are known
to be within bounds. Symbolic links and submodules in the policy folder are refused: they would
bring in what no reviewer saw.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from charter.adapters.git.command import (
    Credentials,
    Git,
    GitFailedError,
    checked_branch,
    checked_url,
)
from charter.adapters.rego.load import SUFFIXES
from charter.core.kernel.errors import InvalidInputError

_HASH: Final = re.compile(r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")
_REFS: Final = "refs/charter/heads/"
_LARGEST_FILE_BYTES: Final = 1 << 20
_MOST_FILES: Final = 2_000
_MOST_BRANCHES: Final = 500
_MOST_COMMITS: Final = 10_000  # of a branch whose authors are read; more are no branch to review
_ADDRESS: Final = re.compile(r"<([^<>]*)>")
_FIELD: Final = "%x00"
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Commit:
    """Who wrote a commit, and what it says."""

    id: str
    author_name: str
    author_email: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Repository:
    """The repository at `url`, mirrored under `folder`; policies lie in its folder `path`."""

    url: str
    folder: Path
    path: str = ""
    credentials: Credentials = field(default_factory=Credentials)

    @property
    def _git(self) -> Git:
        return Git(self.folder / "mirror.git", self.credentials)

    def fetch(self) -> dict[str, str]:
        """Bring the mirror up to date; the branches with their commits.

        Raises `GitFailedError` when the repository cannot be reached or is broken, and
        `InvalidInputError` when it holds more branches than anybody reviews.
        """
        git, url = self._git, checked_url(self.url)
        git.prepare(url)
        git.run(
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--end-of-options",
            url,
            f"+refs/heads/*:{_REFS}*",
        )
        listed = git.run("for-each-ref", "--format=%(objectname) %(refname)", _REFS).decode(
            errors="replace"
        )
        found: dict[str, str] = {}
        for line in listed.splitlines():
            commit, _, ref = line.partition(" ")
            name = ref.removeprefix(_REFS)
            if _HASH.fullmatch(commit) and len(name) <= _LONGEST_NAME and name.isprintable():
                found[name] = commit
        if len(found) > _MOST_BRANCHES:
            raise InvalidInputError(
                f"The repository has {len(found)} branches; {_MOST_BRANCHES} are watched at most.",
                fix="Delete branches that are done with.",
                code="policy-source-branches",
            )
        return found

    def described(self, commit: str) -> Commit:
        """What a commit says of itself."""
        layout = _FIELD.join(("%an", "%ae", "%s", "%b"))
        said = self._git.run(
            "show", "--no-patch", f"--format={layout}", "--end-of-options", _checked(commit)
        ).decode(errors="replace")
        name, email, title, body = (part.strip() for part in said.split("\x00", 3))
        return Commit(commit, name, email, title, body)

    def authors(self, commit: str, base: str | None) -> frozenset[str]:
        """The addresses of everybody who wrote on a branch since it left `base`.

        Those count too whom a commit names as having written with its author.
        """
        span = [_checked(commit)] + ([] if base is None else [f"^{_checked(base)}"])
        layout = "--format=<%ae>%n<%ce>%n%(trailers:key=Co-authored-by,valueonly)"
        said = self._git.run(
            "log", f"--max-count={_MOST_COMMITS}", layout, "--end-of-options", *span
        )
        found = _ADDRESS.findall(said.decode(errors="replace").lower())
        return frozenset(address.strip() for address in found) - {""}

    def has(self, commit: str) -> bool:
        """Whether the mirror knows this commit."""
        try:
            self._git.run("cat-file", "-e", f"{_checked(commit)}^{{commit}}")
        except GitFailedError:
            return False
        return True

    def merge_base(self, one: str, other: str) -> str | None:
        """The commit at which two branches parted; None when they share nothing."""
        try:
            found = self._git.run("merge-base", _checked(one), _checked(other)).decode().strip()
        except GitFailedError:
            return None
        return found if _HASH.fullmatch(found) else None

    def files(self, commit: str, *, largest_bytes: int) -> Mapping[str, str]:
        """The policy files of a commit, as a bundle has them.

        Raises `InvalidInputError` for links, submodules, files that are too large or no text, and
        more than `largest_bytes` in all.
        """
        wanted: dict[str, str] = {}
        total = 0
        for mode, kind, name, size, path in self._entries(commit):
            if mode == "120000" or kind != "blob":
                what = "a symbolic link" if mode == "120000" else "a submodule"
                raise _refused(f"{path} is {what}.", "Put the files themselves there.")
            if PurePosixPath(path).suffix not in SUFFIXES:
                continue
            total += size
            if size > _LARGEST_FILE_BYTES or len(wanted) >= _MOST_FILES or total > largest_bytes:
                raise _refused(
                    f"{path} is larger than 1 MiB, or there are more than {_MOST_FILES} files or"
                    f" {largest_bytes // 1024} KiB.",
                    "Give the policy folder itself in CHARTER_POLICY_PATH.",
                )
            wanted[path] = name
        return self._contents(wanted)

    def _entries(self, commit: str) -> list[tuple[str, str, str, int, str]]:
        """Mode, kind, hash, size and path of everything in the policy folder that is not hidden."""
        folder = f"{self.path.strip('/')}/" if self.path.strip("/") else ""
        arguments = ["ls-tree", "-r", "-z", "-l", "--full-tree", _checked(commit)]
        listed = self._git.run(*arguments, *(["--", folder] if folder else []))
        found: list[tuple[str, str, str, int, str]] = []
        for entry in listed.split(b"\x00"):
            if not entry:
                continue
            head, _, raw = entry.partition(b"\t")
            mode, kind, name, size = head.decode().split()
            try:
                path = raw.decode().removeprefix(folder)
            except UnicodeDecodeError:
                raise _refused("A file's name is not UTF-8.", "Rename it.") from None
            if any(part.startswith((".", "__")) for part in path.split("/")):
                continue
            found.append((mode, kind, name, int(size) if size.isdigit() else 0, path))
        return found

    def _contents(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """The texts of blobs by their hashes, in one go."""
        asked = "".join(f"{name}\n" for name in wanted.values()).encode()
        said = self._git.run("cat-file", "--batch", stdin=asked)
        result: dict[str, str] = {}
        at = 0
        for path in wanted:
            end = said.index(b"\n", at)
            size = int(said[at:end].rsplit(b" ", 1)[1])
            content = said[end + 1 : end + 1 + size]
            at = end + 1 + size + 1
            try:
                result[path] = content.decode()
            except UnicodeDecodeError:
                raise _refused(f"{path} is not UTF-8 text.", "Save the file as UTF-8.") from None
            if "\x00" in result[path]:
                raise _refused(f"{path} holds a NUL character.", "Save the file as text.")
        return result


def open_repository(
    url: str, folder: Path, *, branch: str, path: str, credentials: Credentials
) -> Repository:
    """The repository, after everything that an operator can mistype has been looked at."""
    checked_url(url)
    checked_branch(branch)
    parts = path.strip("/").split("/") if path.strip("/") else []
    if any(part in {"", ".", ".."} or not part.isprintable() for part in parts):
        raise InvalidInputError(
            f"{path!r} is no folder inside a repository.",
            fix="Name a folder such as policies in CHARTER_POLICY_PATH.",
            code="policy-source-path",
        )
    return Repository(url, folder, "/".join(parts), credentials)


def _checked(commit: str) -> str:
    if _HASH.fullmatch(commit) is None:
        raise AssertionError("a commit is named by its hash only")
    return commit


def _refused(message: str, fix: str) -> InvalidInputError:
    return InvalidInputError(message, fix=fix, code="policy-source-content")
