"""`charter policy impact …`: what a candidate policy would change, before anything is changed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from charter.cli import impact_text
from charter.cli.client import Client
from charter.cli.command import All, Call, Limit, command
from charter.cli.errors import CommandError, ExitCode, usage
from charter.cli.show import table
from charter.cli.text import one_line, remark, say, when
from charter.cli.waiting import Progress

_OPEN: Final = ("queued", "running")
_PAUSE_SECONDS: Final = 0.5


def _impact(
    call: Call,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A folder of rules, a bundle's digest, a change (chg_…) or an analysis (imp_…).",
        ),
    ],
    days: Annotated[
        int, typer.Option("--days", min=1, max=3650, help="Decisions of how many days.")
    ] = 30,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it has ended.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Wait at most this many seconds.")
    ] = 3600.0,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")
    ] = False,
) -> None:
    """Show what would change: decisions and workspaces, decided again under a candidate.

    Nothing is put in force. Without --wait an analysis goes on by itself; look at it again by its
    id.
    """
    if markdown and call.json:
        raise usage("There is one answer: --json or --markdown.", "Leave one of them out.")
    found = _found(call.client, target, days)
    if wait:
        found = _ended(call.client, found, timeout)

    def text() -> None:
        if markdown:
            say(*impact_text.markdown(found))
        else:
            impact_text.show(found)

    call.answer(found, text)
    if found["state"] in _OPEN and not call.json:
        remark(f"It goes on. Look again: charter policy impact {found['id']} --wait")
    if found["state"] == "failed":
        raise typer.Exit(ExitCode.REFUSED)


def _found(client: Client, target: str, days: int) -> Any:
    """The analysis that the target names, begun if need be."""
    if target.startswith("imp_"):
        return client.get("policies", "impact", target)
    if target.startswith("chg_"):
        runs = client.page("policies", "impact", limit=1, query={"change": target})["items"]
        if not runs:
            raise CommandError(
                f"There is no impact analysis of {one_line(target)}.",
                fix="It begins when the change's checks have passed.",
                code="not-found",
            )
        return client.get("policies", "impact", runs[0]["id"])
    if Path(target).is_dir():
        from charter.adapters.rego.load import load_directory  # noqa: PLC0415 — only here needed

        bundle = load_directory(Path(target))
        wish: dict[str, Any] = {"files": {p: bundle.text(p) for p in sorted(bundle.files)}}
    else:
        wish = {"digest": _digest(client, target)}
    return client.create("policies", "impact", body={**wish, "days": days}).body


def _digest(client: Client, target: str) -> str:
    """The digest that the start of one means; what fits none is left to the server."""
    start = target if target.startswith("sha256:") else f"sha256:{target}"
    if len(start) == len("sha256:") + 64:
        return start
    kept = client.page("policies", "bundles")["items"]
    matching = [b["digest"] for b in kept if b["digest"].startswith(start)]
    if len(matching) != 1:
        raise usage(
            f"{target!r} is neither a folder nor the start of one kept bundle's digest.",
            "Give a folder of rules, or a digest of: charter policy bundles",
        )
    return str(matching[0])


def _ended(client: Client, run: Mapping[str, Any], timeout: float) -> Any:
    progress = Progress("impact")
    started = time.monotonic()
    found: Any = run
    try:
        while found["state"] in _OPEN:
            waited = time.monotonic() - started
            if waited > timeout:
                raise CommandError(
                    f"The impact analysis is at {found['done']} of {found['total']} after"
                    f" {timeout:g} s.",
                    fix=f"It goes on: charter policy impact {found['id']} --wait",
                    code="wait-timeout",
                    details={"impact": found},
                )
            progress.show(impact_text.standing(found), waited)
            time.sleep(_PAUSE_SECONDS)
            found = client.get("policies", "impact", found["id"])
    finally:
        progress.clear()
    return found


def _runs(call: Call, limit: Limit = 50, all_: All = False) -> None:
    """List impact analyses, newest first."""
    page = call.client.page("policies", "impact", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("ID", "STATE", "DONE", "CANDIDATE", "ASKED AT", "CHANGE"),
            [
                (
                    run["id"],
                    run["state"],
                    f"{run['done']}/{run['total']}",
                    run["digest"][:19],
                    when(run["created_at"]),
                    run["change_id"],
                )
                for run in items
            ],
        )

    call.listing(page, text, empty="No impact analysis yet. Begin one: charter policy impact DIR")


def _cancel(
    call: Call, run: Annotated[str, typer.Argument(metavar="ANALYSIS", help="Its id (imp_…).")]
) -> None:
    """End an impact analysis; what it has found stays."""
    found = call.client.post("policies", "impact", run, "cancel").body
    call.said(found, f"{one_line(found['id'])} is {one_line(found['state'])}.")


def _shadow(call: Call, limit: Limit = 50, all_: All = False) -> None:
    """List staged candidates with what they answer to live decisions, newest first."""
    page = call.client.page("policies", "shadow", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("ID", "STATE", "SEEN", "DIFFERING", "FAILED", "CANDIDATE", "SINCE", "CHANGE"),
            [
                (
                    run["id"],
                    run["state"],
                    str(run["seen"]),
                    str(run["differing"]),
                    str(run["failed"]),
                    run["digest"][:19],
                    when(run["started_at"]),
                    run["change_id"],
                )
                for run in items
            ],
        )
        for run in items:
            if run["state"] == "active" and run["seen"]:
                say("", f"{one_line(run['id'])}: {impact_text.headline(run['report'])}")

    call.listing(page, text, empty="No candidate is staged, and none has been.")


def register(app: typer.Typer) -> None:
    """Add these commands to `charter policy`."""
    command(
        app,
        "impact",
        examples=[
            "charter policy impact policies/ --days 14 --wait",
            "charter policy impact policies/ --wait --markdown > comment.md",
            "charter policy impact sha256:3f… --json",
            "charter policy impact imp_01h…",
        ],
    )(_impact)
    command(app, "impact-runs", examples=["charter policy impact-runs"])(_runs)
    command(app, "impact-cancel", examples=["charter policy impact-cancel imp_01h…"])(_cancel)
    command(app, "shadow", examples=["charter policy shadow"])(_shadow)
