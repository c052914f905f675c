"""docs/reference/settings.md, from the settings themselves."""

from __future__ import annotations

from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from charter.settings import OidcProviderSettings, Settings

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
        rows.append(_row(f"CHARTER_{name.upper()}", field))
        if name == "oidc":
            rows += [
                _row(f"CHARTER_OIDC__<name>__{part.upper()}", each)
                for part, each in OidcProviderSettings.model_fields.items()
            ]
    return _HEAD + "\n".join(rows) + "\n"


def _row(name: str, field: FieldInfo) -> str:
    """One line of the table; what has no default must be given where its part is used."""
    shown = field.default not in {None, ""} and field.default is not PydanticUndefined
    default = f"`{field.default}`" if shown else "*required*" if field.is_required() else ""
    return f"| `{name}` | {default} | {field.description} |"
