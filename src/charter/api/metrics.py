"""Prometheus metrics: counted in the database where they are truth, not in this process."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from charter.api.deps import RuntimeDep
from charter.services import audit_sealing
from charter.services.kubernetes import UNDECIDED
from charter.services.runtime import Runtime
from charter.store import tables as t

router = APIRouter()


class _Database(Collector):
    """What the database says at this moment."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family per question."""
        with self._rt.database.reading() as tx:
            for name, help_text, label, query in (
                (
                    "charter_workspaces",
                    "Workspaces that exist, by observed state.",
                    "state",
                    sa.select(t.workspaces.c.observed, sa.func.count())
                    .where(t.workspaces.c.deleted_at.is_(None))
                    .group_by(t.workspaces.c.observed),
                ),
                (
                    "charter_agents",
                    "Agents, by state.",
                    "state",
                    sa.select(t.agents.c.state, sa.func.count()).group_by(t.agents.c.state),
                ),
                (
                    "charter_approvals",
                    "Approval requests, by state.",
                    "state",
                    sa.select(t.approvals.c.state, sa.func.count()).group_by(t.approvals.c.state),
                ),
            ):
                family = GaugeMetricFamily(name, help_text, labels=[label])
                for key, count in tx.conn.execute(query):
                    family.add_metric([key], count)
                yield family
            status = audit_sealing.status(tx.conn)
            yield GaugeMetricFamily(
                "charter_audit_sealed", "Sealed audit events.", value=status.size
            )
            yield GaugeMetricFamily(
                "charter_audit_pending", "Audit events not sealed yet.", value=status.lag
            )


@router.get("/metrics", include_in_schema=False)
def metrics(rt: RuntimeDep) -> PlainTextResponse:
    """Counts without any subject's data; restrict the path in front if it is not for everybody."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Database(rt))
    registry.register(UNDECIDED)
    return PlainTextResponse(generate_latest(registry), media_type="text/plain; version=0.0.4")
