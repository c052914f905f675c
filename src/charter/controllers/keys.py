"""Signing keys that are too old are retired, and proofs past their time are forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter.services import keys, proofs
from charter.services.runtime import Runtime


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Keep the schedule of the keys, and the list of proofs short."""
    kept = keys.keep_schedule(rt)
    forgotten = proofs.forget_old(rt)
    if kept is None and not forgotten:
        return None
    return {**(kept or {}), "proofs": forgotten}
