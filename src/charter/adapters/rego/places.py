"""Where references of a policy lead, and what was found on a walk through one; see `reads`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from charter.core.policy.paths import InputPath


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reference leads: below `input` or below `data`."""

    root: Literal["input", "data"]
    steps: tuple[str, ...]

    def below(self, *steps: str) -> Place:
        """The place further down."""
        return Place(self.root, (*self.steps, *steps))


@dataclass(slots=True)
class Found:
    """What one walk saw: input paths with their lines, and the rules and data used.

    `open_names` says that a name was met which nothing gives a value to, `defaults` that a value
    stands in for what is absent.
    """

    inputs: list[tuple[InputPath, int]] = field(default_factory=list)
    data: set[tuple[str, ...]] = field(default_factory=set)
    rules: set[tuple[str, ...]] = field(default_factory=set)
    open_names: bool = False
    defaults: bool = False


@dataclass(frozen=True, slots=True)
class StatementReads:
    """What one statement of a rule's body depends on.

    `closed` means that it uses and gives no variable of its rule, so that it can be asked alone.
    """

    text: str
    line: int
    span: tuple[int, int]
    inputs: frozenset[InputPath]
    closed: bool
