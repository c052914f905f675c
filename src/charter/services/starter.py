"""The templates that a new instance starts with; loads nothing, so that a start can compare."""

from __future__ import annotations

from typing import Final

STARTER_TEMPLATES: Final = (
    {
        "name": "python",
        "version": "1.0.0",
        "title": "Python",
        "description": "The host's Python and command-line tools, an own home, no network.",
        "approved": True,
        "for_kinds": ["human", "agent"],
    },
    {
        "name": "agent-minimal",
        "version": "1.0.0",
        "title": "Agent, minimal",
        "description": "A shell and a home for one task of a coding agent. No IDE, no network.",
        "approved": True,
        "for_kinds": ["agent"],
    },
    {
        "name": "scratch",
        "version": "0.1.0",
        "title": "Scratch",
        "description": "An unreviewed experiment; it shows what a refusal looks like.",
        "approved": False,
        "use_instead": "python",
        "for_kinds": ["human"],
    },
)
