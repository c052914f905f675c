"""The root of the command line, and the one place where commands end."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from typer.exceptions import TyperException

from charter import __version__
from charter.cli.errors import MEANINGS, CommandError, ExitCode, from_charter, report, usage
from charter.cli.lazy import LazyGroup
from charter.cli.text import remark, say
from charter.core.kernel.errors import CharterError

PROGRAM: Final = "charter"

_EPILOG: Final = "\b\nExit codes:\n" + "\n".join(
    f"  {code.value}  {meaning}" for code, meaning in MEANINGS.items()
)

app = typer.Typer(
    cls=LazyGroup,
    name=PROGRAM,
    help="Charter governs cloud development environments, for people and AI agents alike.\n\n"
    "Start with: charter up, then charter login, then charter workspace create.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Only carries the options of the root."""


def root() -> Any:
    """The root command, as the parser and the reference see it."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; answers its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    as_json = "--json" in own
    for stream in (sys.stdout, sys.stderr):
        # A locale without the character must not turn an answer into a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if "_CHARTER_COMPLETE" in os.environ:
        from typer._completion_classes import completion_init  # noqa: PLC0415 — only for shells

        completion_init()
    try:
        code = root().main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has had enough. Python flushes once more at its end: give it
        # something that takes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.REFUSED
    except Exception as error:  # noqa: BLE001 — the last line: a sentence instead of a stack trace
        if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
            remark(str(error))
            return ExitCode.USAGE
        said = _as_said(error)
        report(said, as_json=as_json)
        return said.exit_code
    return code if isinstance(code, int) else ExitCode.OK


def _as_said(error: Exception) -> CommandError:
    """Whatever ended a command, as people are told it."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, CharterError):
        return from_charter(error)
    if isinstance(error, TyperException):
        return _misused(error)
    return _stopped() if isinstance(error, typer.Abort) else _unexpected(error)


def _misused(error: TyperException) -> CommandError:
    """The parser could not make sense of the command line."""
    context = getattr(error, "ctx", None)
    path = PROGRAM if context is None else context.command_path
    if type(error).__name__ == "NoArgsIsHelpError":
        message = f"{path} takes a command."
    else:
        message = error.format_message()
        message += "" if message.endswith((".", "?", ")")) else "."
    fix = f"{path} --help shows what it takes."
    if type(error).__name__ == "NoSuchOption" and path.endswith(" exec"):
        fix = f"Put -- before the command: {path} NAME -- COMMAND…"
    return usage(message, fix)


def _stopped() -> CommandError:
    return CommandError(
        "Stopped by you; nothing more was done.",
        fix="Run the command again when you want to go on.",
        code="stopped",
    )


def _unexpected(error: Exception) -> CommandError:
    if os.environ.get("CHARTER_TRACEBACK"):
        traceback.print_exception(error)
    return CommandError(
        f"The command line itself failed: {type(error).__name__}: {error}.",
        fix="Run it again with CHARTER_TRACEBACK=1 and report what it prints.",
        code="internal-error",
    )
