"""Answers about notifications."""

from __future__ import annotations

from charter.api import notification_schemas as n
from tests.cli.answers import NOW

PREFERENCES = n.PreferencesOut(
    address="dana@example.org",
    mail=True,
    time_zone="UTC",
    kinds=[
        n.PreferenceOut(
            kind="approval", title="Approvals that wait for you", when="at-once", fixed=False
        )
    ],
)
CHANNEL = n.ChannelMadeOut(
    id="nch_1",
    kind="webhook",
    name="news",
    team_id=None,
    team=None,
    kinds=["approval"],
    shown="https://hooks.example.org",
    signed=True,
    created_by="per_1",
    created_at=NOW,
    last_state="dead",
    last_reason="The receiver answered 404: no such hook",
    secret="whsec_c2hvd24gb25jZQ==",
)
DELIVERY = n.DeliveryOut(
    id="dlv_1",
    via="webhook",
    to="news",
    kind="approval",
    state="dead",
    attempts=10,
    reason="The receiver answered 404: no such hook",
    fix="Look at the receiver, then: charter notification retry dlv_1",
    created_at=NOW,
    next_attempt_at=NOW,
    settled_at=NOW,
    resource_kind="approval",
    resource_id="apr_1",
    digest=False,
)
TEST = n.TestOut(delivery="dlv_1", channel="news")
