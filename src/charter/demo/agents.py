"""Chapters about agents: tasks and tiers, what the kernel holds, the sponsor's bound, the kill."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from charter.adapters.workspaces.local.provider import LocalProvider
from charter.demo.people import Cast, refusal
from charter.demo.stage import DifferentlyError, Outcome, Person, Stage

_MILLISECONDS: Final = 1000.0
_UNAUTHENTICATED: Final = 401
_NO_ALLOWLIST: Final = "Agent workspaces require explicit egress allowlist"
# Looks for any interface but loopback, and tries to leave by an address that needs no name.
_NETWORK_PROBE: Final = """
import os, socket
names = sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else \
    sorted(line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line)
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
    print(names, "connected")
except OSError as error:
    print(",".join(names), error.strerror)
"""
_FORK_STORM: Final = "setsid sh -c 'while :; do sleep 60 & done' >/dev/null 2>&1 & sleep 0.3"


def _agent(play: Stage, sponsor: Person, name: str, tier: str) -> Person:
    made = sponsor.ok(
        "POST",
        "/agents",
        json={
            "name": name,
            "task": "Mend the rounding of totals",
            "repositories": ["git.example.org/payments/checkout"],
            "tier": tier,
            "project": "checkout",
            "minutes": 60,
        },
    )
    if made["credential"] is None:
        raise DifferentlyError(f"an approval is needed: {made['decision']['violations']}")
    return play.with_token(name, made["credential"]["token"])


def _workspace(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "template": "agent-minimal",
        "size": "agent",
        "project": "checkout",
        **more,
    }


def work(play: Stage, cast: Cast) -> None:
    """Everything that the story tells of agents."""
    play.chapter("An agent works, within bounds that hold")
    found: dict[str, Person] = {}
    _begin(play, cast, found)
    if "fixer" not in found or "reader" not in found:
        raise DifferentlyError("the agents did not arrive")
    _tiers(play, found["reader"], found["fixer"])
    _delegation(play, cast, found["fixer"])
    play.chapter("The kill switch")
    _kill(play, cast, found["fixer"])


def _begin(play: Stage, cast: Cast, found: dict[str, Person]) -> None:
    def sponsor() -> Outcome:
        found["fixer"] = _agent(play, cast.dana, "fixer", "sandboxed")
        me = found["fixer"].ok("GET", "/me")
        return Outcome(me["kind"], f"{me['tier']} tier, its own credential for 15 minutes")

    def no_allowlist() -> Outcome:
        refused = refusal(found["fixer"], "POST", "/workspaces", json=_workspace("work"))
        return Outcome(
            refused.word if _NO_ALLOWLIST in refused.reason else "other reason", refused.reason
        )

    def allowlist() -> Outcome:
        fixer = found["fixer"]
        made = fixer.ok("POST", "/workspaces", json=_workspace("work", egress_allowlist=[]))
        play.state(fixer, "work", "running", 5)
        return Outcome(made["decision"]["effect"], "an explicit list, here an empty one; it runs")

    def reader() -> Outcome:
        found["reader"] = _agent(play, cast.dana, "reader", "read-only")
        found["reader"].ok("POST", "/workspaces", json=_workspace("look", egress_allowlist=[]))
        play.state(found["reader"], "look", "running", 5)
        return Outcome("running", "its workspace is mounted read-only")

    play.step("dana", "sponsors an agent for a task, a repository, an hour", "agent", sponsor)
    play.step("fixer", "creates its workspace without an egress allowlist", "denied", no_allowlist)
    play.step("fixer", "creates it with one, through the agent API", "allow", allowlist)
    play.step("dana", "sponsors a read-only agent, which gets a workspace", "running", reader)


def _execute(person: Person, workspace: str, *command: str) -> dict[str, Any]:
    done: dict[str, Any] = person.ok(
        "POST", f"/workspaces/{workspace}/execute", json={"command": list(command)}
    )
    return done


def _tiers(play: Stage, reader: Person, fixer: Person) -> None:
    def write() -> Outcome:
        return refusal(
            reader,
            "PUT",
            "/workspaces/look/files",
            params={"path": "note"},
            json={"content": "no"},
        )

    def forced() -> Outcome:
        # Past every check of Charter's, straight to the sandbox: what is left is the kernel.
        workspace = reader.ok("GET", "/workspaces/look")["id"]
        provider = LocalProvider(Path(play.environment["CHARTER_STATE_DIR"]) / "workspaces")
        done = provider.execute(
            workspace,
            ["python3", "-c", "open('/workspace/note', 'w')"],
            timeout_seconds=20,
        )
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        word = "EROFS" if any("Errno 30" in line for line in said) else f"exit {done.exit_code}"
        return Outcome(word, " ".join(said))

    def writes() -> Outcome:
        done = _execute(fixer, "work", "sh", "-c", "echo 'print(6 * 7)' > t.py; python3 t.py")
        return Outcome(done["stdout"].strip(), "a sandboxed agent writes and runs")

    def network() -> Outcome:
        done = _execute(fixer, "work", "python3", "-c", _NETWORK_PROBE)
        names, _, error = done["stdout"].strip().partition(" ")
        return Outcome(names, f"connecting outside: {error}")

    play.step("reader", "writes a file through the API", "denied", write)
    play.step("somebody", "forces the write past the API, as the reader", "EROFS", forced)
    play.step("fixer", "writes a program and runs it", "42", writes)
    play.step("fixer", "looks for a network", "lo", network)


def _delegation(play: Stage, cast: Cast, fixer: Person) -> None:
    def beyond() -> Outcome:
        refused = refusal(
            fixer,
            "POST",
            "/workspaces",
            json={
                "name": "other",
                "template": "agent-minimal",
                "size": "agent",
                "team": "search",
                "egress_allowlist": [],
            },
        )
        named = "never exceeds its sponsor" in refused.reason
        return Outcome(refused.word if named else "other reason", refused.reason)

    def narrower() -> Outcome:
        cast.admin.ok("DELETE", f"/role-bindings/{cast.dana_role}")
        refused = refusal(fixer, "POST", "/workspaces/work/execute", json={"command": ["id"]})
        named = "never exceeds its sponsor" in refused.reason
        return Outcome(refused.word if named else "other reason", refused.reason)

    def wider() -> Outcome:
        cast.admin.ok("POST", "/role-bindings", json={"person": "dana", "role": "developer"})
        return Outcome(f"exit {_execute(fixer, 'work', 'id')['exit_code']}", "the role is back")

    play.step("fixer", "asks for a place in a team that is not its sponsor's", "denied", beyond)
    play.step("admin", "takes dana's role; the agent's very next request", "denied", narrower)
    play.step("admin", "gives it back; the agent goes on", "exit 0", wider)


def _kill(play: Stage, cast: Cast, fixer: Person) -> None:
    report: dict[str, Any] = {}

    def storm() -> Outcome:
        _execute(fixer, "work", "sh", "-c", _FORK_STORM)
        return Outcome("running", "processes that start processes, in their own sessions")

    def kill() -> Outcome:
        report.update(
            cast.lee.ok("POST", "/agents/fixer/kill", json={"reason": "It loops. Stop it."})
        )
        gone = report["workspaces"][0]
        return Outcome(
            f"{gone['survivors']} left",
            f"{gone['processes']} processes, gone {gone['milliseconds']:.1f} ms after the order "
            "to the kernel",
            report["processes_gone_ms"],
        )

    def credential() -> Outcome:
        response = fixer.call("GET", "/me")
        if response.status_code != _UNAUTHENTICATED:
            return Outcome(str(response.status_code), "the credential still works")
        return Outcome("dead", response.json()["detail"], report["credentials_dead_ms"])

    def stopped() -> Outcome:
        agent = cast.dana.ok("GET", "/agents/fixer")
        page = cast.dana.ok("GET", "/workspaces")["items"]
        mine = [w for w in page if w["agent_id"] == agent["id"]]
        began = time.perf_counter()
        state = play.state(cast.dana, mine[0]["id"], "stopped", 5)["state"]
        waited = (time.perf_counter() - began) * _MILLISECONDS
        return Outcome(
            state,
            f"the home is kept as evidence (waited {waited:.0f} ms for it)",
            report["workspaces_stopped_ms"],
        )

    play.step("fixer", "runs wild", "running", storm)
    play.step("lee", "kills the agent", "0 left", kill)
    play.step("fixer", "shows its credential", "dead", credential)
    play.step("dana", "looks at the agent's workspace", "stopped", stopped)
