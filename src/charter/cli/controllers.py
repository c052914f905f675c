"""`charter controller list`: the loops that make decisions come true, and how they are doing."""

from __future__ import annotations

from typing import Any

from charter.cli.command import Call, command, noun
from charter.cli.show import table
from charter.cli.text import joined, say, when

app = noun("How the controllers are doing.")


@command(app, "list", examples=["charter controller list", "charter controllers list --json"])
def list_(call: Call) -> None:
    """List the controllers with their last run and last error."""
    found: Any = call.client.get("controllers")
    listed = found["items"]

    def text() -> None:
        if not listed:
            say("No controller has run yet. They run under charter up, or by charter controllers.")
            return
        table(
            ("NAME", "LAST RUN", "RUNS", "FAILURES", "STATUS", "LAST ERROR"),
            [
                (
                    c["name"],
                    when(c["last_run_at"]),
                    c["runs"],
                    c["failures"],
                    joined(f"{k}={v}" for k, v in c["status"].items()),
                    c["last_error"],
                )
                for c in listed
            ],
        )

    call.answer(found, text)
