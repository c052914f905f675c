"""Tasks: what an agent is for, in which repositories, in which tier, and until when.

An agent never exists for its own sake. Its credential, its workspaces and its grants hang on one
task, and when the task ends, for whatever reason, they end too. A task ends once: it is completed,
it failed, somebody cancelled it, or its deadline passed. The last of these needs nobody to notice:
it is computed whenever the task is looked at.

Source: Spec AG-2, ID-6, LC-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from charter.core.agents.tiers import Tier
from charter.core.kernel.errors import ConflictError


class TaskState(StrEnum):
    """Where a task stands; every state but `open` is final."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed-out"


class TaskEvent(StrEnum):
    """What can happen to an open task."""

    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    TIME_OUT = "time-out"


_OUTCOME = {
    TaskEvent.COMPLETE: TaskState.COMPLETED,
    TaskEvent.FAIL: TaskState.FAILED,
    TaskEvent.CANCEL: TaskState.CANCELLED,
    TaskEvent.TIME_OUT: TaskState.TIMED_OUT,
}


@dataclass(frozen=True, slots=True)
class TaskScope:
    """One task: the repositories it may touch, the tier it may use, the time it has."""

    id: str
    repositories: frozenset[str]
    tier: Tier
    deadline: datetime
    state: TaskState = TaskState.OPEN


def task_state(task: TaskScope, now: datetime) -> TaskState:
    """The state as of `now`: an open task whose deadline has come is timed out."""
    if task.state is TaskState.OPEN and now >= task.deadline:
        return TaskState.TIMED_OUT
    return task.state


def task_open(task: TaskScope, now: datetime) -> bool:
    """Whether the agent of this task may still act."""
    return task_state(task, now) is TaskState.OPEN


def next_task_state(task: TaskScope, event: TaskEvent, now: datetime) -> TaskState:
    """The state after `event`. Saying the same thing twice is no error.

    Raises ConflictError when the task has already ended in another way: an outcome is evidence and
    is not rewritten.
    """
    current = task_state(task, now)
    outcome = _OUTCOME[event]
    if current in (TaskState.OPEN, outcome):
        return outcome
    raise ConflictError(
        f"The task has already ended ({current}); it cannot become {outcome}.",
        fix="Start a new task; the outcome of an ended one stays as it is.",
        code="task-ended",
    )
