"""How fast the kill switch ends a sandbox that does everything not to end.

Each round starts a workspace, lets a fork storm rage in it (children that leave their session,
ignore signals and multiply until the process limit stops them), and kills it. A round is measured
from the order to the moment at which the kernel reports that no process of the sandbox is left; a
survivor, counted over the whole host, fails the benchmark.

Tunnels and a fleet of simulated agents are measured from the landing on that brings them; until
then their figures are null.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from charter.adapters.workspaces.local.probe import source_root
from charter.adapters.workspaces.local.provider import LocalProvider
from charter.adapters.workspaces.port import SandboxSpec

ROUNDS: Final = 100
ROUNDS_QUICK: Final = 6
PROCESSES: Final = 256
_STORM_SECONDS: Final = 60.0

_STORM: Final = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork():
    sys.exit()
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
"""
# A process that knows nothing but the provider: if it can kill, a kill needs no database.
_ALONE: Final = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from charter.adapters.workspaces.local.provider import LocalProvider
report = LocalProvider(Path(sys.argv[2])).kill(sys.argv[3], int(sys.argv[4]))
database = [name for name in sys.modules if name.split(".")[0] in ("psycopg", "sqlalchemy")]
sys.exit(bool(report.survivors or database or report.processes_before < 2))
"""


def run(quick: bool) -> dict[str, Any]:
    """The figures named in the table of benchmarks, and the median for the reader."""
    rounds = ROUNDS_QUICK if quick else ROUNDS
    spec = SandboxSpec(
        workspace_id="ws_storm",
        hostname="storm",
        vcpu=2,
        memory_mib=1024,
        disk_mib=32,
        max_processes=PROCESSES,
        writable=True,
        network="none",
    )
    milliseconds: list[float] = []
    # A storm outlives its benchmark: one that is told to end must still come to its clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="charter-bench-") as folder:
        provider = LocalProvider(Path(folder) / "workspaces")
        try:
            for generation in range(1, rounds + 1):
                _storm(provider, spec, generation)
                report = provider.kill(spec.workspace_id, generation)
                if report.survivors:
                    raise RuntimeError(f"{report.survivors} processes survived a kill")
                milliseconds.append(report.milliseconds)
            _storm(provider, spec, rounds + 1)
            without_database = _kill_alone(provider, folder, spec, rounds + 1)
        finally:
            provider.delete(spec.workspace_id, rounds + 2)
    return {
        "rounds": rounds,
        "processes": PROCESSES,
        "local_p50_ms": round(median(milliseconds), 2),
        "local_p99_ms": round(quantiles(milliseconds, n=100, method="inclusive")[98], 2),
        "tunnel_close_ms": None,
        "fleet_1000_s": None,
        "without_database": without_database,
    }


def _storm(provider: LocalProvider, spec: SandboxSpec, generation: int) -> None:
    """A running sandbox that is as full of processes as it may be."""
    provider.ensure_running(spec, generation)
    provider.execute(
        spec.workspace_id, ["/usr/bin/python3", "-I", "-S", "-c", _STORM], timeout_seconds=30
    )
    deadline = time.monotonic() + _STORM_SECONDS
    while True:
        usage = provider.observe(spec.workspace_id).usage
        if usage is not None and usage.processes > PROCESSES * 3 // 4:
            return
        if time.monotonic() > deadline:
            raise RuntimeError("the storm never rose")
        time.sleep(0.005)


def _kill_alone(provider: LocalProvider, folder: str, spec: SandboxSpec, generation: int) -> bool:
    """Whether a process without any database library ended the storm."""
    words = [source_root(), f"{folder}/workspaces", spec.workspace_id, str(generation)]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", _ALONE, *words], check=False)
    gone = provider.observe(spec.workspace_id).usage is None
    return done.returncode == 0 and gone


if __name__ == "__main__":
    for key, value in run(quick="--quick" in sys.argv).items():
        print(f"{key:18} {value}")
