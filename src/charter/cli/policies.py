"""`charter policy …`: read the rules in force, test a folder of rules, and put it in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli import (
    exemptions,
    impact,
    playground,
    policy_author,
    policy_changes,
    policy_opa,
)
from charter.cli.arguments import one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import ExitCode
from charter.cli.show import table
from charter.cli.text import coloured, joined, pairs, printable, remark, say, when, yes_no
from charter.cli.waiting import working

app = noun("Rules: read, test and apply them.")

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder with .rego files and data/*.json.")
]


@command(app, "rules", examples=["charter policy rules", "charter policy rules --effect deny"])
def rules(
    call: Call,
    effect: Annotated[
        str | None,
        typer.Option("--effect", help="Only these: deny, require_approval, warn, obligation."),
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", "-q", help="Only those whose id or title has this.")
    ] = None,
) -> None:
    """List the rules of the active bundle."""
    one_of(effect, "--effect", ("deny", "require_approval", "warn", "obligation"))
    found: Any = call.client.get("policies", "rules")
    listed = found["items"]
    wanted = [
        r
        for r in listed
        if (effect is None or r["effect"] == effect)
        and (search is None or search.lower() in f"{r['id']} {r['title']}".lower())
    ]

    def text() -> None:
        if not wanted:
            say("No rule matches." if listed else "The active bundle has no rules.")
            return
        table(
            ("RULE", "EFFECT", "MODE", "SEVERITY", "TITLE"),
            [(r["id"], r["effect"], r["mode"], r["severity"], r["title"]) for r in wanted],
        )

    call.answer({"items": wanted, "next": None}, text)


@command(app, "show", examples=["charter policy show admission/workspace-vcpu"])
def show(
    call: Call, rule: Annotated[str, typer.Argument(metavar="RULE", help="The rule's id.")]
) -> None:
    """Show one rule with its source."""
    r = call.client.get("policies", "rules", rule)

    def text() -> None:
        pairs(
            [
                ("rule", r["id"]),
                ("title", r["title"]),
                ("effect", r["effect"]),
                ("severity", r["severity"]),
                ("mode", r["mode"]),
                ("controls", joined(r["controls"], "")),
                ("fix", r["fix"]),
                ("at", f"{r['file']}:{r['line']}"),
            ]
        )
        if r.get("source"):
            say("")
            say(printable(r["source"]).rstrip())

    call.answer(r, text)


def _bundle(b: Mapping[str, Any]) -> None:
    pairs(
        [
            ("digest", b["digest"]),
            ("active", yes_no(b["active"])),
            ("loaded", f"{when(b['created_at'])} by {b['loaded_by']}"),
            ("note", b["note"]),
            ("failing", b.get("failing")),
            ("deciding instead", b.get("standing_in")),
            ("rules", None if b.get("rules") is None else str(b["rules"])),
        ]
    )


@command(app, "active", examples=["charter policy active"])
def active(call: Call) -> None:
    """Show which bundle decides at this moment."""
    found = call.client.get("policies", "active")
    call.answer(found, lambda: _bundle(found))


@command(app, "bundles", examples=["charter policy bundles"])
def bundles(call: Call, limit: Limit = 50, all_: All = False) -> None:
    """List stored bundles; any of them can be put in force again."""
    page = call.client.page("policies", "bundles", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("DIGEST", "ACTIVE", "LOADED", "BY", "NOTE"),
            [
                (b["digest"], yes_no(b["active"]), when(b["created_at"]), b["loaded_by"], b["note"])
                for b in items
            ],
        )

    call.listing(page, text, empty="No bundle is stored. Load one: charter policy apply DIR")


@command(
    app,
    "apply",
    examples=[
        "charter policy apply policies/ --note 'egress list of the web team'",
        "charter policy apply policies/ --emergency -m 'a leaked token is being used'",
    ],
)
def apply(
    call: Call,
    folder: Folder,
    note: Annotated[str, typer.Option("--note", "-m", help="What changes; it is recorded.")] = "",
    emergency: Annotated[
        bool, typer.Option("--emergency", help="Pass the reviews by; security is told at once.")
    ] = False,
) -> None:
    """Send a folder of rules; the server checks it, runs its tests and puts it in force."""
    from charter.adapters.rego.load import load_directory  # noqa: PLC0415 — only here needed

    bundle = load_directory(folder)
    files = {path: bundle.text(path) for path in sorted(bundle.files)}
    body = {"files": files, "note": note, "emergency": emergency}
    with working("apply", "the server checks the rules and runs their tests"):
        made = call.client.create("policies", "bundles", body=body).body
    call.answer(made, lambda: _bundle(made))


def _digest(call: Call, start: str) -> str:
    """The whole digest of a kept bundle from its start.

    With none or several the server is asked for what was typed, and says what is wrong with it.
    """
    stored = call.client.page("policies", "bundles")["items"]
    whole = start if start.startswith("sha256:") else f"sha256:{start}"
    matching = [b["digest"] for b in stored if b["digest"].startswith(whole)]
    return matching[0] if len(matching) == 1 else whole


DigestArgument = Annotated[
    str, typer.Argument(metavar="DIGEST", help="Of charter policy bundles; a start will do.")
]


@command(app, "activate", examples=["charter policy activate sha256:3f…"])
def activate(call: Call, digest: DigestArgument) -> None:
    """Put a bundle in force again that was in force before."""
    found = call.client.post("policies", "bundles", _digest(call, digest), "activate").body
    call.answer(found, lambda: _bundle(found))


@command(
    app,
    "rollback",
    examples=[
        "charter policy rollback -m 'it stops every start'",
        "charter policy rollback sha256:3f… -m 'back to Monday'",
    ],
)
def rollback(
    call: Call,
    digest: Annotated[
        str | None,
        typer.Argument(metavar="DIGEST", help="Of charter policy bundles; a start will do."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="previous: the one before (also without DIGEST).")
    ] = None,
    why: Annotated[str, typer.Option("--why", "-m", help="Why; it is recorded.")] = "",
) -> None:
    """Go back to an earlier bundle; it counts everywhere with the next decision."""
    one_of(to, "--to", ("previous",))
    chosen = None if digest is None or to is not None else _digest(call, digest)
    body = {"digest": chosen, "why": why}
    found = call.client.post("policies", "rollback", body=body).body
    call.answer(found, lambda: _bundle(found))


@command(app, "history", examples=["charter policy history", "charter policy history --all"])
def history(call: Call, limit: Limit = 50, all_: All = False) -> None:
    """List what was in force when, who put it there and why."""
    page = call.client.page("policies", "history", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("WHEN", "DIGEST", "HOW", "BY", "WHY"),
            [(when(a["at"]), a["digest"][:19], a["kind"], a["by_handle"], a["why"]) for a in items],
        )

    call.listing(page, text, empty="Nothing has been in force yet.")


@command(
    app,
    "bundle",
    examples=["charter policy bundle 3f… --output bundle.json"],
)
def bundle(
    call: Call,
    digest: DigestArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it here, files and all.")
    ] = None,
) -> None:
    """Export a kept bundle with its signature, which anybody can check with the public key."""
    found = call.client.get("policies", "bundles", _digest(call, digest))
    if output is not None:
        output.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")

    def text() -> None:
        pairs(
            [
                ("digest", found["statement"]["digest"]),
                ("signature", found["signature"] or "none: it was never accepted"),
                ("public key", found["public_key"]),
                ("files", str(len(found["files"]))),
                ("written to", None if output is None else str(output)),
            ]
        )

    call.answer(found, text)


@command(
    app,
    "test",
    examples=["charter policy test policies/", "charter policy test policies/ --coverage --json"],
    server=False,
)
def run_tests(
    call: Call,
    folder: Folder,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Show which lines no test evaluates.")
    ] = False,
) -> None:
    """Run the tests of a folder of rules, on this machine; 1 if one fails or there are none."""
    from charter.adapters.rego.load import load_directory  # noqa: PLC0415 — loads the engine
    from charter.adapters.rego.testing import run_tests as tested  # noqa: PLC0415

    with working("test", "running the tests"):
        report = tested(load_directory(folder), coverage=coverage)
    ran = [t for t in report.tests if not t.skipped]
    failed = [t for t in ran if not t.passed]
    document = {
        "passed": report.passed,
        "tests": len(report.tests),
        "failed": len(failed),
        "skipped": len(report.tests) - len(ran),
        "outcomes": [
            {
                "name": t.name,
                "file": t.file,
                "line": t.line,
                "passed": t.passed,
                "skipped": t.skipped,
                "failure": None
                if t.failure is None
                else {
                    "line": t.failure.line,
                    "reason": t.failure.reason,
                    "statement": t.failure.statement,
                    "actual": t.failure.actual,
                    "expected": t.failure.expected,
                    "input": t.failure.input,
                },
                "prints": list(t.prints),
            }
            for t in report.tests
        ],
        "coverage": [
            {"file": c.file, "percent": round(c.percent, 1), "missed": list(c.missed)}
            for c in report.coverage
        ],
    }

    def text() -> None:
        for outcome in failed:
            say(printable(outcome.show()))
        if report.coverage:
            table(
                ("FILE", "COVERED", "LINES WITHOUT A TEST"),
                [(c.file, f"{c.percent:.1f} %", joined(c.missed)) for c in report.coverage],
            )
        if not ran:
            say(f"{folder} has no tests: write rules named test_… in files ending in _test.rego.")
            return
        word = coloured("passed", "green") if report.passed else coloured("FAILED", "red")
        say(f"{len(ran) - len(failed)} of {len(ran)} tests passed: {word}")

    call.answer(document, text)
    if not report.passed:
        raise typer.Exit(ExitCode.REFUSED)


@command(app, "check-load", examples=["charter policy check-load policies/"], server=False)
def check_load(call: Call, folder: Folder) -> None:
    """Check, on this machine, that a folder of rules could be loaded, and list its rules."""
    from charter.adapters.rego.assemble import assemble  # noqa: PLC0415 — loads the engine
    from charter.adapters.rego.describe import describe_rules  # noqa: PLC0415
    from charter.adapters.rego.load import load_directory  # noqa: PLC0415

    bundle = load_directory(folder)
    described = describe_rules(bundle)
    notices = assemble(bundle, tests=True).notices
    document = {
        "digest": bundle.digest,
        "files": len(bundle.files),
        "notices": list(notices),
        "rules": [
            {
                "id": r.id,
                "title": r.title,
                "effect": r.effect,
                "severity": r.severity,
                "mode": r.mode,
                "controls": list(r.controls),
                "fix": r.fix,
                "file": r.file,
                "line": r.line,
            }
            for r in described
        ],
    }

    def text() -> None:
        table(
            ("RULE", "EFFECT", "MODE", "AT", "TITLE"),
            [(r.id, r.effect, r.mode, f"{r.file}:{r.line}", r.title) for r in described],
        )
        for notice in notices:
            remark(f"note: {printable(notice)}")
        good = coloured("can be loaded", "green")
        say(f"{len(described)} rules in {len(bundle.files)} files: {good}.", bundle.digest)

    call.answer(document, text)


impact.register(app)
policy_opa.register(app)
policy_author.register(app)
playground.register(app)
exemptions.register(app)
policy_changes.register(app)
