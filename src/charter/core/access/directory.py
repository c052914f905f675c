"""How a directory's names become Charter's: handles of people, short names of teams.

A directory calls people by what they sign in with, often an address in mixed case, and teams by
whatever somebody typed. Charter's handles and team names stand in commands, addresses and policy,
so they are plain. The name as it was sent is kept beside, for the directory.

A handle is never given to a second person: the trail, old decisions and exemptions would speak of
somebody else. Whoever comes with the name of somebody who was removed gets a number behind it.

Source: Spec ID-3.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from charter.core.kernel.errors import InvalidInputError

_LONGEST_NAME: Final = 63
_HANDLE: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,119}")
_BETWEEN_WORDS: Final = re.compile(r"[^a-z0-9]+")


def handle_for(user_name: str) -> str:
    """The handle of whom a directory calls `user_name`."""
    handle = unicodedata.normalize("NFC", user_name).lower()
    if _HANDLE.fullmatch(handle) is None:
        raise InvalidInputError(
            "The userName cannot be a handle.",
            fix="Send up to 120 of a-z, 0-9, dot, underscore, hyphen, plus and @, "
            "beginning with a letter or digit.",
            code="user-name",
        )
    return handle


def team_name_for(display_name: str) -> str:
    """The short name of what a directory calls `display_name`: `Data Platform` is data-platform."""
    plain = unicodedata.normalize("NFKD", display_name).encode("ascii", "ignore").decode().lower()
    name = _BETWEEN_WORDS.sub("-", plain).strip("-")[:_LONGEST_NAME].strip("-")
    if not name:
        raise InvalidInputError(
            "The displayName has no letter or digit of the Latin alphabet.",
            fix="Give the group a name from which a short one can be made.",
            code="display-name",
        )
    return name


def first_free(name: str, taken: Callable[[str], bool]) -> str:
    """`name`, or `name-2`, `name-3`, … : the first that is not taken."""
    number, candidate = 1, name
    while taken(candidate):
        number += 1
        candidate = f"{name}-{number}"
    return candidate
