"""docs/reference/spec-coverage.md: which capability is driven by which tests."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from tools.reference.source import modules, texts

_IDS: Final = Path(__file__).with_name("spec_ids.txt")
_HEAD = """# What the tests cover

Written by `python -m tools.reference --write` from the `@spec` marks of the tests; change those,
not this file. A row without tests is not covered yet.

"""


def known_ids() -> dict[str, str]:
    """Id → title of every capability, in order."""
    return dict(line.split("\t", 1) for line in _IDS.read_text().splitlines())


def marks(root: Path) -> dict[str, list[str]]:
    """Id → the tests that are marked with it, as `path::name`."""
    found: dict[str, list[str]] = {}
    for path, tree in modules(root, "tests"):
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) in {
                    "spec",
                    "proves",  # the same mark, where `spec` means a workspace's or an object's
                    "pytest.mark.spec",
                }:
                    for id_ in (text for arg in mark.args for text in texts(arg)):
                        found.setdefault(id_, []).append(f"{path}::{node.name}")
    return found


def page(root: Path) -> str:
    """The page."""
    ids, tests = known_ids(), marks(root)
    covered = sum(1 for id_ in ids if id_ in tests)
    rows = []
    for id_, title in ids.items():
        named = sorted(tests.get(id_, []))
        files = sorted({name.split("::")[0].removeprefix("tests/") for name in named})
        rows.append(f"| {id_} | {title} | {len(named) or ''} | {', '.join(files)} |")
    summary = f"{covered} of {len(ids)} capabilities are named by at least one test.\n\n"
    table = "| id | capability | tests | in |\n| --- | --- | --- | --- |\n"
    return _HEAD + summary + table + "\n".join(rows) + "\n"
