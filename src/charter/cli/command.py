"""What every command has in common: `--json`, `--url`, an example, and a `Call` to work with.

A command is a function whose first parameter is the `Call`; the rest are its own arguments and
options, in Typer's notation. `command` adds the common options, so that no command can be without
them, and shows the examples under its help.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import typer
from typer.core import TyperCommand, TyperGroup

from charter.cli.client import Client
from charter.cli.errors import usage
from charter.cli.profile import target
from charter.cli.text import remark, say

P = ParamSpec("P")

_WHOLE: Final = 400  # characters; longer than the first sentence of any command
_VALUE: Final = re.compile(r"<([^>]*)>")  # how the help formatter names a type

_JSON: Final = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
_URL: Final = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The server; else CHARTER_URL, else the saved one."),
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Show at most this many.")]
All = Annotated[bool, typer.Option("--all", "-a", help="Show all of them, however many.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


@dataclass(slots=True)
class Call:
    """One run of one command."""

    json: bool
    url: str | None
    _client: Client | None = field(default=None, repr=False)

    @property
    def client(self) -> Client:
        """The REST client for the chosen server."""
        if self._client is None:
            self._client = Client(target(self.url))
        return self._client

    def answer(self, document: object, text: Callable[[], None]) -> None:
        """The command's answer: the document with --json, else what `text` prints."""
        if self.json:
            # ASCII only, so that no locale can break it and no terminal is steered by it.
            say(json.dumps(document, indent=2, default=str))
        else:
            text()

    def said(self, document: object, sentence: str) -> None:
        """An answer that is one sentence for people."""
        self.answer(document, lambda: say(sentence))

    def listing(
        self, page: dict[str, Any], text: Callable[[list[Any]], None], *, empty: str
    ) -> None:
        """A list: its rows, or the sentence for an empty one, and whether there are more."""
        if self.json:
            self.answer(page, lambda: None)
            return
        if page["items"]:
            text(page["items"])
        else:
            say(empty)
        if page.get("next"):
            remark(f"More than these {len(page['items'])}: use --all or a larger --limit.")

    def confirm(self, question: str, *, yes: bool) -> None:
        """Go on only after a yes; without a terminal, --yes must have been given."""
        if yes:
            return
        if self.json or not sys.stdin.isatty():
            raise usage(f"{question} This needs a yes.", "Add --yes if that is what you want.")
        if not typer.confirm(question, err=True):
            raise typer.Abort

    def close(self) -> None:
        """Give back what the call held."""
        if self._client is not None:
            self._client.close()


class PlainCommand(TyperCommand):
    """Help in plain words: `NAME`, not `{NAME} <str>`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line: options, then the arguments by the names that the help gives them."""
        return ["[OPTIONS]", *(p.metavar or "" for p in self.get_params(ctx) if is_argument(p))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then options, each with its text."""
        for title, wanted in (("Arguments", True), ("Options", False)):
            records = [
                (p.metavar or "" if wanted else _VALUE.sub(_kind, record[0]), record[1])
                for p in self.get_params(ctx)
                if is_argument(p) is wanted and (record := p.get_help_record(ctx)) is not None
            ]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class PlainGroup(TyperGroup):
    """A noun whose help gives each command's first sentence whole."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands with what they do."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, one.get_short_help_str(limit=_WHOLE))
                    for name, one in found
                    if one is not None and not one.hidden
                ]
            )


def _kind(match: re.Match[str]) -> str:
    """What kind of value an option takes, in a word for people."""
    kind = match.group(1)
    return "NUMBER" if kind.startswith(("int", "float")) else "FILE" if kind == "path" else "TEXT"


def is_argument(parameter: Any) -> bool:
    """Whether a parameter is given by its place, not by a name."""
    return bool(parameter.param_type_name == "argument")


def noun(help_text: str) -> typer.Typer:
    """A group of commands around one noun."""
    app = typer.Typer(
        cls=PlainGroup,
        help=help_text,
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    # With a callback, a noun with a single command stays a group.
    app.callback()(lambda: None)
    return app


def command(
    app: typer.Typer,
    name: str,
    *,
    examples: Sequence[str],
    server: bool = True,
    json_output: bool = True,
    hidden: bool = False,
) -> Callable[[Callable[Concatenate[Call, P], None]], Callable[Concatenate[Call, P], None]]:
    """Register a function as the command `name` of `app`.

    `server` says whether it talks to one (and so takes --url); `json_output=False` is for the few
    that answer with something else, such as a long-running server.
    """

    def decorate(
        function: Callable[Concatenate[Call, P], None],
    ) -> Callable[Concatenate[Call, P], None]:
        hints = typing.get_type_hints(function, include_extras=True)
        hints.pop("return", None)
        first, *own = inspect.signature(function).parameters.values()
        hints.pop(first.name)
        parameters = [
            p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in own
        ]
        for wanted, key, kind, default in (
            (json_output, "json_output", _JSON, False),
            (server, "url", _URL, None),
        ):
            if wanted:
                hints[key] = kind
                parameters.append(
                    inspect.Parameter(
                        key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
                    )
                )

        @functools.wraps(function)
        def run(**values: Any) -> None:
            call = Call(json=values.pop("json_output", False), url=values.pop("url", None))
            try:
                function(call, **values)  # type: ignore[call-arg]
            finally:
                call.close()

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = hints
        app.command(name, cls=PlainCommand, epilog=_epilog(examples), hidden=hidden)(run)
        return function

    return decorate


def _epilog(examples: Sequence[str]) -> str:
    """The examples, with the help formatter's sign (a backspace) that keeps their lines."""
    title = "Example:" if len(examples) == 1 else "Examples:"
    return "\b\n" + "\n".join([title, *(f"  {e}" for e in examples)])
