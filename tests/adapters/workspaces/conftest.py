from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from charter.adapters.workspaces.local.provider import LocalProvider
from tests.adapters.workspaces import support


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProvider]:
    """A local provider of this module; afterwards the host is as it was."""
    made = LocalProvider(Path(tmp_path_factory.mktemp("workspaces")) / "state")
    yield made
    for found in made.observe_all():
        made.delete(found.workspace_id, 10**9)
    assert made.observe_all() == []
    assert support.walls_of(made) == set()
    assert support.groups_of(made) == []
    support.wait_for(lambda: not support.loops_of(made), "loop devices are let go")
    assert [path.name for path in (made._root / ".uids").iterdir()] == []
