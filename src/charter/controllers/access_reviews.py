"""Campaigns of access reviews: opened by the calendar, reminded of, closed at their deadline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter.services import access_campaigns, dormant_accounts
from charter.services.runtime import Runtime


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Open, remind of or close one campaign."""
    for what, done in (
        ("closed", access_campaigns.close_due),
        ("opened", access_campaigns.open_due),
        ("reminded", access_campaigns.remind),
    ):
        id_ = done(rt)
        if id_ is not None:
            return {what: id_}
    return None


def dormant(rt: Runtime) -> Mapping[str, Any] | None:
    """Tell the owners of accounts that nobody uses, and switch off those that slept on."""
    return dormant_accounts.step(rt)
