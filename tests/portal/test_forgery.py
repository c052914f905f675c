"""No request that changes something is believed unless it comes from a page of this session."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from charter.services import decisions
from tests.portal.conftest import Visitor
from tests.portal.markup import text_of
from tests.support import World

Visit = Callable[[str], Visitor]

# Unsafe routes without a session: the first sign-in, where the browser's word on the origin
# decides (also where it is by passkey), a provider's logout, which no browser sends and a signature
# stands for, and a vote that a link carries, which may be followed without a session.
WITHOUT_SESSION = {
    ("POST", "/sign-in"),
    ("POST", "/sign-in/passkey"),
    ("POST", "/sign-in/passkey/options"),
    ("POST", "/sign-in/oidc/{provider}/logout"),
    ("POST", "/vote"),
}


def _unsafe(app: FastAPI) -> set[tuple[str, str]]:
    return {
        (method, str(route.path))
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
        if method not in {"GET", "HEAD", "OPTIONS"}
    }


def _concrete(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "anything", path)


def test_every_unsafe_route_wants_the_sessions_token(
    world: World, app: FastAPI, visit: Visit
) -> None:
    dana, lee = visit("dana"), visit("lee")
    before = decisions.list_page(world.rt, world.caller("dana"))
    unsafe = _unsafe(app)
    assert len(unsafe) > 15  # the walk has found the routes
    for method, path in sorted(unsafe - WITHOUT_SESSION):
        for sent in ({}, {"_csrf": ""}, {"_csrf": "0" * 48}, {"_csrf": lee.csrf}):
            answer = dana.client.request(method, _concrete(path), data=sent, follow_redirects=False)
            assert answer.status_code == 403, (method, path, sent)
            assert "does not belong to this session" in text_of(answer.text)
        wrong = dana.client.request(method, _concrete(path), headers={"X-CSRF-Token": b"\xff"})
        assert wrong.status_code == 403
    assert dana.get("/").status_code == 200  # still signed in: /sign-out was not believed either
    assert decisions.list_page(world.rt, world.caller("dana")) == before


def test_every_route_but_the_door_wants_a_session(app: FastAPI, visit: Visit) -> None:
    stranger = visit("dana")
    stranger.client.cookies.clear()
    open_paths = {
        "/sign-in",
        "/sign-in/passkey",
        "/sign-in/passkey/options",
        "/sign-in/command-line",
        "/sign-in/oidc/{provider}/start",
        "/sign-in/oidc/{provider}/callback",
        "/sign-in/oidc/{provider}/logout",
        "/static/{digest}/{name:path}",
        "/vote",
    }
    for route in iter_route_contexts(app.routes):
        if route.path in open_paths:
            continue
        for method in route.methods or ():
            answer = stranger.client.request(
                method, _concrete(str(route.path)), follow_redirects=False
            )
            assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in"), route.path


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_is_refused_even_with_the_token(
    visit: Visit, headers: dict[str, str]
) -> None:
    dana = visit("dana")
    for path in ("/sign-in", "/sign-in/passkey", "/sign-in/passkey/options", "/theme"):
        answer = dana.client.post(
            path, data={"_csrf": dana.csrf, "link": "x"}, headers=headers, follow_redirects=False
        )
        assert answer.status_code == 403
        assert "another site" in text_of(answer.text)


def test_the_token_may_come_in_the_header(visit: Visit) -> None:
    dana = visit("dana")
    answer = dana.client.post(
        "/theme",
        data={"theme": "dark"},
        headers={"X-CSRF-Token": dana.csrf, "Origin": "http://testserver"},
        follow_redirects=False,
    )
    assert answer.status_code == 303
