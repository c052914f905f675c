"""docs/reference/audit-events.md: every action that the trail can name, and where."""

from __future__ import annotations

import ast
from pathlib import Path

from charter.core.access.permissions import Permission
from tools.reference.source import argument, calls, modules, texts

_HEAD = """# Audit events

Written by `python -m tools.reference --write` from the source; change that, not this file.

Each event is written in the same transaction as what it records. There are two kinds.

## Decisions

One for every decision, with its id and the rules that spoke; `outcome` is `allowed`,
`approval-required` or `denied`. The action is the permission that was asked for:

"""
_DONE = """
## What was done

`…` stands for the action that was decided on before.

| action | written in |
| --- | --- |
"""
_WRITERS = {"note", "_record", "_event", "AuditEvent"}
_FOLDERS = ("src/charter/services", "src/charter/controllers")


def actions(root: Path) -> dict[str, set[str]]:
    """Action → the modules that write it."""
    found: dict[str, set[str]] = {}
    for folder in _FOLDERS:
        for path, tree in modules(root, folder):
            for name, call in calls(tree):
                if name not in _WRITERS:
                    continue
                nodes = [argument(call, "action"), *call.args]
                for node in nodes:
                    options = [text for text in texts(node) if "." in text and " " not in text]
                    if options and not isinstance(node, ast.Attribute):
                        for text in options:
                            found.setdefault(text, set()).add(
                                path.removeprefix("src/charter/").removesuffix(".py")
                            )
                        break
    return found


def page(root: Path) -> str:
    """The page."""
    decisions = "\n".join(f"* `{permission.value}`" for permission in Permission)
    rows = "\n".join(
        f"| `{action}` | {', '.join(sorted(where))} |"
        for action, where in sorted(actions(root).items())
    )
    return _HEAD + decisions + "\n" + _DONE + rows + "\n"
