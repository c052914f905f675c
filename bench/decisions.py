"""How fast the shipped policies decide, in this process.

Documents of all kinds (people and agents, allowed and refused, every group of actions) go through
the engine and the strict reading of its answer, one at a time. Where there is a real OPA (built by
`./dev peers opa`, or at `CHARTER_OPA_URL`), the same policies and documents also go through its
data API over a kept-alive connection, in alternation, for the ratio. How many people and workspaces
exist makes no difference here: the facts of a question come with it, and no policy holds a list of
them.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from charter.adapters.opa.client import OpaClient
from charter.adapters.opa.engine import OpaEngine
from charter.adapters.rego.describe import describe_rules
from charter.adapters.rego.engine import RegorusEngine
from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.canonical import canonical_json
from charter.core.policy.result import PolicyOutcome, parse_outcome
from tests.peers import opa_program, running_opa
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


@contextmanager
def _opa_url() -> Iterator[str | None]:
    """The OPA at CHARTER_OPA_URL, or the one that ./dev peers opa built, or None."""
    given = os.environ.get("CHARTER_OPA_URL")
    program = opa_program()
    if given or program is None:
        yield given
        return
    with running_opa(program) as url:
        yield url


def _opa(url: str) -> Callable[[str], object]:
    """Ask an OPA server that is given the shipped policies, as an external engine is."""
    engine = OpaEngine(shipped_bundle(), OpaClient(url))

    def ask(document: str) -> object:
        answer = engine.evaluate(document)
        if not isinstance(answer, str):
            raise TypeError(answer)
        return answer

    return ask


def _seconds(ask: Callable[[str], object], inputs: list[str]) -> float:
    started = time.perf_counter()
    for document in inputs:
        ask(document)
    return time.perf_counter() - started


def run(quick: bool) -> dict[str, Any]:
    """The figures; see bench.md for their names."""
    with _opa_url() as url:
        return _measure(quick, url)


def _measure(quick: bool, url: str | None) -> dict[str, Any]:
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
