"""`charter policy export-bundle` and `parity`: bundles for OPA, and OPA's opinion."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charter.cli.command import Call, command
from charter.cli.errors import CommandError, ExitCode, usage
from charter.cli.text import coloured, printable, say

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder with .rego files and data/*.json.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `charter policy`."""
    command(
        app,
        "export-bundle",
        examples=[
            "charter policy export-bundle policies/ --output charter.tar.gz",
            "charter policy export-bundle policies/ -o charter.tar.gz --signing-key ec-key.pem",
        ],
        server=False,
    )(export_bundle)
    command(
        app,
        "parity",
        examples=["OPA_URL=http://127.0.0.1:8181 charter policy parity policies/"],
        server=False,
    )(parity)


def export_bundle(
    call: Call,
    folder: Folder,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ],
    signing_key: Annotated[
        Path | None,
        typer.Option(
            "--signing-key", metavar="FILE", help="An EC P-256 private key (PEM); signs it ES256."
        ),
    ] = None,
) -> None:
    """Write the file that OPA downloads from Charter, from a folder of rules."""
    from charter.adapters.opa.bundle import opa_bundle  # noqa: PLC0415 — loads the engine
    from charter.adapters.rego.load import load_directory  # noqa: PLC0415

    bundle = load_directory(folder)
    content = opa_bundle(bundle, None if signing_key is None else _key(signing_key))
    output.write_bytes(content)
    call.said(
        {
            "digest": bundle.digest,
            "file": str(output),
            "bytes": len(content),
            "signed": signing_key is not None,
        },
        f"{output} holds {bundle.digest}, {len(content)} bytes"
        f"{'' if signing_key is None else ', signed'}.",
    )


def _key(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 — only here
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise usage(
            f"{path} holds no EC P-256 private key.",
            "Make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256.",
        )
    return key


def parity(
    call: Call,
    folder: Folder,
    opa_url: Annotated[
        str | None,
        typer.Option(
            "--opa-url", metavar="URL", help="An OPA server; OPA_URL or CHARTER_OPA_URL otherwise."
        ),
    ] = None,
) -> None:
    """Run the tests of a folder of rules in OPA too; 1 if the engines differ anywhere."""
    from charter.adapters.opa.client import OpaClient, OpaError  # noqa: PLC0415 — only here
    from charter.adapters.opa.parity import compare  # noqa: PLC0415 — loads the engine
    from charter.adapters.rego.load import load_directory  # noqa: PLC0415

    url = opa_url or os.environ.get("OPA_URL") or os.environ.get("CHARTER_OPA_URL")
    if url is None:
        raise usage(
            "No OPA server is named.", "Start one (opa run --server) and set OPA_URL or --opa-url."
        )
    try:
        found = compare(load_directory(folder), OpaClient(url))
    except OpaError as error:
        raise CommandError(
            f"The OPA at {url} cannot be used: {error.message}.",
            fix="Start it: opa run --server.",
            code="opa-unavailable",
        ) from error

    def text() -> None:
        for difference in found.differences:
            say(printable(difference.show()))
        word = coloured("agree", "green") if found.agrees else coloured("DIFFER", "red")
        say(f"{found.tests} tests here and in {printable(found.engine)}: the engines {word}.")

    call.answer(
        {
            "agrees": found.agrees,
            "engine": found.engine,
            "tests": found.tests,
            "differing": found.differing,
            "differences": [difference.as_json() for difference in found.differences],
        },
        text,
    )
    if not found.agrees:
        raise typer.Exit(ExitCode.REFUSED)
