"""`charter kubernetes`: manifests, certificates and constraints, without a server."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.core.kubernetes.structure import check_configuration

ADDRESS = "https://charter.example.com:8443"


def test_install_prints_manifests(charter: Any, tmp_path: Path) -> None:
    ended = charter("kubernetes", "install", "--dry-run", "--address", ADDRESS)
    assert ended.code == 0, ended.err
    (configuration,) = yaml.safe_load_all(ended.out)
    check_configuration(configuration)
    assert "TOKEN stands where" in ended.err
    again = charter("kubernetes", "install", "--dry-run", "--address", ADDRESS)
    assert again.out == ended.out
    token = tmp_path / "token"
    token.write_text("cep_abc\n")
    filled = charter(
        "kubernetes", "install", "--dry-run", "--address", ADDRESS, "--token-file", str(token)
    )
    assert "/workspaces/cep_abc" in filled.out
    assert filled.err == ""


def test_install_into_the_cluster(charter: Any) -> None:
    ended = charter("kubernetes", "install", "--dry-run", "--json", "--image", "charter:1")
    kinds = [one["kind"] for one in ended.document["items"]]
    assert kinds == [
        "Namespace", "Secret", "Service", "Deployment", "ValidatingWebhookConfiguration",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--address", "http://charter.example.com"), "webhook-url"),
        (("--class", "nothing"), "admission-class-unknown"),
        (("--token-file", "/nowhere/token"), "usage"),
        (("--policies", "/nowhere"), "policy-folder-missing"),
    ],
)  # fmt: skip
def test_install_refuses(charter: Any, arguments: tuple[str, ...], code: str) -> None:
    ended = charter("kubernetes", "install", "--dry-run", *arguments)
    assert ended.code != 0
    assert ended.out == ""
    assert code in ended.err


def test_install_without_kubectl_says_so(
    charter: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = charter("kubernetes", "install", "--address", ADDRESS)
    assert ended.code == 5
    assert "kubectl-missing" in ended.err
    assert not (tmp_path / "state" / "kubernetes").exists()


def test_install_applies_the_same_manifests(
    charter: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a program of that name that writes down what it is given."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "kubectl"
    program.write_text(
        f'#!/bin/sh\n[ -e "{tmp_path}/broken" ] && {{ echo "no route" >&2; exit 1; }}\n'
        f'cat > "{tmp_path}/applied.yaml"\necho "$@ done"\n'
    )
    program.chmod(stat.S_IRWXU)
    (tmp_path / "config").write_text("")
    (tmp_path / "token").write_text("cep_abc")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    options = ("--address", ADDRESS, "--token-file", str(tmp_path / "token"))
    assert charter("kubernetes", "install", "--address", ADDRESS).code == 2
    ended = charter("kubernetes", "install", *options)
    assert ended.code == 0, ended.err
    assert ended.out == "apply -f - done\n"
    printed = charter("kubernetes", "install", "--dry-run", *options).out
    assert (tmp_path / "applied.yaml").read_text().rstrip() == printed.rstrip()
    (tmp_path / "broken").touch()
    ended = charter("kubernetes", "install", *options)
    assert ended.code == 1
    assert "no route" in ended.err


def test_certificate(charter: Any) -> None:
    first = charter("kubernetes", "certificate", "--address", ADDRESS, "--json").document
    assert first["hosts"] == ["charter.example.com"]
    assert first["renewed"] is True
    assert Path(first["key"]).exists()
    again = charter("kubernetes", "certificate", "--address", ADDRESS, "--json").document
    assert again["renewed"] is False
    shown = charter("kubernetes", "certificate", "--address", ADDRESS, "--renew")
    assert "CHARTER_TLS_CERTIFICATE" in shown.out


def test_export(charter: Any, tmp_path: Path) -> None:
    ended = charter("kubernetes", "export")
    assert ended.code == 0, ended.err
    documents = list(yaml.safe_load_all(ended.out))
    assert {one["kind"] for one in documents[::2]} == {"ConstraintTemplate"}
    assert "stay with the webhook" in ended.err
    folder = tmp_path / "constraints"
    document = charter("kubernetes", "export", "--output", str(folder), "--json").document
    assert sorted(path.name for path in folder.iterdir()) == document["files"]
    assert len(documents) == 2 * len(document["rules"])
    assert all(one["reason"] for one in document["left_out"])
    assert charter("k8s", "export", "--output", str(folder)).code == 0
    assert charter("kubernetes", "export", "--format", "kyverno").code == 2
