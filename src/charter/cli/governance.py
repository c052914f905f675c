"""`charter governance …`: reviews of the policy: their calendar, committee, minutes and end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli.arguments import file_text, moment, one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import usage
from charter.cli.show import table
from charter.cli.text import joined, one_line, pairs, printable, say, when
from charter.core.policy.reviews import AD_HOC_TRIGGERS, Outcome, Side

app = noun("Reviews of the policy, and their calendar.")

_LARGEST_MINUTES = 64 * 1024

Id = Annotated[str, typer.Argument(metavar="REVIEW", help="The review's id (rev_…).")]


@command(app, "calendar", examples=["charter governance calendar"])
def calendar(call: Call) -> None:
    """When the next scheduled reviews are due."""
    found: Any = call.client.get("governance", "calendar")

    def text() -> None:
        table(
            ("REVIEW", "EVERY", "LAST HELD", "DUE"),
            [
                (
                    d["kind"],
                    f"{d['every_months']} months",
                    when(d["last_held_at"]),
                    when(d["due_at"]),
                )
                for d in found["items"]
            ],
        )

    call.answer(found, text)


@command(
    app,
    "list",
    examples=["charter governance list", "charter governance list --state all --json"],
)
def list_(
    call: Call,
    state: Annotated[str, typer.Option("--state", help="open, overdue, closed or all.")] = "open",
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List reviews; by default those that are not closed."""
    one_of(state, "--state", ("open", "overdue", "closed", "all"))
    page = call.client.page(
        "governance",
        "reviews",
        limit=None if all_ else limit,
        query={"state": None if state == "all" else state},
    )

    def text(items: list[Any]) -> None:
        table(
            ("ID", "STATE", "KIND", "TRIGGER", "DUE", "HELD", "OUTCOME"),
            [
                (
                    r["id"],
                    r["state"],
                    r["kind"],
                    r["trigger"],
                    when(r["due_at"]),
                    when(r["held_at"]),
                    r["outcome"],
                )
                for r in items
            ],
        )

    call.listing(page, text, empty="No review. When the next is due: charter governance calendar")


def _review(r: Mapping[str, Any]) -> None:
    pairs(
        [
            ("review", r["id"]),
            ("state", r["state"]),
            ("kind", r["kind"]),
            ("trigger", r["trigger"]),
            ("reason", r["reason"]),
            ("opened", f"{when(r['opened_at'])} by {r['opened_by']}"),
            ("due", when(r["due_at"])),
            ("held", when(r["held_at"]) if r["held_at"] else None),
            ("committee", joined((f"{m['person']} ({m['side']})" for m in r["committee"]), "")),
            ("outcome", r["outcome"]),
            ("closed", f"{when(r['closed_at'])} by {r['closed_by']}" if r["closed_at"] else None),
            ("still needs", " ".join(r["lacking"])),
        ]
    )
    figures = r.get("figures")
    if figures:
        say(
            "",
            f"From {when(figures['since'])} to {when(figures['until'])}: rules spoke "
            f"{figures['spoke']} times, exemptions were used {figures['exemptions_used']} times, "
            f"{figures['bundles_loaded']} bundles were loaded.",
        )
        if figures["rules"]:
            table(
                ("RULE", "EFFECT", "TIMES"),
                [(each["rule"], each["effect"], each["count"]) for each in figures["rules"]],
            )
    if r["findings"]:
        say("")
        table(
            ("NO", "FINDING", "OWNER", "DUE", "DONE"),
            [
                (number, f["text"], f["owner"], f["due_on"], when(f["done_at"]))
                for number, f in enumerate(r["findings"], start=1)
            ],
        )
    if r["minutes"]:
        say("", printable(r["minutes"]).rstrip())


@command(app, "show", examples=["charter governance show rev_01h…"])
def show(call: Call, review: Id) -> None:
    """Show a review: figures of its period, committee, minutes, findings."""
    found = call.client.get("governance", "reviews", review)
    call.answer(found, lambda: _review(found))


@command(
    app,
    "open",
    examples=["charter governance open --trigger incident --reason 'A token was in a log.'"],
)
def open_(
    call: Call,
    trigger: Annotated[str, typer.Option("--trigger", help=f"{', '.join(AD_HOC_TRIGGERS)}.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="What happened.")],
) -> None:
    """Open a review because of an event."""
    one_of(trigger, "--trigger", AD_HOC_TRIGGERS)
    made = call.client.post(
        "governance", "reviews", body={"trigger": trigger, "reason": reason}
    ).body
    call.answer(made, lambda: _review(made))


@command(
    app,
    "hold",
    examples=["charter governance hold rev_01h… --member sam=security --member lee=development"],
)
def hold(
    call: Call,
    review: Id,
    member: Annotated[
        list[str],
        typer.Option("--member", help=f"PERSON=SIDE, for each; sides: {', '.join(Side)}."),
    ],
    on: Annotated[str | None, typer.Option("--on", help="When it was held; else now.")] = None,
) -> None:
    """Note that a review was held, and by which committee."""
    committee = []
    for text in member:
        person, equals, side = text.partition("=")
        if not person or not equals:
            raise usage(f"--member {text!r} names no side.", "Write it as --member dana=platform.")
        committee.append({"person": person, "side": one_of(side, "--member", tuple(Side))})
    body: dict[str, object] = {"committee": committee}
    if on is not None:
        body["held_at"] = moment(on, None, "--on")
    found = call.client.post("governance", "reviews", review, "hold", body=body).body
    call.answer(found, lambda: _review(found))


@command(
    app,
    "minutes",
    examples=[
        "charter governance minutes rev_01h… --from m.md --finding 'Raise it=lee=2026-09-30'",
    ],
)
def minutes(
    call: Call,
    review: Id,
    source: Annotated[Path, typer.Option("--from", metavar="FILE", help="The minutes, as text.")],
    finding: Annotated[
        list[str] | None,
        typer.Option("--finding", help="What is to be done: TEXT=PERSON=YYYY-MM-DD, for each."),
    ] = None,
) -> None:
    """Write the minutes and findings; both replace what was written before."""
    findings = []
    for text in finding or ():
        what, owner, due = [*text.rsplit("=", 2), "", ""][:3]
        if not (what and owner and due):
            raise usage(
                f"--finding {text!r} lacks its owner or date.",
                "Write it as --finding 'Raise the warning=lee=2026-09-30'.",
            )
        findings.append({"text": what, "owner": owner, "due_on": due})
    body = {"minutes": file_text(source, _LARGEST_MINUTES), "findings": findings}
    found = call.client.put("governance", "reviews", review, "minutes", body=body).body
    call.answer(found, lambda: _review(found))


@command(app, "done", examples=["charter governance done rev_01h… 2"])
def done(
    call: Call,
    review: Id,
    number: Annotated[int, typer.Argument(metavar="NO", min=1, help="Of the finding.")],
) -> None:
    """Note that a finding is done."""
    found = call.client.post("governance", "reviews", review, "findings", str(number), "done").body
    call.said(found, f"Finding {number} of {one_line(found['id'])} is done.")


@command(app, "close", examples=["charter governance close rev_01h… --outcome effective"])
def close(
    call: Call,
    review: Id,
    outcome: Annotated[str, typer.Option("--outcome", help=f"{' or '.join(Outcome)}.")],
) -> None:
    """Close a review; its findings go to their owners."""
    one_of(outcome, "--outcome", tuple(Outcome))
    found = call.client.post(
        "governance", "reviews", review, "close", body={"outcome": outcome}
    ).body
    call.said(found, f"{one_line(found['id'])} is closed: {one_line(found['outcome'])}.")
