"""What an approved request leads to, by the action that its `pending` names.

An *executor* does what was asked for, in the requester's name and in the transaction of the last
vote. It decides anew, with the grant among the facts, and answers with a sentence for the requester
and the id of what was made; without an id, it was not done, and the sentence says why. What raises
is undone; the approval and the grant stand.

A kind of request that comes anew gets one entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from charter.core.approvals.grants import Grant
from charter.services import agents, elevations, production, quota_overrides, workspaces
from charter.services.decisions import Answer
from charter.services.grant_records import RENEW
from charter.services.grant_renewal import carry_on
from charter.services.runtime import Caller, Runtime
from charter.services.workspace_questions import WorkspaceRequest
from charter.store.unit_of_work import Tx

Executor = Callable[[Runtime, Tx, Caller, Mapping[str, Any], Grant], tuple[str, str | None]]


def execute(
    rt: Runtime, tx: Tx, requester: Caller, pending: Mapping[str, Any], grant: Grant
) -> tuple[str, str | None]:
    """Carry `pending` out for its requester, under this grant."""
    executor = EXECUTORS.get(pending["action"])
    if executor is None:
        return f"Nobody knows how to carry out {pending['action']!r}.", None
    return executor(rt, tx, requester, pending, grant)


def _said(answer: Answer, result: str | None, done: str) -> tuple[str, str | None]:
    if result is None:
        return f"It could not be carried out: {answer.decision.explain()}", None
    return done, result


def _create_workspace(
    rt: Runtime, tx: Tx, requester: Caller, pending: Mapping[str, Any], _grant: Grant
) -> tuple[str, str | None]:
    request = WorkspaceRequest(**pending["request"])
    answer, made = workspaces.create_in(rt, tx, requester, request)
    return _said(answer, made, "The workspace is being started.")


def _start_workspace(
    rt: Runtime, tx: Tx, requester: Caller, pending: Mapping[str, Any], _grant: Grant
) -> tuple[str, str | None]:
    answer, started = workspaces.start_in(rt, tx, requester, pending["workspace_id"])
    return _said(answer, started, "The workspace is being started.")


def _create_agent(
    rt: Runtime, tx: Tx, requester: Caller, pending: Mapping[str, Any], _grant: Grant
) -> tuple[str, str | None]:
    answer, made = agents.create_in(rt, tx, requester, pending["request"])
    done = "The agent exists; its sponsor takes its credential: charter agent credential."
    return _said(answer, made, done)


def _enter_production(
    rt: Runtime, tx: Tx, requester: Caller, pending: Mapping[str, Any], grant: Grant
) -> tuple[str, str | None]:
    return production.create_in(rt, tx, requester, pending["request"], grant)


def _raise_quota(
    rt: Runtime, tx: Tx, requester: Caller, pending: Mapping[str, Any], grant: Grant
) -> tuple[str, str | None]:
    return quota_overrides.create_in(rt, tx, requester, pending["request"], grant)


def _elevate_agent(
    rt: Runtime, tx: Tx, requester: Caller, pending: Mapping[str, Any], grant: Grant
) -> tuple[str, str | None]:
    return elevations.create_in(rt, tx, requester, pending["request"], grant)


EXECUTORS: Final[dict[str, Executor]] = {
    "workspace.create": _create_workspace,
    "workspace.start": _start_workspace,
    "agent.create": _create_agent,
    "production.access": _enter_production,
    "quota.request": _raise_quota,
    "agent.elevate": _elevate_agent,
    RENEW: carry_on,
}
