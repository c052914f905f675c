"""How long a workspace takes from the API call until its sandbox runs.

A real instance of its own: API, controllers, a PostgreSQL that syncs to disk, real sandboxes. One
person after the other asks for a workspace. A round is measured from sending the request until the
provider shows the sandbox's process, and, within that, until the API has answered (the decision
is stored by then) and how long the decision itself took. Then several people ask at once, and
`creates_per_second` is how many sandboxes came up per second.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from charter.adapters.workspaces.local.provider import LocalProvider
from charter.adapters.workspaces.port import SandboxState
from tests.e2e.instance import Client, Instance, running_instance, until

ROUNDS: Final = 60
ROUNDS_QUICK: Final = 10
TOGETHER: Final = 8  # people who ask at the same time
_TEAM: Final = "platform"  # made with the instance
_POLL_SECONDS: Final = 0.001


def run(quick: bool) -> dict[str, Any]:
    """The figures named in the table of benchmarks, and where the time goes."""
    rounds = ROUNDS_QUICK if quick else ROUNDS
    with running_instance() as (instance, admin):
        provider = instance.provider()
        people = [
            instance.person(admin, f"dev{number}", "developer", _TEAM) for number in range(TOGETHER)
        ]
        answered, running = [], []
        decided: list[str] = []
        _one(provider, people[0], "warm-up")
        for number in range(rounds):
            answer_ms, running_ms, decision = _one(
                provider, people[number % TOGETHER], f"round-{number}"
            )
            answered.append(answer_ms)
            running.append(running_ms)
            decided.append(decision)
        microseconds = [
            admin.ok("GET", f"/decisions/{decision}")["duration_us"] for decision in decided
        ]
        rates = [_together(instance, people, burst) for burst in range(1 if quick else 5)]
    return {
        "rounds": rounds,
        "p50_ms": _percentile(running, 50),
        "p99_ms": _percentile(running, 99),
        "answer_p50_ms": _percentile(answered, 50),
        "answer_p99_ms": _percentile(answered, 99),
        "decision_p50_ms": round(statistics.median(microseconds) / 1000, 2),
        "creates_per_second": round(statistics.median(rates), 2),
    }


def table(result: dict[str, Any]) -> list[tuple[str, str]]:
    """For people."""
    return [
        ("workspaces created one after the other", str(result["rounds"])),
        ("API call → sandbox process running, p50", f"{result['p50_ms']} ms"),
        ("API call → sandbox process running, p99", f"{result['p99_ms']} ms"),
        ("  of which API call → answer, p50", f"{result['answer_p50_ms']} ms"),
        ("  of which API call → answer, p99", f"{result['answer_p99_ms']} ms"),
        ("  of which the decision, p50", f"{result['decision_p50_ms']} ms"),
        (f"{TOGETHER} people at once: sandboxes a second", str(result["creates_per_second"])),
    ]


def _one(provider: LocalProvider, client: Client, name: str) -> tuple[float, float, str]:
    """Create, wait for the process, delete; milliseconds to the answer and to the process."""
    began = time.perf_counter()
    outcome = client.ok("POST", "/workspaces", _wish(name))
    answered = time.perf_counter()
    _await_running(provider, outcome)
    running = time.perf_counter()
    _delete(client, [outcome["workspace"]["id"]])
    return (answered - began) * 1000, (running - began) * 1000, outcome["decision"]["id"]


def _together(instance: Instance, people: list[Client], burst: int) -> float:
    """Everybody creates at once; sandboxes per second until the last one runs."""
    provider = instance.provider()

    def create(client: Client) -> str:
        outcome = client.ok("POST", "/workspaces", _wish(f"burst-{burst}"))
        _await_running(provider, outcome)
        return str(outcome["workspace"]["id"])

    with ThreadPoolExecutor(len(people)) as pool:
        began = time.perf_counter()
        made = list(pool.map(create, people))
        seconds = time.perf_counter() - began
    for client, workspace in zip(people, made, strict=True):
        _delete(client, [workspace])
    return len(people) / seconds


def _wish(name: str) -> dict[str, object]:
    return {"name": name, "template": "python"}


def _await_running(provider: LocalProvider, outcome: dict[str, Any]) -> None:
    workspace = outcome["workspace"]["id"]

    def runs() -> bool:
        return provider.observe(workspace).state is SandboxState.RUNNING

    until(runs, f"{workspace} running", every_seconds=_POLL_SECONDS)


def _delete(client: Client, workspaces: list[str]) -> None:
    """Outside the measurement: gone, so that quotas and host are as before."""
    for workspace in workspaces:
        client.ok("DELETE", f"/workspaces/{workspace}")
        client.wait_for(workspace, "deleted")


def _percentile(values: list[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 1)


if __name__ == "__main__":
    print(json.dumps(run("--quick" in sys.argv)))
