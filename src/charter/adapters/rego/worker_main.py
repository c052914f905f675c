"""The worker's own process: limits first, then frames until the parent closes the pipe.

python -m charter.adapters.rego.worker_main MEMORY_MIB TASK_CPU_SECONDS
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any, BinaryIO, Final

_CLOSED_FILES: Final = 64  # more than Python and the library open; a policy opens none


def _limit(memory_mib: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_CLOSED_FILES, _CLOSED_FILES))


def _allow_cpu(seconds: int) -> None:
    """Let the next task use this much processor time; the kernel ends the process after it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _answer(out: BinaryIO, status: str, payload: bytes) -> None:
    out.write(json.dumps({"status": status, "length": len(payload)}).encode() + b"\n")
    out.write(payload)
    out.flush()


def serve(source: BinaryIO, out: BinaryIO, cpu_seconds: int) -> None:
    """Answer frames until the end of `source`."""
    # The engine is loaded under the limits, so that loading cannot exceed them either.
    from charter.adapters.rego.syntax import PolicyRefusedError  # noqa: PLC0415
    from charter.adapters.rego.worker_tasks import TASKS, State, decide  # noqa: PLC0415
    from charter.core.kernel.errors import CharterError  # noqa: PLC0415

    state = State()
    while header_line := source.readline():
        header: dict[str, Any] = json.loads(header_line)
        payload = source.read(header["length"])
        _allow_cpu(cpu_seconds)
        try:
            if header["task"] == "decide":
                lines = payload.decode().split("\n") if payload else []
                answer = "\n".join(decide(state, lines)).encode()
            else:
                result = TASKS[header["task"]](state, json.loads(payload))
                answer = json.dumps(result).encode()
        except PolicyRefusedError as error:
            _answer(out, "refused", json.dumps(error.details["problems"]).encode())
        except CharterError as error:
            _answer(out, "refused", json.dumps([error.message]).encode())
        except MemoryError:
            _answer(out, "error", json.dumps("it ran out of memory").encode())
        except Exception as error:  # noqa: BLE001 — the parent is told, and decides
            _answer(out, "error", json.dumps(f"it failed with {type(error).__name__}").encode())
        else:
            _answer(out, "ok", answer)


def main() -> None:
    """Read the limits, set them, serve."""
    memory_mib, cpu_seconds = (int(word) for word in sys.argv[1:3])
    _limit(memory_mib)
    serve(sys.stdin.buffer, sys.stdout.buffer, cpu_seconds)


if __name__ == "__main__":
    main()
