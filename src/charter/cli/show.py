"""Tables and decisions on the screen.

`rich` measures and wraps the tables and is used for nothing else; it is imported when the first
table is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

from charter.cli.text import (
    amount,
    coloured,
    dimension_word,
    effect_word,
    joined,
    one_line,
    pair_lines,
    pairs,
    printable,
    say,
    span,
    when,
)
from charter.core.kernel.units import show_seconds

# When the output is a file or a pipe nothing may be cut or wrapped: a row is one line.
_UNBOUNDED_COLUMNS: Final = 100_000


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under headers; on a terminal within its width, elsewhere one line a row."""
    from rich.console import Console  # noqa: PLC0415 — 0.1 s that most commands never need
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    terminal = sys.stdout.isatty()
    grid = Table(box=None, pad_edge=False, header_style="bold" if terminal else "")
    for header in headers:
        grid.add_column(header, no_wrap=not terminal, overflow="fold")
    for row in rows:
        grid.add_row(*(Text.from_ansi(str(cell)) for cell in map(_cell, row)))
    width = None if terminal else _UNBOUNDED_COLUMNS
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(grid)
    for line in captured.get().splitlines():
        say(line.rstrip())


class Styled(str):
    """Text of our own that may carry colour codes; all other cells are made printable."""

    __slots__ = ()


def _cell(value: object) -> str:
    if isinstance(value, Styled):
        return value
    return "-" if value is None or value == "" else one_line(value)


def effect_cell(effect: object) -> Styled:
    """A decision's effect as a cell."""
    return Styled(effect_word(effect))


def decision(document: Mapping[str, Any]) -> None:
    """A decision: its effect, then every rule that spoke with what to do about it."""
    known_as = f" ({one_line(document['id'])})" if document.get("id") else ""
    say(f"decision: {effect_word(document.get('effect'))}{known_as}")
    say(*reasons(document))


def reasons(
    document: Mapping[str, Any], *, told: str = "", stream: IO[str] | None = None
) -> list[str]:
    """The rules that spoke, the obligations, and the rules in dry run.

    `told` is what the reader has read already; messages that it contains are not repeated.
    """
    lines: list[str] = []
    for reason in document.get("violations", ()):
        lines += _reason(reason, "  ", told, stream)
    for obligation in document.get("obligations", ()):
        params = obligation.get("params") or {}
        details = joined((f"{k}={v}" for k, v in params.items()), "")
        lines.append(f"  obligation {one_line(obligation.get('type'))} {details}".rstrip())
    shadow = document.get("shadow") or ()
    if shadow:
        lines.append("  Rules in dry run (they changed nothing):")
    for reason in shadow:
        lines += _reason(reason, "    ", told, stream)
    return lines


def _reason(reason: Mapping[str, Any], indent: str, told: str, stream: IO[str] | None) -> list[str]:
    rule = coloured(one_line(reason.get("rule")), "bold", stream)
    message = printable(reason.get("message") or "").strip()
    head = f"{indent}{rule} ({effect_word(reason.get('effect'), stream)})"
    known = bool(message) and message in told
    requires = reason.get("requires") or ()
    approvers = reason.get("approvers") or ()
    needed = int(reason.get("approvals_needed") or 1)
    seconds = reason.get("grant_seconds")
    return [
        head if known else f"{head}: {message}",
        *pair_lines(
            [
                ("fix", None if known else reason.get("fix")),
                (
                    "who may approve",
                    joined(approvers) + (f" ({needed} of them)" if needed > 1 else "")
                    if approvers
                    else None,
                ),
                ("must carry", joined(requires, "")),
                ("a yes lasts", show_seconds(int(seconds)) if seconds else None),
                ("controls", joined(reason.get("controls") or (), "")),
                ("source", reason.get("source")),
            ],
            indent + "  ",
        ),
    ]


def quotas(lines: Sequence[Mapping[str, Any]]) -> None:
    """Quota lines: what each scope uses of what it may."""
    rows = [
        (
            line["scope"],
            dimension_word(dimension),
            amount(dimension, line["used"].get(dimension, 0)),
            amount(dimension, limit),
            f"{100 * line['used'].get(dimension, 0) // limit} %" if limit else "-",
        )
        for line in lines
        for dimension, limit in line["limit"].items()
    ]
    table(("SCOPE", "OF", "USED", "LIMIT", "SHARE"), rows)


def approval(document: Mapping[str, Any]) -> None:
    """An approval request with its votes and what is still missing."""
    pairs(
        [
            ("id", document["id"]),
            ("state", document["state"]),
            ("asks for", document["summary"]),
            ("action", document["action"]),
            ("requester", f"{document['requester']} ({document['requester_kind']})"),
            *(document.get("details") or {}).items(),
            ("justification", document.get("justification")),
            ("ticket", document.get("ticket")),
            ("a yes gives", _gives(document)),
            ("asked at", when(document["created_at"])),
            ("deadline", when(document["deadline"])),
            ("closed at", when(document["closed_at"]) if document.get("closed_at") else None),
            ("still needed", joined(map(requirement, document["outstanding"]), "")),
            ("outcome", document.get("outcome")),
            ("result", document.get("result_id")),
            ("decision", document["decision_id"]),
            ("you may vote", _may_vote(document)),
        ]
    )
    for vote in document["votes"]:
        comment = f": {one_line(vote['comment'])}" if vote.get("comment") else ""
        stead = f" for {one_line(vote['for_name'])}" if vote.get("for_name") else ""
        lost = "" if vote.get("counts", True) else " (does not count any more)"
        say(
            f"  {one_line(vote['approver'])}{stead} {one_line(vote['verdict'])}"
            f" at {when(vote['at'])}{lost}{comment}"
        )
    for word in document.get("comments") or ():
        say(f"  {one_line(word['author'])} at {when(word['at'])}: {one_line(word['text'])}")


def _gives(document: Mapping[str, Any]) -> str | None:
    gives = document.get("gives")
    if not gives:
        return None
    length = "this one request" if gives["single_use"] else f"{span(gives['seconds'])}"
    until = f", until {when(gives['until'])}" if gives["until"] and not gives["single_use"] else ""
    return f"{length}{until}{', within the task' if gives['ends_with_task'] else ''}"


def _may_vote(document: Mapping[str, Any]) -> str | None:
    if document["state"] != "pending":
        return None
    if document.get("can_vote"):
        stead = f", for {document['votes_for']}" if document.get("votes_for") else ""
        return f"yes{stead}: charter approval approve {document['id']}"
    return f"no. {document.get('why_not') or ''}".strip()


def requirement(document: Mapping[str, Any]) -> str:
    """Who has to say yes, in words; an unknown shape is shown as it came."""
    roles = document.get("roles")
    if not isinstance(roles, Sequence) or isinstance(roles, str):
        return joined(f"{k}={v}" for k, v in document.items())
    needed = int(document.get("people") or document.get("count") or 1)
    who = " or ".join(one_line(role) for role in roles)
    rule = document.get("rule")
    suffix = f" (rule {one_line(rule)})" if isinstance(rule, str) else ""
    return f"{needed} of {who}{suffix}"
