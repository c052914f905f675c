"""People who work while processes die around them, and the ledger of what they were promised.

A worker repeats a request until it gets an answer, a create with the same idempotency key. What a
success promised is written into the ledger; the invariants hold the system to it afterwards.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from tests.e2e.instance import Client, Instance, NeverHappenedError, RefusedError, until

_ANSWER_SECONDS: Final = 120.0  # only ends a worker that never gets an answer again
_BUSY: Final = frozenset({429, 503})  # "try again": the API cannot reach a part of itself
_PAUSE_SECONDS: Final = 0.1  # before a request is repeated
_LIVE: Final = 2  # workspaces of a worker; more of them would need approvals for their disks


@dataclass
class Ledger:
    """What was acknowledged."""

    wanted: dict[str, str] = field(default_factory=dict)  # workspace → desired
    names: dict[str, str] = field(default_factory=dict)  # workspace → its unique name
    events: Counter[tuple[str, str]] = field(default_factory=Counter)  # (action, resource) → count
    decisions: set[str] = field(default_factory=set)
    retries: int = 0
    errors: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def promise(self, action: str, resource: str, decision: str | None = None) -> None:
        """An action was acknowledged, so its event and its decision have to be there."""
        with self.lock:
            self.events[action, resource] += 1
            if decision is not None:
                self.decisions.add(decision)

    @property
    def acknowledged(self) -> int:
        return sum(self.events.values())


@dataclass
class Pace:
    """Lets all workers work, or waits until each has its last answer."""

    going: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)
    busy: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def enter(self) -> bool:
        """Wait for one's turn; False when it is over."""
        while not self.stopping.is_set():
            with self.changed:
                if self.going.is_set():
                    self.busy += 1
                    return True
            self.going.wait(0.1)
        return False

    def leave(self) -> None:
        with self.changed:
            self.busy -= 1
            self.changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Let nobody begin anything, and wait until nobody has anything in hand."""
        with self.changed:
            self.going.clear()
            if not self.changed.wait_for(lambda: self.busy == 0, seconds):
                raise NeverHappenedError(f"{self.busy} workers still wait for an answer")

    def end(self) -> None:
        self.stopping.set()
        self.going.set()


class Worker:
    """Somebody who does one thing after the other; subclasses say what."""

    def __init__(self, name: str, ledger: Ledger, pace: Pace, seed: str) -> None:
        self.name, self.ledger, self.pace = name, ledger, pace
        self.random = random.Random(seed)  # noqa: S311 - repeatable, nothing secret
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        while self.pace.enter():
            try:
                self.act()
            except BaseException as error:  # noqa: BLE001 - handed to the test
                self.ledger.errors.append(error)
                return
            finally:
                self.pace.leave()

    def act(self) -> None:
        """One thing."""
        raise NotImplementedError

    def persist(self, client: Client, method: str, path: str, body: object = None) -> Any:
        """The answer, however often the request has to be repeated; a create has one key."""
        key = uuid.UUID(int=self.random.getrandbits(128)).hex

        def ask() -> httpx2.Response | None:
            try:
                answer = client.call(method, path, body, key=key)
            except httpx2.TransportError:
                answer = None
            if answer is None or answer.status_code in _BUSY:
                with self.ledger.lock:
                    self.ledger.retries += 1
                return None
            return answer

        what = f"an answer to {self.name} {method} {path}"
        answer = until(ask, what, _ANSWER_SECONDS, every_seconds=_PAUSE_SECONDS)
        if answer.is_error:
            raise RefusedError(answer)
        return answer.json()

    def keep(self, outcome: dict[str, Any], name: str, action: str = "workspace.created") -> str:
        """Write a created workspace into the ledger."""
        if outcome["workspace"] is None:
            raise AssertionError(f"{name} was not created: {outcome['decision']['violations']}")
        workspace = str(outcome["workspace"]["id"])
        with self.ledger.lock:
            self.ledger.wanted[workspace] = "running"
            self.ledger.names[workspace] = name
        self.ledger.promise(action, workspace, outcome["decision"]["id"])
        return workspace

    def order(self, client: Client, workspace: str, verb: str) -> None:
        """Stop, start or delete."""
        path = f"/workspaces/{workspace}"
        if verb == "delete":
            outcome = self.persist(client, "DELETE", path)
        else:
            outcome = self.persist(client, "POST", f"{path}/{verb}")
        words = {
            "start": ("running", "started"),
            "stop": ("stopped", "stopped"),
            "delete": ("deleted", "deleted"),
        }
        desired, event = words[verb]
        with self.ledger.lock:
            self.ledger.wanted[workspace] = desired
        self.ledger.promise(f"workspace.{event}", workspace, outcome["decision"]["id"])
        if verb == "delete":  # until it is gone, it counts in its owner's quotas

            def gone() -> bool:
                return bool(self.persist(client, "GET", path)["state"] == "deleted")

            until(gone, f"{workspace} gone", _ANSWER_SECONDS, every_seconds=_PAUSE_SECONDS)


class Developer(Worker):
    """Creates, stops, starts and deletes workspaces of their own."""

    def __init__(self, client: Client, ledger: Ledger, pace: Pace, seed: str) -> None:
        super().__init__(client.name, ledger, pace, f"{seed}-{client.name}")
        self.client = client
        self.mine: list[str] = []
        self.made = 0

    def act(self) -> None:
        if len(self.mine) < _LIVE:
            self.made += 1
            name = f"{self.name}-{self.made}"
            body = {"name": name, "template": "python"}
            self.mine.append(
                self.keep(self.persist(self.client, "POST", "/workspaces", body), name)
            )
            return
        workspace = self.random.choice(self.mine)
        running = self.ledger.wanted[workspace] == "running"
        verb = self.random.choice(("stop", "stop", "delete") if running else ("start", "delete"))
        self.order(self.client, workspace, verb)
        if verb == "delete":
            self.mine.remove(workspace)


class Sponsor(Worker):
    """Sponsors agents, which create a workspace each; then the task ends or the agent is killed."""

    def __init__(
        self, instance: Instance, client: Client, ledger: Ledger, pace: Pace, seed: str
    ) -> None:
        super().__init__(client.name, ledger, pace, f"{seed}-{client.name}")
        self.instance, self.client = instance, client
        self.made = 0
        self.current: tuple[str, str] | None = None
        self.evidence: str | None = None

    def act(self) -> None:
        if self.evidence is not None:
            self.order(self.client, self.evidence, "delete")
            self.evidence = None
        elif self.current is None:
            self._begin()
        else:
            self._finish(*self.current)
            self.current = None

    def _begin(self) -> None:
        self.made += 1
        name = f"{self.name}-agent-{self.made}"
        body: dict[str, object] = {"name": name, "task": "Mend the build.", "tier": "sandboxed"}
        body["repositories"] = ["git.example.org/payments/api"]
        created = self.persist(self.client, "POST", "/agents", body)
        agent = created["agent"]["id"]
        self.ledger.promise("agent.created", agent, created["decision"]["id"])
        token = created["credential"]["token"]
        itself = self.instance.with_token(name, token)
        wish = {
            "name": name,
            "template": "agent-minimal",
            "size": "agent",
            "egress_allowlist": ["git.example.org"],
        }
        workspace = self.keep(self.persist(itself, "POST", "/workspaces", wish), name)
        self.current = agent, workspace

    def _finish(self, agent: str, workspace: str) -> None:
        if self.random.random() < 0.5:
            try:
                self.persist(self.client, "POST", f"/agents/{agent}/kill", {"reason": "A drill."})
            except RefusedError as error:
                if error.code != "killed":  # the answer to the first attempt was lost
                    raise
            self.ledger.promise("agent.killed", agent)
            self.ledger.wanted[workspace] = "stopped"
            self.evidence = workspace
        else:
            try:
                outcome = {"outcome": "completed"}
                self.persist(self.client, "POST", f"/agents/{agent}/end", outcome)
            except RefusedError as error:
                if error.status != 409:  # the answer to the first attempt was lost
                    raise
            self.ledger.promise("agent.ended", agent)
            self.ledger.wanted[workspace] = "deleted"


class Applicant(Worker):
    """Asks for more than is free to take; the lead approves, and it runs."""

    def __init__(self, client: Client, lead: Client, ledger: Ledger, pace: Pace, seed: str) -> None:
        super().__init__(client.name, ledger, pace, f"{seed}-{client.name}")
        self.client, self.lead = client, lead
        self.made = 0
        self.current: str | None = None

    def act(self) -> None:
        if self.current is not None:
            self.order(self.client, self.current, "delete")
            self.current = None
            return
        self.made += 1
        name = f"{self.name}-{self.made}"
        body: dict[str, object] = {
            "name": name,
            "template": "python",
            "vcpu": 33 + self.made,
        }  # a grant is for one size
        asked = self.persist(self.client, "POST", "/workspaces", body)
        approval = asked["approval"]["id"]
        self.ledger.promise("approval.requested", approval, asked["decision"]["id"])
        try:
            settled = self.persist(self.lead, "POST", f"/approvals/{approval}/approve", {})
        except RefusedError as error:
            if error.status != 409:  # the answer to the first attempt was lost
                raise
            settled = self.persist(self.lead, "GET", f"/approvals/{approval}")
        if settled["state"] != "approved" or settled["result_id"] is None:
            raise AssertionError(f"the approval came to {settled['state']}: {settled['outcome']}")
        self.ledger.promise("approval.approved", approval)
        workspace = str(settled["result_id"])
        with self.ledger.lock:
            self.ledger.wanted[workspace] = "running"
            self.ledger.names[workspace] = name
        self.ledger.promise("workspace.created", workspace)
        self.current = workspace
