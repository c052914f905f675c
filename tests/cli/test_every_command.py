"""What holds for every command: help, an example, --json, and a JSON answer that is only JSON."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from charter.api import access_reviews, policy_changes
from charter.api import notification_schemas as n
from charter.api import schemas as s
from charter.api.break_glass import EmergencyIn, EmergencyReviewIn
from charter.api.impact import ImpactIn
from charter.api.production import AccessIn
from charter.api.quotas import OverrideIn
from charter.cli import lazy, reference
from charter.cli.command import is_argument
from charter.cli.main import root
from tests.cli import answers as a
from tests.cli import answers_access as aa
from tests.cli import answers_account as acc
from tests.cli import answers_approvals as apr
from tests.cli import answers_elevation as ae
from tests.cli import answers_notifications as an
from tests.cli import answers_policy as ap
from tests.cli import answers_scim as asc
from tests.spec import spec

LEAVES = {" ".join(path): leaf for path, leaf in reference.all_leaves()}

# They run until they are stopped, or print a script for a shell: there is no document to give.
NO_JSON = {"serve", "controllers", "demo", "completion"}

# What acts on this machine rather than on a server; each has tests of its own.
LOCAL = NO_JSON | {
    "up",
    "down",
    "status",
    "reset",
    "recover",
    "doctor",
    "login",
    "agent key",
    "logout",
    "policy test",
    "policy check",
    "policy init",
    "policy new",
    "policy convert",
    "policy check-load",
    "policy export-bundle",
    "policy parity",
    "audit verify",
    "kubernetes install",
    "kubernetes certificate",
    "kubernetes export",
}

RUNNING = a.outcome(workspace=a.workspace())

# Every other command: its arguments, and what the server answers to its requests.
CALLS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "whoami": ([], {"GET /me": a.ME}),
    "overview": ([], {"GET /overview": a.OVERVIEW}),
    "session list": (["--person", "dana"], {"GET /sessions": a.page(acc.SESSION)}),
    "session end": (["ses_1"], {"DELETE /sessions/ses_1": None}),
    "passkey list": (["--person", "dana"], {"GET /passkeys": a.page(acc.PASSKEY)}),
    "passkey rename": (["psk_1", "phone"], {"PUT /passkeys/psk_1": acc.PASSKEY}),
    "passkey remove": (["psk_1", "--last", "--yes"], {"DELETE /passkeys/psk_1": None}),
    "token list": ([], {"GET /tokens": a.page(a.TOKEN)}),
    "token create": (["ci"], {"POST /tokens": a.TOKEN}),
    "token revoke": (["tok_1"], {"DELETE /tokens/tok_1": None}),
    "person list": ([], {"GET /people": a.page(a.PERSON)}),
    "person create": (["dana"], {"POST /people": a.PERSON}),
    "person link": (
        ["dana"],
        {"POST /people/dana/sign-in-link": s.LinkOut(url="http://x/?link=y", expires_at=a.NOW)},
    ),
    "person deactivate": (["dana", "--yes"], {"POST /people/dana/deactivate": a.PERSON}),
    "person reactivate": (["dana"], {"POST /people/dana/reactivate": a.PERSON}),
    "person show": (["dana"], {"GET /people/dana": asc.PERSON_DETAIL}),
    "scim token list": ([], {"GET /scim/tokens": a.page(asc.SCIM_TOKEN)}),
    "scim token create": (["okta", "--directory", "okta"], {"POST /scim/tokens": asc.SCIM_TOKEN}),
    "scim token revoke": (["a", "--yes"], {"POST /scim/tokens/a/revoke": asc.SCIM_TOKEN}),
    "scim adopt": (["okta", "--person", "dana"], {"POST /scim/adoptions": asc.ADOPTION}),
    "team list": ([], {"GET /teams": a.page(a.TEAM)}),
    "team create": (["web"], {"POST /teams": a.TEAM}),
    "team add": (["web", "dana"], {"POST /teams/web/members": None}),
    "team remove": (["web", "dana"], {"DELETE /teams/web/members/dana": None}),
    "team quota": (["web"], {"GET /teams/web/quota": a.page(a.QUOTA)}),
    "project list": ([], {"GET /projects": a.page(a.PROJECT)}),
    "project create": (["shop", "--team", "web"], {"POST /projects": a.PROJECT}),
    "production request": (
        ["--project", "ledger", "--minutes", "60", "--reason", "Incident"],
        {"POST /production/accesses": ae.ACCESS_OUTCOME},
    ),
    "production list": ([], {"GET /production/accesses": a.page(ae.ACCESS)}),
    "production show": (["pac_1"], {"GET /production/accesses/pac_1": ae.ACCESS}),
    "production token": (["pac_1"], {"POST /production/accesses/pac_1/token": ae.ACCESS_TOKEN}),
    "production revoke": (["pac_1"], {"POST /production/accesses/pac_1/revoke": ae.ACCESS}),
    "quota request": (
        ["memory", "64GiB", "--for", "3d", "--reason", "Load test"],
        {"POST /quotas/overrides": ae.OVERRIDE_OUTCOME},
    ),
    "quota overrides": ([], {"GET /quotas/overrides": a.page(ae.OVERRIDE)}),
    "quota release": (["qov_1"], {"POST /quotas/overrides/qov_1/revoke": ae.OVERRIDE}),
    "break-glass status": ([], {"GET /break-glass/offer": ae.OFFER}),
    "break-glass start": (
        ["platform-admin", "--reason", "It burns."],
        {"POST /break-glass": ae.EMERGENCY},
    ),
    "break-glass end": (
        [],
        {"GET /break-glass/offer": ae.OFFER_ACTIVE, "POST /break-glass/bgl_1/end": ae.EMERGENCY},
    ),
    "break-glass reviews": ([], {"GET /break-glass": a.page(ae.EMERGENCY)}),
    "break-glass show": (["bgl_1"], {"GET /break-glass/bgl_1": ae.EMERGENCY}),
    "break-glass review": (
        ["bgl_1", "--outcome", "justified", "--findings", "A real outage."],
        {"POST /break-glass/bgl_1/review": ae.EMERGENCY},
    ),
    "agent elevate": (
        ["fixer", "--tier", "standard", "--reason", "Ready."],
        {"POST /agents/fixer/elevations": ae.ELEVATION_OUTCOME},
    ),
    "agent lower": (
        ["fixer", "elv_1"],
        {"POST /agents/fixer/elevations/elv_1/revoke": ae.ELEVATED},
    ),
    "access why": (["dana", "workspace.stop"], {"GET /access/why": aa.ACCESS_WHY}),
    "access matrix": ([], {"GET /access/matrix": aa.ACCESS_MATRIX}),
    "review list": ([], {"GET /access/reviews": a.page(aa.CAMPAIGN)}),
    "review open": (["--reason", "Lost"], {"POST /access/reviews": aa.CAMPAIGN}),
    "review show": (["2026-Q4"], {"GET /access/reviews/2026-Q4/items": a.page(aa.REVIEW_ITEM)}),
    "review keep": (["rvi_1"], {"POST /access/review-items/rvi_1/answer": aa.REVIEW_ITEM}),
    "review revoke": (["rvi_1"], {"POST /access/review-items/rvi_1/answer": aa.REVIEW_ITEM}),
    "review export": (["2026-Q4"], {"POST /access/reviews/2026-Q4/evidence": aa.EVIDENCE}),
    "review unused": ([], {"GET /access/unused": aa.UNUSED}),
    "access networks": (
        ["--check", "198.51.100.7"],
        {"GET /access/networks": aa.ACCESS_NETWORKS},
    ),
    "role list": ([], {"GET /role-bindings": a.page(a.BINDING)}),
    "role grant": (["dana", "developer", "--team", "web"], {"POST /role-bindings": a.BINDING}),
    "role catalogue": ([], {"GET /roles": a.page(aa.ROLE)}),
    "role show": (["operator"], {"GET /roles/operator": aa.ROLE}),
    "role define": (
        ["operator", "--from", "lead-lite", "--allow", "workspace.stop=team"],
        {"GET /roles/lead-lite": aa.ROLE, "PUT /roles/operator": aa.ROLE},
    ),
    "role retire": (["operator"], {"DELETE /roles/operator": None}),
    "role revoke": (["rb_1"], {"DELETE /role-bindings/rb_1": None}),
    "template list": ([], {"GET /templates": a.page(a.TEMPLATE)}),
    "template show": (["python"], {"GET /templates": a.page(a.TEMPLATE)}),
    "template create": (["python@1.0.0", "--title", "P"], {"POST /templates": a.TEMPLATE}),
    "template approve": (
        ["python@1.0.0"],
        {
            "GET /templates": a.page(a.TEMPLATE),
            "POST /templates/python@1.0.0/approval": a.TEMPLATE,
        },
    ),
    "template withdraw": (
        ["python", "--use-instead", "other"],
        {
            "GET /templates": a.page(a.TEMPLATE),
            "POST /templates/python@1.0.0/approval": a.TEMPLATE,
        },
    ),
    "size list": ([], {"GET /sizes": a.page(a.SIZE)}),
    "workspace preview": (["api", "-t", "python"], {"POST /workspaces/preview": a.PREVIEW}),
    "workspace create": (
        ["api", "-t", "python", "--memory", "4GiB", "--label", "cost=web"],
        {"POST /workspaces": RUNNING, "GET /workspaces/ws_1": a.workspace()},
    ),
    "workspace list": ([], {"GET /workspaces": a.page(a.workspace())}),
    "workspace show": (["api"], {"GET /workspaces/api": a.workspace()}),
    "workspace start": (
        ["api"],
        {"POST /workspaces/api/start": RUNNING, "GET /workspaces/ws_1": a.workspace()},
    ),
    "workspace stop": (
        ["api"],
        {
            "POST /workspaces/api/stop": RUNNING,
            "GET /workspaces/ws_1": a.workspace(state="stopped", desired="stopped"),
        },
    ),
    "workspace extend": (["api"], {"POST /workspaces/api/extend": RUNNING}),
    "workspace delete": (
        ["api", "--yes"],
        {
            "GET /workspaces/api": a.workspace(),
            "DELETE /workspaces/ws_1": RUNNING,
            "GET /workspaces/ws_1": a.workspace(state="deleted", desired="deleted"),
        },
    ),
    "workspace exec": (
        ["api", "--", "true", "--json"],
        {"POST /workspaces/api/execute": a.EXECUTED.model_copy(update={"exit_code": 0})},
    ),
    "workspace read": (["api", "a.txt"], {"GET /workspaces/api/files": a.FILE}),
    "workspace write": (
        ["api", "a.txt", "--from", __file__],
        {"PUT /workspaces/api/files": None},
    ),
    "workspace ls": (["api"], {"GET /workspaces/api/entries": a.page(a.ENTRY)}),
    "agent create": (
        ["fixer", "--task", "Fix", "--repo", "web/login", "--for", "2h"],
        {
            "POST /agents": s.AgentCreatedOut(
                decision=a.decision(), agent=a.agent(), credential=a.CREDENTIAL
            )
        },
    ),
    "agent list": ([], {"GET /agents": a.page(a.agent())}),
    "agent show": (["fixer"], {"GET /agents/fixer": a.agent()}),
    "agent kill": (["fixer", "--reason", "x"], {"POST /agents/fixer/kill": a.KILL}),
    "agent end": (["fixer"], {"POST /agents/fixer/end": a.agent(state="ended")}),
    "agent define": (
        ["fixer", "--repo", "web/*", "--max-session", "30min", "--run-by", "team"],
        {"POST /agent-definitions": aa.DEFINITION},
    ),
    "agent definitions": ([], {"GET /agent-definitions": a.page(aa.DEFINITION)}),
    "agent definition": (["fixer"], {"GET /agent-definitions/fixer": aa.DEFINITION}),
    "agent change": (
        ["fixer", "--tier", "read-only", "-m", "x"],
        {"PATCH /agent-definitions/fixer": aa.DEFINITION},
    ),
    "agent retire": (
        ["fixer", "-m", "x"],
        {"POST /agent-definitions/fixer/retire": aa.DEFINITION},
    ),
    "keys list": ([], {"GET /keys": a.page(aa.KEY)}),
    "keys rotate": (["--compromised", "--yes"], {"POST /keys/rotate": aa.KEY_ROTATED}),
    "agent credential": (["self"], {"POST /agents/self/credential": a.CREDENTIAL}),
    **apr.CALLS,
    "policy rules": ([], {"GET /policies/rules": a.page(a.RULE)}),
    "policy show": (["admission/cpu"], {"GET /policies/rules/admission/cpu": a.RULE}),
    "policy active": ([], {"GET /policies/active": a.BUNDLE}),
    "policy bundles": ([], {"GET /policies/bundles": a.page(a.BUNDLE)}),
    "policy exemptions": ([], {"GET /policies/exemptions": a.page(a.EXEMPTION)}),
    "policy try": (
        [__file__, "--as", "admission/limits.rego", "-d", "dec_1"],
        {"POST /policies/playground": a.TRIAL},
    ),
    "policy apply": (["POLICY_FOLDER"], {"POST /policies/bundles": a.BUNDLE}),
    "policy activate": (
        ["aaaa"],
        {
            "GET /policies/bundles": a.page(a.BUNDLE),
            f"POST /policies/bundles/{a.BUNDLE.digest}/activate": a.BUNDLE,
        },
    ),
    "governance calendar": ([], {"GET /governance/calendar": a.page(a.REVIEW_DUE)}),
    "governance list": ([], {"GET /governance/reviews": a.page(a.REVIEW)}),
    "governance show": (["rev_1"], {"GET /governance/reviews/rev_1": a.REVIEW}),
    "governance open": (
        ["--trigger", "incident", "--reason", "x"],
        {"POST /governance/reviews": a.REVIEW},
    ),
    "governance hold": (
        ["rev_1", "--member", "sam=security", "--on", "2026-03-02"],
        {"POST /governance/reviews/rev_1/hold": a.REVIEW},
    ),
    "governance minutes": (
        ["rev_1", "--from", __file__, "--finding", "Mask it=dana=2026-06-30"],
        {"PUT /governance/reviews/rev_1/minutes": a.REVIEW},
    ),
    "governance done": (
        ["rev_1", "1"],
        {"POST /governance/reviews/rev_1/findings/1/done": a.REVIEW},
    ),
    "governance close": (
        ["rev_1", "--outcome", "effective"],
        {"POST /governance/reviews/rev_1/close": a.REVIEW},
    ),
    "policy impact": (["POLICY_FOLDER", "--wait"], {"POST /policies/impact": a.impact_run()}),
    "policy impact-runs": ([], {"GET /policies/impact": a.page(a.impact_run(report=None))}),
    "policy shadow": ([], {"GET /policies/shadow": a.page(a.SHADOW)}),
    "policy impact-cancel": (
        ["imp_1"],
        {"POST /policies/impact/imp_1/cancel": a.impact_run(state="cancelled")},
    ),
    "policy rollback": (["-m", "too strict"], {"POST /policies/rollback": a.BUNDLE}),
    "policy changes": ([], {"GET /policies/changes": a.page(ap.CHANGE_SUMMARY)}),
    "policy change show": (
        ["chg_0", "--diff"],
        {
            "GET /policies/changes": a.page(ap.CHANGE_SUMMARY),
            f"GET /policies/changes/{ap.CHANGE.id}": ap.CHANGE,
        },
    ),
    "policy propose": (
        ["POLICY_FOLDER", "-m", "why", "--wait"],
        {"POST /policies/changes": ap.CHANGE},
    ),
    "policy review approve": (
        [ap.CHANGE.id],
        {
            f"GET /policies/changes/{ap.CHANGE.id}": ap.CHANGE,
            f"POST /policies/changes/{ap.CHANGE.id}/approve": ap.CHANGE,
        },
    ),
    "policy review reject": (
        [ap.CHANGE.id, "-m", "no"],
        {
            f"GET /policies/changes/{ap.CHANGE.id}": ap.CHANGE,
            f"POST /policies/changes/{ap.CHANGE.id}/reject": ap.CHANGE,
        },
    ),
    "policy promote": (
        [ap.CHANGE.id],
        {f"POST /policies/changes/{ap.CHANGE.id}/promote": ap.CHANGE},
    ),
    "policy withdraw": (
        [ap.CHANGE.id],
        {f"POST /policies/changes/{ap.CHANGE.id}/withdraw": ap.CHANGE},
    ),
    "policy source": ([], {"GET /policies/source": ap.SOURCE}),
    "policy history": ([], {"GET /policies/history": a.page(ap.ACTIVATION)}),
    "policy bundle": (
        ["aaaa"],
        {
            "GET /policies/bundles": a.page(a.BUNDLE),
            f"GET /policies/bundles/{a.BUNDLE.digest}": ap.EXPORTED_BUNDLE,
        },
    ),
    "decision list": ([], {"GET /decisions": a.page(a.RECORD)}),
    "decision show": (["dec_1"], {"GET /decisions/dec_1": a.RECORD}),
    "decision replay": ([], {"POST /decisions/replay": a.REPLAY}),
    "explain decision": (["dec_1"], {"GET /decisions/dec_1/explanation": a.EXPLANATION}),
    "enforcement-point list": ([], {"GET /enforcement-points": a.page(a.POINT)}),
    "enforcement-point show": (["edge"], {"GET /enforcement-points/edge": a.POINT}),
    "enforcement-point register": (
        ["edge", "--kind", "opa", "--obligation", "redact", "--own-agents"],
        {"POST /enforcement-points": a.POINT},
    ),
    "enforcement-point rotate": (["edge"], {"POST /enforcement-points/edge/rotate": a.POINT}),
    "enforcement-point revoke": (
        ["edge", "--yes"],
        {"POST /enforcement-points/edge/revoke": a.POINT},
    ),
    "enforcement-point decisions": (
        ["edge"],
        {"GET /enforcement-points/edge/decisions": a.page(a.REPORTED)},
    ),
    "enforcement-point opa-config": (
        ["edge"],
        {"GET /enforcement-points/edge/configuration": a.OPA_CONFIG},
    ),
    "audit list": ([], {"GET /audit/events": a.page(a.EVENT)}),
    "audit state": ([], {"GET /audit/state": a.STATE}),
    "audit proof": (["evt_1"], {"GET /audit/events/evt_1/proof": b"proof\n"}),
    "audit export": (["--output", "EXPORT"], {"GET /audit/export": b"PK"}),
    "notification preferences": ([], {"GET /notifications/preferences": an.PREFERENCES}),
    "notification prefer": (
        ["approval", "digest"],
        {"PUT /notifications/preferences": an.PREFERENCES},
    ),
    "notification test": ([], {"POST /notifications/test": an.TEST}),
    "notification deliveries": ([], {"GET /notifications/deliveries": a.page(an.DELIVERY)}),
    "notification retry": (
        ["dlv_1"],
        {"POST /notifications/deliveries/dlv_1/retry": an.DELIVERY},
    ),
    "notification channel list": ([], {"GET /notifications/channels": a.page(an.CHANNEL)}),
    "notification channel add": (
        ["news", "--kind", "webhook", "--url-file", "news-address"],
        {"POST /notifications/channels": an.CHANNEL},
    ),
    "notification channel test": (
        ["news"],
        {"POST /notifications/channels/news/test": an.TEST},
    ),
    "notification channel remove": (
        ["news", "--yes"],
        {"DELETE /notifications/channels/news": None},
    ),
    "notice list": ([], {"GET /notices": a.page(a.NOTICE)}),
    "notice read": (["ntc_1"], {"POST /notices/ntc_1/read": None}),
    "controller list": ([], {"GET /controllers": a.page(a.CONTROLLER)}),
    "provider capabilities": ([], {"GET /provider/capabilities": a.CAPABILITIES}),
}


def prepared(server: Any, command: str, tmp_path: Path) -> list[str]:
    """Record the server's answers for a command; gives its command line."""
    arguments, recorded = CALLS[command]
    for route, answer in recorded.items():
        body = a.wire(answer) if hasattr(answer, "model_dump") else answer
        server.on(route, body, 204 if body is None else 200)
    folder = tmp_path / "policy"
    folder.mkdir(exist_ok=True)
    (folder / "a.rego").write_text("package a\n")
    named = {"POLICY_FOLDER": str(folder), "EXPORT": str(tmp_path / "trail.zip")}
    return [*command.split(), *(named.get(word, word) for word in arguments)]


def with_json(line: list[str]) -> list[str]:
    at = line.index("--") if "--" in line else len(line)
    return [*line[:at], "--json", *line[at:]]


@spec("UX-2")
def test_every_command_is_called_by_a_test() -> None:
    assert set(CALLS) | LOCAL == set(LEAVES)
    assert not set(CALLS) & LOCAL


@pytest.mark.parametrize("command", sorted(LEAVES))
def test_help_and_an_example(command: str, charter: Any) -> None:
    ended = charter(*command.split(), "--help")
    assert ended.code == 0
    leaf = LEAVES[command]
    assert leaf.help
    assert leaf.help.split("\n")[0].endswith((".", ":", ";", ",")) or "\n" in leaf.help
    assert "Example" in ended.out
    assert f"charter {command.split(maxsplit=1)[0]}" in ended.out
    for parameter in leaf.params:
        assert parameter.help, f"{command}: {parameter.name} has no help"
        if is_argument(parameter):
            assert parameter.metavar, f"{command}: {parameter.name} has no name for people"


@pytest.mark.parametrize("command", sorted(LEAVES))
def test_json_everywhere_but_where_there_is_no_document(command: str) -> None:
    assert reference.takes_json(LEAVES[command]) is (command not in NO_JSON)


@pytest.mark.parametrize("command", sorted(LEAVES))
def test_examples_can_be_parsed(command: str) -> None:
    """Every example is a command line that its command accepts."""
    parsed = 0
    for line in reference._examples(LEAVES[command]):
        for part in re.split(r"\||\$\(|\)|(?<!')<(?!')|>", line):
            words = shlex.split(part, comments=True) if part.count("'") % 2 == 0 else []
            while words and re.match(r"^[A-Z_]+=", words[0]):
                words = words[1:]
            if words[:1] != ["charter"]:
                continue
            leaf, rest = _find(words[1:])
            leaf.make_context("charter", rest)
            parsed += 1
    assert parsed or any("'" in line for line in reference._examples(LEAVES[command]))


def _find(words: list[str]) -> tuple[Any, list[str]]:
    group = root()
    context = group.make_context("charter", ["status"])
    _, command, rest = group.resolve_command(context, words)
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@spec("UX-2")
@pytest.mark.parametrize("command", sorted(CALLS))
def test_json_is_one_document_and_nothing_else(
    command: str, server: Any, charter: Any, tmp_path: Path
) -> None:
    ended = charter(*with_json(prepared(server, command, tmp_path)))
    assert ended.err == ""
    assert ended.code == 0
    assert isinstance(json.loads(ended.out), dict)


@pytest.mark.parametrize("command", sorted(CALLS))
def test_text_for_people(command: str, server: Any, charter: Any, tmp_path: Path) -> None:
    ended = charter(*prepared(server, command, tmp_path))
    assert ended.code == 0
    assert ended.out.strip()
    assert not ended.out.lstrip().startswith("{")
    assert "\x1b" not in ended.out, "no colours where there is no terminal"


@pytest.mark.parametrize("command", sorted(CALLS))
def test_request_bodies_are_what_the_api_takes(
    command: str, server: Any, charter: Any, tmp_path: Path
) -> None:
    charter(*prepared(server, command, tmp_path))
    shapes = {
        "workspace preview": s.WorkspaceIn,
        "workspace create": s.WorkspaceIn,
        "agent create": s.AgentIn,
        "agent elevate": s.ElevationIn,
        "production request": AccessIn,
        "quota request": OverrideIn,
        "break-glass start": EmergencyIn,
        "break-glass review": EmergencyReviewIn,
        "agent kill": s.KillIn,
        "agent define": s.AgentDefinitionIn,
        "agent change": s.AgentDefinitionChangeIn,
        "agent retire": s.RetireIn,
        "keys rotate": s.KeyRotateIn,
        "agent end": s.TaskEndIn,
        "person create": s.PersonIn,
        "scim token create": s.ScimTokenIn,
        "scim adopt": s.AdoptionIn,
        "team create": s.TeamIn,
        "team add": s.MemberIn,
        "project create": s.ProjectIn,
        "role grant": s.BindingIn,
        "template create": s.TemplateIn,
        "template approve": s.TemplateApprovalIn,
        "template withdraw": s.TemplateApprovalIn,
        "token create": s.TokenIn,
        "passkey rename": s.PasskeyIn,
        "policy apply": s.BundleIn,
        "policy impact": ImpactIn,
        "enforcement-point register": s.EnforcementPointIn,
        "enforcement-point rotate": s.RotateIn,
        "notification prefer": n.PreferencesIn,
        "notification channel add": n.ChannelIn,
        "policy rollback": s.RollbackIn,
        "policy propose": policy_changes.ChangeIn,
        "policy review approve": policy_changes.ReviewIn,
        "policy review reject": policy_changes.ReviewIn,
        "policy withdraw": policy_changes.WithdrawIn,
        "policy try": s.TrialIn,
        "decision replay": s.ReplayIn,
        "governance open": s.ReviewOpenIn,
        "governance hold": s.ReviewHeldIn,
        "governance minutes": s.MinutesIn,
        "governance close": s.ReviewCloseIn,
        **apr.BODIES,
        "role define": s.RoleIn,
        "review open": access_reviews.CampaignIn,
        "review keep": access_reviews.ReviewAnswerIn,
        "review revoke": access_reviews.ReviewAnswerIn,
        "workspace exec": s.ExecuteIn,
        "workspace write": s.FileIn,
        "workspace start": s.JustifiedIn,
        "workspace stop": s.JustifiedIn,
        "workspace extend": s.ExtendIn,
    }
    bodies = [r.body for r in server.requests if r.body]
    for body in bodies:
        shapes[command].model_validate(body)
    for request in server.requests:
        assert request.headers["authorization"] == "Bearer charter_pat_test"


@pytest.mark.parametrize("command", sorted(CALLS))
def test_a_refusal_is_a_problem_document_on_standard_error(
    command: str, server: Any, charter: Any, tmp_path: Path
) -> None:
    line = with_json(prepared(server, command, tmp_path))
    for route in server.answers:
        server.answers[route] = a.problem(403, "denied")
    ended = charter(*line)
    assert ended.code == 1
    assert ended.out == ""
    assert json.loads(ended.err)["code"] == "denied"


@pytest.mark.parametrize("command", sorted(CALLS))
def test_not_signed_in_ends_with_4_before_anything_is_sent(
    command: str, server: Any, charter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = prepared(server, command, tmp_path)
    monkeypatch.delenv("CHARTER_TOKEN")
    ended = charter(*line)
    assert ended.code == 4
    assert "charter login" in ended.err
    assert server.requests == []


def test_the_table_of_contents_is_what_the_modules_say() -> None:
    for entry in lazy.ENTRIES.values():
        command = lazy.load(entry)
        if not entry.single:
            assert command.help == entry.help
            assert command.commands


@pytest.mark.parametrize(
    ("alias", "name"), [(alias, e.name) for e in lazy.ENTRIES.values() for alias in e.aliases]
)
def test_plural_names(alias: str, name: str, charter: Any) -> None:
    singular, plural = charter(name, "--help"), charter(alias, "--help")
    assert plural.code == 0
    assert plural.out.split("\n")[1:] == singular.out.split("\n")[1:]


def test_the_reference_is_up_to_date() -> None:
    written = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
    assert written.read_text(encoding="utf-8") == reference.reference(), (
        "run: python -m charter.cli.reference --write docs/reference/cli.md"
    )
