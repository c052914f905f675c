"""What the documents point to exists: files, headings, commands and their options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from charter.cli.main import root

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\[(?:[^\]\[]|\n)*\]\(<?([^)\s>]+)>?\)")
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`[^`\n]*`")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
# A command stands at the start of a line or after a pipe, `&&`, `;`, `$(`; variables may precede.
_COMMAND = re.compile(r"(?:^|[|;&]\s*|\$\()\s*(?:[A-Z_]+=\S*\s+)*(?=charter\s|\./dev(?:\s|$))")


def _documents() -> list[Path]:
    """Every Markdown file of the repository; folders that begin with a dot are not ours."""
    return sorted(
        path
        for path in ROOT.rglob("*.md")
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    )


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _anchors(path: Path) -> set[str]:
    """The fragments that the headings of a Markdown file give."""
    prose = _FENCE.sub("", path.read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(prose)
    }


def _links(text: str) -> list[str]:
    return _LINK.findall(_INLINE.sub("", _FENCE.sub("", text)))


@pytest.mark.parametrize("path", _documents(), ids=_shown)
def test_relative_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in _links(path.read_text()):
        target, _, fragment = link.partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        found = (path.parent / unquote(target)).resolve() if target else path
        inside = found.is_relative_to(ROOT)
        if (
            not inside
            or not found.exists()
            or (fragment and found.suffix == ".md" and fragment not in _anchors(found))
        ):
            broken.append(link)
    assert not broken


def _command_lines(text: str) -> Iterator[str]:
    """What a reader would type: all of a `sh` block, the lines after `$ ` of a `console` block."""
    for language, block in _FENCE.findall(text):
        if language not in {"sh", "console"}:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if language == "sh":
                yield line
            elif line.startswith("$ "):
                yield line.removeprefix("$ ")


def _commands(line: str) -> Iterator[list[str]]:
    """The calls of `charter` and `./dev` in a line, each as words."""
    for match in _COMMAND.finditer(line):
        lexer = shlex.shlex(line[match.end() :], posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("|&;<>()"):
                break
            words.append(word)
        yield words


def _dev_commands() -> set[str]:
    """The words that `./dev` knows, read from its `case`."""
    text = (ROOT / "dev").read_text()
    return set(re.findall(r"^ {2}([a-z]+)(?: \| [a-z| -]+)?\) #", text, re.MULTILINE))


def _problem(words: list[str]) -> str | None:
    """Why a reader who types this would be refused; None if all is well."""
    program, *rest = words
    if program == "./dev":
        if not rest or rest[0] not in _dev_commands():
            return f"./dev has no command {rest[:1]}"
        if rest[0] not in {"up", "down", "status", "reset", "demo", "charter"}:
            return None
        rest = rest[1:] if rest[0] == "charter" else rest
    if not rest:
        return None
    return _unknown(rest)


def _unknown(rest: list[str]) -> str | None:
    command: Any = root()
    if rest[0] == "controllers" and len(rest) > 1:  # the plural of the noun
        rest = ["controller", *rest[1:]]
    if rest[0] == "explain" and len(rest) > 1 and not rest[1].startswith("-"):
        rest = ["explain", "decision", *(word for word in rest[1:] if word != "decision")]
    while hasattr(command, "get_command"):
        if not rest:
            return "a group without a command"
        name, *rest = rest
        inner = command.get_command(None, name)
        if inner is None:
            return f"there is no command {name!r}"
        command = inner
    known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "-h"}
    own = rest[: rest.index("--")] if "--" in rest else rest
    used = {word.partition("=")[0] for word in own if re.match(r"--?[a-z]", word)}
    return f"{command.name} has no {sorted(used - known)}" if used - known else None


_GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]


@pytest.mark.parametrize("path", _GUIDES, ids=_shown)
def test_shown_commands_exist(path: Path) -> None:
    shown = [words for line in _command_lines(path.read_text()) for words in _commands(line)]
    assert shown, "a guide shows commands"
    problems = [f"{' '.join(words)}: {why}" for words in shown if (why := _problem(words))]
    assert not problems


@pytest.mark.parametrize(
    "line",
    [
        "charter workspace fly api",
        "./dev charter workspaces list --sideways",
        "./dev fly",
        "TOKEN=1 charter nothing list | jq .",
        "x=$(charter audit state --jsn)",
        "./dev up --detached",
    ],
)
def test_an_unknown_command_would_be_noticed(line: str) -> None:
    assert [why for words in _commands(line) if (why := _problem(words))]
