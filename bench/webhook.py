"""How many Kubernetes admission reviews a second are answered, each recorded before its answer.

One server process (API and webhook) over a PostgreSQL that syncs every commit to disk; this
process is the API server: connections that are kept open, reviews of a Deployment in order and of
a Pod that is denied, in turn. `requests_per_second` is the highest sustained rate with 16
connections at full speed. `p50_ms` and `p99_ms` are taken at 200 requests a second, whatever the
machine could do. `review_1mb_ms` is the median of single reviews of one MiB. Server, database and
client share the machine's cores, so the figures hold for the machine as a whole.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import sqlalchemy as sa
import uvicorn

from charter.api.app import build_api
from charter.services import enforcement_points
from charter.store.embedded import EmbeddedPostgres
from charter.store.migrate import migrate
from tests.core.kubernetes.reviews import body, pod, pod_spec, workload
from tests.support import build_world

_CONNECTIONS = 16
_PACED_PER_SECOND = 200
_LATEST = 3  # a machine that cannot keep the pace shows it in the delays; it need not catch up
_MIB = 1 << 20


def _serve(url: str, state: str, told: Connection) -> None:
    """The server process: tells port and token, and runs until it is ended."""
    world = build_world(url, Path(state))
    token = enforcement_points.register(
        world.rt, world.admin, kind="kubernetes", name="bench", settings={}
    )["token"]
    world.clock.follow = True
    config = uvicorn.Config(build_api(world.rt), port=0, log_level="error", access_log=False)
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    told.send((server.servers[0].sockets[0].getsockname()[1], token))
    told.recv()
    server.should_exit = True
    time.sleep(0.5)
    os._exit(0)


def _ask(connection: http.client.HTTPConnection, path: str, sent: bytes) -> bool:
    connection.request("POST", path, sent, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    answer = json.loads(reply.read())
    if reply.status != 200 or "response" not in answer:
        raise RuntimeError(answer)
    return bool(answer["response"]["allowed"])


class _Load:
    """Several connections that send reviews, at a pace or as fast as they can."""

    def __init__(self, port: int, path: str) -> None:
        self._port, self._path = port, path
        self._reviews = [
            (body(workload("Deployment")), True),
            (body(pod(pod_spec(hostNetwork=True))), False),
        ]
        self.durations: list[float] = []
        self.failures: list[BaseException] = []

    def run(self, seconds: float, per_second: float | None) -> float:
        """The rate that was reached."""
        self.durations, self.failures = [], []
        began = time.perf_counter()
        threads = [
            threading.Thread(target=self._send, args=(n, began, seconds, per_second))
            for n in range(_CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]
        return len(self.durations) / (time.perf_counter() - began)

    def _send(self, number: int, began: float, seconds: float, per_second: float | None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            count = 0
            while True:
                now = time.perf_counter() - began
                if per_second is not None:
                    due = (count * _CONNECTIONS + number) / per_second
                    if due >= seconds or now > _LATEST * seconds:
                        return
                    time.sleep(max(due - now, 0.0))
                    started = began + due  # waiting for a late predecessor counts
                elif now >= seconds:
                    return
                else:
                    started = time.perf_counter()
                sent, allowed = self._reviews[count % 2]
                assert _ask(connection, self._path, sent) is allowed
                self.durations.append((time.perf_counter() - started) * 1000)
                count += 1
        except BaseException as error:  # noqa: BLE001 — told by the main thread
            self.failures.append(error)
        finally:
            connection.close()


def _megabyte(port: int, path: str, times: int) -> float:
    value = pod()
    value["metadata"]["annotations"] = {f"note-{n}": "x" * 1000 for n in range(1050)}
    sent = body(value)
    assert len(sent) > _MIB
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        assert _ask(connection, path, sent)
        durations.append((time.perf_counter() - started) * 1000)
    return statistics.median(durations)


def run(quick: bool) -> dict[str, Any]:
    """The figures; see the docstring for their names."""
    rounds, seconds = (2, 4.0) if quick else (5, 10.0)
    with tempfile.TemporaryDirectory(prefix="charter-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "pg", durable=True)
        url = postgres.start()
        engine = sa.create_engine(url)
        migrate(engine)
        engine.dispose()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(url, f"{folder}/state", theirs))
        process.start()
        theirs.close()
        try:
            port, token = ours.recv()
            path = f"/kubernetes/v1/admit/workspaces/{token}"
            load = _Load(port, path)
            load.run(1.0, None)  # warm
            rates, p50s, p99s = [], [], []
            for _ in range(rounds):
                rates.append(load.run(seconds, None))
                load.run(seconds, _PACED_PER_SECOND)
                p50s.append(statistics.median(load.durations))
                p99s.append(statistics.quantiles(load.durations, n=100)[98])
            return {
                "requests_per_second": round(statistics.median(rates)),
                "p50_ms": round(statistics.median(p50s), 1),
                "p99_ms": round(statistics.median(p99s), 1),
                "review_1mb_ms": round(_megabyte(port, path, 5 if quick else 15), 1),
            }
        finally:
            ours.send("end")
            process.join(10)
            process.kill()
            postgres.stop()


if __name__ == "__main__":
    print(json.dumps(run("--quick" in sys.argv)))
