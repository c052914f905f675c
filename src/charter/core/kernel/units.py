"""Units in which amounts are kept and shown.

Memory and disk are integers of MiB, CPU integers of virtual CPUs, money integers of pico-USD:
sums stay exact and comparable, and nothing is rounded before a person reads it.
"""

from __future__ import annotations

from typing import Final

MIB_PER_GIB: Final = 1024
PICOUSD_PER_USD: Final = 10**12


def show_mib(amount_mib: int) -> str:
    """`amount_mib` for people: whole GiB where it is whole, else MiB."""
    if amount_mib % MIB_PER_GIB == 0:
        return f"{amount_mib // MIB_PER_GIB} GiB"
    return f"{amount_mib} MiB"


def show_seconds(seconds: int) -> str:
    """A span for people, in its largest two units: `4 h`, `1 h 30 min`, `45 s`."""
    parts: list[str] = []
    rest = max(seconds, 0)
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
