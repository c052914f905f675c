"""What the API says about an account, for tests of the command line."""

from __future__ import annotations

from charter.api import schemas as s
from tests.cli.answers import NOW

SESSION = s.SessionOut(
    id="ses_1",
    method="passkey",
    mfa=True,
    authenticated_at=NOW,
    ip="192.0.2.7",
    user_agent="Firefox | Linux",
    created_at=NOW,
    last_used_at=NOW,
    expires_at=NOW,
    current=True,
)
PASSKEY = s.PasskeyOut(
    id="psk_1", name="laptop | left", created_at=NOW, last_used_at=None, backed_up=True
)
PROVIDER = s.ProviderStateOut(
    name="corp",
    label="Corp",
    issuer="https://id.example.org",
    usable=True,
    message="https://id.example.org answers, 2 signing keys",
    ends_sessions=True,
)
