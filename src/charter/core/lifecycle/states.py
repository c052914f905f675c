"""The words of a workspace's life: what is wanted of it and what is seen of it.

`Desired` is a decision (somebody's, or a policy's) and only a decision changes it.
`WorkspaceState` is an observation and only the provider's answer changes it. The two are kept apart
so that a crash between deciding and doing loses nothing: whoever comes next sees the difference and
closes it (`convergence.converge`).

Source: Spec LC-1.
"""

from __future__ import annotations

from enum import StrEnum


class WorkspaceState(StrEnum):
    """What was last observed."""

    PENDING = "pending"  # decided and recorded, nothing done yet
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"  # nothing runs; the home is kept
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"  # nothing is left


class Desired(StrEnum):
    """What was decided."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


class Action(StrEnum):
    """What a controller has to ask of the provider next."""

    NONE = "none"
    START = "start"
    STOP = "stop"
    DELETE = "delete"
    OBSERVE = "observe"  # something is under way: look again, change nothing
