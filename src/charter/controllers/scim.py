"""Directories that are cut off soon, because their tokens end: somebody is told in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter.services import scim
from charter.services.runtime import Runtime


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Tell platform admins once before the end, and once at it."""
    told = scim.warn_of_ends(rt)
    return {"told": told} if told else None
