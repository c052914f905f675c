"""Answers of the API as its own schemas make them: these tests cannot leave the contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from charter.api import schemas as s
from charter.api.impact import ImpactOut, ShadowOut

NOW = datetime(2027, 1, 31, 8, 0, tzinfo=UTC)


def wire(model: BaseModel) -> Any:
    return model.model_dump(mode="json")


def page(*items: BaseModel, following: str | None = None) -> dict[str, Any]:
    return {"items": [wire(item) for item in items], "next": following}


def reason(**given: Any) -> s.ReasonOut:
    return s.ReasonOut(
        **{
            "rule": "admission/cpu-needs-approval",
            "effect": "require_approval",
            "message": "40 vCPU are more than the 32 that need no approval.",
            "fix": "Take fewer CPUs, or wait for the approval.",
            "severity": "medium",
            "mode": "enforce",
            "controls": ["SOC2 CC6.3"],
            "approvers": ["team-lead", "platform-admin"],
            "approvals_needed": 1,
            "requires": ["justification"],
            "grant_seconds": 3600,
            "source": "admission/workspace-limits.rego:69",
            **given,
        }
    )


def decision(effect: str = "allow", *reasons: s.ReasonOut, **given: Any) -> s.DecisionOut:
    return s.DecisionOut(
        **{
            "id": "dec_1",
            "effect": effect,
            "violations": list(reasons),
            "obligations": [],
            "shadow": [],
            **given,
        }
    )


def workspace(**given: Any) -> s.WorkspaceOut:
    return s.WorkspaceOut(
        **{
            "id": "ws_1",
            "name": "api",
            "owner_kind": "human",
            "owner_id": "per_1",
            "owner": "dana",
            "sponsor_id": "per_1",
            "team_id": "team_1",
            "project_id": None,
            "agent_id": None,
            "task_id": None,
            "template": "python@1.0.0",
            "size": "small",
            "vcpu": 2,
            "memory_mib": 4096,
            "disk_mib": 20_480,
            "gpu": 0,
            "tier": None,
            "network": "none",
            "egress_allowlist": None,
            "labels": {"cost": "web"},
            "provider": "local",
            "desired": "running",
            "observed": "running",
            "state": "running",
            "state_reason": "",
            "notices": ["40 vCPU is a ceiling"],
            "created_at": NOW,
            "started_at": NOW,
            "stopped_at": None,
            "last_activity_at": NOW,
            "last_activity_signal": "execute",
            "warned_for": None,
            "extended_until": None,
            "generation": 1,
            **given,
        }
    )


def approval(**given: Any) -> s.ApprovalOut:
    needed = {"rule": "admission/cpu", "roles": ["team-lead"], "count": 1}
    return s.ApprovalOut(
        **{
            "id": "apr_1",
            "state": "pending",
            "action": "workspace.create",
            "summary": "workspace big: 40 vCPU",
            "requester_kind": "human",
            "requester_id": "per_1",
            "requester": "dana",
            "team_id": "team_1",
            "requirements": [needed],
            "outstanding": [needed],
            "justification": "training",
            "created_at": NOW,
            "deadline": NOW + timedelta(days=3),
            "closed_at": None,
            "votes": [],
            "outcome": None,
            "result_id": None,
            "decision_id": "dec_1",
            "details": {"CPU": "40 vCPU", "team": "payments"},
            "can_vote": True,
            **given,
        }
    )


def outcome(**given: Any) -> dict[str, Any]:
    return wire(s.WorkspaceOutcomeOut(**{"decision": decision(), **given}))


def agent(**given: Any) -> s.AgentOut:
    return s.AgentOut(
        **{
            "id": "agt_1",
            "name": "fixer",
            "definition_id": "def_1",
            "definition": None,
            "definition_version": 1,
            "parent_id": None,
            "sponsor_id": "per_1",
            "sponsor": "dana",
            "team_id": "team_1",
            "project_id": None,
            "tier": "sandboxed",
            "state": "active",
            "task_id": "tsk_1",
            "task": "Fix the login test",
            "task_state": "open",
            "repositories": ["web/login"],
            "deadline": NOW,
            "created_at": NOW,
            "ended_at": None,
            "end_reason": None,
            "workspaces": 1,
            "permissions": ["workspace.create"],
            "effective_tier": "sandboxed",
            "elevations": [],
            **given,
        }
    )


CREDENTIAL = s.CredentialOut(
    token="header.body.signature", expires_at=NOW, credential_id="crd_1", audience="charter"
)
PERSON = s.PersonOut(
    id="per_1",
    handle="dana",
    display_name="Dana",
    email=None,
    time_zone="UTC",
    created_at=NOW,
    deactivated_at=None,
)
TOKEN = s.TokenOut(
    id="tok_1", name="ci", created_at=NOW, expires_at=NOW, secret="charter_pat_secret"
)
TEAM = s.TeamOut(id="team_1", name="web", created_at=NOW, members=["dana"])
PROJECT = s.ProjectOut(
    id="prj_1", name="shop", team_id="team_1", data_class="internal", environment="development"
)
BINDING = s.BindingOut(
    id="rb_1",
    person_id="per_1",
    person="dana",
    role="developer",
    scope_kind="team",
    scope_id="team_1",
    scope="web",
    granted_by="per_2",
    granted_by_name="lee",
    created_at=NOW,
)
TEMPLATE = s.TemplateOut(
    id="tpl_1",
    name="python",
    version="1.0.0",
    title="Python",
    description="",
    approved=True,
    use_instead=None,
    for_kinds=["human"],
    environment={"A": "b"},
)
SIZE = s.SizeOut(name="small", vcpu=2, memory_mib=4096, disk_mib=20_480, gpu=0)
ME = s.MeOut(
    kind="human",
    id="per_1",
    handle="dana",
    via="token",
    permissions=["workspace.create"],
    teams=[{"id": "team_1", "name": "web"}],
    roles=[{"role": "developer", "scope_kind": "team", "scope_id": "team_1"}],
)
QUOTA = s.QuotaLineOut(scope="team web", limit={"vcpu": 100, "memory_mib": 1024}, used={"vcpu": 25})
PREVIEW = s.PreviewOut(
    decision=decision("allow", id=None),
    amounts=SIZE,
    quota=[s.QuotaAfterOut(scope="team web", dimension="vcpu", limit=100, used=25, after=27)],
)
RECORD = s.DecisionRecordOut(
    id="dec_1",
    at=NOW,
    subject_kind="human",
    subject_id="per_1",
    subject_name="dana",
    action="workspace.create",
    resource_kind="workspace",
    resource_id=None,
    effect="require_approval",
    bundle_digest="sha256:aa",
    engine="regorus 0.13",
    duration_us=900,
    result=decision("require_approval", reason()),
    facts={"document": {}},
)
_STATEMENTS = [
    s.StatementOut(
        line=74,
        text="facts.cpu > data.settings.limits.cpu_without_approval",
        held=True,
        values=[
            s.SeenOut(text="facts.cpu", path="input.request.object.spec.resources.cpu", value=40),
            s.SeenOut(text="facts.placing", at="lib/facts.rego:13", undefined=True),
        ],
    )
]
SUGGESTION = s.SuggestionOut(
    proposals=[
        s.ProposalOut(
            changes=[{"field": "vcpu", "from": 40, "to": 32}],
            effect="allow",
            sentence="With vCPU 32 (asked for: 40), it would be allowed.",
            rules=[],
            command="charter workspace create big --template python@1.0.0 --vcpu 32",
        )
    ],
    why_none=None,
    evaluations=20,
    complete=True,
)
EXPLANATION = s.ExplanationOut(
    id="dec_1",
    at=NOW,
    action="workspace.create",
    subject="dana",
    effect="require_approval",
    sentence="dana asked for workspace.create on big. It needs an approval first.",
    bundle_digest="sha256:aa",
    rules=[
        s.ExplainedRuleOut(
            **reason().model_dump(exclude={"source"}),
            state="fired",
            file="admission/workspace-limits.rego",
            line=69,
            end_line=76,
            text="require_approval contains …",
            statements=_STATEMENTS,
        )
    ],
    silent=[
        s.ExplainedRuleOut(
            rule="network/host-for-humans",
            effect="deny",
            message="Not the host.",
            state="off",
            file="runtime/network-policies.rego",
            line=30,
            end_line=36,
            text="",
            statements=[],
        )
    ],
    near=[
        s.NearMissOut(
            rule="admission/memory-needs-approval",
            effect="require_approval",
            file="admission/workspace-limits.rego",
            line=120,
            end_line=126,
            stopped_line=125,
            statement="facts.memory_mib > 131072",
            left=131072,
            left_text="facts.memory_mib",
            sign=">",
            right=131072,
            right_text="131072",
            share=0.0,
            text="",
            statements=[],
        )
    ],
    others=[],
    remedies=["Take fewer CPUs, or wait for the approval."],
    suggestion=SUGGESTION,
    now={"same_rules": False, "effect": "deny", "sentence": "The rules have changed since."},
    notes=["1 of 3 rule bodies could not be looked into."],
    milliseconds=40.0,
)
REPLAY = s.ReplayOut(replayed=3, differences=0, differing=[], seconds=0.1)
RULE = s.RuleOut(
    id="admission/cpu",
    title="CPU limit",
    effect="deny",
    severity="high",
    mode="enforce",
    controls=[],
    fix="Take fewer.",
    file="admission/cpu.rego",
    line=3,
    source="package admission.cpu\n",
)
BUNDLE = s.BundleOut(
    digest="sha256:" + "a" * 64,
    created_at=NOW,
    loaded_by="root-admin",
    note="",
    active=True,
    rules=1,
)
EXEMPTION = s.ExemptionOut(
    rule="admission/cpu",
    title="CPU",
    owner="lee",
    reason="The load test.",
    scope=[
        s.ExemptionScopeOut(kind="team", value="team_1", name="payments", problem="a name | no id")
    ],
    expires_at=NOW + timedelta(days=3),
    state="soon",
    used=2,
    last_used_at=NOW,
    loaded_by="root-admin",
    loaded_at=NOW,
)
HALF = s.TrialHalfOut(
    decision=decision(),
    prints=["limits.rego:3: 40"],
    places={"admission/cpu": "admission/limits.rego:3"},
    problems=[],
    failure=None,
    milliseconds=3,
)
TRIAL = s.TrialOut(
    digest="sha256:" + "b" * 64,
    base_digest="sha256:" + "a" * 64,
    recorded_effect="allow",
    before=HALF,
    after=HALF,
    same=True,
)
REVIEW = s.ReviewOut(
    id="rev_1",
    kind="ad-hoc",
    trigger="incident",
    reason="A token was in a log.",
    state="held",
    opened_by="sam",
    opened_at=NOW,
    due_at=NOW + timedelta(days=7),
    held_at=NOW,
    committee=[s.CommitteeMemberOut(person_id="per_1", person="sam", side="security")],
    minutes="We met.",
    findings=[s.FindingOut(text="Mask it", owner_id="per_1", owner="dana", due_on=NOW.date())],
    outcome=None,
    closed_at=None,
    closed_by=None,
    lacking=["It has no minutes."],
    figures=s.ReviewFiguresOut(
        since=NOW,
        until=NOW,
        rules=[
            s.RuleCountOut(rule="admission/cpu", effect="deny", said="spoke", count=3, last_at=NOW)
        ],
        exempted=[],
        spoke=3,
        exemptions_used=0,
        bundles_loaded=1,
    ),
)
REVIEW_DUE = s.ReviewDueOut(kind="full", every_months=12, last_held_at=None, due_at=NOW)
_EFFECTS = ("allow", "warn", "require_approval", "deny")
MATRIX = {b: {a: int((b, a) == ("allow", "deny")) for a in _EFFECTS} for b in _EFFECTS}
GROUP = {"total": 1, "flipped": 1, "tightened": 1, "loosened": 0, "unknown": 1, "matrix": MATRIX}
EXAMPLE = {
    "origin": "decision",
    "id": "dec_1",
    "at": NOW,
    "subject_kind": "human",
    "subject_id": "per_1",
    "team": "team_1",
    "action": "workspace.create",
    "resource_kind": "workspace",
    "resource_id": None,
    "rules": ["admission/cpu"],
    "message": "40 vCPU are | too many @all.",
}
IMPACT_REPORT = {
    "total": 2,
    "flipped": 1,
    "tightened": 1,
    "loosened": 0,
    "unchanged": 0,
    "other_reasons": 1,
    "failed": 1,
    "matrix": MATRIX,
    "by": {
        "origin": [{"key": "decision", **GROUP}],
        "team": [{"key": "team_1", **GROUP}],
        "subject_kind": [{"key": "human", **GROUP}],
        "action": [{"key": "workspace.create", **GROUP}],
    },
    "rules": [
        {
            "rule": "admission/cpu",
            "caused": 1,
            "begins": 1,
            "ends": 0,
            "would_begin": 0,
            "would_end": 0,
        }
    ],
    "examples": [{"before": "allow", "after": "deny", "count": 1, "examples": [EXAMPLE]}],
    "unknown": {"count": 1, "paths": [{"path": "input.x", "count": 1}], "examples": [EXAMPLE]},
    "cost": [{"origin": "decision", "vcpu_refused": 40, "vcpu_admitted": 0, "uncosted": 1}],
}


def impact_run(**given: Any) -> ImpactOut:
    return ImpactOut.model_validate(
        {
            "id": "imp_1",
            "change_id": None,
            "digest": "sha256:" + "b" * 64,
            "base_digest": "sha256:" + "a" * 64,
            "requested_by": "per_1",
            "since": NOW,
            "until": NOW,
            "state": "done",
            "done": 2,
            "total": 2,
            "per_second": 900.0,
            "eta_seconds": None,
            "error": None,
            "created_at": NOW,
            "started_at": NOW,
            "finished_at": NOW,
            "report": IMPACT_REPORT,
            "teams": {"team_1": "payments"},
            **given,
        }
    )


SHADOW = ShadowOut.model_validate(
    {
        "id": "imp_2",
        "change_id": None,
        "digest": "sha256:" + "b" * 64,
        "state": "active",
        "seen": 2,
        "differing": 1,
        "failed": 0,
        "error": None,
        "started_at": NOW,
        "ended_at": None,
        "report": IMPACT_REPORT,
        "differences": [],
    }
)
EVENT = s.AuditEventOut(
    index=None,
    id="evt_1",
    at=NOW,
    actor_kind="human",
    actor_id="per_1",
    actor="dana",
    action="workspace.create",
    resource_kind="workspace",
    resource_id="ws_1",
    outcome="allowed",
    decision_id="dec_1",
    reason_codes=["admission/cpu"],
    facts={},
)
STATE = s.AuditStateOut(
    size=3, pending=0, root="ab", checkpoint="log\n3\n", sealed_at=NOW, verifier_key="log+1+k"
)
CONTROLLER = s.ControllerOut(
    name="outbox",
    replica="r1",
    last_run_at=NOW,
    runs=2,
    failures=0,
    status={"done": True},
    last_error=None,
)
CAPABILITIES = s.CapabilitiesOut(
    provider="local",
    isolation="namespaces",
    items=[s.CapabilityOut(name="seccomp", enforced=True, how="a filter")],
)
NOTICE = s.NoticeOut(
    id="ntc_1",
    kind="idle",
    message="It is idle.",
    resource_kind="workspace",
    resource_id="ws_1",
    created_at=NOW,
    read_at=None,
)
OVERVIEW = s.OverviewOut(
    workspaces={"running": 1},
    agents={},
    pending_approvals=0,
    decisions_today={"allow": 1},
    quotas=[QUOTA],
    audit=STATE,
)
KILL = s.KillOut(
    agent_id="agt_1",
    credentials_dead_ms=1.5,
    processes_gone_ms=12.0,
    workspaces_stopped_ms=20.0,
    workspaces=[{"id": "ws_1", "survivors": 0}],
)
EXECUTED = s.ExecuteOut(
    exit_code=7, stdout="out\n", stderr="err\n", timed_out=False, truncated=False, milliseconds=3
)
FILE = s.FileOut(path="a.txt", content="hello\n", size_bytes=6)
ENTRY = s.FileEntryOut(name="a.txt", kind="file", size_bytes=6, modified_at=NOW)

POINT = s.EnforcementPointTokenOut(
    id="pep_1",
    kind="opa",
    name="edge",
    settings={"obligations": ["redact"]},
    created_by="per_1",
    created_at=NOW,
    rotated_at=None,
    previous_until=None,
    revoked_at=None,
    last_seen_at=NOW,
    last_status={"active_revision": "sha256:ab", "errors": []},
    last_status_at=NOW,
    drift=False,
    token="cep_0_0",
)

REPORTED = s.ReportedDecisionOut(
    decision_id="d-1",
    at=NOW,
    received_at=NOW,
    path="charter/decision",
    revision="sha256:ab",
    effect="deny",
    erased=[],
    entry={"path": "charter/decision"},
)
OPA_CONFIG = {
    "services": {"charter": {"url": "http://127.0.0.1:8470/opa/v1"}},
    "keys": {"charter": {"algorithm": "ES256", "key": "PEM"}},
}


def problem(status: int, code: str, **given: Any) -> tuple[int, dict[str, Any]]:
    return status, {
        "type": f"urn:charter:problem:{code}",
        "title": "Refused",
        "status": status,
        "code": code,
        "detail": "It was refused.",
        "fix": "Do something else.",
        "details": {},
        **given,
    }
