"""`charter away …`: who answers approvals in your stead while you are not there."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.arguments import given, moment
from charter.cli.command import Call, command, noun
from charter.cli.errors import usage
from charter.cli.show import table
from charter.cli.text import one_line, when

app = noun("Who answers approvals in your stead.")


@command(app, "show", examples=["charter away show", "charter away show --past --json"])
def show(
    call: Call,
    past: Annotated[bool, typer.Option("--past", help="Also those that are over.")] = False,
) -> None:
    """Show who answers for you, and for whom you answer."""
    page = call.client.page("absences", limit=None, query={"past": "true" if past else None})

    def text(items: list[Any]) -> None:
        table(
            ("ID", "STATE", "AWAY", "ANSWERS", "FROM", "UNTIL"),
            [
                (
                    each["id"],
                    each["state"],
                    each["person"],
                    each["delegate"],
                    when(each["starts_at"]),
                    when(each["ends_at"]),
                )
                for each in items
            ],
        )

    call.listing(
        page,
        text,
        empty="Nobody answers for you. Before you leave: charter away set NAME --until DATE",
    )


@command(
    app,
    "set",
    examples=[
        "charter away set lin --until 2026-08-14",
        "charter away set lin --days 3 -m 'a conference'",
    ],
)
def set_(
    call: Call,
    delegate: Annotated[str, typer.Argument(metavar="PERSON", help="Who votes in your stead.")],
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="A date or a time; now, if left out."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="A date or a time.")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="So many days from now.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", "-m", help="Why; your delegate may read it.")
    ] = None,
) -> None:
    """Name who votes where you may, in your stead. Nothing else of yours is lent.

    It never counts for requests of your own or of your delegate, and you stay one voice together.
    """
    ends_at = moment(until, days, "--until")
    if ends_at is None:
        raise usage("It is not said when you are back.", "Add --until DATE or --days N.")
    body = given(
        {
            "delegate": delegate,
            "starts_at": moment(start, None, "--from"),
            "ends_at": ends_at,
            "reason": reason,
        }
    )
    found = call.client.post("absences", body=body).body
    call.said(
        found,
        f"{one_line(found['delegate'])} answers for you from {when(found['starts_at'])}"
        f" until {when(found['ends_at'])}: {one_line(found['id'])}",
    )


@command(app, "end", examples=["charter away end abs_01h…"])
def end(
    call: Call,
    absence_id: Annotated[str, typer.Argument(metavar="ABSENCE", help="Its id (abs_…).")],
) -> None:
    """End it now: you are back, or you would rather not answer for somebody."""
    found = call.client.post("absences", absence_id, "end").body
    call.said(found, f"{one_line(found['id'])} is {one_line(found['state'])}.")
