"""Whoever changes something leaves a record: each unsafe route, done once, makes the trail longer.

A service function that changes something but is reached by no route is found by its name.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any, Final

import pytest

import charter.api
from charter import services
from tests.api.requests import build
from tests.api.stage import Stage
from tests.api.test_authorisation import ROWS
from tests.spec import spec

# Unsafe methods that change nothing of anybody's, and why.
UNRECORDED: Final = {
    "POST /api/v1/workspaces/preview": "decides and stores nothing",
    "POST /api/v1/decisions/replay": "reads; a POST because it is work",
    "POST /api/v1/policies/playground": "evaluates and stores nothing",
    "POST /api/v1/policies/source/webhook": "rings a bell; what is fetched leaves its own events",
    "POST /api/v1/notices/{notice}/read": "a reader's own mark on a message to them",
}
SAFE: Final = {"GET"}
# Services that only read, by how their names begin.
READERS: Final = (
    "list_",
    "get",
    "active",
    "bundles",
    "rules",
    "rule",
    "exported",
    "state",
    "proof",
    "events_page",
    "preview",
    "me",
    "overview",
    "notices",
    "controllers",
    "capabilities",
    "team_quota",
    "sizes",
    "templates",
    "counts",
)
# Ceremonies of a browser, which only the portal offers: their events are proved by
# tests/services/test_passkeys.py and tests/portal/test_account.py.
IN_BROWSERS: Final = {
    "passkeys.begin_adding",
    "passkeys.add",
    "passkey_sign_in.begin_step_up",
    "passkey_sign_in.step_up",
    "sessions.hand_over",
    "sessions.step_up_by_link",
}
# Building blocks that other services call in their own transaction.
PARTS: Final = {"require", "read_notice", "question_about", "audience", "check_parity"}


def permitted(row: Any) -> str | None:
    """Somebody whom the table lets do it."""
    callers = ("dana", "agent", "admin", "lee", "sam")
    return next((who for who in callers if row.expected[who] < 300), None)


UNSAFE: Final = [row for row in ROWS if row.route.split(" ")[0] not in SAFE]
DOABLE: Final = [row for row in UNSAFE if permitted(row)]


def test_each_unsafe_route_can_be_done_by_somebody() -> None:
    assert {row.route for row in DOABLE} == {row.route for row in UNSAFE}


@spec("AU-1")
@pytest.mark.parametrize("row", DOABLE, ids=lambda row: f"{row.route} {row.about}".strip())
def test_an_unsafe_route_leaves_an_event(stage: Stage, row: Any) -> None:
    who = permitted(row)
    assert who is not None
    method, path, parts = build(row.route, row.about, stage.ids)
    with stage.undone():
        before = stage.events()
        answer = stage.send(who, method, path, **parts)
        after = stage.events()
    assert answer.status_code < 300, answer.text
    if row.route in UNRECORDED:
        assert after == before
    else:
        assert after > before


def test_a_refusal_leaves_an_event_too(stage: Stage) -> None:
    for row in UNSAFE:
        refused = next((who for who in ("ria", "otto") if row.expected[who] == 403), None)
        if refused is None or row.route in UNRECORDED:
            continue
        method, path, parts = build(row.route, row.about, stage.ids)
        with stage.undone():
            before = stage.events()
            assert stage.send(refused, method, path, **parts).status_code == 403
            assert stage.events() > before, row.route


def exposed() -> Iterator[tuple[str, str]]:
    """(module, function) of every public service function that takes a runtime and a caller."""
    for info in pkgutil.iter_modules(services.__path__):
        module = importlib.import_module(f"charter.services.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != module.__name__ or name.startswith("_"):
                continue
            if list(inspect.signature(function).parameters)[:2] == ["rt", "caller"]:
                yield info.name, name


def test_every_service_that_changes_something_is_reached_by_a_route() -> None:
    """So that the test above has seen it write its event."""
    source = "".join(
        inspect.getsource(importlib.import_module(f"charter.api.{info.name}"))
        for info in pkgutil.iter_modules(charter.api.__path__)
    )
    unreached = [
        f"{module}.{name}"
        for module, name in exposed()
        if not name.startswith(READERS)
        and name not in PARTS
        and f"{module}.{name}" not in IN_BROWSERS
        and f".{name}(" not in source
    ]
    assert unreached == []
