"""Make a workspace what it should be, and write down what was seen.

`converge` is what the outbox executes. It reads the decided state, asks the provider for exactly
that under the decided generation, and writes the observation only if nobody has decided anything
newer meanwhile. It is idempotent: after a crash anywhere in it the same effect runs again and finds
either the work undone or already done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from charter.adapters.workspaces.port import (
    CapabilityMissingError,
    Observation,
    ProviderError,
    ProviderUnavailableError,
    SandboxSpec,
    SandboxState,
    StaleGenerationError,
)
from charter.core.audit.event import ActorRef, AuditEvent, Outcome, Scalar
from charter.core.lifecycle.states import Desired, WorkspaceState
from charter.core.lifecycle.transition import next_transition
from charter.services import quotas
from charter.services.lifecycle import facts_of_workspace
from charter.services.runtime import Runtime
from charter.services.workspace_records import writable
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

MOST_ATTEMPTS: Final = 5  # then it is a failure that a person should see, not a glitch
EXECUTOR: Final = ActorRef("system", "executor")


@dataclass(frozen=True, slots=True)
class Converged:
    """How one effect ended. `retry` asks for another attempt, because of `error`."""

    done: bool
    error: str = ""


def spec_of(rt: Runtime, tx: Tx, row: Row) -> SandboxSpec:
    """What the provider is asked to run."""
    data = rt.policy.active(tx).data
    template = tx.one(
        sa.select(t.templates.c.environment).where(t.templates.c.id == row["template_id"])
    )
    required = set(data.required_capabilities["all"])
    if row["owner_kind"] == "agent":
        required |= set(data.required_capabilities["agent"])
    return SandboxSpec(
        workspace_id=row["id"],
        hostname=row["name"][:63],
        vcpu=row["vcpu"],
        memory_mib=row["memory_mib"],
        disk_mib=row["disk_mib"],
        max_processes=rt.settings.workspace_processes,
        writable=writable(row["tier"]),
        network=row["network"],
        environment={
            **({} if template is None else template["environment"]),
            "CHARTER_WORKSPACE": row["id"],
            "CHARTER_URL": rt.settings.url,
        },
        require=frozenset(required),
    )


def converge(rt: Runtime, tx: Tx, workspace_id: str, generation: int, attempts: int) -> Converged:
    """Bring one workspace to the state that `generation` decided."""
    row = tx.one(sa.select(t.workspaces).where(t.workspaces.c.id == workspace_id))
    if row is None or row["generation"] != generation:
        return Converged(done=True)  # something newer was decided and left its own effect
    desired = Desired(row["desired"])
    try:
        match desired:
            case Desired.RUNNING:
                seen = rt.provider.ensure_running(spec_of(rt, tx, row), generation)
                tx.now = rt.now()  # the provider took its time: what follows was seen now
                _running(rt, tx, row, seen)
            case Desired.STOPPED:
                rt.provider.stop(workspace_id, generation)
                tx.now = rt.now()
                _stopped(tx, row)
            case Desired.DELETED:
                rt.provider.delete(workspace_id, generation)
                tx.now = rt.now()
                _deleted(tx, row)
    except StaleGenerationError:
        return Converged(done=True)
    except ProviderError as error:
        final = isinstance(error, (CapabilityMissingError, ProviderUnavailableError))
        if desired is Desired.RUNNING and (final or attempts + 1 >= MOST_ATTEMPTS):
            failed(tx, row, f"{error.message} {error.fix}")
            return Converged(done=True, error=error.message)
        _still(tx, row, f"{error.message} Trying again.")
        return Converged(done=False, error=error.message)
    return Converged(done=True)


def _guard(row: Row) -> tuple[sa.ColumnElement[bool], ...]:
    c = t.workspaces.c
    return (c.id == row["id"], c.generation == row["generation"])


def _running(rt: Runtime, tx: Tx, row: Row, seen: Observation) -> None:
    if seen.state is not SandboxState.RUNNING:
        raise ProviderError(f"The sandbox did not start: {seen.detail or seen.state}.", fix="")
    again = row["observed"] == WorkspaceState.RUNNING and row["started_at"] == seen.started_at
    if not tx.update(
        t.workspaces,
        *_guard(row),
        observed=WorkspaceState.RUNNING.value,
        observed_generation=row["generation"],
        started_at=seen.started_at,
        stopped_at=None,
        state_reason="Running.",
        notices=list(seen.notices),
        warned_for=None,
        next_check_at=tx.now,
    ):
        return
    if not again:
        _record(tx, row, "workspace.running", {"generation": row["generation"]})
    fresh = tx.one(sa.select(t.workspaces).where(t.workspaces.c.id == row["id"]))
    if fresh is not None:
        due = next_transition(facts_of_workspace(rt, tx, fresh), tx.now)
        if due.kind.value == "none":
            tx.update(t.workspaces, *_guard(row), next_check_at=due.next_check_at)


def _stopped(tx: Tx, row: Row) -> None:
    if not tx.update(
        t.workspaces,
        *_guard(row),
        observed=WorkspaceState.STOPPED.value,
        observed_generation=row["generation"],
        stopped_at=tx.now,
        next_check_at=None if row["agent_id"] is None else tx.now,
    ):
        return
    quotas.release(tx, row["id"], stopped_only=True)
    _record(tx, row, "workspace.stopped-seen", {"generation": row["generation"]})


def _deleted(tx: Tx, row: Row) -> None:
    if not tx.update(
        t.workspaces,
        *_guard(row),
        observed=WorkspaceState.DELETED.value,
        observed_generation=row["generation"],
        stopped_at=tx.now,
        deleted_at=tx.now,
        next_check_at=None,
    ):
        return
    quotas.release(tx, row["id"])
    _record(tx, row, "workspace.deleted-seen", {"generation": row["generation"]})


def _still(tx: Tx, row: Row, reason: str) -> None:
    tx.update(t.workspaces, *_guard(row), state_reason=reason[:2000])


def failed(tx: Tx, row: Row, reason: str) -> None:
    """The workspace could not be run: say so, give the running quota back, tell the owner."""
    if not tx.update(
        t.workspaces,
        *_guard(row),
        desired=Desired.STOPPED.value,
        observed=WorkspaceState.FAILED.value,
        observed_generation=row["generation"],
        stopped_by="provider",
        state_reason=reason[:2000],
        stopped_at=tx.now,
        next_check_at=None if row["agent_id"] is None else tx.now,
    ):
        return
    quotas.release(tx, row["id"], stopped_only=True)
    tx.insert_new(
        t.notices,
        id=tx.new_id("notice"),
        person_id=row["sponsor_id"],
        kind="workspace-failed",
        message=f"{row['name']} does not run: {reason}"[:2000],
        resource_kind="workspace",
        resource_id=row["id"],
        dedupe_key=f"failed:{row['id']}:{row['generation']}",
        created_at=tx.now,
    )
    _record(tx, row, "workspace.failed", {"generation": row["generation"]}, Outcome.FAILED)


def _record(
    tx: Tx,
    row: Row,
    action: str,
    facts: dict[str, Scalar],
    outcome: Outcome = Outcome.DONE,
) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=EXECUTOR,
            action=action,
            resource_kind="workspace",
            resource_id=row["id"],
            outcome=outcome,
            facts=facts,
        )
    )
