"""Reading what people type into what the API takes: amounts, labels, times, files."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from charter import clock
from charter.cli.errors import usage
from charter.core.kernel.units import MIB_PER_GIB

_AMOUNT: Final = re.compile(r"^(\d{1,9})\s*(m|mi|mib|mb|g|gi|gib|gb|t|ti|tib|tb)?$", re.IGNORECASE)
_FACTORS: Final = {"m": 1, "g": MIB_PER_GIB, "t": MIB_PER_GIB * MIB_PER_GIB}
_SPAN: Final = re.compile(r"^(\d{1,6})(min|m|h|d|w)$")
_MINUTES: Final = {"min": 1, "m": 1, "h": 60, "d": 1440, "w": 10_080}


def mib(text: str | None, option: str) -> int | None:
    """`4096`, `4096MiB` or `4GiB` (also `4G`) in MiB; None stays None."""
    if text is None:
        return None
    match = _AMOUNT.match(text.strip())
    if match is None:
        raise usage(
            f"{option} {text!r} is not an amount.", f"Write it as {option} 4GiB or {option} 512MiB."
        )
    return int(match.group(1)) * _FACTORS[(match.group(2) or "m")[0].lower()]


def minutes(text: str, option: str) -> int:
    """`90`, `90min`, `2h`, `1d` or `1w` in minutes."""
    if text.isascii() and text.isdigit():
        return int(text)
    match = _SPAN.match(text)
    if match is None:
        raise usage(
            f"{option} {text!r} is not a span.", f"Write it as {option} 90min or {option} 2h."
        )
    return int(match.group(1)) * _MINUTES[match.group(2)]


def seconds(text: str | None, option: str) -> int | None:
    """As `minutes`, in seconds; None stays None."""
    return None if text is None else minutes(text, option) * 60


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """`key=value` texts as a mapping."""
    found: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise usage(
                f"{option} {text!r} has no key and value.", f"Write it as {option} KEY=VALUE."
            )
        found[key] = value
    return found


def moment(text: str | None, days: int | None, option: str) -> str | None:
    """When something ends: `--until` as a date or a time, or a number of days from now."""
    if text is not None and days is not None:
        raise usage(f"{option} and --days say the same thing twice.", "Give one of them.")
    if days is not None:
        return (clock.now() + timedelta(days=days)).isoformat()
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise usage(
            f"{option} {text!r} is not a time.",
            f"Write it as {option} 2027-01-31 or {option} 2027-01-31T18:00+01:00.",
        ) from None
    # A time without a zone is one of the person who types it: this machine's zone.
    return parsed.astimezone().isoformat()


def one_of(value: str | None, option: str, words: Iterable[str]) -> str | None:
    """A filter's value; a word that can match nothing is a slip, and is said to be one."""
    known = tuple(words)
    if value is not None and value not in known:
        raise usage(f"{option} knows no {value!r}.", f"Choose one of: {', '.join(known)}.")
    return value


def given(values: dict[str, object]) -> dict[str, object]:
    """A request's body without what was not given."""
    return {key: value for key, value in values.items() if value is not None}


def standard_input(limit_bytes: int) -> str:
    """Standard input as text, refused beyond `limit_bytes`."""
    return _decoded(sys.stdin.buffer.read(limit_bytes + 1), limit_bytes, "Standard input")


def file_text(file: Path, limit_bytes: int) -> str:
    """The text of a local file, refused beyond `limit_bytes`."""
    try:
        with file.open("rb") as stream:
            content = stream.read(limit_bytes + 1)
    except OSError as error:
        raise usage(
            f"{file} cannot be read: {error.strerror or error}.", "Name a file that can be read."
        ) from error
    return _decoded(content, limit_bytes, str(file))


def _decoded(content: bytes, limit_bytes: int, what: str) -> str:
    if len(content) > limit_bytes:
        raise usage(
            f"{what} has more than {limit_bytes // 1024} KiB.",
            "Send less, or in pieces: a command in the workspace can put them together.",
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise usage(
            f"{what} is not UTF-8 text (byte {error.start}).",
            "Encode it first, for example with base64, and decode it in the workspace.",
        ) from error
