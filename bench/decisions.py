"""How fast the shipped policies decide, in this process.

Documents of all kinds (people and agents, allowed and refused, every group of actions) go through
the engine and the strict reading of its answer, one at a time. With `CHARTER_OPA_URL` set, the
same policies and documents also go through that OPA server's data API, in alternation, for the
ratio.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from charter.adapters.rego.assemble import assemble, sources_module
from charter.adapters.rego.describe import describe_rules
from charter.adapters.rego.engine import RegorusEngine
from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.canonical import canonical_json
from charter.core.policy.result import PolicyOutcome, parse_outcome
from tests.policies.documents import BASES, base, merged, spec

NAMES = (
    *BASES,
    "person workspace.execute",
    "agent workspace.write-files",
    "person workspace.view",
    "person approval.vote",
    "agent workspace.read-files",
)


def documents() -> list[str]:
    """A varied set: every base, with sizes, templates, networks and teams changed."""
    found = []
    for name, cpu, approved, mode, team in itertools.product(
        NAMES, (2, 16, 40, 96), (True, False), ("none", "host"), ("team_1", "team_2")
    ):
        document = base(name)
        if "request" in document:
            document = merged(
                document,
                spec(
                    resources={"cpu": cpu}, template={"approved": approved}, network={"mode": mode}
                ),
            )
        found.append(canonical_json(merged(document, {"resource": {"team": team}})))
    return found


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def _opa(url: str) -> Callable[[str], object]:
    """Ask an OPA server that has been given the shipped policies."""

    def send(method: str, path: str, body: bytes, kind: str) -> bytes:
        request = Request(url.rstrip("/") + path, body, {"Content-Type": kind}, method=method)  # noqa: S310
        with urlopen(request, timeout=10) as reply:  # noqa: S310
            content: bytes = reply.read()
            return content

    assembly = assemble(shipped_bundle())
    modules = [(m.file, m.text) for m in assembly.modules] + [sources_module(assembly)]
    for name, document in json.loads(assembly.data_json).items():
        send("PUT", f"/v1/data/{name}", json.dumps(document).encode(), "application/json")
    for file, text in modules:
        send("PUT", f"/v1/policies/{file.replace('/', '-')}", text.encode(), "text/plain")

    def ask(document: str) -> object:
        body = b'{"input":' + document.encode() + b"}"
        return json.loads(send("POST", "/v1/data/charter/decision", body, "application/json"))

    return ask


def _seconds(ask: Callable[[str], object], inputs: list[str]) -> float:
    started = time.perf_counter()
    for document in inputs:
        ask(document)
    return time.perf_counter() - started


def run(quick: bool) -> dict[str, Any]:
    """The figures; see bench.md for their names."""
    bundle = shipped_bundle()
    engine = RegorusEngine(bundle)
    inputs = documents()

    def ours(document: str) -> object:
        answer = engine.evaluate(document)
        if not isinstance(answer, str):
            raise TypeError(answer)
        outcome = parse_outcome(answer)
        if not isinstance(outcome, PolicyOutcome):
            raise TypeError(outcome)
        return outcome

    for document in inputs:  # warm: the library compiles on first use
        ours(document)
    rounds = 3 if quick else 15
    p50s, p99s, rates, ratios = [], [], [], []
    url = os.environ.get("CHARTER_OPA_URL")
    theirs = _opa(url) if url else None
    for _ in range(rounds):
        durations = []
        cpu = time.process_time()
        for document in inputs:
            started = time.perf_counter()
            ours(document)
            durations.append((time.perf_counter() - started) * 1000)
        rates.append(len(inputs) / (time.process_time() - cpu))
        p50s.append(_percentile(durations, 0.50))
        p99s.append(_percentile(durations, 0.99))
        if theirs is not None:
            ratios.append(_seconds(theirs, inputs) / _seconds(ours, inputs))
    return {
        "rules": len(describe_rules(bundle)),
        "p50_ms": round(statistics.median(p50s), 3),
        "p99_ms": round(statistics.median(p99s), 3),
        "evaluations_per_cpu_second": round(statistics.median(rates)),
        "opa_rest_ratio": round(statistics.median(ratios), 2) if ratios else None,
    }


if __name__ == "__main__":
    print(json.dumps(run("--quick" in sys.argv)))
