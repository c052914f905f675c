"""Paths into a decision document: what a rule reads, and what a document lacks.

A path is a tuple of steps below `input`; a step that is only known at evaluation is `*` (`ANY`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

InputPath = tuple[str, ...]
ANY: Final = "*"
EVERYTHING: Final[InputPath] = ()
"""The path of `input` itself."""


def missing_paths(document: Mapping[str, Any], paths: Iterable[InputPath]) -> frozenset[InputPath]:
    """Those of `paths` that `document` does not have; below an open step nothing is missing."""
    return frozenset(path for path in paths if not _has(document, path))


def _has(document: object, path: InputPath) -> bool:
    value = document
    for step in path:
        if step == ANY:
            return True
        if not isinstance(value, Mapping) or step not in value:
            return False
        value = value[step]
    return True
