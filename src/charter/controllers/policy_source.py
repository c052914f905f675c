"""Fetches policy changes from the Git repository that is watched (services.policy_source)."""

from __future__ import annotations

from charter.services.policy_source import step

__all__ = ["step"]
