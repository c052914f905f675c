"""A world behind a real HTTP server, for clients that are programs of their own."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from charter.api.app import build_api
from charter.server import _options
from charter.settings import Settings
from tests.peers import free_port
from tests.support import World


@contextmanager
def served(world: World, **chosen: Any) -> Iterator[World]:
    """The same world with its API listening at `world.rt.settings.url`, as `charter serve` does.

    `chosen` are further settings.
    """
    port = free_port()
    settings = Settings(
        state_dir=world.rt.settings.state_dir,
        database_url=world.rt.settings.database_url,
        port=port,
        **chosen,
    )
    rt = dataclasses.replace(world.rt, settings=settings)
    listening = threading.Event()
    server = _Server(
        uvicorn.Config(
            build_api(rt),
            host="127.0.0.1",
            port=port,
            **{**_options(settings), "log_level": "warning"},
        ),
        listening,
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert listening.wait(20)
        yield dataclasses.replace(world, rt=rt)
    finally:
        server.should_exit = True
        thread.join(40)


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, listening: threading.Event) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening.set()
