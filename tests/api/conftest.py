"""The stage that the tests of one module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.stage import Stage, built_stage
from tests.conftest import fresh_world


@pytest.fixture(scope="module")
def stage(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A furnished instance on which each request is undone."""
    with fresh_world(postgres_url, tmp_path_factory.mktemp("stage")) as world:
        world.cast()
        with built_stage(world) as stage:
            yield stage
