"""Real programs that tests and benchmarks are run against (tools/peers builds them)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_GO = Path("/usr/local/go/bin/go")
_LONGEST_START_SECONDS = 30


def opa_program() -> Path | None:
    """The OPA that ./dev peers opa built, or the one on the path."""
    built = _ROOT / ".dev/peers/opa"
    if built.is_file() and os.access(built, os.X_OK):
        return built
    found = shutil.which("opa")
    return None if found is None else Path(found)


def why_no_opa() -> str:
    """The reason for leaving out what needs OPA: optional only where it cannot be built."""
    if shutil.which("go") or _GO.exists():
        return "there is no OPA; build it: ./dev peers opa"
    return "optional: there is no OPA, and no Go to build it with"


def oidc_provider() -> Path | None:
    """The folder of the OpenID provider that ./dev peers oidc installed."""
    folder = _ROOT / ".dev/peers/oidc"
    return folder if (folder / "node_modules").is_dir() and shutil.which("node") else None


def why_no_oidc_provider() -> str:
    """The reason for leaving out what needs it: optional only where it cannot be installed."""
    if shutil.which("node") and shutil.which("npm"):
        return "there is no OpenID provider; install it: ./dev peers oidc"
    return "optional: there is no OpenID provider, and no node to run it with"


@contextmanager
def running_oidc_provider(
    folder: Path, configuration: Path, port: int, log: Path
) -> Iterator[None]:
    """The OpenID provider on `port`; it ends with the pipe that it reads from."""
    with log.open("a") as said:
        process = subprocess.Popen(
            ["node", folder / "server.js", configuration],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
        )
        try:
            _await_listening(process, port)
            yield
        finally:
            process.kill()
            process.communicate()


def free_port() -> int:
    """A port of this machine that nobody uses at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running_opa(program: Path, *arguments: str, log: Path | None = None) -> Iterator[str]:
    """An OPA server on a free port of this machine; gives its address."""
    port = free_port()
    with (log or Path(os.devnull)).open("w") as said:
        process = subprocess.Popen(
            [program, "run", "--server", "--addr", f"127.0.0.1:{port}", "--skip-version-check",
             "--shutdown-grace-period", "1", *arguments],
            stdout=said,
            stderr=said,
        )  # fmt: skip
        try:
            _await_listening(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _LONGEST_START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            try:  # a short wait that ends at once when the program does
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        else:
            return
    raise RuntimeError("the program did not start")
