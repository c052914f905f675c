"""What the API says about access, for tests of the command line."""

from __future__ import annotations

from charter.api import schemas as s

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
