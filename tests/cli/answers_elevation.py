"""What the API says about what is had for a while, for tests of the command line."""

from __future__ import annotations

from charter.api import schemas as s
from charter.api.break_glass import DoneUnderOut, EmergencyOut, OfferedRoleOut, OfferOut
from charter.api.production import AccessOut, AccessOutcomeOut, AccessTokenOut
from charter.api.quotas import OverrideOut, OverrideOutcomeOut
from tests.cli import answers as a

ACCESS = AccessOut(
    id="pac_1", person_id="per_1", person="dana", team_id="team_1", project_id="prj_1",
    project="ledger", environment="production", seconds=3600, ticket="OPS-1", state="approved",
    approval_id="apr_1", created_at=a.NOW, issued_at=None, expires_at=a.NOW, revoked_at=None,
    uses=2, last_used_at=a.NOW, last_used_where="bastion",
)  # fmt: skip
ACCESS_TOKEN = AccessTokenOut(**ACCESS.model_dump(), token="charter_prd_1_secret")
ACCESS_OUTCOME = AccessOutcomeOut(decision=a.decision(), access=ACCESS, approval=None)
OVERRIDE = OverrideOut(
    id="qov_1", scope="user dana", dimension="memory_mib", amount=65_536, requester="dana",
    state="active", approval_id=None, created_at=a.NOW, expires_at=a.NOW, revoked_at=None,
)  # fmt: skip
OVERRIDE_OUTCOME = OverrideOutcomeOut(decision=a.decision(), override=OVERRIDE, approval=None)
EMERGENCY = EmergencyOut(
    id="bgl_1", person_id="per_1", person="lee", role="platform-admin", reason="It burns.",
    state="active", started_at=a.NOW, expires_at=a.NOW, ended_at=None, over_at=a.NOW,
    review="open", review_due_at=a.NOW, reviewed_at=None, reviewer=None, outcome=None,
    findings=None,
    decisions=[DoneUnderOut(id="dec_1", at=a.NOW, action="workspace.stop",
                            resource_kind="workspace", resource_id="ws_1", effect="allow")],
)  # fmt: skip
OFFER = OfferOut(
    roles=[OfferedRoleOut(role="platform-admin", seconds=3600)], active=None, why_not=None
)
OFFER_ACTIVE = OfferOut(roles=[], active=EMERGENCY, why_not="It is in force.")
ELEVATION = s.ElevationOut(
    id="elv_1", tier="standard", permissions=["code.propose"], repositories=["web/shared"],
    approval_id="apr_1", state="active", created_at=a.NOW, expires_at=a.NOW,
)  # fmt: skip
ELEVATION_OUTCOME = s.ElevationOutcomeOut(decision=a.decision(), elevation=ELEVATION, approval=None)
ELEVATED = a.agent(effective_tier="standard", elevations=[ELEVATION])
