"""The instance that a module of end-to-end tests shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.instance import Client, Instance, running_instance


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[Instance, Client]]:
    """A real instance with its administrator; gone after the module."""
    with running_instance() as found:
        yield found
