"""Quotas: how much a user, a team, a project or an agent may use at the same time.

One workspace counts in several scopes at once: for its owner, its team, its project. All of them
are checked together and either all give or none does, so that a refusal leaves no trace. The
service locks the lines in the order of `quota_scopes` (sorted: two requests that share scopes lock
them in the same order and so never wait for each other in a circle), asks `may_reserve`, and writes
what `reserve` returns, all in one transaction.

What an agent uses also counts for its sponsor. Otherwise anybody could grow past their own quota by
sponsoring agents.

Source: Spec RG-2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from charter.core.kernel.decision import Effect, Violation
from charter.core.kernel.units import show_mib
from charter.core.resources.amounts import DIMENSIONS, Amount, show


@dataclass(frozen=True, slots=True)
class QuotaLine:
    """The quota of one scope and what is in use of it. `label` is the scope's name for people.

    `limit` is what holds now; `raised` is how much of it an override gives, which ends by itself.
    """

    scope: str
    limit: Amount
    used: Amount
    label: str = ""
    raised: Amount = field(default_factory=Amount)

    @property
    def name(self) -> str:
        """What to call the scope in a sentence."""
        return self.label or self.scope.replace(":", " ", 1)

    @property
    def remaining(self) -> Amount:
        """What is left; negative where the limit was lowered below what is in use."""
        return self.limit - self.used


def quota_scopes(
    *,
    owner_kind: str,
    owner_id: str,
    sponsor_id: str | None = None,
    team_id: str | None = None,
    project_id: str | None = None,
) -> tuple[str, ...]:
    """The keys of every quota that this owner's workspace counts in, in the order of locking.

    `owner_kind` is `human` or `agent`; an agent's sponsor must be named. Raises ValueError
    otherwise, because a scope left out is a quota left unenforced.
    """
    scopes: set[str] = set()
    if owner_kind == "human":
        scopes.add(f"user:{owner_id}")
    elif owner_kind == "agent" and sponsor_id is not None:
        scopes |= {f"agent:{owner_id}", f"user:{sponsor_id}"}
    else:
        raise ValueError("the owner is a human, or an agent with a sponsor")
    if team_id is not None:
        scopes.add(f"team:{team_id}")
    if project_id is not None:
        scopes.add(f"project:{project_id}")
    return tuple(sorted(scopes))


def may_reserve(lines: Iterable[QuotaLine], wanted: Amount) -> tuple[Violation, ...]:
    """Everything that stands against taking `wanted` from all these lines; empty when they give.

    Only dimensions of which something is wanted are judged: whoever is above a lowered limit may
    still stop, shrink, and take what is not short. No line at all is a refusal, not a licence.
    """
    checked = sorted(lines, key=lambda line: line.scope)
    if not checked:
        return (
            Violation(
                rule="invariant/quota-missing",
                effect=Effect.DENY,
                message="No quota is known for the owner of this request.",
                fix="Ask a platform-admin to set the quotas of the user, team or project.",
                severity="high",
                source="Spec RG-2",
            ),
        )
    return tuple(
        Violation(
            rule="invariant/quota",
            effect=Effect.DENY,
            message=(
                f"{line.name} has {show(dimension, line.limit.of(dimension))}, "
                f"{_bare(dimension, line.used)} are in use, "
                f"{_bare(dimension, wanted)} were asked for." + _above(line, dimension)
            ),
            fix=(
                f"Ask for at most {show(dimension, max(line.remaining.of(dimension), 0))}, stop "
                f"or delete something in {line.name}, or ask for a larger quota."
            ),
            severity="medium",
            source="Spec RG-2",
        )
        for line in checked
        for dimension in DIMENSIONS
        if wanted.of(dimension) > 0
        and line.used.of(dimension) + wanted.of(dimension) > line.limit.of(dimension)
    )


def _above(line: QuotaLine, dimension: str) -> str:
    """What becomes of use that a lowered limit, or an override that ended, has left behind."""
    if line.used.of(dimension) <= line.limit.of(dimension):
        return ""
    return " What is in use above it goes on; nothing new starts until it is given back."


def _bare(dimension: str, amount: Amount) -> str:
    """The number without its noun, in the unit in which `show` gives it."""
    number = amount.of(dimension)
    return show_mib(number) if dimension.endswith("_mib") else str(number)


def reserve(lines: Iterable[QuotaLine], wanted: Amount) -> tuple[QuotaLine, ...]:
    """The lines with `wanted` taken from each.

    Raises ValueError when `may_reserve` would refuse, or when a count would fall below zero: both
    are faults of the caller, and the database's own checks stand behind this one.
    """
    lines = tuple(lines)
    refusals = may_reserve(lines, wanted)
    if refusals:
        raise ValueError("reserved more than the quota gives: " + refusals[0].message)
    return tuple(_with_used(line, line.used + wanted) for line in lines)


def release(lines: Iterable[QuotaLine], amount: Amount) -> tuple[QuotaLine, ...]:
    """The lines with `amount` given back to each; raises ValueError when it was never taken."""
    if not amount.non_negative:
        raise ValueError("a negative amount cannot be given back")
    return tuple(_with_used(line, line.used - amount) for line in lines)


def _with_used(line: QuotaLine, used: Amount) -> QuotaLine:
    if not used.non_negative:
        raise ValueError(f"the use of {line.scope} would fall below zero")
    return replace(line, used=used)
