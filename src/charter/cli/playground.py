"""`charter policy try`: what an edited rule would say of an input; nothing is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from charter.cli.arguments import file_text
from charter.cli.command import Call, command
from charter.cli.errors import ExitCode, usage
from charter.cli.show import decision as show_decision
from charter.cli.text import printable, say

_LARGEST: Final = 256 * 1024


def register(app: typer.Typer) -> None:
    """Add the command to `charter policy`."""

    @command(
        app,
        "try",
        examples=[
            "charter policy try limits.rego --as admission/workspace-limits.rego -d dec_01h…",
            "charter policy try admission/mine.rego --input request.json",
        ],
    )
    def try_(
        call: Call,
        file: Annotated[
            Path, typer.Argument(metavar="FILE", help="The edited rule or data document.")
        ],
        decision: Annotated[
            str | None,
            typer.Option("--decision", "-d", help="A recorded decision whose facts are tried."),
        ] = None,
        document: Annotated[
            Path | None, typer.Option("--input", "-i", help="A decision document as JSON.")
        ] = None,
        path: Annotated[
            str | None,
            typer.Option("--as", help="The path in the bundle; else the file's own path."),
        ] = None,
    ) -> None:
        """Evaluate an edited rule on an input, beside the rules in force; 1 if it cannot be."""
        if decision is None and document is None:
            raise usage(
                "There is nothing to decide about.", "Add --decision dec_… or --input FILE."
            )
        body: dict[str, object] = {
            "path": path or file.as_posix(),
            "source": file_text(file, _LARGEST),
        }
        if decision is not None:
            body["decision"] = decision
        if document is not None:
            body["input"] = _document(document)
        found = call.client.post("policies", "playground", body=body).body
        call.answer(found, lambda: _show(found))
        if found["after"]["decision"] is None:
            raise typer.Exit(ExitCode.REFUSED)


def _document(path: Path) -> object:
    try:
        return json.loads(file_text(path, _LARGEST))
    except ValueError as error:
        raise usage(f"{path} is not JSON: {error}.", "Give one JSON object.") from None


def _show(found: Mapping[str, Any]) -> None:
    for title, half in (("Rules in force", found["before"]), ("Edited", found["after"])):
        say(f"{title}:")
        if half["decision"] is not None:
            show_decision(half["decision"])
            for rule, place in sorted(half["places"].items()):
                say(f"  {printable(rule)} at {printable(place)}")
        for problem in half["problems"]:
            place = f"{problem['file']}:{problem['line']}: " if problem["file"] else ""
            say(f"  {printable(place + problem['message'])}")
        if half["failure"]:
            say(f"  {printable(half['failure'])}")
        for line in half["prints"]:
            say(f"  printed {printable(line)}")
        say("")
    if found["same"]:
        say("Both say the same.")
