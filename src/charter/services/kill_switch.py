"""The sharp end of the kill switch: many sandboxes at once, straight through the provider.

No queue stands between the order and the kernel. The queue stands behind: what cannot be killed
here is reported, and the executors, for whom the effect was left, go on trying.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from charter.adapters.workspaces.port import ProviderError
from charter.core.lifecycle.states import WorkspaceState
from charter.services import quotas
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_KILLERS: Final = 16  # sandboxes killed at the same time; a kill is a few system calls


def kill_sandboxes(rt: Runtime, targets: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Kill each (workspace id, generation) and report on each; an error is a part of its report."""
    with ThreadPoolExecutor(max_workers=_KILLERS) as pool:
        return list(pool.map(lambda target: _kill_one(rt, *target), targets))


def _kill_one(rt: Runtime, workspace_id: str, generation: int) -> dict[str, Any]:
    try:
        report = rt.provider.kill(workspace_id, generation)
    except ProviderError as error:  # the outbox goes on trying; the answer says what happened
        return {"id": workspace_id, "generation": generation, "error": error.message}
    return {
        "id": workspace_id,
        "generation": generation,
        "processes": report.processes_before,
        "survivors": report.survivors,
        "milliseconds": report.milliseconds,
    }


def write_stopped(tx: Tx, report: dict[str, Any]) -> None:
    """Write down that a killed workspace is stopped, unless something newer was decided."""
    c = t.workspaces.c
    if tx.update(
        t.workspaces,
        c.id == report["id"],
        c.generation == report["generation"],
        observed=WorkspaceState.STOPPED.value,
        observed_generation=report["generation"],
        stopped_at=tx.now,
        next_check_at=None,
    ):
        quotas.release(tx, report["id"], stopped_only=True)
