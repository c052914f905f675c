"""`charter decision …`: what was decided, from which facts, and whether it still comes out so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from charter.cli.arguments import one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import ExitCode
from charter.cli.show import decision, effect_cell, table
from charter.cli.text import coloured, one_line, pairs, say, when
from charter.core.kernel.decision import Effect

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
                    d["subject_id"],
                    d["resource_id"] or f"new {d['resource_kind']}",
                    ", ".join(v["rule"] for v in d["result"]["violations"]),
                    d["id"],
                )
                for d in items
            ],
        )

    call.listing(page, text, empty="No decision matches.")


def show_record(d: Mapping[str, Any], *, facts: bool) -> None:
    """A stored decision for people."""
    decision(d["result"])
    pairs(
        [
            ("id", d["id"]),
            ("at", when(d["at"])),
            ("subject", f"{d['subject_id']} ({d['subject_kind']})"),
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
    examples=["charter decisions replay", "charter decision replay --limit 100000 --json"],
)
def replay(
    call: Call,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many, newest first.")
    ] = 10_000,
) -> None:
    """Compute stored decisions again and compare; 1 if any comes out differently.

    Each is decided under the bundle that decided it, so a difference means that something is not
    what it was.
    """
    found = call.client.post(
        # 2,000 a second are to be expected; a tenth of that is still waited for.
        "decisions",
        "replay",
        body={"limit": limit},
        timeout_seconds=60 + limit / 200,
    ).body
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
