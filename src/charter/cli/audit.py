"""`charter audit …`: read the trail, prove entries of it, and verify what was exported."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from charter import clock
from charter.cli.arguments import file_text, one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import CommandError, ExitCode, usage
from charter.cli.show import table
from charter.cli.text import coloured, pairs, printable, say, when
from charter.core.audit.event import Outcome

app = noun("The audit trail: read, prove, verify.")

# A checkpoint or a key is a few hundred bytes.
_LARGEST_NOTE_BYTES: Final = 65_536


@command(
    app,
    "list",
    examples=[
        "charter audit list",
        "charter audit list --actor agt_01h… --outcome denied",
        "charter audit list --action workspace.create --limit 500 --json",
    ],
)
def list_(
    call: Call,
    actor: Annotated[str | None, typer.Option("--actor", help="Only by this one (id).")] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="Only these, such as workspace.create.")
    ] = None,
    resource: Annotated[
        str | None, typer.Option("--resource", help="Only about this one (id).")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="Only these: " + ", ".join(Outcome) + ".")
    ] = None,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List entries of the trail that you may see, newest first."""
    page = call.client.page(
        "audit",
        "events",
        limit=None if all_ else limit,
        query={
            "actor": actor,
            "action": action,
            "resource": resource,
            "outcome": one_of(outcome, "--outcome", Outcome),
        },
    )

    def text(items: list[Any]) -> None:
        table(
            ("ENTRY", "AT", "ACTOR", "ACTION", "RESOURCE", "OUTCOME", "WHY", "ID"),
            [
                (
                    "pending" if e["index"] is None else e["index"],
                    when(e["at"]),
                    e["actor"] or e["actor_id"],
                    e["action"],
                    f"{e['resource_kind']} {e['resource_id']}",
                    e["outcome"],
                    ", ".join(e["reason_codes"]),
                    e["id"],
                )
                for e in items
            ],
        )

    call.listing(page, text, empty="No entry of the trail matches.")


@command(
    app, "state", examples=["charter audit state", "charter audit state --json | jq -r .checkpoint"]
)
def state(call: Call) -> None:
    """Show how far the trail is sealed, and the newest signed checkpoint.

    Keep the checkpoint and the verifier key somewhere else: with them, `charter audit verify` shows
    later that nothing was cut off or rewritten.
    """
    found = call.client.get("audit", "state")

    def text() -> None:
        pairs(
            [
                ("entries", str(found["size"])),
                ("not yet sealed", str(found["pending"])),
                ("sealed at", when(found["sealed_at"])),
                ("root", found["root"]),
                ("verifier key", found["verifier_key"]),
                ("checkpoint", (found["checkpoint"] or "").rstrip()),
            ]
        )

    call.answer(found, text)


@command(
    app,
    "proof",
    examples=["charter audit proof evt_01h… --output login.tlog-proof"],
)
def proof(
    call: Call,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The entry's id (evt_…).")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to this file.")
    ] = None,
) -> None:
    """Get the proof that an entry is in the trail; `charter audit verify` checks it offline."""
    found = call.client.text("audit", "events", event, "proof")
    if output is not None:
        try:
            output.write_text(found, encoding="utf-8")
        except OSError as error:
            raise _unwritable(output, error) from error
    document = {"event": event, "proof": found, "file": None if output is None else str(output)}
    call.answer(
        document,
        lambda: say(printable(found).rstrip() if output is None else f"Written to {output}."),
    )


@command(
    app,
    "export",
    examples=["charter audit export", "charter audit export --output trail.zip --force"],
)
def export(
    call: Call,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The zip file; else named for today, in this folder."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the file.")] = False,
) -> None:
    """Export the sealed trail as a zip that can be verified without server or database."""
    file = output or Path(f"charter-audit-{clock.now():%Y-%m-%d}.zip")
    if file.is_dir():
        raise usage(f"{file} is a folder.", "Name a file with --output.")
    if file.exists() and not force:
        raise usage(f"{file} is there already.", "Add --force to replace it, or use --output.")
    try:
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".charter-export-") as folder:
            part = Path(folder) / "export.zip"
            size = call.client.download("audit", "export", into=part)
            part.replace(file)
    except OSError as error:
        raise _unwritable(file, error) from error

    def text() -> None:
        say(f"{size} bytes written to {file}.")
        say(f"Check it anywhere: charter audit verify {file} --key KEY")

    call.answer({"file": str(file), "size_bytes": size}, text)


def _unwritable(file: Path, error: OSError) -> CommandError:
    return CommandError(
        f"{file} cannot be written: {error.strerror or error}.",
        fix="Name another file with --output.",
        code="file-unwritable",
    )


@command(
    app,
    "verify",
    examples=[
        "charter audit verify charter-audit-2027-01-31.zip --key log.pub",
        "charter audit verify trail.zip --key log.pub --previous checkpoint-of-last-week",
        "charter audit verify login.tlog-proof --key log.pub --json",
    ],
    server=False,
)
def verify(
    call: Call,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="An exported zip or folder, or a proof.")
    ],
    key: Annotated[
        str | None,
        typer.Option("--key", help="The verifier key that you trust, or a file that holds it."),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option("--previous", help="A checkpoint kept from earlier: has the log only grown?"),
    ] = None,
) -> None:
    """Check an exported trail offline: no server, no database; 1 if anything is wrong.

    Without --key it only shows that the export agrees with itself, not who made it.
    """
    from charter import audit_verify  # noqa: PLC0415 — cryptography costs its import only here
    from charter.core.audit.proof import HEADER, MAX_PROOF_BYTES  # noqa: PLC0415

    trusted = None if key is None else _key(key)
    older = None if previous is None else file_text(previous, _LARGEST_NOTE_BYTES)
    try:
        if _starts_with(path, HEADER.encode()):
            if trusted is None:
                raise usage("A proof is checked against a key.", "Give it with --key.")
            report = audit_verify.verify_proof(
                file_text(path, MAX_PROOF_BYTES), trusted_key=trusted
            )
        else:
            report = audit_verify.verify(path, trusted_key=trusted, previous_checkpoint=older)
    except audit_verify.QuestionError as error:
        raise usage(str(error), "charter audit verify --help shows what it takes.") from error

    def text() -> None:
        first, *rest = report.sentences()
        say(coloured(printable(first), "green" if report.ok else "red"))
        say(*map(printable, rest))

    call.answer(report.as_json(), text)
    if not report.ok:
        raise typer.Exit(ExitCode.REFUSED)


def _starts_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False  # a folder, or nothing there: the verifier says it better


def _key(text: str) -> str:
    """The key itself, or the content of the file that is named."""
    file = Path(text)
    try:
        is_file = file.is_file()
    except OSError:  # a key may be too long for a file's name
        is_file = False
    return file_text(file, _LARGEST_NOTE_BYTES).strip() if is_file else text
