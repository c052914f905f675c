"""Leading reality to what was decided: which call to the provider comes next.

Every decision about a workspace raises its *generation*. A provider says with each observation
which generation it has seen. From the two states and the two numbers follows one action, and the
same action follows however often and by however many controllers the question is asked, so that
repeating it after a crash is safe.

A start that failed is not tried for ever: for the same generation the failure stands, and a new
decision (a person starts it again) is a new generation. A workspace that is merely gone while
it should run (the host restarted) is started again.

Source: Spec LC-1; the generation number: design, rule 6.
"""

from __future__ import annotations

from charter.core.lifecycle.states import Action, Desired, WorkspaceState

_S = WorkspaceState


def converge(
    desired: Desired, observed: WorkspaceState, generation: int, observed_generation: int
) -> Action:
    """The next call to the provider.

    An observation from the future (`observed_generation` larger) means that the caller works from
    stale facts: it must do nothing and read again.
    """
    if observed is _S.DELETED or observed_generation > generation:
        return Action.NONE
    current = observed_generation == generation
    if desired is Desired.DELETED:
        return Action.OBSERVE if observed is _S.DELETING and current else Action.DELETE
    if observed is _S.DELETING:  # a deletion is never turned back half-way
        return Action.OBSERVE
    if desired is Desired.RUNNING:
        return _towards_running(observed, current=current)
    return _towards_stopped(observed, current=current)


def _towards_running(observed: WorkspaceState, *, current: bool) -> Action:
    if observed is _S.STOPPING:  # let it come to rest first
        return Action.OBSERVE
    if not current or observed in (_S.PENDING, _S.STOPPED):
        return Action.START
    return Action.OBSERVE if observed is _S.STARTING else Action.NONE


def _towards_stopped(observed: WorkspaceState, *, current: bool) -> Action:
    if not current or observed in (_S.RUNNING, _S.STARTING, _S.PENDING):
        return Action.STOP
    return Action.OBSERVE if observed is _S.STOPPING else Action.NONE
