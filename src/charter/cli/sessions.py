"""`charter session …`: who is signed in where, and ending it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.command import Call, Yes, command, noun
from charter.cli.errors import usage
from charter.cli.show import table
from charter.cli.text import say, when

app = noun("Who is signed in where, in browsers.")

Person = Annotated[
    str | None, typer.Option("--person", metavar="HANDLE", help="Somebody else's; for admins.")
]


@command(app, "list", examples=["charter session list", "charter session list --person dana"])
def list_(call: Call, person: Person = None) -> None:
    """List the sessions that are open, the newest first."""
    page = call.client.page("sessions", limit=None, query={"person": person})

    def text(items: list[Any]) -> None:
        table(
            ("BROWSER", "FROM", "SIGNED IN BY", "FACTORS", "CONFIRMED", "LAST USED", "ID"),
            [
                (
                    each["user_agent"],
                    each["ip"],
                    each["method"],
                    "two" if each["mfa"] else "one",
                    when(each["authenticated_at"]),
                    when(each["last_used_at"]),
                    each["id"],
                )
                for each in items
            ],
        )

    call.listing(page, text, empty="Nobody is signed in in a browser.")


@command(
    app,
    "end",
    examples=[
        "charter session end ses_01h…",
        "charter session end --others",
        "charter session end --person dana --yes",
    ],
)
def end(
    call: Call,
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="Its id (ses_…).")
    ] = None,
    others: Annotated[
        bool, typer.Option("--others", help="All of yours in browsers (this token stays).")
    ] = False,
    person: Annotated[
        str | None,
        typer.Option(
            "--person", metavar="HANDLE", help="All sessions and personal tokens of somebody."
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """End a session at once: one, all others of yours, or everything of somebody."""
    if (session is not None) + others + (person is not None) != 1:
        raise usage("Say what to end.", "Give a SESSION, --others, or --person HANDLE.")
    if session is not None:
        call.client.delete("sessions", session)
        call.said({"id": session, "ended": True}, f"{session} is ended.")
        return
    if person is None:
        ended: dict[str, Any] = call.client.post("sessions", "end-others").body
    else:
        call.confirm(f"End all sessions and tokens of {person}?", yes=yes)
        ended = call.client.post("people", person, "end-sessions").body
    call.answer(
        ended, lambda: say(f"Ended: {ended['sessions']} sessions, {ended['tokens']} tokens.")
    )
