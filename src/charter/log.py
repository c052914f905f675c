"""Log lines as JSON on standard error, where the supervisor (or a container) collects them.

structlog writes them. It takes a quarter of a second to load and most processes have nothing to
say, so it is loaded with the first line. What a request carried is never logged: facts are named
one by one, and tracebacks come without local variables.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any


@cache
def _structlog() -> Any:
    import structlog  # noqa: PLC0415 — see above

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        # Standard error as it is when a line is written, not as it was with the first one.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    return structlog


class Log:
    """A named source of log lines."""

    def __init__(self, name: str) -> None:
        self._name = name

    def warning(self, event: str, **facts: object) -> None:
        """Something did not work and is being tried again or worked around."""
        _structlog().get_logger().warning(event, logger=self._name, **facts)

    def error(self, event: str, **facts: object) -> None:
        """Something failed that should not have."""
        _structlog().get_logger().error(event, logger=self._name, **facts)

    def exception(self, event: str, **facts: object) -> None:
        """As `error`, with the traceback of the exception that is being handled."""
        _structlog().get_logger().exception(event, logger=self._name, **facts)
