"""A world whose clock begins at the present: sandboxes start by the host's clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from charter import clock
from tests.conftest import fresh_world
from tests.support import Clock, World


@pytest.fixture
def empty_world(postgres_url: str, tmp_path: Path) -> Iterator[World]:
    """A fresh instance whose clock stands at the present moment until a test moves it."""
    now = Clock()
    now.moment = clock.now()
    with fresh_world(postgres_url, tmp_path / "state", now) as world:
        yield world
