"""`@spec("RG-2")` names what a test proves; a house test tabulates what is covered."""

from __future__ import annotations

import pytest


def spec(*ids: str) -> pytest.MarkDecorator:
    """Mark a test with the ids of the capabilities it proves."""
    return pytest.mark.spec(*ids)
