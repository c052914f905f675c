"""A real instance for the portal's tests: database, services, controllers, portal, one process.

Nothing is imitated: PostgreSQL is the embedded one, decisions are made by the shipped policies, and
workspaces run in the local sandbox. Only the supervisor is missing, and the API, of which the
portal must not know.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from charter.controllers import main as controllers
from charter.portal.routes import build_router, no_such_page
from charter.services import identity, people
from charter.services.runtime import Caller, Runtime
from charter.settings import Settings
from charter.store.embedded import temporary_postgres
from charter.wiring import prepare, runtime

PEOPLE = {"dana": "developer", "lee": "team-lead", "sam": "security-admin"}


@dataclass(frozen=True)
class Instance:
    """The running instance. `link` gives a fresh one-time link of a person."""

    rt: Runtime
    app: FastAPI
    admin: Caller

    @property
    def url(self) -> str:
        return self.rt.settings.url

    def link(self, handle: str) -> str:
        made: dict[str, Any] = people.sign_in_link(self.rt, self.admin, handle)
        return str(made["url"])

    def caller(self, handle: str) -> Caller:
        session = identity.exchange_link(self.rt, self.link(handle))
        return identity.authenticate_session(self.rt, session["secret"])


def application(rt: Runtime) -> FastAPI:
    """The portal alone, mounted as the whole application mounts it."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(build_router(lambda _request: rt))

    @app.exception_handler(HTTPException)
    def _http(request: Request, _error: HTTPException) -> Response:
        return no_such_page(request, rt)

    return app


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _fill(rt: Runtime, admin: Caller) -> None:
    people.create_team(rt, admin, "web")
    for handle, role in PEOPLE.items():
        people.create_person(
            rt, admin, handle=handle, display_name=None, email=None, time_zone="UTC"
        )
        watching = role == "security-admin"
        if not watching:
            people.add_member(rt, admin, "web", handle)
        people.bind_role(
            rt,
            admin,
            person=handle,
            role=role,
            scope_kind="organisation" if watching else "team",
            scope=None if watching else "web",
        )


@contextlib.contextmanager
def serving(app: FastAPI, port: int) -> Iterator[None]:
    """Answer on the port from a thread of this process."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="none")
    )
    thread = threading.Thread(target=server.run, name="portal", daemon=True)
    thread.start()
    started = threading.Event()
    while thread.is_alive() and not server.started:
        started.wait(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@contextlib.contextmanager
def running_instance() -> Iterator[Instance]:
    """An instance with a team, a developer, a team lead and a security admin, on a free port."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(temporary_postgres())
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="charter-portal-")))
        state.chmod(0o755)
        settings = Settings(
            state_dir=state,
            database_url=database.url,
            port=_free_port(),
            controller_poll_seconds=0.1,
        )
        link = prepare(settings)
        assert link is not None
        rt = stack.enter_context(runtime(settings))
        session = identity.exchange_link(rt, link)
        admin = identity.authenticate_session(rt, session["secret"])
        _fill(rt, admin)
        loop = controllers.start(rt)
        stack.callback(loop.stop)
        app = application(rt)
        stack.enter_context(serving(app, settings.port))
        yield Instance(rt, app, admin)


def until(condition: Callable[[], bool], *, tries: int = 400) -> None:
    """Wait for a condition; fails when it does not come true."""
    pause = threading.Event()
    for _ in range(tries):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("the condition did not come true")
