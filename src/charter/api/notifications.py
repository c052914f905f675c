"""Notifications: what comes by mail, channels of teams, and the outbox that operators look at."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.api.notification_schemas import (
    ChannelIn,
    ChannelMadeOut,
    ChannelOut,
    DeliveryOut,
    PreferencesIn,
    PreferencesOut,
    TestOut,
)
from charter.services import notification_channels, notifications

router = APIRouter(tags=["notifications"], responses=PROBLEMS)

State = Annotated[Literal["waiting", "delivered", "dead", "skipped"] | None, Query()]


@router.get("/notifications/preferences")
def preferences(rt: RuntimeDep, caller: CallerDep) -> PreferencesOut:
    """Where mails for you go, and when each kind of notice comes."""
    return PreferencesOut(**notifications.get_preferences(rt, caller))


@router.put("/notifications/preferences")
def set_preferences(rt: RuntimeDep, caller: CallerDep, body: PreferencesIn) -> PreferencesOut:
    """Choose when kinds of notices come to you by mail."""
    return PreferencesOut(**notifications.set_preferences(rt, caller, body.kinds))


@router.post("/notifications/test", status_code=202)
def test_mail(rt: RuntimeDep, caller: CallerDep) -> TestOut:
    """Send yourself a test mail."""
    return TestOut(**notifications.test_mail(rt, caller))


@router.get("/notifications/channels")
def channels(rt: RuntimeDep, caller: CallerDep) -> s.Page[ChannelOut]:
    """The channels that you may see; addresses and secrets are never shown."""
    found = notification_channels.list_channels(rt, caller)
    return s.Page[ChannelOut](items=[ChannelOut(**channel) for channel in found])


@router.post("/notifications/channels", status_code=201)
def add_channel(rt: RuntimeDep, caller: CallerDep, body: ChannelIn) -> ChannelMadeOut:
    """Add a channel for a team or the organisation; a generated secret is shown this once."""
    return ChannelMadeOut(**notification_channels.add_channel(rt, caller, **body.model_dump()))


@router.post("/notifications/channels/{channel}/test", status_code=202)
def test_channel(rt: RuntimeDep, caller: CallerDep, channel: s.Reference) -> TestOut:
    """Send a test message into a channel."""
    return TestOut(**notification_channels.test_channel(rt, caller, channel))


@router.delete("/notifications/channels/{channel}", status_code=204)
def remove_channel(rt: RuntimeDep, caller: CallerDep, channel: s.Reference) -> Response:
    """Remove a channel; what waits for it is not sent."""
    notification_channels.remove_channel(rt, caller, channel)
    return Response(status_code=204)


@router.get("/notifications/deliveries")
def deliveries(
    rt: RuntimeDep,
    caller: CallerDep,
    state: State = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[DeliveryOut]:
    """Messages that left, wait or failed, newest first, with the reason and the next step."""
    return s.Page[DeliveryOut].model_validate(
        notifications.list_deliveries(rt, caller, state=state, cursor=cursor, limit=limit)
    )


@router.post("/notifications/deliveries/{delivery}/retry")
def retry(rt: RuntimeDep, caller: CallerDep, delivery: s.Reference) -> DeliveryOut:
    """Try a message again now."""
    return DeliveryOut(**notifications.retry(rt, caller, delivery))
