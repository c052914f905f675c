"""Deciding changed requests, each once, up to a bound.

Source: Spec PC-13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.decision import Effect
from charter.core.policy.asked import Facts, with_change
from charter.core.policy.choices import Option

Evaluate = Callable[[Sequence[Facts]], Sequence[Mapping[str, Any]]]
"""Decides facts documents, in order; each answer has the form of `Decision.as_json`."""


Blockers = Counter[str]
"""The rules that keep a goal away, each as often as it spoke."""
Picked = tuple[Option, ...]
"""Options of different fields, chosen together."""


class BoundReachedError(Exception):
    """No more evaluations are allowed."""


def blockers(decision: Mapping[str, Any], goal: Effect) -> Blockers:
    """The rules that keep the goal away, each as often as it spoke."""
    return Counter(
        violation["rule"]
        for violation in decision["violations"]
        if Effect(violation["effect"]).rank > goal.rank
    )


class Trial:
    """Decides changed requests, each once, and counts."""

    def __init__(
        self, facts: Facts, settings: Mapping[str, Any], evaluate: Evaluate, most: int
    ) -> None:
        self.facts = facts
        self._settings = settings
        self._evaluate = evaluate
        self._most = most
        self._known: dict[str, Mapping[str, Any]] = {}
        self.evaluations = 0
        self.exhausted = False

    def changed(self, picked: Picked) -> dict[str, Any]:
        """The facts with these options; a size goes first, so that amounts override it."""
        facts: Facts = self.facts
        for option in sorted(picked, key=lambda o: (o.field != "size", o.field)):
            facts = with_change(facts, option.field, option.value, self._settings)
        return dict(facts)

    def decide(self, many: Sequence[Picked]) -> list[Mapping[str, Any]]:
        """The decisions on these changes; raises `BoundReachedError` when the bound is passed."""
        asked = {key(picked): picked for picked in many}
        new = {key: picked for key, picked in asked.items() if key not in self._known}
        if self.evaluations + len(new) > self._most:
            self.exhausted = True
            raise BoundReachedError
        self.evaluations += len(new)
        if new:
            decisions = self._evaluate([self.changed(picked) for picked in new.values()])
            self._known.update(zip(new, decisions, strict=True))
        return [self._known[key(picked)] for picked in many]

    def one(self, picked: Picked) -> Mapping[str, Any]:
        """The decision on one set of changes."""
        return self.decide([picked])[0]


def key(picked: Picked) -> str:
    """The same text for the same changes, whatever their order."""
    return canonical_json(sorted((o.field, canonical_json(o.value)) for o in picked))
