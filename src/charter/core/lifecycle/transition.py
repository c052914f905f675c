"""When a workspace is warned, stopped or deleted without anybody asking for it.

`next_transition` takes what is known about one workspace and the time, and answers with one step
and with the moment at which to ask again. It keeps nothing: ask it twice and it answers twice
the same; ask it late, after an outage, and it answers what is right now.

The rules, strongest first:

1. **Task.** An agent's workspace is deleted when its task is closed or past its deadline. With a
   legal hold it is stopped instead, and kept.
2. **Maximum runtime** holds whatever the activity and whatever was extended. An agent's workspace
   that reaches it is deleted, a person's is stopped with its home kept. What runs by an approval
   (a GPU, a wider tier) is stopped when the approval ends.
3. **Idle.** A workspace is stopped when its idle time is up. Unknown activity is not idleness: when
   no signal has been seen, this rule is silent (rule 2 is not).
4. **Warning.** Every such step is announced beforehand. For the idle stop the announcement is a
   promise: the stop never comes earlier than the announced moment. When the warning is late
   (nothing looked for a while, or a policy shortened the limit), the stop moves back so that the
   owner still has the full warning time; only rules 1 and 2 cut it short.

An extension moves the idle deadline and nothing else. Nothing here ever starts a workspace: what a
policy stopped is started again by a person or a policy, not by a clock.

Deadlines move later when activity is seen, so asking at `next_check_at` is soon enough. What can
move one *earlier* (a changed limit or deadline, a closed task, the first known activity, a changed
state or legal hold) must set the workspace's check time to now.

Source: Spec LC-2, LC-3, LC-5, LC-6; unknown is not idle, and policy stops last: design, rule 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from charter.core.kernel.decision import Effect, Violation
from charter.core.kernel.units import show_seconds
from charter.core.lifecycle.states import Desired, WorkspaceState


class TransitionKind(StrEnum):
    """What a clock can do to a workspace."""

    NONE = "none"
    WARN = "warn"
    STOP = "stop"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class LifecycleLimits:
    """The figures, from policy data. All in seconds, all positive but `warning_seconds` (0: none).

    `free_extensions` is how many need no reason; `extension_seconds` the most one may add.
    """

    idle_seconds: int
    warning_seconds: int
    max_runtime_seconds: int
    free_extensions: int
    extension_seconds: int

    def __post_init__(self) -> None:
        positive = (self.idle_seconds, self.max_runtime_seconds, self.extension_seconds)
        if min(positive) <= 0 or self.warning_seconds < 0 or self.free_extensions < 0:
            raise ValueError("lifecycle limits must be positive")


@dataclass(frozen=True, slots=True)
class LifecycleFacts:
    """What is known about one workspace.

    `started_at` is when the present run began; it counts only while something runs, so that what
    remains of an earlier run ends nothing. `last_activity_at` None means that nothing is known.
    `warned_for` is the deadline that the last warning announced. `extended_until` is where the
    owner moved the idle deadline. `task_open` and `task_deadline` belong to agents' workspaces; an
    agent's workspace of which no open task is known counts as one whose task is closed.
    `approved_until` is when the approval ends on which the run stands; None where it needs none.
    """

    workspace_id: str
    owner_kind: str
    desired: Desired
    observed: WorkspaceState
    limits: LifecycleLimits
    started_at: datetime | None = None
    last_activity_at: datetime | None = None
    warned_for: datetime | None = None
    extended_until: datetime | None = None
    extensions_used: int = 0
    stopped_at: datetime | None = None
    task_open: bool | None = None
    task_deadline: datetime | None = None
    legal_hold: bool = False
    approved_until: datetime | None = None

    @property
    def of_agent(self) -> bool:
        """Whether an agent owns it; anything but a known human is held to the stricter rules."""
        return self.owner_kind != "human"

    @property
    def running_since(self) -> datetime | None:
        """When the present run began; None while nothing runs. A failed run may still be there."""
        present = self.observed in (WorkspaceState.RUNNING, WorkspaceState.FAILED)
        return self.started_at if present else None


@dataclass(frozen=True, slots=True)
class Transition:
    """One step: what, why (a code and a sentence), which deadline it is about, when to ask again.

    `next_check_at` lies after the moment that was asked about, or is None when no clock can change
    anything any more. After a warning, `deadline` is what to keep as `warned_for`.
    """

    kind: TransitionKind
    reason_code: str
    message: str
    deadline: datetime | None = None
    next_check_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Deadline:
    at: datetime
    reason: str
    kind: TransitionKind


def _after(moment: datetime, seconds: int) -> datetime:
    return moment + timedelta(seconds=seconds)


def runtime_end(facts: LifecycleFacts) -> datetime | None:
    """When the present run ends at the latest; None when nothing runs."""
    if facts.running_since is None:
        return None
    return _after(facts.running_since, facts.limits.max_runtime_seconds)


def idle_deadline(facts: LifecycleFacts) -> datetime | None:
    """When the workspace counts as idle, extension included; None when activity is unknown."""
    if facts.running_since is None or facts.last_activity_at is None:
        return None
    since = max(facts.last_activity_at, facts.running_since)
    deadline = _after(since, facts.limits.idle_seconds)
    if facts.extended_until is not None:
        deadline = max(deadline, facts.extended_until)
    return deadline


def _warning(facts: LifecycleFacts) -> timedelta:
    """How long before a stop it is announced.

    At most half of the idle time: with a very short limit a longer warning would stand from the
    first second on and would warn of nothing.
    """
    limits = facts.limits
    return timedelta(seconds=min(limits.warning_seconds, limits.idle_seconds // 2))


def _deadline(facts: LifecycleFacts, now: datetime) -> _Deadline | None:
    """The earliest moment at which a clock ends this run, and why."""
    ends = TransitionKind.DELETE if facts.of_agent and not facts.legal_hold else TransitionKind.STOP
    hard: list[_Deadline] = []
    if facts.of_agent and facts.task_deadline is not None:
        hard.append(_Deadline(facts.task_deadline, "task-deadline", ends))
    run_end = runtime_end(facts)
    if run_end is not None:
        hard.append(_Deadline(run_end, "max-runtime", ends))
    if facts.approved_until is not None and facts.running_since is not None:
        hard.append(_Deadline(facts.approved_until, "approval-ended", TransitionKind.STOP))
    earliest = min(hard, key=lambda deadline: deadline.at, default=None)

    idle_at = idle_deadline(facts)
    if idle_at is None:
        return earliest
    # A warning from an earlier run lies before this run's idle deadline, so it promises nothing.
    if facts.warned_for is not None and facts.warned_for > idle_at:
        idle_at = facts.warned_for
    elif facts.warned_for != idle_at:  # not announced yet: the full warning time is still owed
        idle_at = max(idle_at, now + _warning(facts))
    if earliest is not None and earliest.at <= idle_at:
        return earliest
    return _Deadline(idle_at, "idle", TransitionKind.STOP)


_REASONS = {
    "idle": "it has been idle for {idle}",
    "max-runtime": "it has run for {runtime}, the longest that any activity or extension allows",
    "approval-ended": "the approval that it runs by has ended",
    "task-deadline": "the deadline of its task has passed",
    "task-closed": "its task is closed",
}
_ANNOUNCED = {
    "idle": "it is idle; use it or extend it to keep it running",
    "max-runtime": "it reaches the maximum runtime of {runtime}, which cannot be extended",
    "approval-ended": "the approval that it runs by ends; ask for it again if it is still needed",
    "task-deadline": "the deadline of its task comes",
}


def _because(facts: LifecycleFacts, texts: dict[str, str], reason: str) -> str:
    return texts[reason].format(
        idle=show_seconds(facts.limits.idle_seconds),
        runtime=show_seconds(facts.limits.max_runtime_seconds),
    )


def _end(facts: LifecycleFacts, reason: str, kind: TransitionKind, at: datetime) -> Transition:
    verb = "deleted" if kind is TransitionKind.DELETE else "stopped"
    # A stopped agent workspace still waits for the end of its task; nothing else is to come.
    waits = facts.of_agent and reason in ("idle", "approval-ended")
    later = facts.task_deadline if waits else None
    return Transition(
        kind=kind,
        reason_code=reason,
        message=f"The workspace is {verb}: {_because(facts, _REASONS, reason)}.",
        deadline=at,
        next_check_at=later,
    )


def _nothing(
    reason: str,
    message: str,
    deadline: datetime | None = None,
    next_check_at: datetime | None = None,
) -> Transition:
    return Transition(TransitionKind.NONE, reason, message, deadline, next_check_at)


def _task_over(facts: LifecycleFacts, now: datetime) -> Transition | None:
    """The end of an agent's workspace by its task, if that has come."""
    if not facts.of_agent:
        return None
    late = facts.task_deadline is not None and now >= facts.task_deadline
    if facts.task_open is True and not late:
        return None
    reason = "task-deadline" if facts.task_open is True else "task-closed"
    if not facts.legal_hold:
        return _end(facts, reason, TransitionKind.DELETE, now)
    if facts.desired is Desired.RUNNING:
        return _end(facts, reason, TransitionKind.STOP, now)
    return _nothing(
        "legal-hold", "The task is over; a legal hold keeps the workspace from deletion."
    )


def next_transition(facts: LifecycleFacts, now: datetime) -> Transition:
    """The one step that is due for this workspace at `now`, and when to ask again."""
    gone = (WorkspaceState.DELETING, WorkspaceState.DELETED)
    if facts.desired is Desired.DELETED or facts.observed in gone:
        return _nothing("deleted", "The workspace is deleted.")
    over = _task_over(facts, now)
    if over is not None:
        return over
    task_end = facts.task_deadline if facts.of_agent else None
    if facts.desired is Desired.STOPPED:
        return _nothing("stopped", "The workspace is stopped.", None, task_end)
    end = _deadline(facts, now)
    if end is None or facts.running_since is None:
        return _nothing("not-running", "The workspace is not running yet.", task_end, task_end)
    return _while_running(facts, end, now)


def _while_running(facts: LifecycleFacts, end: _Deadline, now: datetime) -> Transition:
    if now >= end.at:
        return _end(facts, end.reason, end.kind, end.at)
    warn_at = end.at - _warning(facts)
    if now < warn_at:
        unknown = end.reason != "idle" and facts.last_activity_at is None
        return _nothing(
            "activity-unknown" if unknown else "active",
            "No activity signal has been seen, which does not count as idle."
            if unknown
            else "The workspace is within its limits.",
            end.at,
            warn_at,
        )
    if facts.warned_for == end.at:
        return _nothing("warned", "The owner has been warned.", end.at, end.at)
    verb = "deleted" if end.kind is TransitionKind.DELETE else "stopped"
    left = show_seconds(int((end.at - now).total_seconds()))
    return Transition(
        kind=TransitionKind.WARN,
        reason_code=end.reason,
        message=f"The workspace will be {verb} in {left}: "
        f"{_because(facts, _ANNOUNCED, end.reason)}.",
        deadline=end.at,
        next_check_at=end.at,
    )


@dataclass(frozen=True, slots=True)
class ExtensionDecision:
    """Whether an extension is given, until when, and what it cost.

    `free` is False when it took a justification; `capped` is True when the maximum runtime or the
    task's deadline cut it short. Without `violations`, `extended_until` is set.
    """

    extended_until: datetime | None
    free: bool
    capped: bool
    violations: tuple[Violation, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the extension is given."""
        return not self.violations


def _no_extension(rule: str, message: str, fix: str) -> Violation:
    return Violation(
        rule=f"invariant/extension-{rule}",
        effect=Effect.DENY,
        message=message,
        fix=fix,
        severity="low",
        source="Spec LC-3",
    )


def extend(
    facts: LifecycleFacts, now: datetime, *, seconds: int, justification: str = ""
) -> ExtensionDecision:
    """Whether the idle deadline may be moved by `seconds`, counted from where it stands now.

    The first `free_extensions` of a run need no reason, later ones need a justification. The
    maximum runtime and the task's deadline cut an extension short, and one that would add nothing
    is refused.
    """
    limits = facts.limits
    free = facts.extensions_used < limits.free_extensions
    run_end = runtime_end(facts)
    if facts.desired is not Desired.RUNNING or run_end is None:
        refusal = _no_extension(
            "not-running",
            "The workspace is not running, so there is nothing to extend.",
            "Start the workspace; its idle time then begins anew.",
        )
        return ExtensionDecision(None, free, capped=False, violations=(refusal,))
    problems: list[Violation] = []
    if not 0 < seconds <= limits.extension_seconds:
        problems.append(
            _no_extension(
                "length",
                f"An extension lasts at most {show_seconds(limits.extension_seconds)}.",
                f"Ask for 1 to {limits.extension_seconds} seconds.",
            )
        )
    if not free and not justification.strip():
        problems.append(
            _no_extension(
                "justification",
                f"The {limits.free_extensions} free extensions of this run are used up.",
                "Say what the workspace is needed for; the reason is kept in the audit trail.",
            )
        )
    cap = run_end
    if facts.of_agent and facts.task_deadline is not None:
        cap = min(cap, facts.task_deadline)
    if facts.approved_until is not None:
        cap = min(cap, facts.approved_until)
    stands_at = max(now, idle_deadline(facts) or now, facts.warned_for or now)
    if stands_at >= cap:
        problems.append(
            _no_extension(
                "cap",
                "The workspace already runs for as long as its maximum runtime, its task or its "
                "approval lets it.",
                "Save the work and start a new run afterwards.",
            )
        )
    if problems:
        return ExtensionDecision(None, free, capped=False, violations=tuple(problems))
    wanted = min(stands_at + timedelta(seconds=seconds), cap)
    capped = cap - stands_at < timedelta(seconds=seconds)
    return ExtensionDecision(wanted, free, capped)
