"""`charter policy changes …`: propose, review and promote changes of the policy.

Registered by `policies` beside the other commands of the noun.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from charter.cli.arguments import one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import CommandError
from charter.cli.show import table
from charter.cli.text import joined, one_line, pairs, printable, remark, say, when, yes_no
from charter.core.policy.pipeline import ENDED, ChangeState

_WAITS: Final = {"in-review", "approved", "staged", "monitored"}  # for people, time or others
_POLL_SECONDS: Final = 1.0

ChangeArgument = Annotated[
    str, typer.Argument(metavar="CHANGE", help="Of charter policy changes; a start will do.")
]
Comment = Annotated[str, typer.Option("--comment", "-m", help="What you think; it is recorded.")]
Side = Annotated[
    str | None, typer.Option("--side", help="security or platform, where you may be either.")
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Until it waits for people, or has come to an end.")
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the noun `policy`."""
    change_app = noun("One policy change.")
    review_app = noun("Say yes or no to a policy change.")
    command(
        app,
        "changes",
        examples=["charter policy changes", "charter policy changes --state open"],
    )(changes)
    command(change_app, "show", examples=["charter policy change show chg_01k… --diff"])(show)
    command(
        app,
        "propose",
        examples=["charter policy propose policies/ -m 'two hours for agents' --wait"],
    )(propose)
    command(review_app, "approve", examples=["charter policy review approve chg_01k…"])(approve)
    command(
        review_app,
        "reject",
        examples=["charter policy review reject chg_01k… -m 'the limit has no reason'"],
    )(reject)
    command(app, "promote", examples=["charter policy promote chg_01k…"])(promote)
    command(app, "withdraw", examples=["charter policy withdraw chg_01k… -m 'not now'"])(withdraw)
    command(app, "source", examples=["charter policy source"])(source)
    app.add_typer(change_app, name="change")
    app.add_typer(review_app, name="review")


# --- looking ----------------------------------------------------------------------------------
def changes(
    call: Call,
    state: Annotated[
        str | None, typer.Option("--state", help="Only these: open, or the name of a state.")
    ] = None,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List policy changes, newest first, and where each of them stands."""
    one_of(state, "--state", ("open", *(known.value for known in ChangeState)))
    query = {} if state is None else {"state": state}
    page = call.client.page("policies", "changes", query=query, limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("CHANGE", "STATE", "SINCE", "FROM", "BY", "TITLE"),
            [
                (
                    c["id"],
                    c["state"],
                    when(c["since"]),
                    c["branch"] or "a proposal",
                    c["author"],
                    c["title"],
                )
                for c in items
            ],
        )

    call.listing(page, text, empty="There is none. Push to a branch, or charter policy propose DIR")


def show(
    call: Call,
    change: ChangeArgument,
    diff: Annotated[bool, typer.Option("--diff", help="Show what it changes.")] = False,
) -> None:
    """Show one change: what it changes, checks, impact, reviews, stage and figures."""
    found = call.client.get("policies", "changes", _whole(call, change))

    def text() -> None:
        _change(found)
        if diff:
            say("")
            say(printable(found["diff"]))

    call.answer(found, text)


def _whole(call: Call, start: str) -> str:
    """The whole id from its start; with none or several the server gets what was typed."""
    if len(start) >= len("chg_") + 26:
        return start
    listed = call.client.page("policies", "changes")["items"]
    matching = [c["id"] for c in listed if c["id"].startswith(start)]
    return matching[0] if len(matching) == 1 else start


def _change(c: Mapping[str, Any]) -> None:
    stage, monitor = c["stage"], c["monitor"]
    pairs(
        [
            ("change", c["id"]),
            ("title", c["title"]),
            ("state", f"{c['state']} since {when(c['since'])}"),
            ("reason", c["reason"]),
            ("author", c["author"]),
            ("from", c["branch"] if c["commit"] is None else f"{c['branch']} {c['commit'][:12]}"),
            ("files", joined([f"{f['path']} ({f['kind']})" for f in c["changed"]], "")),
            ("candidate", c["digest"]),
            ("on", c["base_digest"]),
            ("checks", None if c["checks"] is None else c["checks"]["summary"]),
            ("impact", c["impact_id"]),
            ("missing reviews", joined(c["missing_reviews"], "")),
            ("waits for", c["waits_for"]),
            (
                "stage",
                None
                if stage is None
                else f"until {when(stage['until'])}; {stage['decisions_made']} of"
                f" {stage['decisions_needed']} decisions for {joined(stage['environments'], '')}",
            ),
            ("before promotion", c["not_promotable"]),
            ("next", _next(c)),
            ("refusals before", None if monitor is None else _refusals(monitor["before"])),
            ("refusals after", None if monitor is None else _refusals(monitor["after"])),
        ]
    )
    if c["reviews"]:
        say("")
        table(
            ("REVIEW", "BY", "VERDICT", "COUNTS", "AT", "COMMENT"),
            [
                (
                    r["side"],
                    r["handle"],
                    r["verdict"],
                    yes_no(r["counts"]),
                    when(r["at"]),
                    r["comment"],
                )
                for r in c["reviews"]
            ],
        )


def _next(c: Mapping[str, Any]) -> str | None:
    """What a person does next about a change, if it waits for one."""
    state, ident = c["state"], c["id"]
    if state == "in-review":
        sides = " and ".join(c["missing_reviews"])
        return f"somebody for {sides} says: charter policy review approve {ident}"
    if state == "approved":
        return "it is staged by itself as soon as no other change is on the way into force"
    if state == "staged" and c["not_promotable"] is None:
        return f"charter policy promote {ident}"
    if state == "staged":
        return f"let it decide for test projects, then: charter policy promote {ident}"
    if state == "monitored":
        return "nothing: it is in force and watched; back with charter policy rollback"
    return None


def _refusals(found: Mapping[str, Any]) -> str:
    return f"{found['refused']} of {found['decisions']} decisions ({found['percent']} %)"


# --- doing ------------------------------------------------------------------------------------
def propose(
    call: Call,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with .rego files and data/*.json.")
    ],
    title: Annotated[str, typer.Option("--title", "-m", help="What changes, in a line.")],
    description: Annotated[str, typer.Option("--description", help="And why.")] = "",
    wait: Wait = False,
    timeout: Timeout = 600,
) -> None:
    """Propose a folder of rules; it is checked, analysed, reviewed and tried like a push."""
    from charter.adapters.rego.load import load_directory  # noqa: PLC0415 — only here needed

    bundle = load_directory(folder)
    files = {path: bundle.text(path) for path in sorted(bundle.files)}
    body = {"files": files, "title": title, "description": description}
    made: Any = call.client.create("policies", "changes", body=body).body
    if wait:
        made = _settled(call, made, timeout)
    call.answer(made, lambda: _change(made))


def _settled(call: Call, change: Mapping[str, Any], timeout: float) -> Any:
    """The change once it waits for people or has ended; says on the way what happens."""
    started, said = time.monotonic(), ""
    ended = {state.value for state in ENDED}
    while change["state"] not in _WAITS | ended:
        words = f"{change['state']}: {one_line(change['reason'])}"
        if words != said and sys.stderr.isatty():
            remark(words)
            said = words
        if time.monotonic() - started > timeout:
            raise CommandError(
                f"The change is still {change['state']} after {timeout:g} s.",
                fix=f"Look again: charter policy change show {change['id']}. If it stands still,"
                " see charter controller list.",
                code="wait-timeout",
            )
        time.sleep(_POLL_SECONDS)
        change = call.client.get("policies", "changes", change["id"])
    return change


def approve(call: Call, change: ChangeArgument, comment: Comment = "", side: Side = None) -> None:
    """Agree to a change as it stands now; nobody agrees to what they wrote."""
    _review(call, change, "approve", comment, side)


def reject(call: Call, change: ChangeArgument, comment: Comment = "", side: Side = None) -> None:
    """Refuse a change, with the reason; that ends it."""
    _review(call, change, "reject", comment, side)


def _review(call: Call, start: str, verdict: str, comment: str, side: str | None) -> None:
    one_of(side, "--side", ("security", "platform"))
    change = call.client.get("policies", "changes", _whole(call, start))
    if change["digest"] is None:
        raise CommandError(
            "There is no candidate to review yet.",
            fix=f"Look again in a moment: charter policy change show {change['id']}.",
            code="not-in-review",
        )
    body = {"digest": change["digest"], "comment": comment, "side": side}
    made = call.client.post("policies", "changes", change["id"], verdict, body=body).body
    call.answer(made, lambda: _change(made))


def promote(call: Call, change: ChangeArgument) -> None:
    """Put a staged change in force; from then on it is watched."""
    made = call.client.post("policies", "changes", _whole(call, change), "promote").body
    call.answer(made, lambda: _change(made))


def withdraw(
    call: Call,
    change: ChangeArgument,
    why: Annotated[str, typer.Option("--why", "-m", help="Why; it is recorded.")] = "",
) -> None:
    """End a change that is not in force yet."""
    body = {"why": why}
    made = call.client.post("policies", "changes", _whole(call, change), "withdraw", body=body).body
    call.answer(made, lambda: _change(made))


def source(call: Call) -> None:
    """Show the Git repository that changes come from, and what became of each branch."""
    found = call.client.get("policies", "source")

    def text() -> None:
        pairs(
            [
                ("repository", found["repository"] or "none is watched"),
                ("main branch", found["branch"]),
                ("folder", found["path"] or None),
                ("webhook", yes_no(found["webhook"])),
                ("fetched", None if found["fetched_at"] is None else when(found["fetched_at"])),
                ("failing", found["error"]),
            ]
        )
        if found["heads"]:
            say("")
            table(
                ("BRANCH", "COMMIT", "CHANGE", "OUTCOME"),
                [
                    (h["branch"], h["commit"][:12], h["change_id"] or "-", h["outcome"])
                    for h in found["heads"]
                ],
            )

    call.answer(found, text)
