"""A real instance for the portal's tests: the world of `tests.support`, served and kept going.

Nothing is imitated: PostgreSQL is the embedded one, decisions are made by the shipped policies,
controllers run, and workspaces are real sandboxes. Only the supervisor is missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from charter.controllers import main as controllers
from charter.portal.routes import build_router, no_such_page
from charter.server import build_app
from charter.services import people
from charter.services.runtime import Runtime
from charter.store.embedded import temporary_postgres
from charter.store.migrate import migrate
from tests.support import Clock, World, build_world


def application(rt: Runtime) -> FastAPI:
    """The portal alone, without the API: it must not need it."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(build_router(lambda _request: rt))

    @app.exception_handler(HTTPException)
    def _http(request: Request, _error: HTTPException) -> Response:
        return no_such_page(request, rt)

    return app


@dataclass(frozen=True)
class Instance:
    """The world, and where its portal answers."""

    world: World
    app: FastAPI

    @property
    def url(self) -> str:
        return self.world.rt.settings.url


def link_of(world: World, handle: str) -> str:
    """A fresh one-time link of a person."""
    return str(people.sign_in_link(world.rt, world.admin, handle)["url"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(app: FastAPI, port: int) -> Iterator[None]:
    """Answer on the port from a thread of this process."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="none")
    )
    thread = threading.Thread(target=server.run, name="portal", daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@contextlib.contextmanager
def running_instance() -> Iterator[Instance]:
    """The cast of `tests.support` on a free port, with the controllers at work and a real clock."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(temporary_postgres())
        engine = sa.create_engine(database.url)
        migrate(engine)
        engine.dispose()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="charter-portal-")))
        folder.chmod(0o755)  # sandboxes run as other users and must reach their homes
        clock = Clock()
        clock.follow = True
        world = build_world(database.url, folder / "state", now=clock)
        stack.callback(world.rt.database.close)
        stack.callback(world.rt.policy.close)
        world.cast()
        port = _free_port()
        settings = world.rt.settings.model_copy(
            update={"port": port, "controller_poll_seconds": 0.1}
        )
        world.rt = dataclasses.replace(world.rt, settings=settings)
        stack.callback(remove_sandboxes, world)
        loop = controllers.start(world.rt)
        stack.callback(loop.stop)
        app = build_app(world.rt)
        stack.enter_context(serving(app, port))
        yield Instance(world, app)


def remove_sandboxes(world: World) -> None:
    """Leave no process behind."""
    for found in world.rt.provider.observe_all():
        world.rt.provider.delete(found.workspace_id, found.generation)


def until(condition: Callable[[], bool], *, tries: int = 400) -> None:
    """Wait for a condition; fails when it does not come true."""
    pause = threading.Event()
    for _ in range(tries):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("the condition did not come true")
