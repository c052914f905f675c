"""Goes on with impact analyses, a few seconds of one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter.services import impact
from charter.services.runtime import Runtime


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Go on with the run that has had the least time; None when none is open."""
    return impact.step(rt)
