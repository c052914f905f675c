"""The smallest change of a request that would pass, found by trying and never by guessing.

A refusal is easier to bear with the way around it. The fields that a requester fills in (see
`choices`) are changed one by one, then together, and the whole decision is made again on each
changed document: invariants, quotas, policy, grants. What is proposed has been decided; nothing is
read out of the rules or concluded from them.

Smallest means: the fewest fields, then the least distance. Numbers are tried at the limits, sizes
and remainders that policy data and quotas name; between the nearest value that passes and the
present one the boundary is then found by halving. Rules are mostly monotone in a number; where one
is not, the proposal still passes and is only not the nearest. A proposal never contains a change
that it could do without: each part of it was tried and did not pass.

Two goals are searched for: that the request goes ahead (allow or warn) and, when it was denied,
that it only needs an approval. The work is bounded by a number of evaluations (see `trial`). The
evaluator is an argument, so that the search is a pure function of it.

Source: Spec PC-13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Final

from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.decision import Effect
from charter.core.policy.asked import AMOUNTS, Facts, current
from charter.core.policy.choices import Known, Option, amount, listed, options, step_of
from charter.core.policy.trial import (
    Blockers,
    BoundReachedError,
    Evaluate,
    Picked,
    Trial,
    blockers,
    key,
)

MOST_EVALUATIONS: Final = 400
_MOST_FIELDS: Final = 4  # nobody changes more at once, and the combinations would be endless
_BATCH: Final = 24
_MOST_COMBINATIONS: Final = 120  # tried for one number of fields
_NUMBERS: Final = frozenset({*AMOUNTS, "minutes"})
_LISTS: Final = frozenset({"egress_allowlist", "repositories"})


@dataclass(frozen=True, slots=True)
class Change:
    """One field: what stood in it and what would have to; None is nothing at all."""

    field: str
    before: Any
    after: Any

    def as_json(self) -> dict[str, Any]:
        """The transmitted form."""
        return {"field": self.field, "from": self.before, "to": self.after}


@dataclass(frozen=True, slots=True)
class Proposal:
    """Changes that were decided together, the decision they give, and its facts."""

    changes: tuple[Change, ...]
    effect: Effect
    decision: Mapping[str, Any]
    facts: Mapping[str, Any]
    distance: float


@dataclass(frozen=True, slots=True)
class Search:
    """What was found: the best proposal first; empty when nothing passes.

    `stubborn` are the rules that no change of one field silenced; `exhausted` says that the search
    ended at its bound and may have missed something.
    """

    proposals: tuple[Proposal, ...]
    stubborn: tuple[str, ...]
    fields: tuple[str, ...]
    evaluations: int
    exhausted: bool


def smallest_change(
    facts: Facts,
    settings: Mapping[str, Any],
    known: Known,
    evaluate: Evaluate,
    *,
    most: int = MOST_EVALUATIONS,
) -> Search:
    """The smallest changes of the request in `facts` that would pass; see the module's text.

    `settings` are the data documents of the bundle that decides.
    """
    trial = Trial(facts, settings, evaluate, most)
    offered = options(facts, settings, known)
    base = trial.one(())
    goals = [Effect.WARN]
    if base["effect"] == Effect.DENY:
        goals.append(Effect.REQUIRE_APPROVAL)
    found: list[Proposal] = []
    stubborn: tuple[str, ...] = ()
    for goal in goals:
        if not blockers(base, goal):
            continue
        search = _Goal(trial, offered, goal, base)
        try:
            proposal = search.run()
        except BoundReachedError:
            proposal, trial.exhausted = None, True
        if goal is Effect.WARN or not found:
            stubborn = search.stubborn()
        if proposal is not None and (not found or _smaller(proposal, found[0])):
            found.append(proposal)
    return Search(
        proposals=tuple(found),
        stubborn=() if found and found[0].effect.rank <= Effect.WARN.rank else stubborn,
        fields=tuple(sorted(offered)),
        evaluations=trial.evaluations,
        exhausted=trial.exhausted,
    )


def _smaller(one: Proposal, other: Proposal) -> bool:
    return (len(one.changes), one.distance) < (len(other.changes), other.distance)


class _Goal:
    """The search for one goal: `goal` is the strongest effect that is good enough."""

    def __init__(
        self,
        trial: Trial,
        offered: Mapping[str, list[Option]],
        goal: Effect,
        base: Mapping[str, Any],
    ) -> None:
        self._trial = trial
        self._offered = {field: list(listed_) for field, listed_ in offered.items()}
        self._goal = goal
        self._base = blockers(base, goal)
        self._left: dict[tuple[str, str], tuple[Option, Blockers]] = {}

    def run(self) -> Proposal | None:
        """The smallest proposal, or None; raises `BoundReachedError`."""
        self._try_singles()
        passing = [option for option, left in self._left.values() if not left]
        if passing:
            return self._best([(option,) for option in self._nearest(passing)])
        for count in range(2, _MOST_FIELDS + 1):
            for combined in (self._covering(count), self._extremes(count)):
                together = self._passing(combined)
                if together:
                    return self._best(together)
        everything = self._greedy()
        if len(everything) > _MOST_FIELDS and not self._remaining(everything):
            return self._best([everything])
        return None

    def stubborn(self) -> tuple[str, ...]:
        """The rules that spoke as often after every change of one field."""
        return tuple(
            sorted(
                rule
                for rule, times in self._base.items()
                if all(left[rule] >= times for _, left in self._left.values())
            )
        )

    # -- one field ---------------------------------------------------------------------------
    def _try_singles(self) -> None:
        """Every option; of a number only those on a side where something changes.

        Numbers have many options, and most of them matter to no rule: first the least one is tried
        and the next larger one, then the others on the side of one that made a difference.
        """
        first: list[Option] = []
        rest: list[tuple[Option, list[Option]]] = []
        for field, offered in self._offered.items():
            if field not in _NUMBERS:
                first += offered
                continue
            present = current(self._trial.facts, field)
            less = sorted((o for o in offered if o.value < present), key=lambda o: o.value)
            more = sorted((o for o in offered if o.value > present), key=lambda o: o.value)
            for side in (less, more):
                first += side[:1]
                rest += [(side[0], side[1:])] if side else []
        self._try(first)
        for probe, others in rest:
            if self._base - self._left[probe.field, key((probe,))][1]:
                self._try(others)
        for field in sorted(_LISTS & self._offered.keys()):
            self._try(list(self._lists(field)))

    def _try(self, tried: Sequence[Option]) -> None:
        for start in range(0, len(tried), _BATCH):
            batch = tried[start : start + _BATCH]
            for option, decision in zip(
                batch, self._trial.decide([(option,) for option in batch]), strict=True
            ):
                left = blockers(decision, self._goal)
                self._left[(option.field, key((option,)))] = (option, left)
                if option not in self._offered[option.field]:
                    self._offered[option.field].append(option)

    def _lists(self, field: str) -> Iterator[Option]:
        """Lists without the entries that object by themselves, and lists that are short enough."""
        entries = current(self._trial.facts, field)
        if not isinstance(entries, list) or len(entries) < 2:  # noqa: PLR2004 — nothing to choose
            return
        alone = [listed(self._trial.facts, field, [entry]) for entry in entries]
        decided = [blockers(d, self._goal) for d in self._trial.decide([(o,) for o in alone])]
        common = Counter({rule: min(d[rule] for d in decided) for rule in self._base})
        kept = [e for e, d in zip(entries, decided, strict=True) if not d - common]
        if 0 < len(kept) < len(entries):
            yield listed(self._trial.facts, field, kept)
        low, high = 0, len(kept)  # the longest beginning with no more objections than the shortest
        wanted = blockers(
            self._trial.one((listed(self._trial.facts, field, kept[:1]),)), self._goal
        )
        while high - low > 1:
            middle = (low + high) // 2
            shorter = listed(self._trial.facts, field, kept[:middle])
            if blockers(self._trial.one((shorter,)), self._goal) - wanted:
                high = middle
            else:
                low = middle
        if 0 < low < len(entries):
            yield listed(self._trial.facts, field, kept[:low])

    def _nearest(self, passing: Sequence[Option]) -> list[Option]:
        """The nearest passing option of each field."""
        nearest: dict[str, Option] = {}
        for option in passing:
            held = nearest.get(option.field)
            if held is None or option.distance < held.distance:
                nearest[option.field] = option
        return [nearest[field] for field in sorted(nearest)]

    # -- several fields ----------------------------------------------------------------------
    def _helpful(self) -> dict[str, list[tuple[Option, Blockers]]]:
        """Per field, the nearest option for each set of rules that it leaves."""
        found: dict[str, dict[str, tuple[Option, Blockers]]] = {}
        for option, left in self._left.values():
            if not (self._base - left):
                continue
            name = canonical_json(dict(left))
            held = found.setdefault(option.field, {}).get(name)
            if held is None or option.distance < held[0].distance:
                found[option.field][name] = (option, left)
        return {field: list(found[field].values()) for field in sorted(found)}

    def _covering(self, count: int) -> list[Picked]:
        """Combinations in which each rule is silenced by one of the options, nearest first."""
        helpful = self._helpful()
        found: list[Picked] = []
        for fields in combinations(helpful, count):
            for chosen in product(*(helpful[field] for field in fields)):
                lefts = [remaining for _, remaining in chosen]
                if all(min(left[rule] for left in lefts) == 0 for rule in self._base):
                    found.append(tuple(option for option, _ in chosen))
        return self._nearest_first(found)

    def _greedy(self) -> Picked:
        """One option after the other, each time that which silences most of what is left."""
        left = Counter(self._base)
        picked: dict[str, Option] = {}
        nearest = sorted(self._left.values(), key=lambda held: (held[0].distance, held[0].field))
        while left:
            free = [held for held in nearest if held[0].field not in picked]
            silent = [(left & held[1]).total() for held in free]
            best = free[silent.index(min(silent))] if free else None
            if best is None or (left & best[1]).total() == left.total():
                return ()
            picked[best[0].field] = best[0]
            left = left & best[1]
        return tuple(picked[field] for field in sorted(picked))

    def _extremes(self, count: int) -> list[Picked]:
        """Pairs of the farthest options: for rules that need two changes before they notice."""
        if count > 2:  # noqa: PLR2004 — more would be a search in the dark
            return []
        farthest = {
            field: max(offered, key=lambda option: option.distance)
            for field, offered in sorted(self._offered.items())
        }
        pairs = [(farthest[a], farthest[b]) for a, b in combinations(farthest, 2)]
        return self._nearest_first([(a, b) for a, b in pairs])

    @staticmethod
    def _nearest_first(found: list[Picked]) -> list[Picked]:
        found.sort(key=lambda picked: (_distance(picked), key(picked)))
        return found[:_MOST_COMBINATIONS]

    def _passing(self, combined: Sequence[Picked]) -> list[Picked]:
        """Those of the first batch with any that pass."""
        for start in range(0, len(combined), _BATCH):
            batch = combined[start : start + _BATCH]
            decisions = self._trial.decide(batch)
            found = [
                picked
                for picked, decision in zip(batch, decisions, strict=True)
                if not blockers(decision, self._goal)
            ]
            if found:
                return found
        return []

    def _remaining(self, picked: Picked) -> Blockers:
        return blockers(self._trial.one(picked), self._goal)

    # -- making a proposal as small as it can be -------------------------------------------------
    def _best(self, passing: Sequence[Picked]) -> Proposal:
        """The smallest proposal that these passing ones can be made into."""
        refined = [self._minimal(self._refined(picked)) for picked in passing[:_BATCH]]
        picked = min(refined, key=lambda p: (len(p), _distance(p), key(p)))
        decision = self._trial.one(picked)
        ordered = sorted(picked, key=lambda option: option.field)
        return Proposal(
            changes=tuple(
                Change(o.field, current(self._trial.facts, o.field), o.shown) for o in ordered
            ),
            effect=Effect(decision["effect"]),
            decision=decision,
            facts=self._trial.changed(picked),
            distance=_distance(picked),
        )

    def _refined(self, picked: Picked) -> Picked:
        """Every number moved as near to the present one as it still passes, by halving."""
        try:
            for place, option in enumerate(picked):
                if option.field in _NUMBERS:
                    picked = self._moved_nearer(picked, place)
        except BoundReachedError:
            return picked  # it passes; it is only not the nearest
        return picked

    def _moved_nearer(self, picked: Picked, place: int) -> Picked:
        field = picked[place].field
        present = current(self._trial.facts, field)
        step = step_of(field)
        low, high = int(picked[place].value), int(present)  # low passes, high is what was asked
        while abs(high - low) > step:
            middle = (low + high) // 2 // step * step
            if middle in (low, high) or not min(low, high) < middle < max(low, high):
                break
            tried = list(picked)
            tried[place] = amount(self._trial.facts, field, middle)
            if self._remaining(tuple(tried)):
                high = middle
            else:
                low, picked = middle, tuple(tried)
        return picked

    def _minimal(self, picked: Picked) -> Picked:
        """The smallest part of it that passes."""
        try:
            for count in range(1, len(picked)):
                parts = [p for p in combinations(picked, count) if not self._remaining(p)]
                if parts:
                    return min(parts, key=lambda p: (_distance(p), key(p)))
        except BoundReachedError:
            return picked
        return picked


def _distance(picked: Picked) -> float:
    return sum(option.distance for option in picked)
