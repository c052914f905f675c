"""Notifications: what comes to me by mail, and for operators the channels and the outbox."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.notifications.kinds import SHARED
from charter.portal import forms
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import notification_channels, notifications

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/account/notifications")
def show_preferences(visit: Signed) -> Response:
    """What comes by mail, and when."""
    found = notifications.get_preferences(visit.rt, visit.caller)
    return visit.page("account_notifications.html", {"found": found})


@router.post("/account/notifications")
def set_preferences(visit: Signed) -> Response:
    """Keep the choices of the whole form."""
    fixed = {
        kind["kind"]
        for kind in notifications.get_preferences(visit.rt, visit.caller)["kinds"]
        if kind["fixed"]
    }
    wanted = {
        name.removeprefix("when_"): value
        for name, value in visit.form.items()
        if name.startswith("when_") and name.removeprefix("when_") not in fixed
    }
    notifications.set_preferences(visit.rt, visit.caller, wanted)
    return visit.redirect("/account/notifications", "Your choices are kept.")


@router.post("/account/notifications/test")
def test_mail(visit: Signed) -> Response:
    """Send a test mail to oneself."""
    notifications.test_mail(visit.rt, visit.caller)
    return visit.redirect("/account/notifications", "A test mail is on its way.")


@router.get("/notifications")
def show_notifications(visit: Signed) -> Response:
    """Channels, and every message with what came of it."""
    asked = visit.asked("state")
    cursor = visit.asked("cursor")["cursor"]
    page = notifications.list_deliveries(
        visit.rt, visit.caller, state=asked["state"], cursor=cursor
    )
    channels = notification_channels.list_channels(visit.rt, visit.caller)
    return visit.page(
        "notifications.html",
        {"page": page, "channels": channels, "asked": asked, "cursor": cursor},
        block="table",
    )


@router.get("/notifications/channels/new")
def new_channel(visit: Signed) -> Response:
    """The form for a channel."""
    return visit.page("channel_new.html", {"shared": SHARED})


@router.post("/notifications/channels")
def add_channel(visit: Signed) -> Response:
    """Add a channel; a generated secret is shown on the page that answers, once."""
    form = forms.read(forms.ChannelForm, visit.form)
    kinds = [kind for kind in SHARED if f"carry_{kind}" in visit.form]
    made = notification_channels.add_channel(
        visit.rt,
        visit.caller,
        kind=form.kind,
        name=form.name,
        team=form.team,
        kinds=kinds or None,
        url=form.url,
        secret=form.secret,
    )
    return visit.page("channel_made.html", {"made": made})


@router.post("/notifications/channels/{channel}/test")
def test_channel(visit: Signed, channel: str) -> Response:
    """Send a test message into a channel."""
    notification_channels.test_channel(visit.rt, visit.caller, channel)
    return visit.redirect("/notifications", "A test message is on its way.")


@router.get("/notifications/channels/{channel}/remove")
def ask_remove(visit: Signed, channel: str) -> Response:
    """Ask before a channel is removed."""
    return visit.page(
        "ask.html",
        {
            "title": "Remove the channel?",
            "text": "What waits for it is not sent, and its address and secret are forgotten.",
            "action": f"/notifications/channels/{channel}/remove",
            "kind": "danger",
            "reason_name": None,
            "label": "Remove the channel",
            "back": "/notifications",
        },
        block="ask",
    )


@router.post("/notifications/channels/{channel}/remove")
def remove_channel(visit: Signed, channel: str) -> Response:
    """Remove a channel."""
    notification_channels.remove_channel(visit.rt, visit.caller, channel)
    return visit.redirect("/notifications", "The channel was removed.")


@router.post("/notifications/deliveries/{delivery}/retry")
def retry(visit: Signed, delivery: str) -> Response:
    """Try a message again."""
    notifications.retry(visit.rt, visit.caller, delivery)
    return visit.redirect("/notifications", "The message is tried again.")
