"""The reference of the command line, generated from the commands themselves.

    python -m charter.cli.reference            print it
    python -m charter.cli.reference --write F  write it to the file F

A test compares docs/reference/cli.md with what this prints, so that the two cannot part.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperGroup

from charter.cli.command import is_argument
from charter.cli.errors import MEANINGS
from charter.cli.lazy import SECTIONS, Entry, load
from charter.cli.main import PROGRAM

_ENVIRONMENT: Final = (
    ("CHARTER_URL", "The server to talk to; `--url` goes before it."),
    ("CHARTER_TOKEN", "The token to show, a personal one or an agent's, in place of a saved one."),
    ("XDG_CONFIG_HOME", "Where `charter/credentials.json` is kept; `~/.config` without it."),
    ("NO_COLOR", "Set to anything: no colours."),
    ("CHARTER_TRACEBACK", "Set to anything: a failure of the command line itself shows its trace."),
)

_HEAD: Final = """# The command line

Written by `python -m charter.cli.reference` from the commands themselves; change them, not this
file.

Every command takes `--help`. Every command except those marked *no JSON* takes `--json`, which puts
one JSON document on standard output and nothing else; a refusal is then a problem document
(RFC 9457) on standard error. Without it, a refusal is three lines on standard error: what happened,
the next step, and a stable code.

Names of nouns work in the plural too: `charter workspaces list`.
"""


def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below `command` that does something, with the words that call it."""
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            yield from leaves(child, (*path, name))
    else:
        yield path, command


def all_leaves() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command there is."""
    for _, entries in SECTIONS:
        for entry in entries:
            yield from leaves(load(entry), (entry.name,))


def options_of(command: Any) -> list[Any]:
    """The options of a command that people see."""
    return [p for p in command.params if not is_argument(p) and not p.hidden]


def takes_json(command: Any) -> bool:
    """Whether a command has --json."""
    return any("--json" in p.opts for p in command.params)


def reference() -> str:
    """The whole text."""
    parts = [_HEAD, "## Exit codes\n", "| code | meaning |\n| --- | --- |"]
    parts += [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    parts.append(
        "\n`charter workspace exec` ends with the code of the command that it ran (124 after its"
        " time has run out).\n"
    )
    parts.append("## Environment\n\n| variable | meaning |\n| --- | --- |")
    parts += [f"| `{name}` | {meaning} |" for name, meaning in _ENVIRONMENT]
    for title, entries in SECTIONS:
        parts.append(f"\n## {title}\n")
        for entry in entries:
            parts += _entry(entry)
    return "\n".join(parts).rstrip() + "\n"


def _entry(entry: Entry) -> Iterator[str]:
    command = load(entry)
    if not entry.single:
        names = " ".join(f"`{alias}`" for alias in entry.aliases)
        also = f" Also called {names}." if names else ""
        yield f"### {PROGRAM} {entry.name}\n\n{entry.help}{also}\n"
    for path, leaf in leaves(command, (entry.name,)):
        yield from _leaf(path, leaf, "###" if entry.single else "####")


def _leaf(path: tuple[str, ...], leaf: Any, heading: str) -> Iterator[str]:
    words = " ".join((PROGRAM, *path))
    arguments = [p for p in leaf.params if is_argument(p)]
    usage = " ".join([words, "[OPTIONS]", *(p.metavar or p.name for p in arguments)])
    yield f"{heading} {words}\n"
    # Words of a paragraph are broken over lines in the source; here they flow.
    for paragraph in (leaf.help or "").split("\n\n"):
        yield " ".join(paragraph.split()) + "\n"
    if not takes_json(leaf):
        yield "*no JSON*\n"
    yield f"```text\n{usage}\n```\n"
    rows = [(f"`{p.metavar or p.name}`", p) for p in arguments]
    rows += [(_option(p), p) for p in options_of(leaf)]
    yield "| | |\n| --- | --- |"
    for name, parameter in rows:
        yield f"| {name} | {_help(parameter)} |"
    yield "\n```sh\n" + "\n".join(_examples(leaf)) + "\n```\n"


def _option(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
    names += "".join(f" / `{name}`" for name in option.secondary_opts)
    return names if option.is_flag else f"{names} {option.metavar or 'VALUE'}"


def _help(parameter: Any) -> str:
    text = " ".join((parameter.help or "").split()).replace("|", "\\|")
    default = parameter.default
    if parameter.required and not is_argument(parameter):
        return f"{text} Required."
    if default in (None, False) or callable(default):
        return text
    if parameter.is_flag if not is_argument(parameter) else False:
        return f"{text} Default: yes."
    shown = f"{default:g}" if isinstance(default, float) else str(default)
    return f"{text} Default: `{shown}`." if shown else text


def _examples(leaf: Any) -> list[str]:
    """The example lines that stand under a command's help."""
    lines = (leaf.epilog or "").split("\n")
    return [line.strip() for line in lines if line.startswith("  ")]


def main() -> None:
    """Print the reference, or write it to a file."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--write"] and len(arguments) == 2:  # noqa: PLR2004 — option and value
        Path(arguments[1]).write_text(reference(), encoding="utf-8")
    elif arguments:
        raise typer.BadParameter("python -m charter.cli.reference [--write FILE]")
    else:
        sys.stdout.write(reference())


if __name__ == "__main__":
    main()
