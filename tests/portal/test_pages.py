"""Every page, over the real services: what it shows, to whom, and that it is well made."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from charter.portal import assets
from charter.portal.visit import CONTENT_SECURITY_POLICY
from charter.services import agents, approvals, decisions, overview, policies, workspaces
from tests.portal.conftest import Visitor
from tests.portal.instance import link_of
from tests.portal.markup import problems, text_of
from tests.portal.story import tell
from tests.spec import spec
from tests.support import World

Visit = Callable[[str], Visitor]


def _paths(world: World, ids: dict[str, str]) -> dict[str, list[str]]:
    """Who looks at what: every page that can be opened."""
    stored = decisions.list_page(world.rt, world.caller("dana"))["items"]
    rule = policies.rules(world.rt, world.caller("dana"))[0]["id"]
    return {
        "dana": [
            "/",
            "/workspaces",
            "/workspaces?q=checkout&state=running&owner=all",
            "/workspaces?q=nothing-like-this",
            "/workspaces/new",
            f"/workspaces/{ids['checkout-api']}",
            f"/workspaces/{ids['notebook']}",
            f"/workspaces/{ids['checkout-api']}/files?path=.",
            f"/workspaces/{ids['checkout-api']}/files?path=notes.txt&kind=file",
            f"/workspaces/{ids['checkout-api']}/extend",
            f"/workspaces/{ids['checkout-api']}/delete",
            "/approvals",
            "/approvals?show=mine",
            f"/approvals/{ids['approval']}",
            f"/approvals/{ids['denied']}",
            "/approvals/grants",
            f"/approvals/grants/{ids['grant']}/renew",
            f"/approvals/grants/{ids['grant']}/revoke",
            "/approvals/away",
            "/agents",
            "/agents?state=killed",
            "/agents/new",
            f"/agents/{ids['fix-flaky-tests']}",
            f"/agents/{ids['read-the-docs']}",
            f"/agents/{ids['fix-flaky-tests']}/kill",
            "/agents/definitions",
            "/agents/definitions?state=retired",
            f"/agents/definitions/{ids['definition']}",
            "/agents/new?definition=test-mender",
            f"/agents/{ids['fix-flaky-tests']}/elevate",
            "/elevation",
            "/elevation?mine=yes",
            "/elevation/quotas",
            "/elevation/break-glass",
            "/policies",
            "/policies?effect=deny&folder=admission&severity=high&q=template",
            f"/policies/rules/{rule}",
            "/policies/bundles",
            "/decisions",
            "/decisions?effect=deny",
            *(f"/decisions/{stored[i]['id']}" for i in range(3)),
            *(f"/decisions/{stored[i]['id']}/explanation" for i in range(3)),
        ],
        "lee": [
            "/",
            "/approvals",
            "/approvals?show=all",
            f"/approvals/{ids['approval']}",
            "/agents/definitions/new",
            f"/agents/definitions/{ids['definition']}/change",
            f"/agents/definitions/{ids['definition']}/retire",
            "/account/notifications",
            "/notifications",
            "/notifications?state=dead",
            "/people",
            "/notifications/channels/new",
            "/notifications/channels/none/remove",
            "/approvals?rule=admission/cpu-needs-approval&team=payments&requester=dana",
            f"/approvals/{ids['approval']}",
            "/approvals/grants?show=all&ended=too",
            "/approvals/waiting",
            "/approvals/waiting?days=90",
            "/approvals/away",
        ],
        "sam": [
            "/",
            "/policies/playground",
            "/policies/playground?file=data/limits.json",
            f"/policies/playground?file=lib/decision.rego&decision={stored[0]['id']}",
            "/policies/changes",
            "/policies/changes?state=open",
            f"/policies/changes/{ids['change']}",
            f"/policies/changes/{ids['staged_change']}",
            f"/policies/changes/{ids['staged_change']}/withdraw",
            "/policies/rollback",
            f"/policies/impact/{ids['impact']}",
            f"/policies/bundles/diff?before={ids['digest']}&after={ids['digest']}",
            "/access?subject=dana&action=workspace.stop",
            "/access/roles",
            "/access/reviews",
            "/access/roles/developer",
            "/account",
            "/account/confirm?next=/policies",
            "/policies/exemptions",
            "/policies/exemptions?state=soon&q=payments",
            "/policies/reviews",
            "/policies/reviews?state=closed",
            "/policies/reviews/new",
            f"/policies/reviews/{ids['review']}",
            f"/policies/reviews/{ids['review-closed']}",
            "/keys",
            "/keys/rotate",
            "/keys/compromised",
            "/audit",
            "/audit?outcome=denied&action=workspace",
            "/workspaces?owner=all",
        ],
        "ria": ["/", "/workspaces?owner=all", "/agents"],
        "admin": [
            "/people?q=dana&state=active&source=local",
            "/people?q=nobody-like-this",
            "/people/new",
            "/people/dana",
            "/people/dana/deactivate",
            "/people/directories",
        ],
    }


@spec("UX-1")
def test_every_page_is_shown_well_made_and_under_the_policy(world: World, visit: Visit) -> None:
    ids = tell(world, world.settle)
    world.settle()
    for handle, paths in _paths(world, ids).items():
        visitor = visit(handle)
        for path in paths:
            answer = visitor.get(path)
            assert answer.status_code == 200, f"{handle} {path}: {text_of(answer.text)}"
            assert problems(answer.text) == [], f"{handle} {path}"
            assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
            assert answer.headers["cache-control"] == "no-store"
            part = visitor.get(path, htmx=True)
            assert problems(part.text, whole=False) == [], f"{handle} {path} in part"


@spec("UX-1")
def test_the_decision_is_previewed_and_nothing_is_stored(world: World, visit: Visit) -> None:
    dana = visit("dana")
    asked = {
        "small": {"template": "python"},
        "large": {"template": "python", "vcpu": "40"},
        "unapproved": {"template": "scratch"},
        "nonsense": {"template": "python", "vcpu": "many"},
    }
    answers = {
        name: dana.post("/workspaces/preview", htmx=True, **fields)
        for name, fields in asked.items()
    }
    said = {name: text_of(answer.text) for name, answer in answers.items()}
    assert "Create workspace" in said["small"]
    assert "Quota left after" in said["small"]
    assert "126 left" in said["small"]  # of the 128 vCPU of one person
    assert "Request approval" in said["large"]
    assert "team-lead" in said["large"]
    assert "Not allowed" in said["unapproved"]
    assert "disabled" in answers["unapproved"].text
    assert "Vcpu is not a whole number" in said["nonsense"]
    assert decisions.list_page(world.rt, world.caller("dana"), action="workspace.create") == {
        "items": [],
        "next": None,
    }


@spec("UX-1", "PC-13")
def test_the_smallest_change_is_put_into_the_form(world: World, visit: Visit) -> None:
    dana = visit("dana")
    answer = dana.post("/workspaces/preview", htmx=True, template="python", vcpu="40")
    said = text_of(answer.text)
    assert "Smallest change that passes" in said
    assert "vCPU 40 32" in said
    assert problems(answer.text, whole=False) == []
    carried = re.search(r'name="apply" value="([^"]+)"', answer.text)
    assert carried is not None
    applied = dana.post(
        "/workspaces/preview", name="big", template="python", vcpu="40", apply=unescape(carried[1])
    )
    assert problems(applied.text) == []
    assert re.search(r'name="vcpu"[^>]* value="32"', applied.text)
    assert re.search(r'name="name"[^>]* value="big"', applied.text)
    assert "Create workspace" in text_of(applied.text)
    for nonsense in ("{", "[]", '{"name": "other"}', '{"vcpu": 3}', "x" * 5000):
        same = dana.post(
            "/workspaces/preview", name="big", template="python", vcpu="40", apply=nonsense
        )
        assert re.search(r'name="vcpu"[^>]* value="40"', same.text), nonsense
        assert re.search(r'name="name"[^>]* value="big"', same.text), nonsense


@spec("PC-13")
def test_a_decision_is_explained_line_by_line(world: World, visit: Visit) -> None:
    dana = visit("dana")
    dana.post("/workspaces", name="big", template="python", vcpu="40")
    decision = decisions.list_page(world.rt, world.caller("dana"), action="workspace.create")
    place = f"/decisions/{decision['items'][0]['id']}"
    assert f'hx-get="{place}/explanation"' in dana.get(place).text
    answer = dana.get(f"{place}/explanation", htmx=True)
    said = text_of(answer.text)
    for expected in (
        "Rule by rule",
        "admission/cpu-needs-approval",
        "input.request.object.spec.resources.cpu 40",
        "data.settings.limits.cpu_without_approval 32",
        "admission/workspace-limits.rego:",
        "Smallest change that passes",
        "charter workspace create big",
        "Nearly spoke",
    ):
        assert expected in said
    assert visit("otto").get(f"{place}/explanation").status_code == 404


@spec("UX-1")
def test_a_workspace_from_the_form_to_its_end(world: World, visit: Visit) -> None:
    dana = visit("dana")
    made = dana.post("/workspaces", name="notes", template="python@1.0.0", size="small")
    assert made.status_code == 303, text_of(made.text)
    place = made.headers["location"]
    world.settle()
    page = dana.get(place)
    assert "Created." in text_of(page.text)
    assert "Running" in text_of(page.text)
    assert "Created." not in text_of(dana.get(place).text)  # a word is said once

    ran = dana.post(f"{place}/execute", htmx=True, command="echo out; echo err >&2; exit 3")
    assert "Exit code 3" in text_of(ran.text)
    assert "out" in text_of(ran.text)
    assert "err" in text_of(ran.text)
    escaped = dana.post(f"{place}/execute", htmx=True, command="echo '<script>alert(1)</script>'")
    assert "&lt;script&gt;" in escaped.text

    for action, state in (("stop", "Stopped"), ("start", "Running"), ("extend", "Running")):
        done = dana.post(f"{place}/{action}")
        assert (done.status_code, done.headers["location"]) == (303, place), text_of(done.text)
        world.settle()
        assert state in text_of(dana.get(place).text)
    assert dana.post(f"{place}/delete").headers["location"] == "/workspaces"
    world.settle()
    assert "No workspaces" in text_of(dana.get("/workspaces").text)


@spec("UX-1")
def test_forty_vcpu_wait_for_the_team_lead(world: World, visit: Visit) -> None:
    dana, lee = visit("dana"), visit("lee")
    asked = dana.post("/workspaces", name="big", template="python", vcpu="40", key="0" * 32)
    again = dana.post("/workspaces", name="big", template="python", vcpu="40", key="0" * 32)
    place = asked.headers["location"]
    assert again.headers["location"] == place  # a form sent twice is one request
    assert "Nobody approves their own request" in text_of(dana.get(place).text)
    assert dana.post(f"{place}/approve").status_code == 403
    assert "workspace big" in text_of(lee.get("/approvals").text)
    assert lee.post(f"{place}/approve", comment="Until Friday.").status_code == 303
    world.settle()
    page = text_of(dana.get(place).text)
    assert "Approved" in page
    assert "Until Friday." in page
    mine = workspaces.list_page(world.rt, world.caller("dana"))["items"]
    assert [(w["name"], w["vcpu"], w["state"]) for w in mine] == [("big", 40, "running")]


@spec("UX-1")
def test_an_agents_credential_is_shown_once_and_its_kill_is_timed(
    world: World, visit: Visit
) -> None:
    dana = visit("dana")
    made = dana.post(
        "/agents", name="fixer", task="Fix it", repositories="git.example.org/a\n", minutes="30"
    )
    token = re.search(r'id="credential">([^<]+)<', made.text)
    assert token is not None, text_of(made.text)
    assert problems(made.text) == []
    agent = agents.get(world.rt, world.caller("dana"), "fixer")
    assert token[1] not in dana.get(f"/agents/{agent['id']}").text
    assert dana.post(f"/agents/{agent['id']}/kill").status_code == 422  # no reason given
    killed = dana.post(f"/agents/{agent['id']}/kill", reason="Enough.")
    assert re.search(r"Credentials dead after \d+\.\d ms", text_of(killed.text))
    assert problems(killed.text) == []
    assert "Killed" in text_of(dana.get("/agents").text)


def test_a_refusal_is_a_calm_page(world: World, visit: Visit) -> None:
    dana = visit("dana")
    for path, status, said in (
        ("/audit", 403, "The audit trail is open to"),
        ("/workspaces/none-of-that-name", 404, "There is no such workspace"),
        ("/no/such/page", 404, "There is no such page"),
        ("/decisions/dec_x", 404, "There is no such decision"),
        ("/approvals/apr_x", 404, "There is no such approval"),
        ("/policies/rules/none/such", 404, "has no rule"),
        ("/workspaces?cursor=%01", 422, "control character"),
    ):
        answer = dana.get(path)
        assert answer.status_code == status, path
        assert said in text_of(answer.text), path
        assert "Traceback" not in answer.text
        assert problems(answer.text) == [], path
    refused = dana.post("/workspaces", name="x", template="scratch", justification="Because.")
    assert refused.status_code == 403
    assert "Because." in refused.text  # what was typed is still there
    assert problems(refused.text) == []
    for fields in ({"name": "Nö"}, {"name": ""}, {"name": "a", "memory_gib": "-1"}):
        answer = dana.post("/workspaces", template="python", **fields)
        assert answer.status_code == 422, fields
        assert "Correct the field" in text_of(answer.text)


def test_a_failure_is_a_page_without_its_trace(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    dana = visit("dana")

    def fail(*_: object) -> None:
        raise RuntimeError("the innards")

    monkeypatch.setattr(overview, "overview", fail)
    answer = dana.get("/")
    assert answer.status_code == 500
    assert "nothing was changed by it" in text_of(answer.text)
    assert "innards" not in answer.text
    assert problems(answer.text) == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"name": "x"}'),
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("application/x-www-form-urlencoded", b"name=%ff%fe&name=%00&_csrf=%ed%a0%80"),
        ("application/x-www-form-urlencoded", b"&=&&==%"),
    ],
)
def test_a_body_that_is_no_form_is_refused(visit: Visit, content_type: str, body: bytes) -> None:
    dana = visit("dana")
    for path in ("/workspaces", "/workspaces/preview", "/agents", "/sign-in", "/theme"):
        answer = dana.client.post(path, content=body, headers={"Content-Type": content_type})
        assert 400 <= answer.status_code < 500, path
        assert problems(answer.text) == [], path
    for path in ("/workspaces/%00", "/agents/%01/kill", "/policies/rules/%00"):
        assert dana.get(path).status_code == 422, path


def test_signing_in_and_out(world: World, app: FastAPI, visit: Visit) -> None:
    client = TestClient(app, follow_redirects=False)
    assert client.get("/workspaces").headers["location"] == "/sign-in"
    assert "charter person link" in text_of(client.get("/sign-in").text)
    part = client.get("/workspaces", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (204, "/sign-in")

    link = link_of(world, "dana")
    path = link.removeprefix(world.rt.settings.url)
    for _ in range(3):  # looking at the page, as a mail scanner does, uses nothing up
        assert client.get(path).status_code == 200
    assert problems(client.get(path).text) == []
    secret = path.partition("link=")[2]
    opened = client.post("/sign-in", data={"link": secret})
    cookie = opened.headers["set-cookie"]
    assert cookie.startswith("charter_session=")
    for attribute in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert attribute in cookie
    used = TestClient(app).post("/sign-in", data={"link": secret})
    assert used.status_code == 401
    assert "used already" in text_of(used.text)
    assert client.get("/").status_code == 200
    pasted = client.get(f"/sign-in?link={quote(link)}")
    assert f'value="{secret}"' in pasted.text

    dana = visit("dana")
    kept = dana.client.cookies["charter_session"]
    assert dana.post("/sign-out").headers["location"] == "/sign-in"
    dana.client.cookies.set("charter_session", kept)
    assert dana.get("/").headers["location"] == "/sign-in"  # dead on the server as well


@pytest.mark.parametrize(
    "back", ["//evil.example", "/\\evil.example", "https://evil.example", "/workspaces"]
)
def test_the_theme_is_kept_and_leads_nowhere_else(visit: Visit, back: str) -> None:
    dana = visit("dana")
    answer = dana.post("/theme", theme="dark", back=back)
    assert answer.headers["location"] == (back if back == "/workspaces" else "/")
    assert 'data-theme="dark"' in dana.get("/").text
    dana.post("/theme", theme="")
    assert "data-theme" not in dana.get("/").text


def test_static_files_are_kept_for_ever_under_their_digest(app: FastAPI) -> None:
    client = TestClient(app)
    for name, asset in assets.ASSETS.items():
        answer = client.get(assets.url(name))
        assert answer.content == asset.content
        assert "immutable" in answer.headers["cache-control"]
    assert client.get("/static/0000000000000000/charter.css").status_code == 404
    assert client.get(f"/static/{assets.DIGEST}/../routes.py").status_code == 404
    assert len(assets.ASSETS["charter.css"].content) <= 18 * 1024


def test_a_notice_is_marked_as_read(world: World, visit: Visit) -> None:
    dana, lee = visit("dana"), visit("lee")
    dana.post("/workspaces", name="big", template="python", vcpu="40")
    found = re.search(r'action="(/notices/[^"]+)"', lee.get("/").text)
    assert found is not None
    assert dana.post(found[1]).status_code == 404  # somebody else's
    assert lee.post(found[1]).status_code == 303
    assert found[1] not in lee.get("/").text
    assert approvals.list_page(world.rt, world.caller("lee"), for_me=True)["items"]
