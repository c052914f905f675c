"""The way of a change into force: every walk through the state machine keeps its rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.data import PolicyData
from charter.core.policy.pipeline import (
    ENDED,
    OPEN,
    ChangeFacts,
    ChangeState,
    Edit,
    Refusals,
    Review,
    Step,
    Tally,
    Work,
    applied,
    edits_between,
    missing_sides,
    next_step,
    not_promotable,
    side_of,
    spike,
)
from charter.core.policy.pipeline_limits import DirectApply, PipelineLimits
from tests.spec import spec as proves

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LIMITS = PipelineLimits()
SAM = Review("per_sam", "security", approves=True, digest="new", base_digest="old")
PAT = Review("per_pat", "platform", approves=True, digest="new", base_digest="old")


def facts(state: ChangeState = ChangeState.RECEIVED, **more: Any) -> ChangeFacts:
    known: dict[str, Any] = {"active_digest": "old", "since": NOW}
    return ChangeFacts(state=state, **{**known, **more})


def built(state: ChangeState, **more: Any) -> ChangeFacts:
    return facts(state, **{"digest": "new", "base_digest": "old", **more})


def analysed(state: ChangeState, **more: Any) -> ChangeFacts:
    return built(state, **{"checks_passed": True, "impact_done": True, **more})


@proves("PC-5")
@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (facts(), Work.BUILD),
        (built(ChangeState.RECEIVED), ChangeState.CHECKING),
        (built(ChangeState.CHECKING), Work.CHECK),
        (built(ChangeState.CHECKING, checks_passed=False), ChangeState.REFUSED),
        (built(ChangeState.CHECKING, checks_passed=True), ChangeState.ANALYSING),
        (built(ChangeState.ANALYSING, checks_passed=True), Work.ANALYSE),
        (
            built(ChangeState.ANALYSING, checks_passed=True, impact_failure="It overran."),
            ChangeState.REFUSED,
        ),
        (analysed(ChangeState.ANALYSING), ChangeState.IN_REVIEW),
        (analysed(ChangeState.IN_REVIEW), None),
        (analysed(ChangeState.IN_REVIEW, reviews=[SAM]), None),
        (analysed(ChangeState.IN_REVIEW, reviews=[SAM, PAT]), ChangeState.APPROVED),
        (
            analysed(ChangeState.IN_REVIEW, reviews=[SAM, replace(PAT, approves=False)]),
            ChangeState.REFUSED,
        ),
        # A no counts to the last: also from the stage.
        (
            analysed(ChangeState.STAGED, reviews=[SAM, PAT, replace(SAM, approves=False)]),
            ChangeState.REFUSED,
        ),
        (analysed(ChangeState.APPROVED, reviews=[SAM, PAT]), ChangeState.STAGED),
        (analysed(ChangeState.APPROVED, reviews=[SAM, PAT], slot_holder="chg_x"), None),
        (analysed(ChangeState.STAGED, reviews=[SAM, PAT]), None),
        # Reviews of another candidate, or on another base, do not count.
        (analysed(ChangeState.IN_REVIEW, reviews=[replace(SAM, digest="x"), PAT]), None),
        (analysed(ChangeState.IN_REVIEW, reviews=[replace(SAM, base_digest="x"), PAT]), None),
        # Whoever wrote it has no voice, and nobody has two.
        (analysed(ChangeState.IN_REVIEW, reviews=[SAM, PAT], authors={"per_pat"}), None),
        (
            analysed(ChangeState.IN_REVIEW, reviews=[SAM, replace(PAT, reviewer_id="per_sam")]),
            None,
        ),
        # Another bundle was put in force meanwhile.
        (analysed(ChangeState.STAGED, active_digest="other", reviews=[SAM, PAT]), Work.BUILD),
        (analysed(ChangeState.IN_REVIEW, active_digest="new", base_digest="new"), "superseded"),
        (facts(conflict="Two people changed data/limits.json."), ChangeState.REFUSED),
    ],
)
def test_the_next_step(seen: ChangeFacts, expected: ChangeState | Work | str | None) -> None:
    step = next_step(seen, LIMITS)
    assert (None if step is None else step.to or step.work) == expected
    assert step is None or step.reason.endswith((".", "!"))


REVIEWS = st.builds(
    Review,
    reviewer_id=st.sampled_from(["per_a", "per_b", "per_c"]),
    side=st.sampled_from(["security", "platform"]),
    approves=st.booleans(),
    digest=st.sampled_from(["old", "new"]),
    base_digest=st.sampled_from(["old", "new", "other"]),
)
FACTS = st.builds(
    ChangeFacts,
    state=st.sampled_from(ChangeState),
    since=st.just(NOW),
    active_digest=st.sampled_from(["old", "other"]),
    digest=st.sampled_from([None, "new", "old"]),
    base_digest=st.sampled_from(["old", "other"]),
    conflict=st.sampled_from([None, None, "A conflict."]),
    checks_passed=st.sampled_from([None, True, False]),
    impact_done=st.sampled_from([None, True, False]),
    impact_failure=st.sampled_from([None, None, "It overran."]),
    reviews=st.lists(REVIEWS, max_size=4),
    authors=st.frozensets(st.sampled_from(["per_a", "per_b"]), max_size=1),
    slot_holder=st.sampled_from([None, "chg_x"]),
    decisions_made=st.integers(0, 3),
    has_test_projects=st.booleans(),
)


def moved(seen: ChangeFacts, step: Step) -> ChangeFacts:
    """The facts after the step was carried out, where its work succeeds."""
    if step.to is not None:
        return replace(seen, state=step.to)
    if step.work is Work.BUILD:
        # What was known was known of another candidate.
        return replace(
            seen,
            digest="new",
            base_digest=seen.active_digest,
            checks_passed=None,
            impact_done=None,
            impact_failure=None,
        )
    if step.work is Work.CHECK:
        return replace(seen, checks_passed=True)
    return replace(seen, impact_done=True)


@proves("PC-5")
@given(FACTS)
def test_every_walk_comes_to_rest_and_reaches_the_stage_only_by_the_whole_way(
    start: ChangeFacts,
) -> None:
    seen = start
    for _ in range(12):
        step = next_step(seen, LIMITS)
        if step is None:
            break
        assert (step.to is None) != (step.work is None)
        if step.to is ChangeState.STAGED:
            assert seen.checks_passed
            assert seen.impact_done
            assert seen.base_digest == seen.active_digest
            assert seen.slot_holder is None
            yes = {r.side: r.reviewer_id for r in seen.reviews if r.approves}
            assert len(set(yes.values())) >= 2
            assert missing_sides(seen, LIMITS) == ()
        # Promotion and what follows it are never steps of the machine alone.
        assert step.to not in {ChangeState.MONITORED, ChangeState.IN_FORCE}
        seen = moved(seen, step)
    else:
        raise AssertionError(f"{start} never came to rest")
    if seen.state in ENDED:
        assert next_step(seen, LIMITS) is None


@given(FACTS)
def test_what_has_ended_or_is_watched_is_left_alone(seen: ChangeFacts) -> None:
    if seen.state not in OPEN:
        assert next_step(seen, LIMITS) is None
        assert not_promotable(seen, LIMITS, NOW + timedelta(days=1)) is not None


@proves("PC-5")
def test_promotion_takes_time_on_the_stage_and_decisions_for_tests() -> None:
    staged = analysed(ChangeState.STAGED, reviews=[SAM, PAT])
    later = NOW + timedelta(seconds=LIMITS.staging_seconds)
    assert "another 15 minutes" in str(not_promotable(staged, LIMITS, NOW))
    almost = later - timedelta(seconds=20)
    assert "less than a minute" in str(not_promotable(staged, LIMITS, almost))
    assert "0 of the 1 decisions" in str(not_promotable(staged, LIMITS, later))
    assert not_promotable(replace(staged, decisions_made=1), LIMITS, later) is None
    assert not_promotable(replace(staged, has_test_projects=False), LIMITS, later) is None
    moved_on = replace(staged, active_digest="other", decisions_made=1)
    assert "Another bundle" in str(not_promotable(moved_on, LIMITS, later))
    assert "approved" in str(not_promotable(analysed(ChangeState.APPROVED), LIMITS, later))


def seen(
    decisions: int, refused: int, rules: dict[str, Tally] | None = None, subjects: int = 9
) -> Refusals:
    return Refusals(decisions, Tally(refused, subjects), rules or {})


@proves("PC-5")
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (seen(100, 10), seen(100, 30), None),  # exactly three times is not above it
        (seen(100, 10), seen(100, 31), "all"),
        (seen(1000, 0), seen(1000, 151), "all"),
        (seen(1000, 0), seen(1000, 150), None),  # a quiet time counts as 5 %
        (seen(100, 0), seen(19, 19), None),  # too few to mean anything
        (seen(100, 0), seen(100, 50, subjects=1), None),  # one who runs into it again and again
        (seen(0, 0), seen(20, 20), "all"),
        (seen(100, 60), seen(100, 79), None),
        (seen(100, 60), seen(100, 81), "all"),  # half of what used to pass
        (
            seen(100, 30, {"a/b": Tally(0, 0), "c/d": Tally(30, 9)}),
            seen(100, 40, {"a/b": Tally(20, 9), "c/d": Tally(20, 9)}),
            "a/b",
        ),
        (seen(0, 0), seen(0, 0), None),
    ],
)
def test_spikes(before: Refusals, after: Refusals, expected: str | None) -> None:
    found = spike(before, after, LIMITS)
    assert (None if found is None else found.rule or "all") == expected
    if found is not None:
        assert f"{found.count}" in found.sentence()


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 400), st.integers(1, 20))
def test_more_refusals_never_undo_a_spike(earlier: int, more: int, least: int, extra: int) -> None:
    before = seen(400, earlier)
    if spike(before, seen(400, min(least, more)), LIMITS) is not None:
        assert spike(before, seen(400, min(400, more + extra)), LIMITS) is not None


TREES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2", "3"]))


@given(TREES, TREES, TREES)
def test_edits_carry_a_change_over_to_another_base(
    old: dict[str, str], new: dict[str, str], other: dict[str, str]
) -> None:
    edits = edits_between(old, new)
    assert applied(old, edits) == (new, ())
    assert applied(new, edits) == (new, ())  # made already
    result, conflicts = applied(other, edits)
    touched = {edit.path for edit in edits}
    for path in set(result) | set(other):
        if path not in touched:
            assert result.get(path) == other.get(path)
    for edit in edits:
        if edit.path not in conflicts:
            assert result.get(edit.path) == edit.after
        else:
            assert other.get(edit.path) not in (edit.before, edit.after)


def test_a_conflict_names_the_file() -> None:
    edits = (Edit("data/limits.json", "1", "2"),)
    assert applied({"data/limits.json": "3"}, edits)[1] == ("data/limits.json",)


def test_who_may_review_for_which_side() -> None:
    assert side_of({"security-admin"}, LIMITS) == ("security",)
    assert side_of({"platform-admin", "developer"}, LIMITS) == ("platform",)
    assert side_of({"team-lead"}, LIMITS) == ()


@proves("PC-5")
def test_limits_are_policy_data_and_a_bundle_without_them_has_the_defaults() -> None:
    documents = shipped_bundle().settings()
    assert PolicyData.from_documents(documents).pipeline == PipelineLimits()
    without = {name: value for name, value in documents.items() if name != "pipeline"}
    assert PolicyData.from_documents(without).pipeline == PipelineLimits()
    pipeline: Any = documents["pipeline"]
    own = {**documents, "pipeline": {**pipeline, "direct_apply": "emergency"}}
    assert PolicyData.from_documents(own).pipeline.direct_apply is DirectApply.EMERGENCY
    wrong = {**documents, "pipeline": {**pipeline, "direct_apply": "never", "spikes": 1}}
    with pytest.raises(InvalidInputError) as refused:
        PolicyData.from_documents(wrong)
    assert len(refused.value.details["problems"]) == 2  # type: ignore[arg-type]
