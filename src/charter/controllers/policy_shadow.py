"""Puts new decisions to the candidates that are staged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter.services import shadow
from charter.services.runtime import Runtime


class ShadowStep:
    """One page of one candidate at a time; the workers stay for the next page."""

    def __init__(self) -> None:
        self._kept = shadow.KeptDesk()

    def __call__(self, rt: Runtime) -> Mapping[str, Any] | None:
        """Put one page of new decisions to a staged candidate; None when there was none."""
        return shadow.step(rt, self._kept)
