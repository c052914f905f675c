"""What is somebody else's answers like what is not: every id in every path, for two strangers.

The table of `tests/api/authorisation.md` gives the routes, the stage the things: dana's and her
team's, asked for by a developer of another team and by an agent. Whoever may not know of a thing
gets the same status, code and sentence for it as for an id that was made up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.api.requests import ABOUT, BODIES, filled
from tests.api.stage import Stage, built_stage
from tests.api.test_authorisation import ROWS, Row
from tests.conftest import fresh_world
from tests.spec import spec

# What everybody may know of, and why; a refusal about it may differ from one about nothing.
PUBLIC: Final = {
    "change": "policy changes are everybody's to follow",
    "digest": "bundles that were in force are everybody's to read",
    "rule_id": "the rules in force are everybody's to read",
    "review": "reviews of the policy are everybody's to follow",
    "number": "findings of such a review are numbered",
    "name": "roles are everybody's to read",
    "template": "the catalogue is everybody's",
    "campaign": "a campaign is named for its quarter",
}


@pytest.fixture(scope="module")
def stage(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A furnished instance on which each request is undone."""
    with fresh_world(postgres_url, tmp_path_factory.mktemp("idor")) as world:
        world.cast()
        with built_stage(world) as found:
            yield found


def made_up(real: str) -> str:
    """An identifier or name of the same form as the real one, which nothing has."""
    prefix, underscore, rest = real.partition("_")
    if underscore and len(rest) == 26:
        return f"{prefix}_{'0' * 26}"
    return "nothing-of-the-kind"


def names(row: Row) -> list[str]:
    return [name for name in re.findall(r"\{([a-z_]+)\}", row.route) if name not in PUBLIC]


def answers(stage: Stage, row: Row, name: str, who: str) -> list[tuple[Any, ...]]:
    """Status, code and sentence for the real id and for a made-up one."""
    ids = {**stage.ids, **{k: filled(v, stage.ids) for k, v in ABOUT[row.about].items()}}
    found = []
    for value in (ids[name], made_up(ids[name])):
        method, path = row.route.split(" ", 1)
        path = filled(path, {**ids, name: value})
        parts = filled(BODIES.get(row.route, {}), ids)
        with stage.undone():
            answer = stage.send(who, method, path, **parts)
        body = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        said = " / ".join(str(body.get(part)) for part in ("code", "detail", "fix"))
        for given in (ids[name], made_up(ids[name])):
            said = said.replace(given, "…")
        found.append((answer.status_code, said))
    return found


ASKED: Final = [(row, name) for row in ROWS for name in names(row)]


@pytest.mark.slow
@spec("ID-1")
@pytest.mark.parametrize("who", ["otto", "agent"])
@pytest.mark.parametrize(
    ("row", "name"),
    ASKED,
    ids=lambda v: f"{v.route} {v.about}".strip() if isinstance(v, Row) else v,
)
def test_somebody_elses_is_like_nothing(stage: Stage, row: Row, name: str, who: str) -> None:
    if row.expected[who] < 300 or row.about in {"own agent", "agent's", "otto", "self"}:
        return  # it is theirs, or they may see it
    if who == "agent" and name == "override":
        return  # its sponsor asked for it, so the agent may know that there is one
    real, unreal = answers(stage, row, name, who)
    assert real == unreal


def test_the_walk_has_found_the_routes() -> None:
    assert len({row.route for row, _ in ASKED}) > 50
    assert set(PUBLIC) <= {n for row in ROWS for n in re.findall(r"\{([a-z_]+)\}", row.route)}
