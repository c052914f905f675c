"""Which files are looked at, and how escapes are matched with findings."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.lint.rules import RULES, File, Rule

_ESCAPE: Final = re.compile(r"#\s*house: allow (?P<rule>[\w-]+)(?:\s*—\s*(?P<reason>\S.*))?")

_ESCAPES: Final = Rule(
    "escape",
    "An escape is a promise to the reader; one that is empty or no longer needed is noise.",
    "Remove it, or write `# house: allow <rule> — reason` on the line that needs it.",
    lambda _: iter(()),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule at one line."""

    rule: Rule
    path: str
    line: int
    what: str


def lint(files: Iterable[File], rules: tuple[Rule, ...] = RULES) -> list[Finding]:
    """Every finding that no escape excuses, and every escape that excuses none."""
    return [finding for file in files for finding in _lint_one(file, rules)]


def _lint_one(file: File, rules: tuple[Rule, ...]) -> Iterator[Finding]:
    names = {rule.name for rule in rules}
    used: set[tuple[int, str]] = set()
    escapes: dict[tuple[int, str], str | None] = {}
    for line, name, reason in _escapes(file):
        escapes[line, name] = reason
    for rule in rules:
        for line, what in sorted(set(rule.check(file))):
            if (line, rule.name) in escapes:
                used.add((line, rule.name))
            else:
                yield Finding(rule, file.path, line, what)
    for (line, name), reason in escapes.items():
        if name not in names:
            yield Finding(_ESCAPES, file.path, line, f"there is no rule {name}")
        elif (line, name) not in used:
            yield Finding(_ESCAPES, file.path, line, f"nothing here breaks {name}")
        elif reason is None:
            yield Finding(_ESCAPES, file.path, line, f"no reason is given for breaking {name}")


def _escapes(file: File) -> Iterator[tuple[int, str, str | None]]:
    """Escapes are comments of Python files; the same words in a string are just words."""
    if not file.is_python or "house: allow" not in file.text:
        return
    for token in tokenize.generate_tokens(io.StringIO(file.text).readline):
        if token.type == tokenize.COMMENT:
            for match in _ESCAPE.finditer(token.string):
                yield token.start[0], match["rule"], match["reason"]


def files_of(root: Path) -> Iterator[File]:
    """Every text file that git tracks or would track.

    Without git, every file outside hidden and generated folders; `.ci` is neither.
    """
    paths = _tracked(root)
    if paths is None:
        paths = [path for path in root.rglob("*") if _is_source(path.relative_to(root))]
    for path in sorted(set(paths)):
        if not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        if b"\0" in content[:8192]:  # a picture or a font
            continue
        yield File(path.relative_to(root).as_posix(), content.decode(errors="replace"))


def _tracked(root: Path) -> list[Path] | None:
    if shutil.which("git") is None:
        return None
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:  # an unpacked archive
        return None
    return [root / name for name in listed.stdout.decode().split("\0") if name]


def _is_source(path: Path) -> bool:
    folders = path.parts[:-1]
    return not any(
        part == "__pycache__" or (part.startswith(".") and part != ".ci") for part in folders
    )
