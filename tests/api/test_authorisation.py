"""Every route as every kind of caller answers as the table in `authorisation.md` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from charter.api.app import build_api
from charter.services import access_views
from charter.store import tables as t
from tests.api.requests import API, build
from tests.api.stage import Stage
from tests.spec import spec
from tests.support import World

TABLE = Path(__file__).with_name("authorisation.md")
UNVERSIONED = {"GET /healthz", "GET /readyz", "GET /metrics"}


class Row(NamedTuple):
    route: str
    about: str
    expected: dict[str, int]


def read_table() -> list[Row]:
    lines = [
        [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        for line in TABLE.read_text().splitlines()
        if line.startswith("|")
    ]
    start = next(number for number, cells in enumerate(lines) if cells[0] == "route")
    callers = lines[start][2:]
    return [
        Row(route, about, dict(zip(callers, map(int, statuses), strict=True)))
        for route, about, *statuses in lines[start + 2 :]
    ]


ROWS = read_table()


def test_every_route_has_a_row_and_every_row_a_route(world: World) -> None:
    paths = build_api(world.rt).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert {row.route for row in ROWS} == routes | UNVERSIONED
    assert all(path.startswith(f"{API}/") for path in paths)


@spec("ID-1", "ID-2")
@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row.route} {row.about}".strip().replace(API, "")
)
def test_each_caller_gets_the_answer_of_the_table(stage: Stage, row: Row) -> None:
    method, path, parts = build(row.route, row.about, stage.ids)
    found = {}
    for caller in row.expected:
        with stage.undone():
            answer = stage.send(caller, method, path, **parts)
        found[caller] = answer.status_code
        if answer.status_code >= 400:
            body = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert body["status"] == answer.status_code
            assert body["detail"]
            assert body["fix"]
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert found == row.expected


ROLES = {
    "dana": "developer",
    "otto": "developer",
    "lee": "team-lead",
    "admin": "platform-admin",
    "sam": "security-admin",
    "ria": "read-only",
    "agent": "agent",
}
"""What the callers of the table are; `lee` is a developer of nothing beside."""

_WITHOUT = {"invariant/permission", "invariant/tier", "invariant/agent-never-approves"}


@pytest.mark.slow
@spec("ID-2")
def test_the_matrix_says_what_the_api_does(stage: Stage) -> None:
    """Each cell that some route of the table asks about, held against the decisions made there."""
    found = access_views.matrix(stage.world.rt, stage.world.admin)
    cells = {row["action"]: row["roles"] for row in found["items"]}
    c = t.decisions.c
    names = {stage.world.caller(name).id: name for name in ROLES}
    before = stage.conn.execute(sa.select(c.id)).scalars().all()
    seen: dict[tuple[str, str], set[bool]] = {}
    for row in ROWS:
        method, path, parts = build(row.route, row.about, stage.ids)
        for caller, role in ROLES.items():
            with stage.undone():
                stage.send(caller, method, path, **parts)
                made = stage.conn.execute(
                    sa.select(c.action, c.subject_id, c.result).where(c.id.not_in(before))
                ).all()
            for action, subject_id, result in made:
                rules = {v["rule"] for v in json.loads(result)["violations"]}
                if names.get(subject_id) == caller and "invariant/not-visible" not in rules:
                    seen.setdefault((action, role), set()).add(not rules & _WITHOUT)
    assert len(seen) > 100
    wrong = {
        (action, role): held
        for (action, role), held in seen.items()
        if any(held) is not (cells[action][role]["effect"] != "deny")
    }
    assert wrong == {}


@spec("ID-1")
def test_what_may_not_be_known_answers_like_what_is_not(stage: Stage) -> None:
    """Else the difference between two refusals would tell that a thing exists."""
    real, made_up = stage.ids["workspace"], "ws_" + "0" * 26
    for row in ROWS:
        if "{workspace}" not in row.route or row.about:
            continue
        for caller in ("otto", "agent"):
            answers = []
            for workspace in (real, made_up):
                method, path, parts = build(row.route, "", {**stage.ids, "workspace": workspace})
                with stage.undone():
                    answers.append(stage.send(caller, method, path, **parts))
            bodies = [{**answer.json(), "details": {}} for answer in answers]
            assert bodies[0]["status"] == bodies[1]["status"] == 404
            assert (bodies[0]["code"], bodies[0]["detail"]) == (
                bodies[1]["code"],
                bodies[1]["detail"],
            ), row.route
