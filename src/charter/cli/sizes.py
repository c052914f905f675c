"""`charter size list`: the named sizes."""

from __future__ import annotations

from typing import Any

from charter.cli.command import Call, command, noun
from charter.cli.show import table
from charter.cli.text import amount, say

app = noun("Named sizes of workspaces.")


@command(app, "list", examples=["charter size list"])
def list_(call: Call) -> None:
    """List the sizes that a workspace can have."""
    found: Any = call.client.get("sizes")
    sizes = found["items"]

    def text() -> None:
        if not sizes:
            say("The active policy names no sizes.")
            return
        table(
            ("SIZE", "VCPU", "MEMORY", "DISK", "GPU"),
            [
                (
                    s["name"],
                    s["vcpu"],
                    amount("memory_mib", s["memory_mib"]),
                    amount("disk_mib", s["disk_mib"]),
                    s["gpu"],
                )
                for s in sizes
            ],
        )

    call.answer(found, text)
