"""Watches over the bundle in force: alerts, automatic rollback (services.policy_monitor)."""

from __future__ import annotations

from charter.services.policy_monitor import step

__all__ = ["step"]
