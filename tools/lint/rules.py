"""The rules. A rule looks at one file and yields lines with a word on what it found there."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

Hit = tuple[int, str]  # line number and what stands there

_ROOT: Final = Path(__file__).resolve().parents[2]
_MIGRATIONS: Final = "src/charter/store/migrations/versions"  # one step is one list of statements
_MAX_LINES: Final = 400  # one concept fits; what is longer usually holds two
_MAX_TEST_LINES: Final = 600  # a table of cases is long without being two things


@dataclass(frozen=True)
class File:
    """One file of the repository: its path from the root, with slashes, and its text."""

    path: str
    text: str

    @property
    def is_python(self) -> bool:
        """Whether AST rules apply."""
        return self.path.endswith(".py")

    def under(self, *folders: str) -> bool:
        """Whether it is a Python file below one of these folders."""
        pure = PurePosixPath(self.path)
        return self.is_python and any(pure.is_relative_to(folder) for folder in folders)

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed text."""
        return ast.parse(self.text, self.path)

    @cached_property
    def package(self) -> str:
        """The dotted name of the package that relative imports start from."""
        parts = PurePosixPath(self.path).with_suffix("").parts
        return ".".join(parts[1:-1] if parts[0] == "src" else parts[:-1])

    def imports(self) -> Iterator[Hit]:
        """Every imported module by its full dotted name (`from a import b` gives `a.b`)."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    up = self.package.split(".")[: len(self.package.split(".")) - node.level + 1]
                    base = ".".join([*up, base] if base else up)
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Every call with the dotted text of what is called, as written."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node, _dotted(node.func)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the house, with its reason and the way out."""

    name: str
    why: str
    fix: str
    check: Callable[[File], Iterator[Hit]]


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return "…"


# Parts of the standard library through which the world comes in.
_WORLD: Final = frozenset(
    [
        "asyncio",
        "concurrent",
        "ctypes",
        "fcntl",
        "getpass",
        "glob",
        "http",
        "io",
        "locale",
        "logging",
        "mmap",
        "multiprocessing",
        "os",
        "pathlib",
        "platform",
        "pwd",
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
    ]
)
_PURE_PARTS: Final = ("urllib.parse",)
_CLOCK_CALLS: Final = frozenset(
    f"{prefix}{call}"
    for prefix in ("", "datetime.")
    for call in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
)
_WORLD_CALLS: Final = _CLOCK_CALLS | {"open", "print", "input", "exec", "eval"}


def _core_pure(file: File) -> Iterator[Hit]:
    if not file.under("src/charter/core"):
        return
    for line, name in file.imports():
        top = name.split(".")[0]
        if top == "charter":
            if not name.startswith("charter.core"):
                yield line, f"imports {name}"
        elif top not in sys.stdlib_module_names:
            yield line, f"imports {top}, which is not of the standard library"
        elif top in _WORLD and not name.startswith(_PURE_PARTS):
            yield line, f"imports {name}"
    for call, name in file.calls():
        if name in _WORLD_CALLS:
            yield call.lineno, f"calls {name}()"


def _unit_of_work(file: File) -> Iterator[Hit]:
    if not file.under("src/charter") or file.path == "src/charter/store/unit_of_work.py":
        return
    for call, name in file.calls():
        if "." in name and name.rpartition(".")[2] in {"commit", "rollback", "begin"}:
            yield call.lineno, f"calls {name}()"


def _test_sleep(file: File) -> Iterator[Hit]:
    if not file.under("tests"):
        return
    from_time = any(name == "time.sleep" for _, name in file.imports())
    for call, name in file.calls():
        zero = len(call.args) == 1 and getattr(call.args[0], "value", None) == 0
        blocking = name == "time.sleep" or (name == "sleep" and from_time)
        yielding = name in {"asyncio.sleep", "anyio.sleep", "trio.sleep"} and not zero
        if blocking or yielding:
            yield call.lineno, "sleeps"


def _clock(file: File) -> Iterator[Hit]:
    if not file.under("src/charter") or file.path == "src/charter/clock.py":
        return
    for call, name in file.calls():
        if name in _CLOCK_CALLS:
            yield call.lineno, f"calls {name}()"


_FACES: Final = ("api", "portal", "cli", "mcp", "gateway", "egress", "controllers", "supervisor")


def _services_below_faces(file: File) -> Iterator[Hit]:
    if not file.under("src/charter/services", "src/charter/store", "src/charter/adapters"):
        return
    for line, name in file.imports():
        parts = name.split(".")
        if parts[0] == "charter" and len(parts) > 1 and parts[1] in _FACES:
            yield line, f"imports {name}"


# Written in halves, so that this file does not contain what it looks for.
_HOSTS: Final = re.compile(
    r"\b(?:py" r"pi\.(?:org|python\.org)|files\.python" r"hosted\.org|python" r"hosted\.org"
    r"|npm" r"js\.(?:org|com)|deb\.deb" r"ian\.org|security\.deb" r"ian\.org|crates" r"\.io"
    r"|proxy\.gol" r"ang\.org|rubyg" r"ems\.org)\b"
)  # fmt: skip
_INDEX_OPTIONS: Final = re.compile(
    r"^\s*(?:--(?:extra-)?index-url|-i|--find-links|-f|--trusted-host)\b"
)
_MACHINE: Final = re.compile(r"(?:^|[^\w.~-])(?:/(?:wo" r"rk|fa" r"rm)/[a-z.]|/Use" r"rs/\w+/)")


def _foreign_places(file: File) -> Iterator[Hit]:
    in_requirements = file.path.startswith("requirements/")
    checkout = f"{_ROOT}/" if len(_ROOT.parts) > 2 else None  # noqa: PLR2004 - "/x/" is too common
    for number, line in enumerate(file.text.splitlines(), 1):
        if match := _HOSTS.search(line):
            yield number, f"names {match.group()}"
        if in_requirements and _INDEX_OPTIONS.match(line):
            yield number, "chooses a package index"
        if _MACHINE.search(line) or (checkout and checkout in line):
            yield number, "names a path of somebody's machine"


def _length(file: File) -> Iterator[Hit]:
    count = len(file.text.splitlines())
    most = _MAX_TEST_LINES if file.under("tests") else _MAX_LINES
    if file.is_python and count > most and not file.under(_MIGRATIONS):
        yield 1, f"has {count} lines"


def _docstrings(file: File) -> Iterator[Hit]:
    if not file.under("src/charter") or not file.text.strip():
        return
    if ast.get_docstring(file.tree) is None and not file.path.endswith("__main__.py"):
        yield 1, "the module has no docstring"
    if file.under(_MIGRATIONS):  # its two functions are named by Alembic
        return
    for node in file.tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if not node.name.startswith("_") and ast.get_docstring(node) is None:
            yield node.lineno, f"{node.name} has no docstring"


_UNFINISHED: Final = re.compile(r"#.*\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")


def _unfinished(file: File) -> Iterator[Hit]:
    if file.is_python:
        for number, line in enumerate(file.text.splitlines(), 1):
            if _UNFINISHED.search(line):
                yield number, "is marked as unfinished"


RULES: Final = (
    Rule(
        "core-pure",
        "The core is replayed, simulated and tested as a function of its arguments; a clock, a "
        "file or a library in it would make yesterday's decision impossible to repeat.",
        "Take the time, the id, the randomness or the data as an argument.",
        _core_pure,
    ),
    Rule(
        "unit-of-work",
        "A transaction ends in one place. A commit anywhere else can answer yes and then fail, or "
        "keep a state without its audit event.",
        "Open `database.unit_of_work()` in a service and leave the block.",
        _unit_of_work,
    ),
    Rule(
        "test-sleep",
        "A sleep is too short on a busy machine and too long on every other one.",
        "Wait for the condition itself (`charter.processes.wait_until`), or pass the time in.",
        _test_sleep,
    ),
    Rule(
        "clock",
        "Time has one source, so that a test or a replay can put its own in its place.",
        "Take `now` as an argument, or call `charter.clock.now()` at the edge.",
        _clock,
    ),
    Rule(
        "layers",
        "Services, store and adapters are used by every face; one that knows a face cannot be used "
        "by another.",
        "Pass in what is needed, or move it down.",
        _services_below_faces,
    ),
    Rule(
        "foreign-places",
        "A registry's host or a path of one machine makes the repository work at one place only.",
        "Name packages, not hosts; compute paths from the file or take them as settings.",
        _foreign_places,
    ),
    Rule(
        "file-length",
        f"A file of more than {_MAX_LINES} lines ({_MAX_TEST_LINES} in tests) usually holds two "
        "concepts.",
        "Split it by concept, or say in an escape on its first line why it is one.",
        _length,
    ),
    Rule(
        "docstring",
        "Public functions say what they answer, in which units, and what they raise; a module "
        "teaches its concept to somebody who has never met it.",
        "Write it; one line where one line is enough.",
        _docstrings,
    ),
    Rule(
        "unfinished",
        "What is not finished is not merged; what comes later is an issue.",
        "Finish it, or open an issue and delete the remark.",
        _unfinished,
    ),
)
