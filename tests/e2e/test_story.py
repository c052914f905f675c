"""The essential journey through the front doors: API and command line, on a started instance."""

from __future__ import annotations

import json
import sys

import pytest

from charter.adapters.workspaces.port import SandboxState
from tests.e2e.instance import Client, Instance
from tests.spec import spec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def people(started: tuple[Instance, Client]) -> dict[str, Client]:
    """The administrator, a developer and the lead of their team, signed in by link."""
    instance, admin = started
    admin.ok("POST", "/teams", {"name": "payments"})
    return {
        "admin": admin,
        "dana": instance.person(admin, "dana", "developer", "payments"),
        "lee": instance.person(admin, "lee", "team-lead", "payments"),
    }


def test_a_link_signs_in_once(started: tuple[Instance, Client], people: dict[str, Client]) -> None:
    instance, admin = started
    link = admin.ok("POST", "/people/dana/sign-in-link")["url"]
    assert instance.sign_in("dana", link).ok("GET", "/me")["handle"] == "dana"
    again = people["dana"].call("POST", "/sign-in", {"link": link})
    assert again.status_code == 401


@spec("LC-1", "PV-1")
def test_what_was_written_is_there_after_stop_and_start(
    started: tuple[Instance, Client], people: dict[str, Client]
) -> None:
    instance, _ = started
    dana = people["dana"]
    made = dana.ok("POST", "/workspaces", {"name": "api", "template": "python"})
    running = dana.wait_for("api", "running")
    assert running["id"] == made["workspace"]["id"]
    said = instance.charter(
        "workspace", "exec", "api", "--", "sh", "-c", "echo kept > note; cat note", token=dana.token
    )
    assert said.stdout == "kept\n"
    dana.ok("POST", "/workspaces/api/stop")
    dana.wait_for("api", "stopped")
    assert instance.provider().observe(running["id"]).state is SandboxState.STOPPED
    dana.ok("POST", "/workspaces/api/start")
    dana.wait_for("api", "running")
    assert dana.ok("GET", "/workspaces/api/files?path=note")["content"] == "kept\n"
    shown = json.loads(
        instance.charter("workspace", "show", "api", "--json", token=dana.token).stdout
    )
    assert (shown["id"], shown["state"]) == (running["id"], "running")


@spec("AP-5")
def test_an_approval_is_given_by_somebody_else_and_carries_the_request_out(
    people: dict[str, Client],
) -> None:
    dana, lee = people["dana"], people["lee"]
    asked = dana.ok("POST", "/workspaces", {"name": "big", "template": "python", "vcpu": 40})
    assert asked["workspace"] is None
    approval = asked["approval"]["id"]
    own = dana.call("POST", f"/approvals/{approval}/approve", {})
    assert own.status_code == 403
    assert lee.ok("POST", f"/approvals/{approval}/approve", {})["state"] == "approved"
    assert dana.wait_for("big", "running")["vcpu"] == 40
    big = dana.ok("GET", "/workspaces/big")["id"]
    dana.ok("DELETE", f"/workspaces/{big}")
    dana.wait_for(big, "deleted")


@spec("AG-4")
def test_the_kill_switch_ends_an_agent_and_what_it_runs(
    started: tuple[Instance, Client], people: dict[str, Client]
) -> None:
    instance, _ = started
    dana, lee = people["dana"], people["lee"]
    body = {
        "name": "fixer",
        "task": "Mend the build.",
        "tier": "sandboxed",
        "repositories": ["git.example.org/payments/api"],
    }
    created = dana.ok("POST", "/agents", body)
    agent = instance.with_token("fixer", created["credential"]["token"])
    wish: dict[str, object] = {"name": "fix", "template": "agent-minimal", "size": "agent"}
    assert agent.call("POST", "/workspaces", wish).status_code == 403
    wish["egress_allowlist"] = ["git.example.org"]
    workspace = agent.ok("POST", "/workspaces", wish)["workspace"]["id"]
    agent.wait_for(workspace, "running")
    killed = lee.ok("POST", f"/agents/{created['agent']['id']}/kill", {"reason": "A drill."})
    assert [report["survivors"] for report in killed["workspaces"]] == [0]
    assert agent.call("GET", "/me").status_code == 401
    assert dana.wait_for(workspace, "stopped")["id"] == workspace
    assert instance.provider().observe(workspace).usage is None


def test_a_second_start_finds_everything_again(
    started: tuple[Instance, Client],
    people: dict[str, Client],
    capsys: pytest.CaptureFixture[str],
) -> None:
    instance, _ = started
    dana = people["dana"]
    before = dana.wait_for("api", "running")
    instance.charter("down")
    answer = instance.up()
    assert answer["ready"]
    assert answer["sign_in_link"] is None  # the administrator has signed in
    # The sandbox went on meanwhile: it is the same one, not one that was started again.
    after = dana.wait_for("api", "running")
    assert after["started_at"] == before["started_at"]
    with capsys.disabled():
        sys.stdout.write(f"\n  second start: {instance.starts[-1]:.2f} s\n")
