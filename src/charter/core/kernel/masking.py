"""What looks like a secret of Charter's own, taken out of a text.

Errors say back what somebody sent, and decisions keep it as facts. A token put in the place
of a name would stand there for ever. The secrets that Charter makes have a form of their own, so
they can be found wherever they stand; what is left of each is enough to find its row.
"""

from __future__ import annotations

import re
from typing import Final

_LOOKS_LIKE_ONE: Final = re.compile(
    r"((?:charter_[a-z]{3}|cep)_[0-9a-z]{26})_[A-Za-z0-9_-]{43}"
    r"|(eyJ[A-Za-z0-9_-]{8})[A-Za-z0-9_-]*\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{20,}"
)


def masked(text: str) -> str:
    """`text` without what looks like a secret: a token, a link, a session, a signed credential."""
    if "charter_" not in text and "cep_" not in text and "eyJ" not in text:
        return text
    return _LOOKS_LIKE_ONE.sub(lambda found: f"{found[1] or found[2]}_(secret)", text)
