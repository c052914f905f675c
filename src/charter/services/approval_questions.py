"""What every change of a request begins with: lock it, see that it is open, and ask."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.approvals.request import ApprovalRequest, ApprovalState
from charter.core.approvals.request import state as state_of
from charter.core.kernel.errors import ConflictError
from charter.services import approval_records as records
from charter.services import approval_requests
from charter.services.access import missing
from charter.services.approval_entitlement import entitled_beside_role
from charter.services.decisions import Question
from charter.services.runtime import Caller, Runtime
from charter.store.unit_of_work import Row, Tx

_LATER: Final = timedelta(microseconds=1)


def _ref(row: Row, entitled: frozenset[str]) -> ResourceRef:
    return ResourceRef(
        "approval",
        id=row["id"],
        requester_id=row["requester_id"],
        sponsor_id=row["sponsor_id"] if row["requester_kind"] == "agent" else None,
        team_id=row["team_id"],
        project_id=row["project_id"],
        entitled_ids=entitled,
    )


def question(rt: Runtime, tx: Tx, caller: Caller, approval_id: str, action: Permission) -> Question:
    """The question whether the caller may do this to the request, which is locked from now on."""
    row, request = locked(tx, approval_id)
    # Whoever waited for the lock comes after whoever held it, whatever the time was on arrival: a
    # vote that counted as earlier would be blind to the no or the cancellation before it. No two
    # votes share a moment, so that their order is never a matter of names.
    tx.now = max((rt.now(), *(vote.at + _LATER for vote in request.votes)))
    return Question(
        caller=caller,
        action=action,
        resource=_ref(row, entitled_beside_role(records.voices_of(tx, caller), request, tx.now)),
        resource_facts={
            "spec": {
                "action": row["action"],
                "requester": row["requester_id"],
                "requester_kind": row["requester_kind"],
                "roles": sorted({role for r in row["requirements"] for role in r["roles"]}),
                "rules": sorted({r["rule"] for r in row["requirements"]}),
            }
        },
        context={},
    )


def locked(tx: Tx, approval_id: str) -> tuple[Row, ApprovalRequest]:
    """The request, locked."""
    found = approval_requests.load(tx, approval_id, lock=True)
    if found is None:
        raise missing("approval")
    return found


def refuse_settled(row: Row) -> None:
    """Raise when the request was closed: what the row says stands, whatever a clock says."""
    if row["state"] != ApprovalState.PENDING:
        raise ConflictError(
            f"The request is already settled: it is {row['state']}.",
            fix="Nothing is left to decide; a new request can be made if it is still needed.",
            code="approval-settled",
        )


def pending(tx: Tx, approval_id: str, fix: str) -> tuple[Row, ApprovalRequest]:
    """The request, locked; raises when it is settled."""
    row, request = locked(tx, approval_id)
    refuse_settled(row)
    current = state_of(request, tx.now)
    if current is not ApprovalState.PENDING:
        raise ConflictError(
            f"The request is already settled: it is {current}.", fix=fix, code="approval-settled"
        )
    return row, request
