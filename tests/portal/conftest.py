"""A signed-in browser without a browser: cookies and the form token, over the real services."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from tests.portal.instance import Instance, application, link_of, running_instance
from tests.support import World


@dataclass
class Visitor:
    """What a person at a browser can do: open pages and send their forms."""

    client: TestClient
    csrf: str = ""

    def get(self, path: str, /, *, htmx: bool = False) -> Response:
        headers = {"HX-Request": "true"} if htmx else {}
        return self.client.get(path, headers=headers, follow_redirects=False)

    def post(self, path: str, /, *, htmx: bool = False, **fields: Any) -> Response:
        headers = {"HX-Request": "true"} if htmx else {}
        return self.client.post(
            path, data={"_csrf": self.csrf, **fields}, headers=headers, follow_redirects=False
        )


def sign_in(world: World, app: FastAPI, handle: str) -> Visitor:
    """Use a fresh link up, as the page with the button does."""
    visitor = Visitor(TestClient(app))
    link = link_of(world, handle)
    page = visitor.get(link.removeprefix(world.rt.settings.url))
    secret = re.search(r'name="link" value="([^"]+)"', page.text)
    assert secret is not None
    assert visitor.client.post("/sign-in", data={"link": secret[1]}).status_code == 200
    token = re.search(r'name="_csrf" value="([^"]+)"', visitor.get("/").text)
    assert token is not None
    visitor.csrf = token[1]
    return visitor


@pytest.fixture
def app(world: World) -> FastAPI:
    return application(world.rt)


@pytest.fixture
def visit(world: World, app: FastAPI) -> Callable[[str], Visitor]:
    """Sign a person in."""
    return lambda handle: sign_in(world, app, handle)


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """A running instance, for browsers."""
    with running_instance() as running:
        yield running
