"""A policy bundle: the files that decide, and the digest that names them.

A *bundle* is a set of files: Rego modules (the rules), data documents (the numbers that the rules
read) and their tests. Charter never edits a bundle in place; a change is another bundle. The digest
over all paths and contents stands in every decision, so that "which policy said this?" has one
answer for as long as the trail is kept, and a replay can find exactly the same rules again.

Source: Spec PC-3, PC-4.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.data import PolicyData

__all__ = ["DATA_FOLDER", "TEST_SUFFIX", "Bundle", "PolicyData"]

DATA_FOLDER: Final = "data/"
"""Data documents lie here as JSON; rules read `data/sizes.json` as `data.settings.sizes`."""

TEST_SUFFIX: Final = "_test.rego"
"""Modules with this ending belong to the tests; they are never loaded to decide."""


_DOCUMENT_NAME: Final = re.compile(r"^[a-z][a-z0-9_]*$")


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys stand once: with two, readers would disagree about which one counts."""
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"the key {repeated[0]} stands twice in one object")
    return result


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _checked(path: str) -> str:
    """`path`, if it stays inside the bundle and is spelled in one way only."""
    parts = path.split("/")
    if not path or "\\" in path or any(part in {"", ".", ".."} for part in parts):
        raise InvalidInputError(
            f"The bundle holds a file with the path {path!r}, which is not a plain relative path.",
            fix="Name files by paths such as admission/workspace-limits.rego.",
            code="policy-bundle-path",
        )
    return path


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of one policy, by path with forward slashes; text is kept as UTF-8 bytes."""

    files: Mapping[str, bytes | str]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Freeze the files and compute the digest."""
        content = {
            _checked(path): text.encode() if isinstance(text, str) else bytes(text)
            for path, text in sorted(self.files.items())
        }
        object.__setattr__(self, "files", MappingProxyType(content))
        object.__setattr__(self, "digest", _digest(content))

    def text(self, path: str) -> str:
        """The content of `path` as text; refuses what is not UTF-8."""
        content = self.files[path]
        if isinstance(content, str):  # pragma: no cover  (never after __post_init__)
            return content
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise InvalidInputError(
                f"{path} is not UTF-8 text: byte {error.start} cannot be read.",
                fix="Save the file as UTF-8.",
                code="policy-bundle-encoding",
            ) from error

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of the Rego modules that decide."""
        return tuple(p for p in self.files if p.endswith(".rego") and not p.endswith(TEST_SUFFIX))

    @property
    def test_modules(self) -> tuple[str, ...]:
        """Paths of the Rego modules that only test."""
        return tuple(p for p in self.files if p.endswith(TEST_SUFFIX))

    @property
    def documents(self) -> tuple[str, ...]:
        """Paths of the data documents."""
        return tuple(p for p in self.files if p.startswith(DATA_FOLDER) and p.endswith(".json"))

    def settings(self) -> dict[str, object]:
        """The data documents by name, as rules see them below `data.settings`.

        Raises `InvalidInputError` for a document that is not JSON, repeats a key, or lies in a
        folder of its own: each number has exactly one place.
        """
        found: dict[str, object] = {}
        for path in self.documents:
            name = path.removeprefix(DATA_FOLDER).removesuffix(".json")
            if not _DOCUMENT_NAME.match(name):
                raise InvalidInputError(
                    f"{path} cannot be read by rules: its name is not a plain lower-case word.",
                    fix=f"Name it {DATA_FOLDER}<lower_case_word>.json.",
                    code="policy-data-name",
                )
            try:
                found[name] = json.loads(
                    self.text(path), object_pairs_hook=_without_repeats, parse_constant=_no_constant
                )
            except (ValueError, RecursionError) as error:
                raise InvalidInputError(
                    f"{path} is not usable JSON: {error}.",
                    fix="Correct the document; comments go into a key named _why.",
                    code="policy-data-json",
                ) from error
        return found

    def with_files(self, changes: Mapping[str, bytes | str | None]) -> Bundle:
        """Another bundle: these files added or replaced, those given as None left out."""
        merged: dict[str, bytes | str] = dict(self.files)
        for path, content in changes.items():
            if content is None:
                merged.pop(path, None)
            else:
                merged[path] = content
        return Bundle(merged)


def _digest(files: Mapping[str, bytes]) -> str:
    """`sha256:…` over every path and content in order, each framed by its length.

    The lengths keep two different bundles from flowing together into the same bytes.
    """
    hasher = hashlib.sha256()
    for path, content in sorted(files.items()):
        name = path.encode()
        hasher.update(f"{len(name)}:".encode() + name + f"{len(content)}:".encode() + content)
    return "sha256:" + hasher.hexdigest()
