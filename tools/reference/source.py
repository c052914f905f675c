"""Reading what the source says, without running it: calls, their arguments, texts with holes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def modules(root: Path, folder: str) -> Iterator[tuple[str, ast.Module]]:
    """(path below the root, syntax tree) of every module below `folder`, in order."""
    for path in sorted((root / folder).rglob("*.py")):
        yield str(path.relative_to(root)), ast.parse(path.read_text())


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """(name of what is called, call) of every call of a plain or dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    yield name, node


def argument(call: ast.Call, name: str, position: int | None = None) -> ast.expr | None:
    """The argument by name or, if it may be given so, by position."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    if position is not None and position < len(call.args):
        return call.args[position]
    return None


def texts(node: ast.expr | None) -> list[str]:
    """The texts that an expression can come to; what is only known at run time becomes `…`."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=first, orelse=second):
            return texts(first) + texts(second)
        case ast.JoinedStr(values=parts):
            found = [""]
            for part in parts:
                inner = part.value if isinstance(part, ast.FormattedValue) else part
                options = texts(inner) or ["…"]
                found = [before + option for before in found for option in options]
            return found
    return []
