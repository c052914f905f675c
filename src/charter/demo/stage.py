"""The stage of the demo: a throw-away instance, people with tokens, and one line per step.

Everything goes through the front doors: the public API and the command line, against real
sandboxes. A step says beforehand what is to come of it; the demo fails when anything else does.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx

_POLL_SECONDS: Final = 0.02
_START_SECONDS: Final = 120.0
_MILLISECONDS: Final = 1000.0
_WIDTHS: Final = (9, 58, 20)


class DifferentlyError(Exception):
    """Something came out differently from what the story says."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step: the decision or state in a word, and the reason in a sentence."""

    word: str
    reason: str = ""
    milliseconds: float | None = None  # when the step measures something narrower than itself


@dataclass(slots=True)
class Person:
    """Somebody (or an agent) with a token; a thin client of the API."""

    name: str
    client: httpx.Client

    def call(self, method: str, path: str, **body: Any) -> httpx.Response:
        """One request to the API; `json` for the body, `params` for the query."""
        return self.client.request(method, f"/api/v1{path}", **body)

    def ok(self, method: str, path: str, **body: Any) -> Any:
        """The answer of a request that has to succeed."""
        response = self.call(method, path, **body)
        if response.is_error:
            problem = response.json()
            raise DifferentlyError(f"{problem['detail']} {problem['fix']} ({problem['code']})")
        return response.json() if response.content else None


@dataclass(slots=True)
class Stage:
    """The running instance and the account of what was played."""

    folder: Path
    url: str
    environment: dict[str, str]
    patience: float
    lines: int = 0
    failures: list[str] = field(default_factory=list)

    # -- playing -------------------------------------------------------------------------------
    def step(
        self, who: str, what: str, expected: str, act: Callable[[], Outcome]
    ) -> Outcome | None:
        """Play one step and print its line: who, what, outcome, milliseconds, reason."""
        began = time.perf_counter()
        try:
            outcome = act()
        except Exception as error:  # noqa: BLE001 — whatever went wrong is this step's outcome
            outcome = Outcome("failed", f"{type(error).__name__}: {error}")
        took = outcome.milliseconds or (time.perf_counter() - began) * _MILLISECONDS
        right = outcome.word == expected
        self.lines += 1
        mark = "✓" if right else "✗"
        reason = outcome.reason if right else f"expected {expected}: {outcome.reason}"
        columns = " ".join(
            text.ljust(width)
            for text, width in zip((who, what, outcome.word), _WIDTHS, strict=True)
        )
        sys.stdout.write(f"{mark} {columns} {took:8.1f} ms  {reason}\n")
        sys.stdout.flush()
        if not right:
            self.failures.append(f"{who} {what}: expected {expected}, got {outcome.word}")
        return outcome if right else None

    def chapter(self, title: str) -> None:
        """A heading between the steps."""
        sys.stdout.write(f"\n{title}\n")

    # -- people --------------------------------------------------------------------------------
    def with_token(self, name: str, token: str) -> Person:
        """Somebody who shows this token."""
        return Person(
            name,
            httpx.Client(
                base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=60
            ),
        )

    def sign_in(self, name: str, link: str) -> Person:
        """Exchange a one-time link for a token."""
        response = httpx.post(
            f"{self.url}/api/v1/sign-in", json={"link": link, "token_name": "demo"}, timeout=60
        )
        response.raise_for_status()
        return self.with_token(name, response.json()["secret"])

    def charter(
        self, person: Person | None, *arguments: str, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """The command line as that person; raises when it ends with another exit code."""
        environment = dict(self.environment)
        if person is not None:
            header = person.client.headers["authorization"]
            environment["CHARTER_TOKEN"] = header.removeprefix("Bearer ")
        done = subprocess.run(
            [sys.executable, "-P", "-m", "charter", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != code:
            said = (done.stderr or done.stdout).strip()
            raise DifferentlyError(f"charter {arguments[0]} ended with {done.returncode}: {said}")
        return done

    # -- waiting -------------------------------------------------------------------------------
    def until(self, seconds: float, what: str, condition: Callable[[], Any]) -> Any:
        """The first true answer of `condition`, within `seconds` (times the patience)."""
        deadline = time.monotonic() + seconds * self.patience
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > deadline:
                raise DifferentlyError(f"{what} did not happen within {seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def state(self, person: Person, workspace: str, wanted: str, seconds: float) -> dict[str, Any]:
        """Wait until a workspace is in a state; the workspace."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = person.ok("GET", f"/workspaces/{workspace}")
            if found["state"] == "failed":
                raise DifferentlyError(found["state_reason"])
            return found if found["state"] == wanted else None

        found: dict[str, Any] = self.until(seconds, f"{workspace} {wanted}", look)
        return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def stage(patience: float) -> Iterator[tuple[Stage, str]]:
    """A fresh instance in a temporary folder, and its administrator's link; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="charter-demo-"))
    # The database's own account has to reach its folder below this one.
    folder.chmod(0o711)
    port = _free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("CHARTER_")},
        "CHARTER_STATE_DIR": str(folder / "state"),
        "CHARTER_PORT": str(port),
        "CHARTER_URL": f"http://127.0.0.1:{port}",
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    play = Stage(folder, environment["CHARTER_URL"], environment, patience)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "charter", "up", "--detach", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_START_SECONDS * patience,
            check=False,
        )
        if done.returncode != 0:
            raise DifferentlyError(f"the instance did not start: {done.stderr.strip()}")
        yield play, _link(json.loads(done.stdout), play)
    finally:
        for command in (["down"], ["reset", "--yes"]):
            subprocess.run(
                [sys.executable, "-P", "-m", "charter", *command],
                env=environment,
                capture_output=True,
                timeout=120,
                check=False,
            )
        shutil.rmtree(folder, ignore_errors=True)


def _link(started: dict[str, Any], play: Stage) -> str:
    link = started.get("sign_in_link") or started.get("link")
    if not isinstance(link, str):
        raise DifferentlyError(f"{play.url} gave no sign-in link: {sorted(started)}")
    return link
