"""What the API says about access, for tests of the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from charter.api import access_reviews as r
from charter.api import schemas as s
from tests.cli.answers import NOW

ACCESS_WHY = s.AccessWhyOut(
    subject=s.AccessSubjectOut(kind="human", id="per_1", name="dana"),
    action="workspace.stop",
    resource=s.AccessResourceOut(
        kind="workspace", id="wsp_1", owner="per_1", team="team_1", project=None
    ),
    effect="deny",
    steps=[
        s.AccessStepOut(of="binding", text="dana is | developer", holds=False, scope="team web"),
        s.AccessStepOut(of="sponsor-binding", text="lee is team-lead", holds=True, scope=None),
    ],
    reasons=[
        s.AccessReasonOut(rule="invariant/reach", effect="deny", message="No @all.", fix="Ask.")
    ],
    note="It depends.",
)
ACCESS_MATRIX = s.AccessMatrixOut(
    bundle="sha256:aa",
    roles=["developer", "agent"],
    items=[
        s.AccessRowOut(
            action="workspace.stop",
            roles={
                "developer": s.AccessCellOut(effect="policy", reach="own", rules=["a/b"] * 5),
                "agent": s.AccessCellOut(effect="deny", reach=None, rules=[]),
            },
        )
    ],
)
ROLE = s.RoleOut(
    name="operator",
    title="Stops | things",
    built_in=False,
    permissions={"workspace.stop": "team"},
    holders=2,
    changed_at=None,
)
CAMPAIGN = r.CampaignOut(
    id="cam_1",
    name="2026-Q4",
    state="open",
    opened_by="calendar",
    reason=None,
    opened_at=NOW,
    due_at=NOW,
    closed_at=None,
    counts={"waiting": 2, "keep": 1, "revoke": 0, "lapsed": 0, "gone": 0},
)
REVIEW_ITEM = r.ReviewItemOut(
    id="rvi_1",
    campaign_id="cam_1",
    kind="role",
    target_id="rb_1",
    what="developer | in the organisation",
    holder="dana",
    team="web",
    privileged=False,
    since=NOW,
    last_used_at=None,
    unused=True,
    reviewers=["team-lead"],
    place="team",
    answer=None,
    answered_by=None,
    answered_at=None,
    comment=None,
    may_answer=True,
)
EVIDENCE = r.EvidenceOut(
    campaign=CAMPAIGN, rules={}, digest="sha256:aa", csv="id,kind\nrvi_1,role\n"
)
UNUSED = r.UnusedOut(
    days=90,
    items=[
        r.UnusedItemOut(
            kind="token",
            target_id="tok_1",
            what="personal token ci",
            holder="dana",
            privileged=False,
            since=NOW,
            last_used_at=None,
        )
    ],
)
DEFINITION = s.AgentDefinitionDetailOut(
    id="def_1",
    name="fixer",
    state="active",
    implied=False,
    version=2,
    description="Mends tests",
    team_id="team_1",
    team="web",
    repositories=["web/*"],
    tier="sandboxed",
    max_session_seconds=1800,
    run_by=["team"],
    created_by="lee",
    created_at=NOW,
    changed_by="lee",
    changed_at=NOW,
    retired_at=None,
    instances=3,
    running=1,
    runnable=True,
    versions=[
        s.AgentDefinitionVersionOut(
            version=2,
            description="Mends tests",
            team="web",
            repositories=["web/*"],
            tier="sandboxed",
            max_session_seconds=None,
            run_by=["team"],
            why="It needs to write",
            made_by="lee",
            made_at=NOW,
        )
    ],
)
KEY = s.KeyOut(
    id="k" * 43,
    purpose="credentials",
    state="due",
    made_on="node-1",
    created_at=NOW,
    warns_at=NOW,
    expires_at=NOW,
    retired_at=None,
    retired_by=None,
    verifies_until=None,
)
KEY_ROTATED = s.KeyRotatedOut(key="k" * 43, retired=["j" * 43], compromised=True)
ACCESS_NETWORKS = s.AccessNetworksOut(
    enforced=False,
    mode="warn",
    lists=[s.NetworkListOut(name="organisation", networks=["192.0.2.0/24", "2001:db8::/32"])],
    open_until=datetime(2026, 3, 2, 9, 15, tzinfo=UTC),
    open_reason="The VPN\nhas moved.",
    your_address=None,
    address="198.51.100.7",
    closed=["organisation"],
    administrators=[
        s.AdministratorOut(
            person="admin",
            address="192.0.2.7",
            signed_in_at=datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
            inside=True,
            closed=[],
        ),
        s.AdministratorOut(
            person="root", address=None, signed_in_at=None, inside=False, closed=["organisation"]
        ),
    ],
)
