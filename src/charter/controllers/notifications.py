"""Brings notices out of the portal: `dispatch` decides which ways they leave, `send` sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter.services import notification_dispatch, notification_sending
from charter.services.runtime import Runtime


def dispatch(rt: Runtime) -> Mapping[str, Any] | None:
    """Leave the messages for some new notices."""
    count = notification_dispatch.dispatch(rt)
    return {"dispatched": count} if count else None


def send(rt: Runtime) -> Mapping[str, Any] | None:
    """Send one message."""
    return notification_sending.send_one(rt)
