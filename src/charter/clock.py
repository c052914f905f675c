"""The one place where the machine's clock and randomness are read.

Rules take time, ids and randomness as arguments; the edges take them from here, so that a test
can put its own in.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def random_bytes(count: int) -> bytes:
    """`count` bytes fit for identifiers and secrets."""
    return secrets.token_bytes(count)
