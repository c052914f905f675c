"""`charter workspace exec|read|write|ls`: use what is inside a running workspace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from charter.cli.arguments import file_text, standard_input
from charter.cli.command import Call, command
from charter.cli.errors import usage
from charter.cli.show import table
from charter.cli.text import remark, when

# What one call of the API takes (api/schemas.py).
_LARGEST_STDIN_BYTES: Final = 262_144
_LARGEST_FILE_BYTES: Final = 524_288
_LONGEST_SECONDS: Final = 600.0
# The server answers when the command has ended; this is for the way there and back.
_SLACK_SECONDS: Final = 30.0
_TIMED_OUT: Final = 124  # the code of the `timeout` program, known to every shell script

Name = Annotated[str, typer.Argument(metavar="NAME", help="The workspace's name or id.")]
InPath = Annotated[str, typer.Argument(metavar="PATH", help="A path below /workspace.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the workspace commands."""
    command(
        app,
        "exec",
        examples=[
            "charter workspace exec api -- ls -la",
            "charter workspace exec api -- sh -c 'make test | tail -5'",
            "echo 'say(6 * 7)' | charter workspace exec api --stdin -- python3 -",
        ],
    )(execute)
    command(
        app,
        "read",
        examples=[
            "charter workspace read api src/main.py",
            "charter workspace read api report.csv --output report.csv",
        ],
    )(read)
    command(
        app,
        "write",
        examples=[
            "charter workspace write api notes.txt --from notes.txt",
            "echo hello | charter workspace write api notes.txt",
        ],
    )(write)
    command(
        app, "ls", examples=["charter workspace ls api", "charter workspace ls api src --json"]
    )(ls)


def execute(
    call: Call,
    name: Name,
    arguments: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="The command and its arguments.")
    ],
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=0.1, max=_LONGEST_SECONDS, metavar="SECONDS", help="Its time."
        ),
    ] = 60.0,
    stdin: Annotated[
        bool, typer.Option("--stdin", "-i", help="Send standard input to it (up to 256 KiB).")
    ] = False,
) -> None:
    """Run a command in a workspace; what it prints and its exit code become this command's.

    Put -- before it, so that its options are not taken for options of this command. There is no
    shell unless you name one. A command that takes too long is ended, and the exit code is 124.
    """
    body = {
        "command": arguments,
        "timeout_seconds": timeout,
        "stdin": standard_input(_LARGEST_STDIN_BYTES) if stdin else "",
    }
    result = call.client.post(
        "workspaces", name, "execute", body=body, timeout_seconds=timeout + _SLACK_SECONDS
    ).body

    def text() -> None:
        # What the command printed is passed on as it is: it was run by the person who reads it.
        sys.stdout.flush()
        sys.stdout.buffer.write(result["stdout"].encode())
        sys.stdout.buffer.flush()
        sys.stderr.flush()
        sys.stderr.buffer.write(result["stderr"].encode())
        sys.stderr.buffer.flush()
        if result["truncated"]:
            remark("charter: the output was cut because it was too long; write it to a file.")
        if result["timed_out"]:
            remark(f"charter: the command was ended after {timeout:g} s; see --timeout.")

    call.answer(result, text)
    code = _TIMED_OUT if result["timed_out"] else int(result["exit_code"])
    if code:
        raise typer.Exit(code & 0xFF)


def read(
    call: Call,
    name: Name,
    path: InPath,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to this local file instead.")
    ] = None,
) -> None:
    """Print a text file of a workspace."""
    found = call.client.get("workspaces", name, "files", query={"path": path})
    if output is not None:
        try:
            output.write_bytes(found["content"].encode())
        except OSError as error:
            raise usage(
                f"{output} cannot be written: {error.strerror or error}.",
                "Name another file with --output.",
            ) from error

    def text() -> None:
        if output is None:
            sys.stdout.flush()
            sys.stdout.buffer.write(found["content"].encode())
            sys.stdout.buffer.flush()
        else:
            remark(f"{found['size_bytes']} bytes written to {output}.")

    call.answer(found, text)


def write(
    call: Call,
    name: Name,
    path: InPath,
    source: Annotated[
        Path | None,
        typer.Option("--from", "-f", help="The local file; standard input if not given."),
    ] = None,
) -> None:
    """Write a text file into a workspace, from a local file or from standard input."""
    if source is None:
        if sys.stdin.isatty():
            remark("Reading standard input; end it with Ctrl-D.")
        content = standard_input(_LARGEST_FILE_BYTES)
    else:
        content = file_text(source, _LARGEST_FILE_BYTES)
    call.client.put("workspaces", name, "files", body={"content": content}, query={"path": path})
    size = len(content.encode())
    call.said({"path": path, "size_bytes": size}, f"{size} bytes written to {path}.")


def ls(
    call: Call,
    name: Name,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="A folder below /workspace.")] = ".",
) -> None:
    """List a folder of a workspace."""
    found = call.client.get("workspaces", name, "entries", query={"path": path})

    def text(entries: list[Any]) -> None:
        table(
            ("KIND", "BYTES", "MODIFIED", "NAME"),
            [(e["kind"], e["size_bytes"], when(e["modified_at"]), e["name"]) for e in entries],
        )

    call.listing(found, text, empty="The folder is empty.")
