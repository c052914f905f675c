"""Taking typed parts out of an API object while noting what does not have its type.

A custom resource may hold anything anywhere. What cannot be read must not count as absent: it is
noted, and a rule refuses the object for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_MOST_PROBLEMS: Final = 20
_MOST_ITEMS: Final = 1_000


class Look:
    """One object at `where`; `problems` is shared by everything that is looked at."""

    def __init__(self, value: object, where: str, problems: list[str]) -> None:
        self.where, self.problems = where, problems
        self.value: Mapping[str, Any] = {}
        if isinstance(value, dict):
            self.value = value
        elif value is not None:
            self.wrong("", "is not an object")

    def wrong(self, key: str, what: str) -> None:
        """Note that something here is not what it should be."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(f"{'.'.join(p for p in (self.where, key) if p)} {what}")

    def has(self, key: str) -> bool:
        """Whether there is a value that is not null."""
        return self.value.get(key) is not None

    def inner(self, *path: str) -> Look:
        """The object at the end of `path`; an empty one where there is none."""
        found = self
        for key in path:
            found = Look(found.value.get(key), f"{found.where}.{key}".strip("."), self.problems)
        return found

    def items(self, key: str) -> Iterator[Look]:
        """The objects of a list."""
        for number, item in enumerate(self._list(key)):
            yield Look(item, f"{self.where}.{key}[{number}]".strip("."), self.problems)

    def _list(self, key: str) -> list[Any]:
        value = self.value.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > _MOST_ITEMS:
            self.wrong(key, f"is not a list of at most {_MOST_ITEMS}")
            return []
        return value

    def texts(self, key: str) -> list[str]:
        """The texts of a list."""
        found = self._list(key)
        if not all(isinstance(one, str) for one in found):
            self.wrong(key, "holds something that is no text")
            return []
        return [str(one) for one in found]

    def text(self, key: str) -> str:
        """The text under `key`; the empty one where there is none."""
        value = self.value.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        self.wrong(key, "is not a text")
        return ""

    def flag(self, key: str, *, default: bool = False) -> bool:
        """The true or false under `key`."""
        value = self.value.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.wrong(key, "is not true or false")
        return default

    def amount(self, key: str, read: Callable[[object], int]) -> int | None:
        """The quantity under `key` as `read` counts it; None where there is none."""
        value = self.value.get(key)
        if value is None:
            return None
        try:
            return read(value)
        except ValueError:
            self.wrong(key, "is no quantity that can be counted")
            return None
