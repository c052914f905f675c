"""Reading a tree of settings while collecting every problem instead of stopping at the first.

An administrator who changes five numbers wants to hear of three mistakes at once, each with its
path. A `Reader` stands on one object of the tree; it hands out typed values, notes what is wrong,
and goes on with a harmless stand-in, which is never used because the caller refuses the whole tree
when there is a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

_STAND_IN_MOMENT: Final = datetime(1970, 1, 1, tzinfo=UTC)
WHY: Final = "_why"
"""The key under which any object may explain itself."""


class Reader:
    """One object of the tree at `path`; `problems` is shared by all readers of the tree."""

    def __init__(self, value: object, path: str, problems: list[str]) -> None:
        self._path = path
        self._problems = problems
        self._used: set[str] = {WHY}
        self._children: dict[str, Reader] = {}
        self._value: Mapping[str, object] = {}
        if isinstance(value, Mapping):
            self._value = value
        else:
            problems.append(f"{path} {'is missing' if value is None else 'must be an object'}.")
            self._problems = []  # said once; what it should have held is not reported again

    def complain(self, key: str, what: str) -> None:
        """Note that the entry `key` of this object is wrong."""
        self._problems.append(f"{self._path}.{key} {what}.")

    def has(self, key: str) -> bool:
        """Whether the object has this entry."""
        return key in self._value

    def holds_list(self, key: str) -> bool:
        """Whether a list stands under `key`, where an object may stand too."""
        return isinstance(self._value.get(key), list)

    def names(self) -> list[str]:
        """The keys, in order of their names."""
        found = sorted(key for key in self._value if key != WHY)
        self._used.update(found)
        return found

    def child(self, key: str) -> Reader:
        """The reader of the object under `key`; always the same one for the same key."""
        self._used.add(key)
        if key not in self._children:
            self._children[key] = Reader(
                self._value.get(key), f"{self._path}.{key}", self._problems
            )
        return self._children[key]

    def children(self) -> Iterator[tuple[str, Reader]]:
        """Every entry as an object."""
        for name in self.names():
            yield name, self.child(name)

    def items(self, key: str) -> Iterator[Reader]:
        """The objects of the list under `key`."""
        self._used.add(key)
        value = self._value.get(key)
        if not isinstance(value, list):
            self.complain(key, "must be a list of objects")
            return
        for number, item in enumerate(value):
            name = f"{key}[{number}]"
            self._children[name] = Reader(item, f"{self._path}.{name}", self._problems)
            yield self._children[name]

    def whole(self, key: str, *, minimum: int = 0, maximum: int | None = None) -> int:
        """The whole number under `key`."""
        self._used.add(key)
        value = self._value.get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            self.complain(key, "must be a whole number")
            return minimum
        if value < minimum:
            self.complain(key, f"must be at least {minimum}, and it is {value}")
            return minimum
        if maximum is not None and value > maximum:
            self.complain(key, f"must be at most {maximum}, and it is {value}")
            return minimum
        return value

    def whole_or_none(self, key: str, *, minimum: int = 0) -> int | None:
        """The whole number under `key`, or None where the entry is null; it must be there."""
        if key in self._value and self._value[key] is None:
            self._used.add(key)
            return None
        return self.whole(key, minimum=minimum)

    def flag(self, key: str) -> bool:
        """The true or false under `key`."""
        self._used.add(key)
        value = self._value.get(key)
        if not isinstance(value, bool):
            self.complain(key, "must be true or false")
            return False
        return value

    def text(self, key: str, *, choices: tuple[str, ...] | None = None) -> str:
        """The non-empty text under `key`, one of `choices` where given."""
        self._used.add(key)
        value = self._value.get(key)
        if not isinstance(value, str) or not value.strip():
            self.complain(key, "must be a text that is not empty")
        elif choices is not None and value not in choices:
            self.complain(key, f"must be one of {', '.join(choices)}, and it is {value!r}")
        else:
            return value
        return choices[0] if choices else ""

    def texts(
        self, key: str, *, choices: tuple[str, ...] | None = None, least: int = 0
    ) -> tuple[str, ...]:
        """The list of texts under `key`, each one of `choices` where given."""
        self._used.add(key)
        value = self._value.get(key)
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            self.complain(key, "must be a list of texts")
            return ()
        if len(value) < least:
            self.complain(key, f"must hold at least {least}")
        if choices is not None and not set(value) <= set(choices):
            self.complain(key, f"may hold only {', '.join(choices)}")
            return ()
        return tuple(value)

    def moment(self, key: str, parse: Callable[[str], datetime]) -> datetime:
        """The moment under `key`, with its zone."""
        written = self.text(key)
        try:
            return parse(written)
        except ValueError:
            if written:
                self.complain(key, "must be a time with a zone, such as 2030-01-31T00:00:00Z")
            return _STAND_IN_MOMENT

    def finish(self) -> None:
        """Note every entry that nobody asked for: it is a misspelt name, not a setting."""
        for key in sorted(set(self._value) - self._used):
            self.complain(key, "is not a known entry")
        for child in self._children.values():
            child.finish()
