"""`charter controllers`: every controller of this replica, in one process."""

from __future__ import annotations

import contextlib
import signal
from types import FrameType
from typing import Final

from charter.controllers import (
    access_reviews,
    drift,
    elevations,
    expiry,
    keys,
    lifecycle,
    notifications,
    outbox,
    policy_changes,
    policy_impact,
    policy_monitor,
    policy_source,
    reviews,
    scim,
    sealing,
)
from charter.controllers.loop import Controller, Loop, forget_old_replicas
from charter.controllers.policy_shadow import ShadowStep
from charter.core.kernel.errors import UnavailableError
from charter.services.runtime import Runtime
from charter.settings import Settings
from charter.wiring import runtime

_EXECUTORS: Final = 4  # effects wait for sandboxes, not for the processor
_SENDERS: Final = 2  # a mail server that hangs must not hold up the webhooks
_DRIFT_SECONDS: Final = 10.0  # how long a sandbox that died by itself may stay unnoticed
_REVIEW_SECONDS: Final = 60.0  # a calendar of days; how old a count may be
_ELEVATION_SECONDS: Final = 5.0  # how long the end of an emergency may stay untold
_SHADOW_SECONDS: Final = 5.0  # a staged candidate answers a little later than the live policy
_MONITOR_SECONDS: Final = 2.0  # how long a spike or a broken bundle may stay unnoticed
_KEYS_SECONDS: Final = 30.0  # a schedule of days, and proofs that are worth a minute
_SEAL_SECONDS: Final = 0.5  # how long an event may wait for its seal


def controllers() -> list[Controller]:
    """Every controller; each replica runs all of them."""
    return [
        Controller("outbox", outbox.step, workers=_EXECUTORS),
        Controller("lifecycle", lifecycle.step),
        Controller("expiry", expiry.step),
        Controller("notifications", notifications.dispatch),
        Controller("deliveries", notifications.send, workers=_SENDERS),
        Controller("keys", keys.step, every_seconds=_KEYS_SECONDS),
        Controller("elevations", elevations.step, every_seconds=_ELEVATION_SECONDS),
        Controller("sealing", sealing.step, every_seconds=_SEAL_SECONDS),
        Controller("policy-impact", policy_impact.step),
        Controller("policy-shadow", ShadowStep(), every_seconds=_SHADOW_SECONDS),
        Controller("policy-source", policy_source.step),
        Controller("policy-changes", policy_changes.step),
        Controller("policy-monitor", policy_monitor.step, every_seconds=_MONITOR_SECONDS),
        Controller("drift", drift.step, every_seconds=_DRIFT_SECONDS),
        Controller("access-reviews", access_reviews.step, every_seconds=_REVIEW_SECONDS),
        Controller("dormant-accounts", access_reviews.dormant, every_seconds=_REVIEW_SECONDS),
        Controller("directories", scim.step, every_seconds=_REVIEW_SECONDS),
        Controller("reviews", reviews.step, every_seconds=_REVIEW_SECONDS),
        Controller("rule-usage", reviews.count, every_seconds=_REVIEW_SECONDS),
    ]


def start(rt: Runtime) -> Loop:
    """Start all controllers on `rt`, which wait for a database that is not there yet."""
    with contextlib.suppress(UnavailableError):
        forget_old_replicas(rt)
    loop = Loop(rt, controllers())
    loop.start()
    return loop


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    with runtime(settings) as rt:
        loop = start(rt)

        def end(_number: int, _frame: FrameType | None) -> None:
            loop.stop()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        loop.wait()
        loop.stop()
