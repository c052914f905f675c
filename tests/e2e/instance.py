"""A real instance for the end-to-end tests and the admission benchmark.

`running_instance` starts `python -m charter up --detach` with a state folder and a port of its own,
makes people through the API, and leaves nothing behind: what it started is ended by its own name
(pid and start time), whatever state the test left it in.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2

from charter.adapters.workspaces.local.processes import ProcessName, children
from charter.adapters.workspaces.local.provider import LocalProvider
from charter.adapters.workspaces.local.records import load
from charter.store.embedded import EmbeddedPostgres
from charter.supervisor.record import read_record

PREFIX: Final = "/api/v1"
_COMMAND_SECONDS: Final = 180.0  # only ends a command that hangs
_POLL_SECONDS: Final = 0.02

T = TypeVar("T")


class NeverHappenedError(AssertionError):
    """What was waited for did not come true."""


def until(
    look: Callable[[], T | None],
    what: str,
    seconds: float = 90.0,
    *,
    every_seconds: float = _POLL_SECONDS,
) -> T:
    """The first true answer of `look`; the limit only ends a test that hangs."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NeverHappenedError(f"{what} did not come true within {seconds:g} s")
        time.sleep(every_seconds)  # house: allow test-sleep — the poll itself


class RefusedError(AssertionError):
    """The API answered with a problem where the test needs a success."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        try:
            self.problem: dict[str, Any] = response.json()
        except ValueError:
            self.problem = {"code": "no-problem-document", "detail": response.text[:500]}
        self.code = str(self.problem.get("code"))
        super().__init__(f"{self.status} {self.code}: {self.problem.get('detail')}")


@dataclass
class Client:
    """Somebody with a token."""

    name: str
    url: str
    token: str
    http: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
            trust_env=False,
        )

    def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None
    ) -> httpx2.Response:
        """One request to the API."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.http.request(method, PREFIX + path, json=body, headers=headers)

    def ok(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Any:
        """The answer of a request that has to succeed; RefusedError otherwise."""
        response = self.call(method, path, body, key=key)
        if response.is_error:
            raise RefusedError(response)
        return response.json() if response.content else None

    def wait_for(self, workspace: str, state: str, seconds: float = 90.0) -> dict[str, Any]:
        """The workspace, once it is in `state`."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.ok("GET", f"/workspaces/{workspace}")
            return found if found["state"] == state else None

        return until(look, f"{workspace} {state}", seconds)


@dataclass
class Instance:
    """A state folder with everything that runs for it."""

    folder: Path
    port: int
    starts: list[float] = field(default_factory=list)  # seconds that each `up` took
    clients: list[Client] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CHARTER_")}
        return {
            **kept,
            "CHARTER_STATE_DIR": str(self.state),
            "CHARTER_PORT": str(self.port),
            "CHARTER_URL": self.url,
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        }

    def charter(
        self, *words: str, token: str | None = None, code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """The command line; `code` is the exit code that it has to end with."""
        environment = self.environment | ({} if token is None else {"CHARTER_TOKEN": token})
        done = subprocess.run(
            [sys.executable, "-m", "charter", *words],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if code is not None and done.returncode != code:
            raise AssertionError(
                f"charter {' '.join(words)} ended with {done.returncode}:\n"
                f"{done.stdout}\n{done.stderr}\n{self.logs()}"
            )
        return done

    def up(self) -> dict[str, Any]:
        """`charter up --detach`; its JSON answer."""
        began = time.monotonic()
        done = self.charter("up", "--detach", "--json")
        self.starts.append(time.monotonic() - began)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def logs(self, lines: int = 15) -> str:
        """The ends of all logs, for a failure."""
        said = []
        for log in sorted((self.state / "logs").glob("*.log")):
            tail = log.read_text(errors="replace").splitlines()[-lines:]
            said.append(f"--- {log.name}\n" + "\n".join(tail))
        return "\n".join(said)

    # -- people --------------------------------------------------------------------------------
    def sign_in(self, name: str, link: str) -> Client:
        """Exchange a one-time link for a token."""
        body = {"link": link, "token_name": "test"}
        response = httpx2.post(
            f"{self.url}{PREFIX}/sign-in", json=body, timeout=60, trust_env=False
        )
        if response.is_error:
            raise RefusedError(response)
        return self.with_token(name, response.json()["secret"])

    def with_token(self, name: str, token: str) -> Client:
        """A client that shows this token."""
        client = Client(name, self.url, token)
        self.clients.append(client)
        return client

    def person(self, admin: Client, handle: str, role: str, team: str | None) -> Client:
        """A new person; their role holds in the team for a lead, else everywhere."""
        admin.ok("POST", "/people", {"handle": handle})
        binding = {"person": handle, "role": role}
        if role == "team-lead":
            binding |= {"scope_kind": "team", "scope": str(team)}
        admin.ok("POST", "/role-bindings", binding)
        if team is not None:
            admin.ok("POST", f"/teams/{team}/members", {"person": handle})
        link = admin.ok("POST", f"/people/{handle}/sign-in-link")["url"]
        return self.sign_in(handle, link)

    # -- processes -----------------------------------------------------------------------------
    def postgres(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(self.state / "pg", log_file=self.state / "logs" / "postgres.log")

    def provider(self) -> LocalProvider:
        return LocalProvider(self.state / "workspaces")

    def processes(self) -> dict[str, list[ProcessName]]:
        """What runs for this instance now, by kind."""
        found: dict[str, list[int]] = {"supervisor": [], "serve": [], "controllers": []}
        record = read_record(self.state)
        for process in (record.supervisor, *record.children) if record else ():
            if process.alive:
                found[process.name].append(process.pid)
        server = self.postgres().status().pid
        found["postmaster"] = [] if server is None else [server]
        found["backend"] = [] if server is None else list(children(server))
        named = {
            kind: [name for pid in pids if (name := ProcessName.of(pid)) is not None]
            for kind, pids in found.items()
        }
        named["holder"] = self.holders()
        return {kind: [n for n in names if n.is_alive()] for kind, names in named.items()}

    def holders(self) -> list[ProcessName]:
        """The living processes that hold sandboxes, by their own notes."""
        notes = (self.state / "workspaces").glob("*/holder.json")
        names = (ProcessName.from_json(load(note).get("holder")) for note in notes)
        return [name for name in names if name is not None and name.is_alive()]

    def kill_all(self) -> int:
        """`kill -9` of everything but the sandboxes, as when power fails for Charter alone."""
        ended = 0
        for kind in ("supervisor", "serve", "controllers", "postmaster", "backend"):
            for name in self.processes()[kind]:
                ended += name.send(signal.SIGKILL)
                name.wait_gone(30)
        return ended

    def remove(self) -> None:
        """End everything and delete the folder."""
        for client in self.clients:
            client.http.close()
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.charter("down", code=None)
        record = read_record(self.state)
        for process in (record.supervisor, *record.children) if record else ():
            process.signal(signal.SIGKILL)
        if (self.state / "workspaces").is_dir():
            provider = self.provider()
            for found in provider.observe_all():
                provider.delete(found.workspace_id, found.generation + 1_000_000)
        if (self.state / "pg").is_dir():
            self.postgres().reset()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_instance() -> Iterator[tuple[Instance, Client]]:
    """An instance that has been started, and its signed-in administrator."""
    folder = Path(tempfile.mkdtemp(prefix="charter-e2e-"))
    folder.chmod(0o711)  # the database's own account has to reach its folder below this one
    instance = Instance(folder, free_port())
    try:
        link = instance.up()["sign_in_link"]
        yield instance, instance.sign_in("admin", link)
    finally:
        instance.remove()
