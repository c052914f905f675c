"""`charter decision …`: what was decided, from which facts, and whether it still comes out so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from charter.cli.arguments import one_of
from charter.cli.client import Client
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import ExitCode
from charter.cli.show import decision, effect_cell, table
from charter.cli.text import coloured, one_line, pairs, say, when
from charter.cli.waiting import Progress
from charter.core.kernel.decision import Effect

_MOST_SHOWN: Final = 50  # of the decisions that differ

app = noun("Stored decisions, and replays.")

Id = Annotated[str, typer.Argument(metavar="DECISION", help="Its id (dec_…).")]


@command(
    app,
    "list",
    examples=["charter decision list", "charter decision list --effect deny --subject agt_01h…"],
)
def list_(
    call: Call,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Only about this person or agent (id).")
    ] = None,
    effect: Annotated[
        str | None,
        typer.Option("--effect", help="Only these: allow, warn, require_approval, deny."),
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="Only these, such as workspace.create.")
    ] = None,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List decisions that you may see, newest first."""
    page = call.client.page(
        "decisions",
        limit=None if all_ else limit,
        query={"subject": subject, "effect": one_of(effect, "--effect", Effect), "action": action},
    )

    def text(items: list[Any]) -> None:
        table(
            ("AT", "EFFECT", "ACTION", "SUBJECT", "RESOURCE", "RULES", "ID"),
            [
                (
                    when(d["at"]),
                    effect_cell(d["effect"]),
                    d["action"],
                    d["subject_name"] or d["subject_id"],
                    d["resource_id"] or f"new {d['resource_kind']}",
                    ", ".join(v["rule"] for v in d["result"]["violations"]),
                    d["id"],
                )
                for d in items
            ],
        )

    call.listing(page, text, empty="No decision matches.")


def _subject(d: Mapping[str, Any]) -> str:
    named = f"{d['subject_kind']} {d['subject_name'] or ''}".rstrip()
    return f"{named} ({d['subject_id']})"


def show_record(d: Mapping[str, Any], *, facts: bool) -> None:
    """A stored decision for people."""
    decision(d["result"])
    pairs(
        [
            ("id", d["id"]),
            ("at", when(d["at"])),
            ("subject", _subject(d)),
            ("action", d["action"]),
            ("resource", d["resource_id"] or f"a new {d['resource_kind']}"),
            ("bundle", d["bundle_digest"]),
            ("engine", d["engine"]),
            ("took", f"{int(d['duration_us']) / 1000:.2f} ms"),
        ]
    )
    if facts and d.get("facts") is not None:
        say("facts:")
        say(json.dumps(d["facts"], indent=2, sort_keys=True))


@command(
    app,
    "show",
    examples=["charter decision show dec_01h…", "charter decision show dec_01h… --facts"],
)
def show(
    call: Call,
    decision_id: Id,
    facts: Annotated[
        bool, typer.Option("--facts", help="Also print all that it was decided from.")
    ] = False,
) -> None:
    """Show a decision with every reason; --json has its facts in any case."""
    found = call.client.get("decisions", decision_id)
    call.answer(found, lambda: show_record(found, facts=facts))


@command(
    app,
    "replay",
    examples=[
        "charter decisions replay",
        "charter decision replay --limit 100000 --processes 2 --json",
    ],
)
def replay(
    call: Call,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="How many, newest first.")
    ] = 10_000,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, max=16, help="On how many cores; else on all."),
    ] = None,
) -> None:
    """Compute stored decisions again and compare; 1 if any comes out differently.

    Each is decided under the bundle that decided it, so a difference means that something is not
    what it was.
    """
    found = _replayed(call.client, limit, processes)
    differences = int(found["differences"])

    def text() -> None:
        for d in found["differing"]:
            stored, now = one_line(d.get("stored")), one_line(d.get("now"))
            say(f"{one_line(d.get('id'))}: was {stored}, now {now}")
        word = (
            coloured("no differences", "green")
            if not differences
            else coloured(f"{differences} differences", "red")
        )
        say(f"{found['replayed']} decisions replayed in {found['seconds']:.1f} s: {word}.")

    call.answer(found, text)
    if differences:
        raise typer.Exit(ExitCode.REFUSED)


def _replayed(client: Client, limit: int, processes: int | None) -> dict[str, Any]:
    """The sum of as many calls as it takes: each does the work of some seconds."""
    total: dict[str, Any] = {"replayed": 0, "differences": 0, "differing": [], "seconds": 0.0}
    cursor = None
    progress = Progress("replay")
    try:
        while True:
            body: dict[str, Any] = {"limit": limit - total["replayed"]}
            body |= {} if cursor is None else {"cursor": cursor}
            body |= {} if processes is None else {"processes": processes}
            found = client.post("decisions", "replay", body=body, timeout_seconds=120).body
            for name in ("replayed", "differences", "seconds"):
                total[name] += found[name]
            total["differing"] = (total["differing"] + found["differing"])[:_MOST_SHOWN]
            cursor = found.get("next")
            if cursor is None or total["replayed"] >= limit:
                return total
            rate = total["replayed"] / max(total["seconds"], 0.001)
            progress.show(f"{total['replayed']} of at most {limit}, {rate:.0f}/s", total["seconds"])
    finally:
        progress.clear()
