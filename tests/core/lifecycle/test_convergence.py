"""From wanted and seen to the next call: it always arrives, and never fights a decision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.lifecycle.convergence import converge
from charter.core.lifecycle.states import Action, Desired, WorkspaceState
from tests.spec import spec

S, D, A = WorkspaceState, Desired, Action

# observed, wanted, next call when the observation is of this generation, and of an older one
TABLE = [
    (S.PENDING, D.RUNNING, A.START, A.START),
    (S.STARTING, D.RUNNING, A.OBSERVE, A.START),
    (S.RUNNING, D.RUNNING, A.NONE, A.START),
    (S.STOPPING, D.RUNNING, A.OBSERVE, A.OBSERVE),
    (S.STOPPED, D.RUNNING, A.START, A.START),
    (S.FAILED, D.RUNNING, A.NONE, A.START),
    (S.DELETING, D.RUNNING, A.OBSERVE, A.OBSERVE),
    (S.DELETED, D.RUNNING, A.NONE, A.NONE),
    (S.PENDING, D.STOPPED, A.STOP, A.STOP),
    (S.STARTING, D.STOPPED, A.STOP, A.STOP),
    (S.RUNNING, D.STOPPED, A.STOP, A.STOP),
    (S.STOPPING, D.STOPPED, A.OBSERVE, A.STOP),
    (S.STOPPED, D.STOPPED, A.NONE, A.STOP),
    (S.FAILED, D.STOPPED, A.NONE, A.STOP),
    (S.DELETING, D.STOPPED, A.OBSERVE, A.OBSERVE),
    (S.DELETED, D.STOPPED, A.NONE, A.NONE),
    (S.PENDING, D.DELETED, A.DELETE, A.DELETE),
    (S.STARTING, D.DELETED, A.DELETE, A.DELETE),
    (S.RUNNING, D.DELETED, A.DELETE, A.DELETE),
    (S.STOPPING, D.DELETED, A.DELETE, A.DELETE),
    (S.STOPPED, D.DELETED, A.DELETE, A.DELETE),
    (S.FAILED, D.DELETED, A.DELETE, A.DELETE),
    (S.DELETING, D.DELETED, A.OBSERVE, A.DELETE),
    (S.DELETED, D.DELETED, A.NONE, A.NONE),
]


def test_the_table_is_complete() -> None:
    assert {(seen, wanted) for seen, wanted, _, _ in TABLE} == {(s, d) for s in S for d in D}


@spec("LC-1")
@pytest.mark.parametrize(("seen", "wanted", "current", "older"), TABLE)
def test_the_next_call(seen, wanted, current, older) -> None:
    assert converge(wanted, seen, 3, 3) is current
    assert converge(wanted, seen, 3, 2) is older
    assert converge(wanted, seen, 3, 4) is Action.NONE  # stale facts do nothing


# What a provider that works shows after a call, and what it shows when looked at again later.
AFTER_CALL = {A.START: S.STARTING, A.STOP: S.STOPPING, A.DELETE: S.DELETING}
SETTLES = {S.STARTING: S.RUNNING, S.STOPPING: S.STOPPED, S.DELETING: S.DELETED}
GOAL = {D.RUNNING: S.RUNNING, D.STOPPED: S.STOPPED, D.DELETED: S.DELETED}


@spec("LC-1")
@given(st.sampled_from(S), st.sampled_from(D), st.booleans())
def test_a_provider_that_works_arrives_where_it_should(seen, wanted, current) -> None:
    start, generation, observed_generation = seen, 2, 2 if current else 1
    for _ in range(6):
        action = converge(wanted, seen, generation, observed_generation)
        if action is A.NONE:
            break
        if action is A.OBSERVE:
            seen = SETTLES[seen]
        else:
            seen, observed_generation = AFTER_CALL[action], generation
    else:
        pytest.fail("it never comes to rest")
    if start in {S.DELETING, S.DELETED}:
        assert seen is S.DELETED
    elif start is S.FAILED and current and wanted is not D.DELETED:
        assert seen is S.FAILED  # the same start is not tried for ever
    else:
        assert seen is GOAL[wanted]
