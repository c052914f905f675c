"""docs/reference/settings.md, from the settings themselves."""

from __future__ import annotations

from pathlib import Path

from charter.settings import Settings

_HEAD = """# Settings

Written by `python -m tools.reference --write` from `charter/settings.py`; change that, not this
file. Settings are read from the environment. Limits, approvers and schedules are not among them:
they are policy data, reviewed and versioned with the rules.

| variable | default | meaning |
| --- | --- | --- |
"""


def page(_root: Path) -> str:
    """The page."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `CHARTER_{name.upper()}` | {default} | {field.description} |")
    return _HEAD + "\n".join(rows) + "\n"
