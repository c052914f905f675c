"""Warned, stopped, deleted: by tables that can be read, and over simulated weeks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from charter.core.lifecycle.states import Desired, WorkspaceState
from charter.core.lifecycle.transition import (
    LifecycleFacts,
    LifecycleLimits,
    TransitionKind,
    extend,
    idle_deadline,
    next_transition,
    runtime_end,
)
from tests.spec import spec

T0 = datetime(2026, 3, 2, 8, tzinfo=UTC)
MINUTE = 60
HOUR = 60 * MINUTE
LIMITS = LifecycleLimits(
    idle_seconds=4 * HOUR,
    warning_seconds=15 * MINUTE,
    max_runtime_seconds=12 * HOUR,
    free_extensions=1,
    extension_seconds=2 * HOUR,
)


def at(hours: float) -> datetime:
    """So many hours after the start of the run."""
    return T0 + timedelta(hours=hours)


def human(**facts) -> LifecycleFacts:
    """A person's workspace, running since T0 and last used then."""
    given_facts = {
        "workspace_id": "ws_1",
        "owner_kind": "human",
        "desired": Desired.RUNNING,
        "observed": WorkspaceState.RUNNING,
        "limits": LIMITS,
        "started_at": T0,
        "last_activity_at": T0,
    }
    return LifecycleFacts(**{**given_facts, **facts})


def agents(**facts) -> LifecycleFacts:
    """An agent's workspace with two hours of runtime and a task that is open for a day."""
    limits = replace(LIMITS, max_runtime_seconds=2 * HOUR, idle_seconds=HOUR)
    return human(
        **{
            "owner_kind": "agent",
            "limits": limits,
            "task_open": True,
            "task_deadline": at(24),
            **facts,
        }
    )


# facts, at which hour, what happens, why, and at which hour to look again
STORY = [
    (human(), 0, "none", "active", 3.75),
    (human(), 3.74, "none", "active", 3.75),
    (human(), 3.75, "warn", "idle", 4),
    (human(warned_for=at(4)), 3.75, "none", "warned", 4),
    (human(warned_for=at(4)), 3.99, "none", "warned", 4),
    (human(warned_for=at(4)), 4, "stop", "idle", None),
    # activity after the warning takes the warning back
    (human(warned_for=at(4), last_activity_at=at(3.9)), 4, "none", "active", 7.65),
    # nobody looked for a while: the warning is late, and so is the stop
    (human(), 6, "warn", "idle", 6.25),
    (human(warned_for=at(6.25)), 6.2, "none", "warned", 6.25),
    (human(warned_for=at(6.25)), 6.25, "stop", "idle", None),
    # a warning from an earlier run says nothing about this one
    (human(warned_for=T0 - timedelta(hours=1)), 4, "warn", "idle", 4.25),
    # extended
    (human(extended_until=at(6)), 4, "none", "active", 5.75),
    (human(extended_until=at(6), warned_for=at(4)), 5.75, "warn", "idle", 6),
    (human(extended_until=at(6), warned_for=at(6)), 6, "stop", "idle", None),
    (human(extended_until=at(3)), 3.75, "warn", "idle", 4),
    (human(extended_until=at(12)), 11.75, "warn", "max-runtime", 12),
    # what was seen before this run does not make it idle
    (human(last_activity_at=at(-5)), 0, "none", "active", 3.75),
    # the maximum runtime holds whatever the activity or extension
    (human(last_activity_at=at(11)), 11.5, "none", "active", 11.75),
    (human(last_activity_at=at(11)), 11.75, "warn", "max-runtime", 12),
    (human(last_activity_at=at(12), warned_for=at(12)), 12, "stop", "max-runtime", None),
    (human(last_activity_at=at(12)), 13, "stop", "max-runtime", None),
    (human(extended_until=at(20), warned_for=at(12)), 12, "stop", "max-runtime", None),
    # unknown activity is not idleness, but the maximum runtime holds
    (human(last_activity_at=None), 6, "none", "activity-unknown", 11.75),
    (human(last_activity_at=None), 11.8, "warn", "max-runtime", 12),
    (human(last_activity_at=None), 12, "stop", "max-runtime", None),
    # what is not running is left alone, and nothing here starts it
    (human(observed=WorkspaceState.PENDING, started_at=None), 99, "none", "not-running", None),
    (human(observed=WorkspaceState.STARTING), 99, "none", "not-running", None),
    (human(observed=WorkspaceState.STOPPED), 99, "none", "not-running", None),
    (human(desired=Desired.STOPPED), 99, "none", "stopped", None),
    (human(desired=Desired.DELETED), 99, "none", "deleted", None),
    (human(observed=WorkspaceState.DELETED), 99, "none", "deleted", None),
    (human(observed=WorkspaceState.FAILED), 12, "stop", "max-runtime", None),
    # agents
    (agents(), 0.75, "warn", "idle", 1),
    (agents(warned_for=at(1)), 1, "stop", "idle", 24),
    (agents(last_activity_at=at(1.5)), 1.75, "warn", "max-runtime", 2),
    (agents(last_activity_at=at(1.5), warned_for=at(2)), 2, "delete", "max-runtime", None),
    (agents(task_open=False), 0.1, "delete", "task-closed", None),
    (agents(task_open=None), 0.1, "delete", "task-closed", None),
    (agents(task_deadline=at(0.5)), 0.1, "none", "active", 0.25),
    (agents(task_deadline=at(0.5)), 0.25, "warn", "task-deadline", 0.5),
    (agents(task_deadline=at(0.5)), 0.5, "delete", "task-deadline", None),
    (agents(desired=Desired.STOPPED), 3, "none", "stopped", 24),
    (agents(desired=Desired.STOPPED), 24, "delete", "task-deadline", None),
    (agents(desired=Desired.STOPPED, task_open=False), 3, "delete", "task-closed", None),
    (agents(desired=Desired.DELETED, task_open=False), 3, "none", "deleted", None),
    (agents(observed=WorkspaceState.PENDING, started_at=None), 0, "none", "not-running", 24),
    # a legal hold keeps what would be deleted
    (agents(task_open=False, legal_hold=True), 0.1, "stop", "task-closed", None),
    (
        agents(task_open=False, legal_hold=True, desired=Desired.STOPPED),
        0.1,
        "none",
        "legal-hold",
        None,
    ),
    (agents(legal_hold=True, last_activity_at=at(2)), 2, "stop", "max-runtime", None),
]


@spec("LC-2", "LC-3", "LC-5", "LC-6")
@pytest.mark.parametrize(("facts", "hour", "kind", "reason", "check"), STORY)
def test_what_happens_when(facts, hour, kind, reason, check) -> None:
    step = next_transition(facts, at(hour))
    assert (step.kind, step.reason_code) == (kind, reason)
    assert step.next_check_at == (None if check is None else at(check))
    assert step.message.endswith(".")


@spec("LC-3")
def test_the_words_of_a_warning_and_of_a_stop() -> None:
    assert next_transition(human(), at(3.75)).message == (
        "The workspace will be stopped in 15 min: it is idle; use it or extend it to keep it "
        "running."
    )
    assert next_transition(human(warned_for=at(4)), at(4)).message == (
        "The workspace is stopped: it has been idle for 4 h."
    )
    assert "12 h" in next_transition(human(last_activity_at=at(12)), at(12)).message


@spec("LC-3")
def test_with_a_very_short_limit_the_warning_takes_at_most_half_of_it() -> None:
    short = replace(LIMITS, idle_seconds=10)
    facts = human(limits=short)
    assert next_transition(facts, T0).next_check_at == T0 + timedelta(seconds=5)
    assert next_transition(facts, T0 + timedelta(seconds=5)).kind is TransitionKind.WARN


@spec("LC-3")
def test_no_warning_where_policy_wants_none() -> None:
    facts = human(limits=replace(LIMITS, warning_seconds=0))
    assert next_transition(facts, at(3.99)).next_check_at == at(4)
    assert next_transition(facts, at(4)).kind is TransitionKind.STOP


@spec("LC-3")
def test_a_shortened_limit_still_gives_the_warning_its_time() -> None:
    shortened = human(limits=replace(LIMITS, idle_seconds=HOUR))
    step = next_transition(shortened, at(2))
    assert (step.kind, step.deadline) == (TransitionKind.WARN, at(2.25))


@pytest.mark.parametrize(
    "wrong",
    [
        {"idle_seconds": 0},
        {"max_runtime_seconds": -1},
        {"extension_seconds": 0},
        {"warning_seconds": -1},
        {"free_extensions": -1},
    ],
)
def test_impossible_limits_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="positive"):
        replace(LIMITS, **wrong)


# --- extensions -------------------------------------------------------------------------------
EXTENSIONS = [
    # facts, at which hour, how many hours, why, until which hour, refusals
    (human(), 3.8, 1, "", 5, []),
    (human(), 3.8, 2, "", 6, []),
    (human(extensions_used=1), 3.8, 1, "", None, ["justification"]),
    (human(extensions_used=1), 3.8, 1, "  ", None, ["justification"]),
    (human(extensions_used=1), 3.8, 1, "a long build", 5, []),
    (human(), 3.8, 3, "", None, ["length"]),
    (human(), 3.8, 0, "", None, ["length"]),
    (human(), 3.8, -1, "", None, ["length"]),
    (human(extensions_used=1), 3.8, 3, "", None, ["length", "justification"]),
    (human(last_activity_at=at(7)), 7, 2, "", 12, []),  # capped by the maximum runtime
    (human(last_activity_at=at(8)), 8, 1, "", None, ["cap"]),
    (human(last_activity_at=None), 3, 1, "", 4, []),
    (human(warned_for=at(6.25)), 6.1, 1, "", 7.25, []),  # a late warning's promise is kept
    (human(desired=Desired.STOPPED), 3, 1, "", None, ["not-running"]),
    (human(observed=WorkspaceState.STOPPED), 3, 1, "", None, ["not-running"]),
    (agents(task_deadline=at(1.5)), 0.9, 1, "", 1.5, []),
]


@spec("LC-3")
@pytest.mark.parametrize(("facts", "hour", "hours", "why", "until", "refusals"), EXTENSIONS)
def test_extensions(facts, hour, hours, why, until, refusals) -> None:
    decision = extend(facts, at(hour), seconds=int(hours * HOUR), justification=why)
    assert [v.rule for v in decision.violations] == [f"invariant/extension-{r}" for r in refusals]
    assert decision.extended_until == (None if until is None else at(until))
    assert decision.allowed == (not refusals)
    assert decision.free == (facts.extensions_used == 0)


@spec("LC-3")
@pytest.mark.parametrize(("seconds", "capped"), [(HOUR, False), (2 * HOUR, True)])
def test_an_extension_says_when_it_was_cut_short(seconds, capped) -> None:
    assert extend(human(last_activity_at=at(7)), at(7), seconds=seconds).capped == capped


# --- properties -------------------------------------------------------------------------------
SPANS = st.integers(1, 40)
LIMIT_SETS = st.builds(
    LifecycleLimits,
    idle_seconds=SPANS,
    warning_seconds=st.integers(0, 30),
    max_runtime_seconds=st.integers(1, 120),
    free_extensions=st.integers(0, 2),
    extension_seconds=SPANS,
)
MOMENTS = st.integers(-20, 150).map(lambda seconds: T0 + timedelta(seconds=seconds))
FACTS = st.builds(
    LifecycleFacts,
    workspace_id=st.just("ws_1"),
    owner_kind=st.sampled_from(["human", "agent", "unheard-of"]),
    desired=st.just(Desired.RUNNING) | st.sampled_from(Desired),
    observed=st.just(WorkspaceState.RUNNING) | st.sampled_from(WorkspaceState),
    limits=LIMIT_SETS,
    started_at=st.none() | st.just(T0),
    last_activity_at=st.none() | MOMENTS,
    warned_for=st.none() | MOMENTS,
    extended_until=st.none() | MOMENTS,
    extensions_used=st.integers(0, 3),
    stopped_at=st.none(),
    task_open=st.sampled_from([None, True, True, False]),
    task_deadline=st.none() | MOMENTS,
    legal_hold=st.booleans(),
)


@spec("LC-2", "LC-5")
@given(FACTS, MOMENTS)
def test_one_step_keeps_every_promise(facts, now) -> None:
    step = next_transition(facts, now)
    assert step == next_transition(facts, now)
    assert step.next_check_at is None or step.next_check_at > now
    end = runtime_end(facts)
    wants_running = facts.desired is Desired.RUNNING
    if wants_running and end is not None and now >= end:
        assert step.kind in {TransitionKind.STOP, TransitionKind.DELETE}
    if step.kind is TransitionKind.STOP and step.reason_code == "idle":
        idle_at = idle_deadline(facts)
        assert idle_at is not None
        assert now >= idle_at
    if step.kind is TransitionKind.DELETE:
        assert facts.owner_kind != "human"
        assert not facts.legal_hold
    if step.kind is TransitionKind.WARN:
        again = next_transition(replace(facts, warned_for=step.deadline), now)
        assert again.kind is TransitionKind.NONE
        assert again.next_check_at == step.deadline
    if end is None and facts.owner_kind == "human":
        assert step.kind is TransitionKind.NONE


def test_an_owner_of_an_unknown_kind_is_held_to_the_stricter_rules() -> None:
    assert next_transition(human(owner_kind="robot"), T0).kind is TransitionKind.DELETE


@spec("LC-3")
@given(FACTS, MOMENTS, st.integers(-5, 60))
def test_an_extension_moves_forward_and_stays_under_the_cap(facts, now, seconds) -> None:
    decision = extend(facts, now, seconds=seconds, justification="needed")
    if decision.extended_until is None:
        assert decision.violations
        return
    end = runtime_end(facts)
    assert end is not None
    assert now < decision.extended_until <= end
    before = idle_deadline(facts)
    assert before is None or decision.extended_until > before
    after = replace(facts, extended_until=decision.extended_until)
    if facts.owner_kind == "human" and before is not None:
        assert next_transition(after, now).kind is not TransitionKind.STOP


@spec("LC-2", "LC-3", "LC-5")
@settings(max_examples=150)
@given(
    LIMIT_SETS,
    st.lists(st.integers(0, 120), max_size=12),
    st.lists(st.integers(0, 25), max_size=6),
    st.booleans(),
)
def test_a_run_looked_at_only_when_it_asks_for_it_always_ends_in_time(
    limits, activity, delays, first_seen
) -> None:
    """Simulated time: activity comes when it comes, and the loop may be late by some seconds."""
    now, looks = T0, 0
    facts = human(limits=limits, last_activity_at=T0 if first_seen else None)
    warned_at: datetime | None = None
    while True:
        looks += 1
        assert looks < 200, "it must end"
        step = next_transition(facts, now)
        if step.kind is TransitionKind.STOP:
            break
        if step.kind is TransitionKind.WARN:
            facts, warned_at = replace(facts, warned_for=step.deadline), now
        assert step.next_check_at is not None
        late = timedelta(seconds=delays[looks]) if looks < len(delays) else timedelta()
        now = step.next_check_at + late
        seen = [T0 + timedelta(seconds=s) for s in activity if T0 + timedelta(seconds=s) <= now]
        if seen and (facts.last_activity_at is None or max(seen) > facts.last_activity_at):
            facts = replace(facts, last_activity_at=max(seen))
    end = runtime_end(facts)
    assert end is not None
    assert now <= end + timedelta(seconds=max([0, *delays]))
    if step.reason_code == "idle":
        assert facts.last_activity_at is not None
        assert now >= facts.last_activity_at + timedelta(seconds=limits.idle_seconds)
        warning = timedelta(seconds=min(limits.warning_seconds, limits.idle_seconds // 2))
        if warning:
            assert warned_at is not None
            assert now - warned_at >= warning


class Lifecycle(RuleBasedStateMachine):
    """A workspace under its controller, its owner, its policy, and outages, in any order."""

    limits = LifecycleLimits(
        idle_seconds=60,
        warning_seconds=15,
        max_runtime_seconds=200,
        free_extensions=1,
        extension_seconds=40,
    )

    @initialize(of_agent=st.booleans(), known=st.booleans())
    def begin(self, of_agent, known) -> None:
        self.now = T0
        self.warnings: dict[datetime, int] = {}
        self.promised: datetime | None = None
        self.facts = human(
            limits=self.limits,
            owner_kind="agent" if of_agent else "human",
            last_activity_at=T0 if known else None,
            task_open=True if of_agent else None,
            task_deadline=T0 + timedelta(seconds=300) if of_agent else None,
        )

    @property
    def running(self) -> bool:
        return self.facts.desired is Desired.RUNNING

    @rule(seconds=st.integers(1, 50))
    def time_passes(self, seconds) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def wait_for_the_next_check(self) -> None:
        check = next_transition(self.facts, self.now).next_check_at
        if check is not None:
            self.now = check

    @precondition(lambda self: self.running)
    @rule()
    def somebody_works(self) -> None:
        self.facts = replace(self.facts, last_activity_at=self.now)

    @precondition(lambda self: self.running)
    @rule(seconds=st.integers(1, 60), why=st.sampled_from(["", "a build"]))
    def the_owner_extends(self, seconds, why) -> None:
        decision = extend(self.facts, self.now, seconds=seconds, justification=why)
        if decision.allowed:
            assert why or self.facts.extensions_used < self.limits.free_extensions
            self.facts = replace(
                self.facts,
                extended_until=decision.extended_until,
                extensions_used=self.facts.extensions_used + 1,
            )

    @rule(idle=st.integers(10, 90), runtime=st.integers(50, 250))
    def policy_changes(self, idle, runtime) -> None:
        limits = replace(self.limits, idle_seconds=idle, max_runtime_seconds=runtime)
        self.facts = replace(self.facts, limits=limits)

    @precondition(lambda self: self.facts.task_open)
    @rule()
    def the_task_ends(self) -> None:
        self.facts = replace(self.facts, task_open=False)

    @rule()
    def the_controller_looks(self) -> None:
        step = next_transition(self.facts, self.now)
        match step.kind:
            case TransitionKind.WARN:
                assert step.deadline is not None
                self.warnings[step.deadline] = self.warnings.get(step.deadline, 0) + 1
                self.promised = step.deadline
                self.facts = replace(self.facts, warned_for=step.deadline)
            case TransitionKind.STOP:
                self.check_stop(step.reason_code)
                self.facts = replace(
                    self.facts,
                    desired=Desired.STOPPED,
                    observed=WorkspaceState.STOPPED,
                    stopped_at=self.now,
                )
            case TransitionKind.DELETE:
                assert self.facts.owner_kind == "agent"
                self.facts = replace(
                    self.facts, desired=Desired.DELETED, observed=WorkspaceState.DELETED
                )

    def check_stop(self, reason: str) -> None:
        if reason == "idle":
            idle_at = idle_deadline(self.facts)
            assert idle_at is not None
            assert self.now >= idle_at
            assert self.promised is not None
            assert self.promised <= self.now
        else:
            end = runtime_end(self.facts)
            assert end is not None
            assert self.now >= end

    @precondition(lambda self: self.facts.desired is Desired.STOPPED)
    @rule()
    def the_owner_starts_again(self) -> None:
        over = self.facts.owner_kind == "agent" and self.facts.task_open is not True
        if not over:
            self.promised = None
            self.facts = replace(
                self.facts,
                desired=Desired.RUNNING,
                observed=WorkspaceState.RUNNING,
                started_at=self.now,
                last_activity_at=self.now,
                extended_until=None,
                extensions_used=0,
            )

    @invariant()
    def nobody_is_warned_twice_for_the_same_deadline(self) -> None:
        if hasattr(self, "warnings"):
            assert all(count == 1 for count in self.warnings.values())

    @invariant()
    def nothing_starts_by_itself_and_no_check_lies_in_the_past(self) -> None:
        if hasattr(self, "facts"):
            step = next_transition(self.facts, self.now)
            assert step.next_check_at is None or step.next_check_at > self.now
            if not self.running:
                assert step.kind in {TransitionKind.NONE, TransitionKind.DELETE}
            elif step.kind is not TransitionKind.DELETE:
                assert step.next_check_at is not None or step.kind is TransitionKind.STOP


TestLifecycle = spec("LC-2", "LC-3", "LC-5", "LC-6")(Lifecycle.TestCase)
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=30)
