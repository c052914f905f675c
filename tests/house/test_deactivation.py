"""Nothing that belongs to a person is forgotten when the person goes.

Each table that points at a person is either ended by deactivation or kept, with the reason. A new
table fails here until somebody has thought about it.
"""

from __future__ import annotations

from typing import Final

from charter.services import deactivation
from charter.store import tables as t
from tests.spec import spec
from tools.reference import ROOT

ENDED: Final = {
    "absences",
    "agents",
    "api_tokens",
    "approval_links",
    "approval_votes",
    "approvals",
    "break_glass",
    "passkeys",
    "production_accesses",
    "role_bindings",
    "sessions",
    "sign_in_links",
    "workspaces",
}
KEPT: Final = {
    "access_review_items": "evidence",
    "deliveries": "what was to be said to the person; nothing is sent to who is switched off",
    "external_identities": "who the person is to an identity provider: the account itself",
    "governance_reviews": "evidence",
    "notification_preferences": "how the person wants to be told",
    "notices": "what the person was told; nobody acts with it",
    "people": "the account, and who reports to it",
    "policy_reviews": "evidence",
    "quota_overrides": "the team's, which goes on working",
    "team_members": "who belongs where is the directory's word; it gives nothing without a role",
}


@spec("ID-3", "ID-8")
def test_every_table_that_points_at_a_person_is_ended_or_kept_for_a_reason() -> None:
    found = {
        table.name
        for table in t.metadata.tables.values()
        if any(key.column.table is t.people for column in table.c for key in column.foreign_keys)
    }
    assert found == ENDED | KEPT.keys()
    source = (ROOT / "src/charter/services/deactivation.py").read_text()
    assert [name for name in sorted(ENDED) if f"t.{name}" not in source] == []
    assert deactivation.__doc__
