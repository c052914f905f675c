"""Deciding in a process of its own, with limits: for policies that nobody has vouched for yet.

The engine library has no limit of time or memory, and a rule may be exponential or ask for a
gigabyte. So whatever is not the bundle in force (a candidate, a rule in the playground, a bundle of
last year that is replayed) is loaded by a *worker*: another process, bounded by the kernel in CPU
time and memory and by its parent in elapsed time. When it overruns or dies, only it dies, and the
parent gets a `WorkerFailedError` with a sentence.

A worker is also how work is spread over cores: the engine holds Python's lock, processes do not
share one.

Messages are frames: one line of JSON (`task` and `length`), then that many bytes. Facts and results
travel as they are stored, one canonical document a line (canonical JSON holds no line break), so
that nothing is encoded twice. What the worker can do stands in `worker_tasks`.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from charter.adapters.rego.syntax import PolicyRefusedError
from charter.core.kernel.errors import UnavailableError
from charter.core.policy.bundle import Bundle

MIB: Final = 1 << 20
FAILURE_MARK: Final = '{"failure"'
"""How the result of facts begins that could not be judged at all; a decision begins otherwise."""

_READ_BYTES: Final = 1 << 16
_LONGEST_HEADER: Final = 1 << 12
_SIGNALS: Final = {
    6: "it ran out of memory or crashed",
    9: "it was ended from outside",
    11: "it crashed",
    24: "it used more processor time than it may",
}


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one worker may use.

    `memory_mib` bounds its address space (Python and the engine take about 150 of them);
    `task_cpu_seconds` and `task_seconds` bound processor and elapsed time of each task.
    """

    memory_mib: int = 1024
    task_cpu_seconds: int = 60
    task_seconds: float = 90.0


class WorkerFailedError(UnavailableError):
    """A worker died or overran its limits; what it was asked is not answered."""

    code = "policy-worker-failed"


def _failed(why: str) -> WorkerFailedError:
    return WorkerFailedError(
        f"The policies could not be evaluated within their limits: {why}.",
        fix="Look for a rule that multiplies large collections or never ends, and simplify it.",
    )


class PolicyWorker:
    """One worker process; a context manager. Not for use by two threads at once."""

    def __init__(self, limits: WorkerLimits | None = None) -> None:
        self.limits = limits or WorkerLimits()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "charter.adapters.rego.worker_main",
                str(self.limits.memory_mib),
                str(self.limits.task_cpu_seconds),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the library prints facts there
            env=_environment(),
            start_new_session=True,  # a terminal's interrupt is for the parent to handle
        )
        if self._process.stdin is None or self._process.stdout is None:  # both are pipes
            raise AssertionError
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self._buffer = bytearray()
        self._deadline = 0.0

    # -- what it can do ----------------------------------------------------------------------
    def load(self, bundle: Bundle) -> None:
        """Decide by `bundle` from now on; raises `PolicyRefusedError` when it cannot decide."""
        self.call("load", _texts(bundle))

    def decide(self, facts: Sequence[str], timeout_seconds: float | None = None) -> list[str]:
        """The canonical result of each stored facts document, in order.

        Facts that cannot be judged at all give a document that begins with `FAILURE_MARK`.
        """
        self.begin_decide(facts, timeout_seconds)
        return self.finish_decide()

    def begin_decide(self, facts: Sequence[str], timeout_seconds: float | None = None) -> None:
        """The first half of `decide`, so that one thread can keep several workers busy."""
        self._send("decide", "\n".join(facts).encode(), timeout_seconds)

    def finish_decide(self) -> list[str]:
        """The second half of `decide`."""
        answer = self._receive().decode()
        return answer.split("\n") if answer else []

    def evaluate(self, document_json: str) -> str:
        """What the bundle's aggregator says of a decision document: JSON, see `parse_outcome`."""
        return str(self.call("evaluate", document_json))

    def trace(self, document_json: str) -> dict[str, Any]:
        """Why each rule of the bundle spoke or did not: see `trace.Tracer.trace`."""
        found: dict[str, Any] = self.call("trace", document_json)
        return found

    def check(self, bundle: Bundle) -> dict[str, Any]:
        """The whole check of a bundle, as `CheckReport.as_json` gives it."""
        report: dict[str, Any] = self.call("check", _texts(bundle))
        return report

    def test(self, bundle: Bundle) -> dict[str, Any]:
        """The bundle's own tests: `{passed, tests, failures: [{name, text}]}`."""
        report: dict[str, Any] = self.call("test", _texts(bundle))
        return report

    def call(self, task: str, payload: object, timeout_seconds: float | None = None) -> Any:
        """Any task of `worker_tasks` by its name; payload and answer are plain JSON values."""
        self._send(task, json.dumps(payload).encode(), timeout_seconds)
        return json.loads(self._receive())

    # -- frames ------------------------------------------------------------------------------
    def _send(self, task: str, payload: bytes, timeout_seconds: float | None) -> None:
        self._deadline = time.monotonic() + (timeout_seconds or self.limits.task_seconds)
        header = json.dumps({"task": task, "length": len(payload)}).encode() + b"\n"
        left = memoryview(header + payload)
        while left:
            self._await(writing=True)
            try:
                left = left[os.write(self._to, left) :]
            except BrokenPipeError:
                raise self._ended() from None

    def _receive(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LONGEST_HEADER:
                raise self._kill("it answered something that is no answer")
            self._fill()
        header = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        while len(self._buffer) < header["length"]:
            self._fill()
        payload = bytes(self._buffer[: header["length"]])
        del self._buffer[: header["length"]]
        if header["status"] == "refused":
            raise PolicyRefusedError(json.loads(payload))
        if header["status"] != "ok":
            raise _failed(json.loads(payload))
        return payload

    def _fill(self) -> None:
        self._await(writing=False)
        found = os.read(self._from, _READ_BYTES)
        if not found:
            raise self._ended()
        self._buffer += found

    def _await(self, *, writing: bool) -> None:
        left = self._deadline - time.monotonic()
        sets = ([], [self._to]) if writing else ([self._from], [])
        readable, writable, _ = select.select(*sets, [], max(left, 0))
        if not readable and not writable:
            raise self._kill(f"it did not answer within {self.limits.task_seconds:.0f} seconds")

    def _ended(self) -> WorkerFailedError:
        code = self._process.wait(5)
        return _failed(_SIGNALS.get(-code, f"it ended with code {code}"))

    def _kill(self, why: str) -> WorkerFailedError:
        self.close()
        return _failed(why)

    @property
    def alive(self) -> bool:
        """Whether it can be asked anything."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _texts(bundle: Bundle) -> dict[str, str]:
    return {path: bundle.text(path) for path in bundle.files}


def _environment() -> dict[str, str]:
    """Nothing of the parent's environment that could be a secret; enough to start Python."""
    kept = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHASHSEED", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "RUST_BACKTRACE": "0",
        "MALLOC_ARENA_MAX": "2",  # address space is what is bounded; arenas would eat it
    }
