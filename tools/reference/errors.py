"""docs/reference/errors.md: every code that a refusal can carry, from where it is raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tools.reference.source import argument, calls, modules, texts

_HEAD = """# Error codes

Written by `python -m tools.reference --write` from the source; change that, not this file.

`code` is what a program switches on; it stays as it is while the sentence beside it may get better.
`…` stands for what is only known when it happens. Refusals by a rule carry the code `denied` or
`approval-required`, and `details.decision` names every rule that spoke.

| code | status | says, for example |
| --- | --- | --- |
"""
_BASE = "CharterError"


def _classes(root: Path) -> dict[str, tuple[int, str]]:
    """Error class → (status, code), inherited ones included."""
    found: dict[str, tuple[int, str]] = {_BASE: (500, "internal-error")}
    waiting = [
        node
        for _, tree in modules(root, "src/charter")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    for _ in range(5):  # deeper than any chain of error classes
        for node in waiting:
            parents = [b.id for b in node.bases if isinstance(b, ast.Name) and b.id in found]
            if not parents:
                continue
            status, code = found[parents[0]]
            for part in node.body:
                match part:
                    case ast.Assign(
                        targets=[ast.Name(id="status")], value=ast.Constant(value=int(s))
                    ):
                        status = s
                    case (
                        ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(c)))
                        | ast.AnnAssign(
                            target=ast.Name(id="code"), value=ast.Constant(value=str(c))
                        )
                    ):
                        code = c
            found[node.name] = (status, code)
    return found


def _numbers(node: ast.expr) -> list[int]:
    match node:
        case ast.Constant(value=int(number)):
            return [number]
        case ast.IfExp(body=first, orelse=second):
            return _numbers(first) + _numbers(second)
    return []


def codes(root: Path) -> dict[str, tuple[set[int], str]]:
    """Code → (statuses, an example of what is said)."""
    classes = _classes(root)
    found: dict[str, tuple[set[int], str]] = {}
    for _, tree in modules(root, "src/charter"):
        for code, status, message in (*_raised(tree, classes), *_answered(tree), *_tabled(tree)):
            statuses, example = found.get(code, (set(), ""))
            found[code] = (statuses | {status}, example or message)
    return found


def _first(node: ast.expr | None) -> str:
    return next(iter(texts(node)), "")


def _raised(
    tree: ast.Module, classes: dict[str, tuple[int, str]]
) -> Iterator[tuple[str, int, str]]:
    """What `raise SomeError("…", code="…")` says."""
    for name, call in calls(tree):
        if name in classes and name != _BASE:
            status, own = classes[name]
            for code in texts(argument(call, "code")) or [own]:
                yield code, status, _first(argument(call, "message", 0))


def _answered(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """What `problem(status, code, detail, fix)` says."""
    for name, call in calls(tree):
        if name == "problem" and len(call.args) > 2:  # noqa: PLR2004 — status, code, detail
            for status, code in zip(_numbers(call.args[0]), texts(call.args[1]), strict=False):
                yield code, status, _first(call.args[2])


def _tabled(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """What a table `{status: (code, detail)}` says."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            match key, value:
                case (
                    ast.Constant(value=int(status)),
                    ast.Tuple(elts=[ast.Constant(value=str(code)), words]),
                ):
                    yield code, status, _first(words)


def page(root: Path) -> str:
    """The page."""
    rows = [
        f"| `{code}` | {', '.join(map(str, sorted(statuses)))} | {' '.join(message.split())} |"
        for code, (statuses, message) in sorted(codes(root).items())
    ]
    return _HEAD + "\n".join(rows) + "\n"
