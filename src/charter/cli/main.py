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
from charter.cli.errors import MEANINGS, CommandError, ExitCode, from_charter, report
from charter.cli.lazy import LazyGroup
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
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: ARG001 — its callback acts
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
    except CommandError as error:
        report(error, as_json=as_json)
        return error.exit_code
    except CharterError as error:
        translated = from_charter(error)
        report(translated, as_json=as_json)
        return translated.exit_code
    except TyperException as error:
        return _misused(error, as_json=as_json)
    except typer.Abort:
        report(_stopped(), as_json=as_json)
        return ExitCode.REFUSED
    except BrokenPipeError:
        # Whoever read the output has had enough. Python flushes once more at its end: give it
        # something that takes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.REFUSED
    except Exception as error:  # noqa: BLE001 — the last line: a sentence instead of a stack trace
        report(_unexpected(error), as_json=as_json)
        return ExitCode.REFUSED
    return code if isinstance(code, int) else ExitCode.OK


def _misused(error: TyperException, *, as_json: bool) -> int:
    """The parser could not make sense of the command line, or of a file named on it."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
        print(error.format_message(), file=sys.stderr)
        return ExitCode.USAGE
    path = PROGRAM if context is None else context.command_path
    message = error.format_message() if context is None or error.message else "Nothing to do."
    if type(error).__name__ == "NoArgsIsHelpError":
        message = f"{path} takes a command."
    elif not message.endswith((".", "?", ")")):
        message += "."
    report(
        CommandError(
            message,
            fix=f"{path} --help shows what it takes.",
            code="usage",
            exit_code=ExitCode.USAGE,
        ),
        as_json=as_json,
    )
    return ExitCode.USAGE


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
