"""Seals what the services have written into the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter.services.audit_sealing import seal
from charter.services.runtime import Runtime


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Seal one batch; None when nothing was pending."""
    with rt.database.unit_of_work() as tx:
        status = seal(tx.conn, rt.keys.audit, now=tx.now)
    if not status.sealed:
        return None
    return {"sealed": status.sealed, "size": status.size, "lag": status.lag}
