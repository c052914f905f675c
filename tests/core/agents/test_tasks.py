"""A task ends once, and its deadline ends it without anybody noticing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.agents.tasks import (
    TaskEvent,
    TaskScope,
    TaskState,
    next_task_state,
    task_open,
    task_state,
)
from charter.core.agents.tiers import Tier
from charter.core.kernel.errors import ConflictError
from tests.spec import spec

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
TASK = TaskScope("tsk_1", frozenset({"shop"}), Tier.SANDBOXED, NOW + timedelta(hours=1))


@spec("AG-2")
@pytest.mark.parametrize(
    ("event", "state"),
    [
        (TaskEvent.COMPLETE, TaskState.COMPLETED),
        (TaskEvent.FAIL, TaskState.FAILED),
        (TaskEvent.CANCEL, TaskState.CANCELLED),
        (TaskEvent.TIME_OUT, TaskState.TIMED_OUT),
    ],
)
def test_an_open_task_ends_as_it_is_told_and_only_once(event, state) -> None:
    assert next_task_state(TASK, event, NOW) is state
    ended = replace(TASK, state=state)
    assert not task_open(ended, NOW)
    for again in TaskEvent:
        if again is event:
            assert next_task_state(ended, again, NOW) is state
        else:
            with pytest.raises(ConflictError, match="already ended"):
                next_task_state(ended, again, NOW)


@spec("AG-2")
@given(st.integers(-7200, 7200), st.sampled_from(TaskState))
def test_the_deadline_ends_an_open_task_when_it_is_looked_at(seconds, state) -> None:
    now = TASK.deadline + timedelta(seconds=seconds)
    task = replace(TASK, state=state)
    assert task_open(task, now) == (state is TaskState.OPEN and seconds < 0)
    late = state is TaskState.OPEN and seconds >= 0
    assert task_state(task, now) is (TaskState.TIMED_OUT if late else state)


@spec("AG-2")
def test_a_task_past_its_deadline_cannot_be_completed_any_more() -> None:
    with pytest.raises(ConflictError, match="timed-out"):
        next_task_state(TASK, TaskEvent.COMPLETE, TASK.deadline)
