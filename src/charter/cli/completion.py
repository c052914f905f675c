"""`charter completion`: the script that lets a shell complete Charter's commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from charter.cli.command import Call, command
from charter.cli.errors import usage
from charter.cli.text import say

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_SHELLS: Final = ("bash", "zsh", "fish", "powershell", "pwsh")


@command(
    app,
    "completion",
    examples=[
        "charter completion bash > ~/.local/share/bash-completion/completions/charter",
        "charter completion zsh --install",
    ],
    server=False,
    json_output=False,
)
def completion(
    call: Call,  # noqa: ARG001 — every command gets it
    shell: Annotated[
        str | None,
        typer.Argument(metavar="[SHELL]", help="bash, zsh, fish or powershell; else $SHELL."),
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Put it where the shell looks for it.")
    ] = False,
) -> None:
    """Print the completion script for a shell, or install it."""
    from typer import _completion_shared as shells  # noqa: PLC0415 — only here needed

    chosen = shell or Path(os.environ.get("SHELL", "")).name
    if chosen not in _SHELLS:
        raise usage(
            f"{chosen!r} is no shell that completion is there for.",
            f"Name one: {', '.join(_SHELLS)}.",
        )
    if install:
        _, path = shells.install(
            shell=chosen, prog_name="charter", complete_var="_CHARTER_COMPLETE"
        )
        say(f"Installed in {path}; it works in the next shell.")
        return
    say(
        shells.get_completion_script(
            prog_name="charter", complete_var="_CHARTER_COMPLETE", shell=chosen
        )
    )
