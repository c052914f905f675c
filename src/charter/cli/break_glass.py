"""`charter break-glass …`: an emergency role, its end, and the review that follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from charter.cli.arguments import given, one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import usage
from charter.cli.show import table
from charter.cli.text import one_line, pairs, printable, say, when
from charter.core.access.break_glass import ReviewOutcome
from charter.core.kernel.units import show_seconds

app = noun("An emergency role, its end and its review.")

Id = Annotated[str, typer.Argument(metavar="EMERGENCY", help="The emergency's id (bgl_…).")]


@command(app, "status", examples=["charter break-glass status"])
def status(call: Call) -> None:
    """Whether your emergency role is in force, and which you could take."""
    found: Any = call.client.get("break-glass", "offer")

    def text() -> None:
        if found["active"] is not None:
            _describe(found["active"])
        elif not found["roles"]:
            say("The policy names you for no emergency role.")
        else:
            table(
                ("EMERGENCY ROLE", "FOR AT MOST"),
                [(each["role"], show_seconds(each["seconds"])) for each in found["roles"]],
            )
            say(
                printable(found["why_not"] or "Take one: charter break-glass start ROLE --reason …")
            )

    call.answer(found, text)


def _describe(e: Mapping[str, Any]) -> None:
    pairs(
        [
            ("emergency", e["id"]),
            ("state", e["state"]),
            ("person", e["person"]),
            ("role", e["role"]),
            ("reason", e["reason"]),
            ("started", when(e["started_at"])),
            ("ends" if e["state"] == "active" else "ended", when(e["over_at"])),
            ("review", e["review"]),
            ("review due", when(e["review_due_at"]) if e["review"] != "done" else None),
            ("reviewed", f"{when(e['reviewed_at'])} by {e['reviewer']}" if e["reviewer"] else None),
            ("outcome", e["outcome"]),
            ("findings", e["findings"]),
        ]
    )
    if e.get("decisions"):
        say("")
        table(
            ("AT", "DECISION", "ACTION", "ABOUT"),
            [
                (
                    when(d["at"]),
                    d["effect"],
                    d["action"],
                    f"{d['resource_kind']} {d['resource_id'] or ''}".rstrip(),
                )
                for d in e["decisions"]
            ],
        )


@command(
    app,
    "start",
    examples=[
        "charter break-glass start platform-admin --reason 'Nothing starts any more'",
        "charter break-glass start platform-admin --minutes 20 --reason 'Runaway agents'",
    ],
)
def start(
    call: Call,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="See charter break-glass status.")],
    reason: Annotated[
        str, typer.Option("--reason", "-m", help="What happened; everybody who is told reads it.")
    ],
    minutes: Annotated[
        int | None, typer.Option("--minutes", min=1, help="Less than the longest.")
    ] = None,
) -> None:
    """Take an emergency role at once. Everybody who has to know is told, and it is reviewed."""
    body = given({"role": role, "reason": reason, "minutes": minutes})
    made = call.client.post("break-glass", body=body).body
    call.answer(made, lambda: _describe(made))


@command(app, "end", examples=["charter break-glass end", "charter break-glass end bgl_01h…"])
def end(
    call: Call,
    emergency: Annotated[
        str | None, typer.Argument(metavar="EMERGENCY", help="Its id; without it, your own.")
    ] = None,
) -> None:
    """End an emergency role before its time."""
    if emergency is None:
        active: Any = call.client.get("break-glass", "offer")["active"]
        if active is None:
            raise usage("No emergency role of yours is in force.", "Nothing is left to end.")
        emergency = str(active["id"])
    found = call.client.post("break-glass", emergency, "end").body
    call.said(
        found, f"{one_line(found['id'])} is over. Its review is due {when(found['review_due_at'])}."
    )


@command(
    app,
    "reviews",
    examples=["charter break-glass reviews", "charter break-glass reviews --done --json"],
)
def reviews(
    call: Call,
    done: Annotated[bool, typer.Option("--done", help="Those that are reviewed as well.")] = False,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List emergencies whose review is not done."""
    page = call.client.page(
        "break-glass",
        limit=None if all_ else limit,
        query={"to_review": None if done else "true"},
    )

    def text(items: list[Any]) -> None:
        table(
            ("ID", "STATE", "PERSON", "ROLE", "STARTED", "REVIEW", "DUE", "OUTCOME"),
            [
                (
                    e["id"],
                    e["state"],
                    e["person"],
                    e["role"],
                    when(e["started_at"]),
                    e["review"],
                    when(e["review_due_at"]),
                    e["outcome"],
                )
                for e in items
            ],
        )

    call.listing(page, text, empty="No emergency waits for a review.")


@command(app, "show", examples=["charter break-glass show bgl_01h…"])
def show(call: Call, emergency: Id) -> None:
    """Show an emergency with all that was decided under it."""
    found = call.client.get("break-glass", emergency)
    call.answer(found, lambda: _describe(found))


@command(
    app,
    "review",
    examples=["charter break-glass review bgl_01h… --outcome justified --findings 'A real outage'"],
)
def review(
    call: Call,
    emergency: Id,
    outcome: Annotated[str, typer.Option("--outcome", help=f"{', '.join(ReviewOutcome)}.")],
    findings: Annotated[
        str, typer.Option("--findings", "-m", help="What was looked at, and what follows.")
    ],
) -> None:
    """Review somebody else's emergency; a review stands."""
    one_of(outcome, "--outcome", ReviewOutcome)
    found = call.client.post(
        "break-glass", emergency, "review", body={"outcome": outcome, "findings": findings}
    ).body
    call.answer(found, lambda: _describe(found))
