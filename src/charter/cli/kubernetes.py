"""`charter kubernetes …`: make a cluster ask Charter, or give it the rules for Gatekeeper.

These commands work on this machine, from a folder of policies; no server is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charter import clock
from charter.cli.arguments import one_of
from charter.cli.command import Call, command, noun
from charter.cli.errors import CommandError, ExitCode, usage
from charter.cli.machine import read_settings
from charter.cli.show import table
from charter.cli.text import pairs, printable, remark, say, when

if TYPE_CHECKING:
    from charter.adapters.kubernetes.certificates import Certificates
    from charter.core.kubernetes.manifests import Target
    from charter.core.policy.bundle import Bundle

app = noun("Clusters: their admission webhook, and rules for Gatekeeper.")

Namespace = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAME", help="Charter's own namespace.")
]
Service = Annotated[
    str, typer.Option("--service", metavar="NAME", help="Charter's Service in the cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="URL", help="Charter outside the cluster: its https address."
    ),
]
Policies = Annotated[
    Path | None,
    typer.Option("--policies", metavar="DIR", help="A folder of policies; else those shipped."),
]
_KUBECTL_SECONDS = 120.0


def _bundle(folder: Path | None) -> Bundle:
    from charter.adapters.rego.load import load_directory, shipped_bundle  # noqa: PLC0415

    folder = folder or read_settings().policy_dir
    return shipped_bundle() if folder is None else load_directory(folder)


def _certificates(target: Target, *, renew: bool) -> tuple[Certificates, Path]:
    from charter.adapters.kubernetes.certificates import ensure_certificates  # noqa: PLC0415

    folder = read_settings().state_dir.absolute() / "kubernetes"
    return ensure_certificates(folder, target.hosts, clock.now(), renew=renew), folder


@command(
    app,
    "install",
    server=False,
    examples=[
        "charter kubernetes install --dry-run --address https://charter.example.com:8443",
        "charter kubernetes install --dry-run --service charter --image IMAGE@sha256:… | less",
    ],
)
def install(
    call: Call,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the manifests; apply nothing.")
    ] = False,
    namespace: Namespace = "charter",
    address: Address = None,
    service: Service = "charter",
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="Only this admission class; repeatable."),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="IMAGE", help="Also print a Deployment of this image."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="The enforcement point's token."),
    ] = None,
    policies: Policies = None,
) -> None:
    """Print or apply what makes a cluster ask Charter before it accepts an object.

    The manifests hold a certificate of Charter's own authority and its key; treat them as secrets.
    The authority is made once and kept in the state folder, also by --dry-run: what it printed has
    to fit the server that is started later. Without --dry-run, kubectl applies the manifests.
    """
    import yaml  # noqa: PLC0415 — only here and in export

    from charter.core.kubernetes.manifests import (  # noqa: PLC0415
        TOKEN_PLACEHOLDER,
        Target,
        install_manifests,
    )

    token = TOKEN_PLACEHOLDER if token_file is None else _token(token_file)
    target = Target(namespace, None if address else service, address, token)
    settings = _settings(_bundle(policies))
    if not dry_run:
        _check_kubectl()
        if token == TOKEN_PLACEHOLDER:
            raise usage(
                "Without a token the cluster could not ask.",
                "Register the cluster (charter enforcement-point register), and give --token-file.",
            )
    made, _ = _certificates(target, renew=False)
    manifests = install_manifests(
        settings,
        target,
        authority=made.authority,
        certificate=made.certificate,
        key=made.key,
        classes=classes or (),
        image=image,
    )
    text = yaml.safe_dump_all(manifests, sort_keys=False, allow_unicode=True, width=4096)
    if dry_run:
        call.answer({"items": manifests}, lambda: say(text.rstrip()))
        if token == TOKEN_PLACEHOLDER:
            remark("TOKEN stands where the enforcement point's token belongs: use --token-file.")
        return
    applied = _apply(text)
    call.said({"applied": applied}, "\n".join(applied))


def _settings(bundle: Bundle) -> Any:
    from charter.core.policy.data import PolicyData  # noqa: PLC0415

    settings = PolicyData.from_bundle(bundle).kubernetes
    if settings is None:
        raise CommandError(
            "These policies have no data/kubernetes.json, so they say nothing about clusters.",
            fix="Add the document; the shipped policies have one.",
            code="kubernetes-not-in-policy",
        )
    return settings


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise usage(f"{path} cannot be read: {error.strerror}.", "Give the token's file.") from None
    if not token.isascii() or not token.replace("-", "").replace("_", "").isalnum():
        raise usage(f"{path} holds no token.", "Write the token, and nothing else, into the file.")
    return token


def _check_kubectl() -> None:
    """Refuse before anything is made when nothing could be applied."""
    configured = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if shutil.which("kubectl") is None or not Path(configured.split(os.pathsep)[0]).is_file():
        raise CommandError(
            "There is no kubectl, or no kubeconfig, so nothing can be applied from here.",
            fix="Print the manifests with --dry-run, and apply them where there is one.",
            code="kubectl-missing",
            exit_code=ExitCode.UNAVAILABLE,
        )


def _apply(text: str) -> list[str]:
    try:
        ran = subprocess.run(
            ["kubectl", "apply", "-f", "-"],
            input=text,
            capture_output=True,
            text=True,
            timeout=_KUBECTL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(
            "kubectl did not finish.", fix="Look at the cluster.", code="kubectl-failed"
        ) from error
    if ran.returncode != 0:
        raise CommandError(
            f"kubectl refused: {printable(ran.stderr.strip())}",
            fix="Correct what it names; applying again is safe.",
            code="kubectl-failed",
        )
    return [printable(line) for line in ran.stdout.splitlines()]


@command(
    app,
    "certificate",
    server=False,
    examples=[
        "charter kubernetes certificate --address https://charter.example.com:8443",
        "charter kubernetes certificate --service charter --renew",
    ],
)
def certificate(
    call: Call,
    namespace: Namespace = "charter",
    address: Address = None,
    service: Service = "charter",
    renew: Annotated[
        bool, typer.Option("--renew", help="Make another one, however long this one lasts.")
    ] = False,
) -> None:
    """Make or renew the webhook's certificate, and say where it is and until when it lasts.

    The authority stays the same, so the cluster needs no change; Charter has to be started anew.
    """
    from charter.core.kubernetes.manifests import Target  # noqa: PLC0415

    made, folder = _certificates(
        Target(namespace, None if address else service, address), renew=renew
    )
    document = {
        "certificate": str(folder / "tls.crt"),
        "key": str(folder / "tls.key"),
        "authority": str(folder / "ca.crt"),
        "hosts": list(made.hosts),
        "expires_at": made.expires_at.isoformat(),
        "renewed": made.renewed,
    }

    def text() -> None:
        pairs(
            [
                ("CHARTER_TLS_CERTIFICATE", document["certificate"]),
                ("CHARTER_TLS_KEY", document["key"]),
                ("authority", document["authority"]),
                ("for", ", ".join(made.hosts)),
                ("until", when(made.expires_at.isoformat())),
            ]
        )

    call.answer(document, text)


@command(
    app,
    "export",
    server=False,
    examples=[
        "charter kubernetes export --format gatekeeper > constraints.yaml",
        "charter kubernetes export --format gatekeeper --output constraints/ --json",
    ],
)
def export(
    call: Call,
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="gatekeeper.")
    ] = "gatekeeper",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write a file for each rule there."),
    ] = None,
    policies: Policies = None,
) -> None:
    """Write the rules that fit as Gatekeeper ConstraintTemplates with their Constraints.

    A rule fits when it needs the object and the policy's numbers only; the others are listed with
    the reason, and stay with the webhook.
    """
    import yaml  # noqa: PLC0415 — only here and in install

    from charter.adapters.kubernetes.gatekeeper import export_rules  # noqa: PLC0415

    one_of(format_, "--format", ("gatekeeper",))
    exported = export_rules(_bundle(policies))
    files = {
        f"{one.name}.yaml": yaml.safe_dump_all(
            [one.template, one.constraint], sort_keys=False, allow_unicode=True, width=4096
        )
        for one in exported.rules
    }
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (output / name).write_text(content)
    document = {
        "rules": [
            {"rule": one.rule, "template": one.template, "constraint": one.constraint}
            for one in exported.rules
        ],
        "left_out": [{"rule": rule, "reason": reason} for rule, reason in exported.left_out],
        "files": sorted(files) if output is not None else [],
    }

    def text() -> None:
        if output is None:
            say("---\n".join(files.values()).rstrip())
        else:
            table(("RULE", "FILE"), [(one.rule, f"{one.name}.yaml") for one in exported.rules])
        remark(f"{len(exported.rules)} rules fit; {len(exported.left_out)} stay with the webhook:")
        for rule, reason in exported.left_out:
            remark(f"  {rule}: {reason}")

    call.answer(document, text)
