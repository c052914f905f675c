"""What the API answers about grants, absences and waiting times, for the tests of the commands."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from charter.api import schemas as s
from charter.api.absences import AbsenceOut
from charter.api.grants import GrantOut
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
