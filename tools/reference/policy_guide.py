"""The tables of rules in the policy guide of the shipped bundle, from the rules' METADATA."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Final

from charter.adapters.rego.describe import RuleDescription, describe_rules
from charter.adapters.rego.load import load_directory

GUIDE: Final = "src/charter/policies/docs/policy-guide.md"
_RULES: Final = "\n## Rules\n"
_INTRODUCTION: Final = """
Written by `python -m tools.reference --write` from the METADATA of the rules: the effect says what
happens, the severity how bad it is. The next step that a rule gives stands beside it in its file.
"""


def _row(rule: RuleDescription) -> str:
    return (
        f"| `{rule.id}` | {rule.effect} | {rule.severity} | {rule.title} "
        f"| {', '.join(rule.controls)} |"
    )


def page(root: Path) -> str:
    """The guide, with everything from the heading *Rules* written anew."""
    written, _, _ = (root / GUIDE).read_text().partition(_RULES)
    rules = describe_rules(load_directory(root / "src/charter/policies"))
    head = (
        "| rule | effect | severity | what it says | controls |\n| --- | --- | --- | --- | --- |\n"
    )
    tables = [
        f"\n### {file}\n\n{head}" + "\n".join(_row(rule) for rule in found) + "\n"
        for file, found in groupby(sorted(rules, key=lambda r: (r.file, r.id)), lambda r: r.file)
    ]
    return written + _RULES + _INTRODUCTION + "".join(tables)
