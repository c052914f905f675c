"""All of Charter on one machine: started together, watched, stopped together.

`charter up` is a supervisor. It brings up the embedded database (unless it was given one), runs the
preparations (migrate, bootstrap), starts the child processes and then watches: a child that ends is
started again, with a growing pause, and a database that ends is recovered. It decides nothing else.

Three promises hold whatever is killed, and however:

* One supervisor per state directory: it holds a lock that the kernel takes away with its life.
* A child never outlives its supervisor: the kernel kills it when the supervisor ends. Workspaces
  are not children; their holders go on, and are found again through the state directory.
* A start always begins clean: what an earlier, killed supervisor left is ended or adopted first.

`up`, `down`, `status` and `reset` are plain functions; the command line only words their answers.
"""

from charter.supervisor.commands import down, reset, status, up
from charter.supervisor.plan import Child, Plan, Step
from charter.supervisor.record import ProcessStatus, SystemStatus

__all__ = [
    "Child",
    "Plan",
    "ProcessStatus",
    "Step",
    "SystemStatus",
    "down",
    "reset",
    "status",
    "up",
]
