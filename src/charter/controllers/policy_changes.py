"""Takes policy changes through the pipeline, one step at a time (services.policy_flow)."""

from __future__ import annotations

from charter.services.policy_flow import step

__all__ = ["step"]
