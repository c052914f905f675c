"""`charter review …`: whether people still need what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli.arguments import given, one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.show import table
from charter.cli.text import joined, one_line, say, when

app = noun("Whether people still need what they hold: campaigns, answers, evidence.")
_STATES = ("waiting", "keep", "revoke", "lapsed", "gone")
Name = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its name, such as 2026-Q4, or id.")]
Item = Annotated[str, typer.Argument(metavar="ITEM", help="The id from charter review show.")]
Comment = Annotated[str | None, typer.Option("--comment", help="Why, for the evidence.")]


@command(app, "list", examples=["charter review list"])
def list_(call: Call, limit: Limit = 20, all_: All = False) -> None:
    """List the campaigns that ask about you, or that you may see."""
    page = call.client.page("access", "reviews", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("CAMPAIGN", "STATE", "UNTIL", "WAITING", "KEPT", "REVOKED", "LAPSED", "OPENED BY"),
            [
                (
                    c["name"],
                    c["state"],
                    when(c["due_at"]),
                    str(c["counts"]["waiting"]),
                    str(c["counts"]["keep"]),
                    str(c["counts"]["revoke"]),
                    str(c["counts"]["lapsed"]),
                    c["opened_by"],
                )
                for c in items
            ],
        )

    call.listing(page, text, empty="No review of access concerns you.")


@command(app, "open", examples=['charter review open --reason "A laptop was lost"'])
def open_(
    call: Call, reason: Annotated[str, typer.Option("--reason", help="Why now, on record.")]
) -> None:
    """Open a campaign now; the calendar opens one each quarter by itself."""
    made = call.client.post("access", "reviews", body={"reason": reason}).body
    waiting = made["counts"]["waiting"]
    call.said(
        made,
        f"The campaign {one_line(made['name'])} asks about {waiting} things until "
        f"{when(made['due_at'])}. What nobody keeps ends then.",
    )


@command(
    app,
    "show",
    examples=["charter review show 2026-Q4 --for-me", "charter review show 2026-Q4 --unused"],
)
def show(
    call: Call,
    campaign: Name,
    state: Annotated[str | None, typer.Option("--state", help=joined(_STATES, ""))] = None,
    for_me: Annotated[bool, typer.Option("--for-me", help="Only what waits for you.")] = False,
    unused: Annotated[bool, typer.Option("--unused", help="Only what nobody uses.")] = False,
    limit: Limit = 100,
    all_: All = False,
) -> None:
    """Show what a campaign asks about: who holds what, since when, and when it was last used."""
    one_of(state, "--state", _STATES)
    query = {"state": state, "for_me": "true" if for_me else None}
    page = call.client.page(
        "access",
        "reviews",
        campaign,
        "items",
        limit=None if all_ else limit,
        query={**query, "unused": "true" if unused else None},
    )

    def text(items: list[Any]) -> None:
        table(
            ("HOLDER", "WHAT", "SINCE", "LAST USED", "ANSWER", "BY", "ID"),
            [
                (
                    i["holder"],
                    i["what"] + (" !" if i["unused"] else ""),
                    when(i["since"]),
                    when(i["last_used_at"]) or "never",
                    i["answer"] or "waiting",
                    i["answered_by"] or f"({joined(i['reviewers'], '')})",
                    i["id"],
                )
                for i in items
            ],
        )
        if any(i["unused"] for i in items):
            say("! not used for as long as the policy calls stale")

    call.listing(page, text, empty="Nothing of that kind. Well done.")


def _answered(call: Call, item: str, answer: str, comment: str | None) -> None:
    body = given({"answer": answer, "comment": comment})
    made: Any = call.client.post("access", "review-items", item, "answer", body=body).body
    done = "kept" if answer == "keep" else "taken away"
    call.said(made, f"{one_line(made['what'])} of {one_line(made['holder'])} is {done}.")


@command(app, "keep", examples=["charter review keep rvi_01h… --comment 'On call until May'"])
def keep(call: Call, item: Item, comment: Comment = None) -> None:
    """Say that it is still needed."""
    _answered(call, item, "keep", comment)


@command(app, "revoke", examples=["charter review revoke rvi_01h…"])
def revoke(call: Call, item: Item, comment: Comment = None) -> None:
    """Take it away at once."""
    _answered(call, item, "revoke", comment)


@command(
    app,
    "export",
    examples=["charter review export 2026-Q4 --output 2026-Q4.csv"],
)
def export(
    call: Call,
    campaign: Name,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the CSV here instead of printing it.")
    ] = None,
) -> None:
    """Take the evidence of a campaign: every item with its answer, and a digest in the trail."""
    found: Any = call.client.post("access", "reviews", campaign, "evidence", body={}).body
    if output is not None:
        output.write_text(found["csv"], encoding="utf-8")

    def text() -> None:
        if output is None:
            typer.echo(found["csv"], nl=False)
        else:
            say(f"Wrote {output}. The trail holds its digest: {one_line(found['digest'])}.")

    call.answer(found, text)


@command(app, "unused", examples=["charter review unused"])
def unused(call: Call) -> None:
    """List what is held and nobody uses, whether or not a campaign is open."""
    found: Any = call.client.get("access", "unused")

    def text() -> None:
        if not found["items"]:
            say(f"Everything that you may see was used within {found['days']} days.")
            return
        table(
            ("HOLDER", "WHAT", "SINCE", "LAST USED"),
            [
                (i["holder"], i["what"], when(i["since"]), when(i["last_used_at"]) or "never")
                for i in found["items"]
            ],
        )

    call.answer(found, text)
