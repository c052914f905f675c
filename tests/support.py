"""What tests of services and faces stand on: a real database, a real runtime, people to act.

`World` is a runtime on a database of its own with the starter policies, a clock that a test moves,
and the real local provider. `people` gives it the cast of the story: an admin, a developer (dana),
a team lead (lee), a security admin (sam) and a reader (ria) in the team `payments`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.testclient import TestClient

from charter import clock
from charter.adapters.rego.engine import EngineThread
from charter.adapters.rego.load import shipped_bundle
from charter.adapters.workspaces.local.provider import LocalProvider
from charter.controllers import drift, elevations, expiry, lifecycle, outbox, sealing
from charter.core.policy.bundle import Bundle
from charter.services import identity, people, roles
from charter.services.audit_sealing import load_or_create_key
from charter.services.bootstrap import bootstrap
from charter.services.policy_point import ActivePolicy, PolicyPoint, compile_engine
from charter.services.runtime import Caller, Keys, Runtime
from charter.settings import Settings
from charter.store import tables as t
from charter.store.unit_of_work import Database

STARTER = shipped_bundle()
BRIEF = STARTER.with_files(
    {
        **{p: None for p in STARTER.files if p.startswith("tests/") or p.endswith("_test.rego")},
        "tests/small_test.rego": "package small_test\n\nimport rego.v1\n\ntest_it if true\n",
    }
)
"""The starter's rules with one small test in place of its own, to be checked in a second."""
HOOK_SECRET = SecretStr("shown by the forge")


class _Lasting(EngineThread):
    """An engine that outlives the instances that use it."""

    def close(self) -> None:
        """Stay, until `end`."""

    def end(self) -> None:
        """End the thread."""
        super().close()


@cache
def _starter() -> ActivePolicy:
    engine = _Lasting(STARTER)
    return ActivePolicy(STARTER.digest, STARTER, engine.data, engine)


def end_shared_engine() -> None:
    """End the engine that `compile_once` made, if it did."""
    if _starter.cache_info().currsize and isinstance(engine := _starter().engine, _Lasting):
        engine.end()
        _starter.cache_clear()


def compile_once(bundle: Bundle) -> ActivePolicy:
    """As `compile_engine`; all instances of a test run share the engine of the starter set.

    Compiling it takes half a second, and its index is built as questions come.
    """
    return _starter() if bundle.digest == STARTER.digest else compile_engine(bundle)


class Clock:
    """A clock that stands where it was put; `advance` moves it."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        self.follow = False

    def __call__(self) -> datetime:
        """The present moment: the standing one, or the real one once `follow` is set."""
        return clock.now() if self.follow else self.moment

    def advance(self, **span: float) -> None:
        """Let time pass."""
        self.moment += timedelta(**span)


@dataclass
class World:
    """A runtime with everything that a test may turn."""

    rt: Runtime
    clock: Clock
    admin_link: str
    callers: dict[str, Caller] = field(default_factory=dict)

    @property
    def admin(self) -> Caller:
        """The first administrator, signed in."""
        return self.caller("admin")

    def caller(self, name: str) -> Caller:
        """The signed-in person of that handle, as they are now."""
        token = self.tokens[name]
        return identity.authenticate_bearer(self.rt, token)

    tokens: dict[str, str] = field(default_factory=dict)

    def sign_in(self, name: str, link: str) -> str:
        """Exchange a link and keep the token."""
        made = identity.exchange_link_for_token(self.rt, link, "test")
        self.tokens[name] = made["secret"]
        return str(made["secret"])

    def sign_in_again(self) -> None:
        """Fresh tokens for everybody, after a time in which theirs ran out."""
        with self.rt.database.unit_of_work() as tx:
            tx.update(
                t.api_tokens,
                t.api_tokens.c.revoked_at.is_(None),
                expires_at=tx.now + timedelta(days=1),
                authenticated_at=tx.now,
            )

    def add_person(self, handle: str, *held: tuple[str, str | None], team: str | None) -> None:
        """A person with (role, team scope) bindings, signed in."""
        people.create_person(
            self.rt, self.admin, handle=handle, display_name=None, email=None, time_zone="UTC"
        )
        if team is not None:
            people.add_member(self.rt, self.admin, team, handle)
        for role, scope in held:
            roles.bind_role(
                self.rt,
                self.admin,
                person=handle,
                role=role,
                scope_kind="organisation" if scope is None else "team",
                scope=scope,
            )
        self.sign_in(handle, people.sign_in_link(self.rt, self.admin, handle)["url"])

    def cast(self) -> None:
        """The cast of the story."""
        people.create_team(self.rt, self.admin, "payments")
        self.add_person("dana", ("developer", None), team="payments")
        self.add_person("lee", ("team-lead", "payments"), team="payments")
        self.add_person("sam", ("security-admin", None), team=None)
        self.add_person("ria", ("read-only", None), team=None)
        people.create_team(self.rt, self.admin, "search")
        self.add_person("otto", ("developer", None), team="search")

    def settle(self, rounds: int = 200) -> None:
        """Run the controllers until none finds anything to do."""
        for _ in range(rounds):
            steps = (outbox.step, lifecycle.step, expiry.step, elevations.step, sealing.step)
            if not any(step(self.rt) is not None for step in steps):
                return
        raise AssertionError("the controllers never came to rest")

    def drift(self) -> Any:
        """One pass of the drift controller."""
        return drift.step(self.rt)

    def client(self, app: FastAPI, name: str | None) -> TestClient:
        """An HTTP client that shows that person's token."""
        headers = {} if name is None else {"Authorization": f"Bearer {self.tokens[name]}"}
        return TestClient(app, headers=headers, raise_server_exceptions=False)


def build_world(
    url: str,
    state_dir: Path,
    *,
    now: Clock | None = None,
    make: Callable[[Bundle], ActivePolicy] = compile_engine,
) -> World:
    """A world on an empty, migrated database."""
    now = now or Clock()
    settings = Settings(
        state_dir=state_dir, database_url=url, port=8470, policy_webhook_secret=HOOK_SECRET
    )
    keys = state_dir / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    policy_key = load_or_create_key(keys / "policy.key", os.urandom)
    rt = Runtime(
        settings=settings,
        database=Database(url, pool_size=20, now=now),
        policy=PolicyPoint(policy_key.public_key(), make),
        provider=LocalProvider(state_dir / "workspaces"),
        keys=Keys(
            sealing=load_or_create_key(keys / "sealing.key", os.urandom),
            audit=load_or_create_key(keys / "audit.key", os.urandom),
            policy=policy_key,
            notifications=load_or_create_key(keys / "notifications.key", os.urandom),
        ),
        now=now,
        randomness=os.urandom,
    )
    link = bootstrap(rt, STARTER)
    assert link is not None
    world = World(rt, now, link)
    world.sign_in("admin", link)
    return world
