"""What the API answers about grants, absences and waiting times, for the tests of the commands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel

from charter.api import absences, grants
from charter.api import schemas as s
from charter.api.absences import AbsenceOut
from charter.api.grants import GrantOut
from tests.cli import answers as a
from tests.cli.answers import NOW

GRANT: Final = GrantOut(
    id="grt_1",
    approval_id="apr_1",
    state="active",
    subject_id="per_1",
    holder="dana",
    holder_kind="human",
    sponsor="dana",
    action="workspace.create",
    summary="workspace big: 40 vCPU",
    rules=["admission/cpu-needs-approval"],
    team_id="team_1",
    team="payments",
    approvers=["lee"],
    created_at=NOW,
    expires_at=NOW + timedelta(days=7),
    single_use=False,
    task_id=None,
    used_at=None,
    revoked_at=None,
    revoked_by=None,
    revoke_reason=None,
    justification="training",
    ticket="OPS-1",
    renewal_id=None,
    renewable=True,
)
ABSENCE: Final = AbsenceOut(
    id="abs_1",
    person_id="per_2",
    person="lee",
    delegate_id="per_3",
    delegate="lin",
    starts_at=NOW,
    ends_at=NOW + timedelta(days=14),
    reason="A walk.",
    state="now",
    mine=True,
    created_at=NOW,
    revoked_at=None,
)
WAITING: Final = s.WaitingOut(
    days=90,
    since=NOW - timedelta(days=90),
    gates=[
        s.GateWaitOut(
            rule="admission/cpu-needs-approval",
            open=2,
            oldest_at=NOW,
            decided=3,
            median_seconds=1200,
            p90_seconds=4560,
            reminders=1,
            escalated=0,
            expired=1,
            expired_share=0.25,
        )
    ],
    approvers=[
        s.ApproverWaitOut(
            addressee="team-lead",
            approver="team-lead",
            open=2,
            oldest_at=NOW,
            decided=3,
            median_seconds=1200,
            p90_seconds=4560,
        )
    ],
    people=[
        s.PersonWaitOut(
            approver_id="per_2",
            person="lee",
            decided=3,
            in_stead=1,
            median_seconds=1200,
            p90_seconds=4560,
        )
    ],
)

# What the commands are called with, and what the server answers them.
CALLS: Final[dict[str, tuple[list[str], dict[str, Any]]]] = {
    "approval list": ([], {"GET /approvals": a.page(a.approval())}),
    "approval show": (["apr_1"], {"GET /approvals/apr_1": a.approval()}),
    "approval approve": (["apr_1"], {"POST /approvals/apr_1/approve": a.approval()}),
    "approval deny": (["apr_1", "-m", "no"], {"POST /approvals/apr_1/deny": a.approval()}),
    "approval cancel": (["apr_1", "-m", "no"], {"POST /approvals/apr_1/cancel": a.approval()}),
    "approval comment": (
        ["apr_1", "-m", "For how long?"],
        {"POST /approvals/apr_1/comments": a.approval()},
    ),
    "approval waiting": (["--days", "90"], {"GET /approvals/waiting": WAITING}),
    "grant list": (["--mine"], {"GET /grants": a.page(GRANT)}),
    "grant show": (["grt_1"], {"GET /grants/grt_1": GRANT}),
    "grant revoke": (["grt_1", "-m", "done"], {"POST /grants/grt_1/revoke": GRANT}),
    "grant renew": (
        ["grt_1", "--for", "2d", "-m", "not done", "--ticket", "OPS-1"],
        {"POST /grants/grt_1/renew": a.approval()},
    ),
    "away show": (["--past"], {"GET /absences": a.page(ABSENCE)}),
    "away set": (
        ["lin", "--from", "2026-08-01", "--until", "2026-08-14", "-m", "A walk."],
        {"POST /absences": ABSENCE},
    ),
    "away end": (["abs_1"], {"POST /absences/abs_1/end": ABSENCE}),
}

# What the commands send.
BODIES: Final[dict[str, type[BaseModel]]] = {
    "approval cancel": s.CancelIn,
    "approval comment": s.CommentIn,
    "grant revoke": grants.RevokeIn,
    "grant renew": grants.RenewIn,
    "away set": absences.AbsenceIn,
    "approval approve": s.VoteIn,
    "approval deny": s.VoteIn,
}
