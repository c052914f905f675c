"""Exported rules give the verdict that Charter gives, in a real OPA."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from charter.adapters.kubernetes.gatekeeper import Export, export_rules, library
from charter.adapters.rego.engine import RegorusEngine
from charter.adapters.rego.load import shipped_bundle
from charter.core.kubernetes.document import decision_document
from charter.core.kubernetes.review import read_review
from tests.core.kubernetes.reviews import (
    DIGEST,
    LABELS,
    agent_spec,
    claim,
    container,
    pod,
    pod_spec,
    review,
    workload,
)
from tests.peers import opa_program, why_no_opa
from tests.spec import spec as proves

OPA = opa_program()


@pytest.fixture(scope="module")
def exported() -> Export:
    return export_rules(shipped_bundle())


@pytest.fixture(scope="module")
def engine() -> RegorusEngine:
    return RegorusEngine(shipped_bundle())


@proves("PC-12")
def test_what_fits_and_why_the_rest_does_not(exported: Export) -> None:
    fits = {one.rule for one in exported.rules}
    reasons = dict(exported.left_out)
    assert len(fits) >= 20
    assert all(rule.startswith("kubernetes") for rule in fits)
    assert not fits & reasons.keys()
    assert "asked_by_agent" in reasons["kubernetes-agent/connect"]
    assert "problems" in reasons["kubernetes/unreadable-object"]
    assert all(reason and "\n" not in reason for reason in reasons.values())


@proves("PC-12")
def test_the_shape_of_templates_and_constraints(exported: Export) -> None:
    for one in exported.rules:
        template, constraint = one.template, one.constraint
        kind = template["spec"]["crd"]["spec"]["names"]["kind"]
        assert template["apiVersion"] == "templates.gatekeeper.sh/v1"
        assert template["metadata"]["name"] == kind.lower() == one.name
        assert constraint["kind"] == kind
        (target,) = template["spec"]["targets"]
        assert target["target"] == "admission.k8s.gatekeeper.sh"
        source = target["code"][0]["source"]
        assert source["rego"].startswith(f"package {one.name}\n")
        assert source["libs"] == [library()]
        assert library().count("package lib.") == 1
        schema = template["spec"]["crd"]["spec"]["validation"]["openAPIV3Schema"]
        typed(schema)
        assert constraint["spec"]["enforcementAction"] in {"deny", "warn", "dryrun"}


def typed(schema: dict[str, Any]) -> None:
    """A structural schema has a type on every level."""
    assert schema["type"] in {"object", "array", "string", "integer", "boolean"}
    for inner in [*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])]:
        typed(inner)


def test_the_action_follows_the_mode() -> None:
    modes = {"kubernetes/privileged": "dry-run", "kubernetes/host-port": "warn"}
    modes["kubernetes/host-path"] = "off"
    bundle = shipped_bundle()
    enforcement: Any = bundle.settings()["enforcement"]
    enforcement["rules"] = modes
    changed = bundle.with_files({"data/enforcement.json": json.dumps(enforcement)})
    made = export_rules(changed)
    actions = {one.rule: one.constraint["spec"]["enforcementAction"] for one in made.rules}
    assert actions["kubernetes/privileged"] == "dryrun"
    assert actions["kubernetes/host-port"] == "warn"
    assert actions["kubernetes/requests-missing"] == "warn"
    assert actions["kubernetes/large-pod"] == "deny"
    assert dict(made.left_out)["kubernetes/host-path"] == "it is switched off"


def limited(cpu: str, memory: str = "1Gi", **more: str) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": memory, **more}
    return container(resources={"limits": amounts, "requests": amounts})


SECRET = {"name": "DB_PASSWORD", "value": "hunter22"}
PROJECTED = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
OBJECTS: dict[str, dict[str, Any]] = {
    "in order": pod(),
    "deployment in order": workload("Deployment"),
    "cron job in order": workload("CronJob"),
    "claim in order": claim("10Gi"),
    "agent in order": workload("Sandbox", agent_spec(), annotations={"charter/egress": "a.b"}),
    "no registry": pod(pod_spec(containers=[container(image=f"ubuntu@{DIGEST}")])),
    "latest": pod(pod_spec(containers=[container(image="registry.example.com/a/b")])),
    "tag": pod(pod_spec(containers=[container(image="registry.example.com/a/b:1.2")])),
    "tag and digest": pod(
        pod_spec(containers=[container(image=f"registry.example.com:5000/a:latest@{DIGEST}")])
    ),
    "folder of the default registry": pod(pod_spec(containers=[container(image="acme/tool:1")])),
    "host network": workload("StatefulSet", pod_spec(hostNetwork=True, hostIPC=True)),
    "host pid": workload("DaemonSet", pod_spec(hostPID=True)),
    "host path": pod(pod_spec(volumes=[{"name": "v", "hostPath": {"path": "/etc"}}])),
    "host port": pod(pod_spec(containers=[container(ports=[{"hostPort": 80}])])),
    "privileged": pod(pod_spec(containers=[container(securityContext={"privileged": True})])),
    "windows": pod(pod_spec(securityContext={"windowsOptions": {"hostProcess": True}})),
    "capability": pod(
        pod_spec(
            containers=[
                container(securityContext={"capabilities": {"add": ["cap_sys_admin"]}}),
                container(securityContext={"capabilities": {"add": ["NET_BIND_SERVICE"]}}),
            ]
        )
    ),
    "init container": pod(pod_spec(initContainers=[container(image="x", name="i")])),
    "no limits": pod(pod_spec(containers=[container(resources={})])),
    "only memory": pod(pod_spec(containers=[container(resources={"limits": {"memory": "1Gi"}})])),
    "secret": pod(pod_spec(containers=[container(env=[SECRET])])),
    "secret file": pod(pod_spec(containers=[container(env=[SECRET | {"name": "TOKEN_FILE"}])])),
    "no labels": pod(labels={}),
    "annotations for labels": pod(labels={}, annotations=LABELS),
    "large": pod(pod_spec(containers=[limited("20"), limited("12.5")])),
    "at the limit": pod(pod_spec(containers=[limited("32000m")])),
    "too large": pod(pod_spec(containers=[limited("1e3", "600Gi")])),
    "gpu": pod(pod_spec(containers=[limited("1", "1Gi", **{"nvidia.com/gpu": "9"})])),
    "big claim": claim("200.001Gi"),
    "claim at the limit": claim("200Gi"),
    "agent by label": pod(labels=LABELS | {"charter/agent": "true"}),
    "agent's claim": claim("100Gi", labels=LABELS | {"charter/agent": "true"}),
    "agent by account": pod(pod_spec(serviceAccountName="charter-agent-7")),
    "agent with a token": workload("Sandbox", agent_spec(volumes=[PROJECTED])),
    "agent with automount": workload("Sandbox", agent_spec(automountServiceAccountToken=None)),
    "agent too large": workload("Sandbox", agent_spec(containers=[limited("8001m", "16385Mi")])),
    "agent with gpu": workload("Sandbox", agent_spec(containers=[limited("1", "1Gi", gpu="1")])),
}  # fmt: skip
UPDATES = {
    "nothing changed": (pod(pod_spec(hostPID=True)), pod(pod_spec(hostPID=True), finalizers=["x"])),
    "changed": (pod(), pod(pod_spec(hostPID=True))),
    "deleting": (pod(), pod(pod_spec(hostPID=True), deletionTimestamp="2026-01-01T00:00:00Z")),
}


def verdict_of_opa(
    folder: Path, exported: Export, requests: dict[str, dict[str, Any]]
) -> dict[str, set[tuple[str, str]]]:
    """What the exported rules say of each request, in one run of a real OPA."""
    (folder / "lib.rego").write_text(library())
    parameters: Any = {}
    for one in exported.rules:
        source = one.template["spec"]["targets"][0]["code"][0]["source"]["rego"]
        # As it is written to a file and read back by a cluster.
        (folder / f"{one.name}.rego").write_text(yaml.safe_load(yaml.safe_dump(source)))
        parameters = one.constraint["spec"]["parameters"]
    found: dict[str, set[tuple[str, str]]] = {}
    queries = {
        name: {"review": request, "parameters": parameters} for name, request in requests.items()
    }
    (folder / "data.json").write_text(json.dumps({"queries": queries}))
    each = "\n".join(
        f'said contains [name, "{one.rule}", v.msg] if {{\n\tsome name, document in data.queries\n'
        f"\tsome v in data.{one.name}.violation with input as document\n}}\n"
        for one in exported.rules
    )
    (folder / "all.rego").write_text(f"package all\n\n{each}")
    ran = subprocess.run(
        [
            str(OPA),
            "eval",
            "--v1-compatible",
            "--fail",
            "-f",
            "json",
            "-d",
            str(folder),
            "data.all.said",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for name, rule, message in json.loads(ran.stdout)["result"][0]["expressions"][0]["value"]:
        found.setdefault(name, set()).add((rule, message.removeprefix(f"[{rule}] ")))
    return found


@proves("PC-12")
@pytest.mark.skipif(OPA is None, reason=why_no_opa())
def test_the_same_verdict_as_ours(exported: Export, engine: RegorusEngine, tmp_path: Path) -> None:
    requests = {name: review(value)["request"] for name, value in OBJECTS.items()}
    for name, (old, new) in UPDATES.items():
        requests[name] = review(new, operation="UPDATE", oldObject=copy.deepcopy(old))["request"]
    controller = {"username": "system:serviceaccount:kube-system:replicaset-controller"}
    owned = pod(labels={}, ownerReferences=[{"kind": "ReplicaSet", "controller": True}])
    requests["a controller"] = review(owned, userInfo=controller)["request"]
    requests["as if a controller"] = review(owned)["request"]
    theirs = verdict_of_opa(tmp_path, exported, requests)
    fits = {one.rule for one in exported.rules}
    settings = engine.data.kubernetes
    assert settings is not None
    fired: set[str] = set()
    for name, request in requests.items():
        sent = json.dumps(review() | {"request": request}).encode()
        document = decision_document(read_review(sent), settings)
        document["context"]["now"] = "2026-03-02T09:00:00.000000Z"
        ours = {(v.rule, v.message) for v in engine.decide(document).violations if v.rule in fits}
        assert theirs.get(name, set()) == ours, name
        fired |= {rule for rule, _ in ours}
    assert fired == fits, "every rule is compared while it speaks"


def test_names_are_those_of_the_library() -> None:
    """Gatekeeper takes libraries below `lib` only."""
    assert "\npackage lib.kubernetes\n" in library()
