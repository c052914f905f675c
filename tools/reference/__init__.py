"""Generates the pages of docs/reference that follow from the code.

    python -m tools.reference            say which pages are stale
    python -m tools.reference --write    write them

A house test fails while a page differs from what its code gives.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.reference import api, audit_events, errors, policy_guide, settings, spec_coverage

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final[dict[str, Callable[[Path], str]]] = {
    "docs/reference/settings.md": settings.page,
    "docs/reference/api.md": api.page,
    "docs/reference/errors.md": errors.page,
    "docs/reference/audit-events.md": audit_events.page,
    "docs/reference/spec-coverage.md": spec_coverage.page,
    policy_guide.GUIDE: policy_guide.page,
}


def stale(root: Path = ROOT) -> list[str]:
    """The pages that are not what their code gives now."""
    found = []
    for name, page in PAGES.items():
        path = root / name
        if not path.exists() or path.read_text() != page(root):
            found.append(name)
    return found


def write(root: Path = ROOT) -> list[str]:
    """Write the stale pages; which these were."""
    pages = stale(root)
    for name in pages:
        (root / name).write_text(PAGES[name](root))
    return pages
