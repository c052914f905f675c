"""A policy moved under a path of its own, so that several can live in one OPA.

OPA has one tree of packages and data. To load two bundles side by side (the one in force and a
candidate), every package and every reference to `data` is moved below a prefix. That is a change
of names only: the words of the language are found by a scanner that knows comments and texts, and
nothing else is touched.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<skip>\#[^\n]*|`[^`]*`|"(?:[^"\\\n]|\\.)*")   # comments and texts
    |(?P<dotted>\.\s*[A-Za-z_]\w*)                    # a field: data here is a name like others
    |(?P<word>[A-Za-z_]\w*)
    """,
    re.VERBOSE,
)


def moved(text: str, prefix: str) -> str:
    """The module `text` with its package and all references to `data` below `data.<prefix>`."""
    state = {"package": False}

    def replace(match: re.Match[str]) -> str:
        word = match.group("word")
        if word == "data":
            return f"data.{prefix}"
        if word == "package" and not state["package"]:
            state["package"] = True
            return f"package {prefix}."
        return match.group(0)

    found = _TOKEN.sub(replace, text)
    return re.sub(rf"(package {re.escape(prefix)}\.)\s+", r"\1", found, count=1)
