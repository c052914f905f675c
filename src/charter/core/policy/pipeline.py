"""The way of a policy change into force, as a state machine: facts in, next step out.

A *change* is a set of edits to policy files with an author and a reason. Applied to the bundle in
force they give the *candidate*, another bundle. The candidate is checked, its impact is computed,
two people look at it (one for security, one for the platform, neither its author), it is *staged*
(it shadows live decisions and really decides for test environments), somebody promotes it, and for
a while after that it is watched: a spike of refusals rolls it back.

    received ─ checking ─ analysing ─ in review ─ approved ─ staged ─ monitored ─ in force
        └──────────┴──── refused ────────┘            (any open state) ─ withdrawn, superseded
                                                             monitored ─ rolled back

Three rules hold it together, and `next_step` is where they stand:

* What was found out about a change holds for one candidate on one base. When another bundle is
  put in force meanwhile, the edits are applied to that one, and checks, impact and reviews begin
  anew.
* One change at a time is staged or monitored: otherwise a spike would have two possible causes.
* The limits are those of the bundle in force (`PipelineLimits`), never the candidate's own.

Nothing here acts. `services.policy_flow` loads the facts, carries the step out and records it.

Source: Spec PC-4, PC-5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from charter.core.policy.pipeline_limits import SIDES, PipelineLimits


class ChangeState(StrEnum):
    """Where a change stands."""

    RECEIVED = "received"
    CHECKING = "checking"
    ANALYSING = "analysing"
    IN_REVIEW = "in-review"
    APPROVED = "approved"
    STAGED = "staged"
    MONITORED = "monitored"
    IN_FORCE = "in-force"
    REFUSED = "refused"
    ROLLED_BACK = "rolled-back"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"


OPEN: Final = frozenset(
    {
        ChangeState.RECEIVED,
        ChangeState.CHECKING,
        ChangeState.ANALYSING,
        ChangeState.IN_REVIEW,
        ChangeState.APPROVED,
        ChangeState.STAGED,
    }
)
"""Not in force yet, and may still get there."""

ENDED: Final = frozenset(ChangeState) - OPEN - {ChangeState.MONITORED}
"""Nothing moves these any more."""

SLOT: Final = frozenset({ChangeState.STAGED, ChangeState.MONITORED})
"""Only one change may be in one of these."""


class Work(StrEnum):
    """What has to be done outside the state machine before a change can move on."""

    BUILD = "build"  # apply the edits to the bundle in force
    CHECK = "check"  # compile, lint and test the candidate in a worker
    ANALYSE = "analyse"  # decide recorded decisions again under the candidate


@dataclass(frozen=True, slots=True)
class Step:
    """What comes next: work to do, or a state to go to, and the sentence that is recorded."""

    reason: str
    to: ChangeState | None = None
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """One person's word on one candidate and what its impact on one base is said to be."""

    reviewer_id: str
    side: str
    approves: bool
    digest: str
    base_digest: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ChangeFacts:
    """All that the next step of a change depends on.

    `digest` is the candidate and `base_digest` what it was built on; both are None before it is
    built. `checks_passed` and `impact_done` are None while that is not known, and are about exactly
    this candidate on this base. `impact_failure` is a sentence. `slot_holder` is another change
    that is staged or monitored. `decisions_made` counts what the staged candidate has decided for
    test environments; `has_test_projects` says whether it could.
    """

    state: ChangeState
    since: datetime
    active_digest: str
    digest: str | None = None
    base_digest: str | None = None
    conflict: str | None = None
    checks_passed: bool | None = None
    check_summary: str = ""
    impact_done: bool | None = None
    impact_failure: str | None = None
    reviews: Sequence[Review] = ()
    authors: AbstractSet[str] = frozenset()
    slot_holder: str | None = None
    decisions_made: int = 0
    has_test_projects: bool = True


def next_step(facts: ChangeFacts, limits: PipelineLimits) -> Step | None:
    """What comes next for a change, None while it waits for people or time.

    Monitored changes are judged by `spike`, and promotion is a person's act: neither is here.
    """
    if facts.state not in OPEN:
        return None
    if facts.conflict is not None:
        return Step(facts.conflict, to=ChangeState.REFUSED)
    if facts.digest is None or facts.base_digest != facts.active_digest:
        return _build(facts)
    if facts.digest == facts.active_digest:
        return Step("What it asks for is in force already.", to=ChangeState.SUPERSEDED)
    return _forward(facts, limits)


def _build(facts: ChangeFacts) -> Step:
    if facts.digest is None:
        return Step("Its edits are applied to the bundle in force.", work=Work.BUILD)
    return Step(
        "Another bundle is in force meanwhile: the edits are applied to it, and checks, impact and"
        " reviews begin anew.",
        work=Work.BUILD,
    )


def _forward(facts: ChangeFacts, limits: PipelineLimits) -> Step | None:
    """The next step of a candidate that stands on the bundle in force."""
    if facts.checks_passed is None:
        if facts.state is not ChangeState.CHECKING:
            return Step("The candidate is compiled, linted and tested.", to=ChangeState.CHECKING)
        return Step("The candidate is compiled, linted and tested.", work=Work.CHECK)
    if not facts.checks_passed:
        return Step(facts.check_summary or "The checks failed.", to=ChangeState.REFUSED)
    return _weighed(facts, limits)


def _weighed(facts: ChangeFacts, limits: PipelineLimits) -> Step | None:
    """The next step of a candidate whose checks passed."""
    if facts.impact_failure is not None:
        return Step(
            f"Its impact could not be computed: {facts.impact_failure}", to=ChangeState.REFUSED
        )
    if not facts.impact_done:
        if facts.state is not ChangeState.ANALYSING:
            return Step(facts.check_summary or "The checks passed.", to=ChangeState.ANALYSING)
        return Step("Recorded decisions are made again under it.", work=Work.ANALYSE)
    return _reviewed(facts, limits)


def _reviewed(facts: ChangeFacts, limits: PipelineLimits) -> Step | None:
    if (refusal := rejection(facts)) is not None:
        return Step(refusal, to=ChangeState.REFUSED)
    if facts.state in {ChangeState.RECEIVED, ChangeState.CHECKING, ChangeState.ANALYSING}:
        return Step("Its impact is known; people look at it.", to=ChangeState.IN_REVIEW)
    if missing := missing_sides(facts, limits):
        words = f"A review for {' and '.join(missing)} is missing."
        waits = facts.state is ChangeState.IN_REVIEW
        return None if waits else Step(words, to=ChangeState.IN_REVIEW)
    if facts.state is ChangeState.IN_REVIEW:
        return Step("Both sides have agreed.", to=ChangeState.APPROVED)
    if facts.state is ChangeState.APPROVED and facts.slot_holder is None:
        return Step("It shadows live decisions and decides for tests.", to=ChangeState.STAGED)
    return None


# --- reviews ----------------------------------------------------------------------------------
def counting(facts: ChangeFacts) -> tuple[Review, ...]:
    """The reviews of this very candidate on this very base, by people who did not write it.

    Of several by one person the last counts: nobody stands for both sides.
    """
    last: dict[str, Review] = {}
    for review in facts.reviews:
        if review.digest != facts.digest or review.base_digest != facts.base_digest:
            continue
        if review.reviewer_id not in facts.authors:
            last[review.reviewer_id] = review
    return tuple(last.values())


def missing_sides(facts: ChangeFacts, limits: PipelineLimits) -> tuple[str, ...]:
    """The sides whose yes is still missing."""
    agreed = {review.side for review in counting(facts) if review.approves}
    return tuple(side for side in SIDES if side in limits.reviewers and side not in agreed)


def rejection(facts: ChangeFacts) -> str | None:
    """The sentence of a no among the reviews that count; one is enough."""
    for review in counting(facts):
        if not review.approves:
            said = f": {review.comment}" if review.comment else "."
            return f"The review for {review.side} refused it{said}"
    return None


def side_of(roles: AbstractSet[str], limits: PipelineLimits) -> tuple[str, ...]:
    """The sides for which somebody with these roles may review."""
    return tuple(side for side in SIDES if roles & set(limits.reviewers[side]))


# --- promotion --------------------------------------------------------------------------------
def not_promotable(facts: ChangeFacts, limits: PipelineLimits, now: datetime) -> str | None:
    """Why the change cannot be promoted at `now`, as a sentence; None when it can."""
    if facts.state is not ChangeState.STAGED:
        return f"It is {facts.state.value.replace('-', ' ')}, and only a staged change is promoted."
    if facts.base_digest != facts.active_digest:
        return "Another bundle is in force than the one that it was reviewed against."
    left = facts.since + timedelta(seconds=limits.staging_seconds) - now
    if left > timedelta(0):
        minutes = -(-int(left.total_seconds()) // 60)
        lasting = f"another {minutes} minutes" if minutes > 1 else "less than a minute more"
        return f"Its stage lasts {lasting}."
    if facts.has_test_projects and facts.decisions_made < limits.staging_decisions_needed:
        return (
            f"It has made {facts.decisions_made} of the {limits.staging_decisions_needed} decisions"
            " for test environments that it has to make first."
        )
    return None


# --- monitoring -------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Tally:
    """How many refusals, and of how many different subjects."""

    count: int = 0
    subjects: int = 0


@dataclass(frozen=True, slots=True)
class Refusals:
    """How many decisions a window holds and how many of them policy refused, whole and by rule."""

    decisions: int
    refused: Tally = Tally()
    by_rule: Mapping[str, Tally] = field(default_factory=dict)

    def percent(self, tally: Tally) -> float:
        """The tally as a share of the decisions; 0 when there were none."""
        return 100.0 * tally.count / self.decisions if self.decisions else 0.0

    def of(self, rule: str) -> Tally:
        """The refusals of one rule."""
        return self.by_rule.get(rule, Tally())


@dataclass(frozen=True, slots=True)
class Spike:
    """A rise of refusals that a promotion is answerable for."""

    rule: str | None  # None: all rules together
    before_percent: float
    after_percent: float
    count: int
    worst: tuple[str, ...]

    def sentence(self) -> str:
        """What happened, with figures."""
        what = "Refusals" if self.rule is None else f"Refusals by {self.rule}"
        worst = f" Most by {', '.join(self.worst)}." if self.worst and self.rule is None else ""
        return (
            f"{what} rose from {self.before_percent:.1f} % to {self.after_percent:.1f} % of"
            f" decisions ({self.count}) after the promotion.{worst}"
        )


_MOST_RULES: Final = 3


def spike(before: Refusals, after: Refusals, limits: PipelineLimits) -> Spike | None:
    """The spike in `after`, if there is one: in all refusals, else in those of one rule.

    Where the factor would ask for more than there can be, half of what used to pass is enough.
    One subject alone makes no spike: whoever a new rule stops could otherwise undo it by trying.
    """

    def rose(now: Tally, earlier: Tally) -> bool:
        usual = max(before.percent(earlier), float(limits.quiet_percent))
        threshold = min(limits.spike_factor * usual, (usual + 100.0) / 2)
        many = now.count >= limits.spike_minimum and now.subjects >= limits.spike_subjects
        return many and after.percent(now) > threshold

    def growth(rule: str) -> float:
        return after.percent(after.of(rule)) - before.percent(before.of(rule))

    ordered = sorted(after.by_rule, key=lambda rule: (-growth(rule), rule))
    worst = tuple(rule for rule in ordered[:_MOST_RULES] if growth(rule) > 0)
    whole: tuple[str | None, Tally, Tally] = (None, after.refused, before.refused)
    for rule, now, earlier in (
        whole,
        *((rule, after.of(rule), before.of(rule)) for rule in ordered),
    ):
        if rose(now, earlier):
            return Spike(rule, before.percent(earlier), after.percent(now), now.count, worst)
    return None


# --- edits ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Edit:
    """One file of a change: its text before (None: there was none) and after (None: deleted)."""

    path: str
    before: str | None
    after: str | None


def edits_between(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Edit, ...]:
    """What turns the files `old` into the files `new`, in order of their paths."""
    return tuple(
        Edit(path, old.get(path), new.get(path))
        for path in sorted(set(old) | set(new))
        if old.get(path) != new.get(path)
    )


def applied(
    files: Mapping[str, str], edits: Sequence[Edit]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """`files` with the edits made, and the paths at which they cannot be.

    An edit fits where the file is as it was when the edit was written; where it is already as
    the edit would make it, there is nothing to do. Anything else is a conflict, which people solve.
    """
    result, conflicts = dict(files), []
    for edit in edits:
        found = files.get(edit.path)
        if found not in (edit.before, edit.after):
            conflicts.append(edit.path)
        elif edit.after is None:
            result.pop(edit.path, None)
        else:
            result[edit.path] = edit.after
    return result, tuple(conflicts)
