"""One shape for the pods of all kinds, and the facts beside it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.errors import InvalidInputError
from charter.core.kubernetes.document import decision_document
from charter.core.kubernetes.images import read_image
from charter.core.kubernetes.review import read_review
from charter.core.policy.data import PolicyData
from tests.core.kubernetes.reviews import (
    DIGEST,
    GROUPS,
    agent_spec,
    body,
    claim,
    container,
    devworkspace,
    pod,
    pod_spec,
    workload,
)
from tests.spec import spec as proves

DATA = PolicyData.from_bundle(shipped_bundle()).kubernetes
assert DATA is not None
SETTINGS = DATA
WITH_A_POD = [kind for kind in GROUPS if not kind.startswith(("Persistent", "DevWorkspace"))]


def document(value: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    return decision_document(read_review(body(value, **request)), SETTINGS)


def spec(value: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    found: dict[str, Any] = document(value, **request)["resource"]["spec"]
    return found


@proves("PC-1", "PC-8")
@pytest.mark.parametrize("kind", WITH_A_POD)
def test_one_shape_for_every_kind(kind: str) -> None:
    found = spec(workload(kind))
    (judged,) = found["pods"]
    (plain,) = spec(pod())["pods"]
    assert judged | {"where": ""} == plain | {"where": ""}
    assert judged["cpu_milli"] == 500
    assert judged["memory_mib"] == 1024
    assert found["problems"] == []
    assert found["agent"] == kind.startswith("Sandbox")


@proves("PC-1")
def test_the_request_is_the_kubernetes_request() -> None:
    sent = json.loads(body(pod()))["request"]
    assert document(pod())["request"] == sent


def test_sizes_add_up_and_init_containers_take_turns() -> None:
    def sized(name: str, cpu: str, **more: Any) -> dict[str, Any]:
        return container(name=name, resources={"limits": {"cpu": cpu, "nvidia.com/gpu": 1}}, **more)

    (found,) = spec(
        pod(
            pod_spec(
                containers=[sized("a", "1"), sized("b", "500m")],
                initContainers=[sized("c", "4"), sized("d", "1", restartPolicy="Always")],
            )
        )
    )["pods"]
    assert found["cpu_milli"] == 4000
    assert found["gpu"] == 3
    assert [c["role"] for c in found["containers"]] == ["main", "main", "init", "sidecar"]


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"hostNetwork": True}, "host_network", True),
        ({"hostPID": True}, "host_pid", True),
        ({"hostIPC": True}, "host_ipc", True),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]}, "host_paths", ["/etc"]),
        ({"volumes": [{"name": "v", "hostPath": {}}]}, "host_paths", ["/"]),
        ({"runtimeClassName": "gvisor"}, "runtime_class", "gvisor"),
        ({"serviceAccountName": "builder"}, "service_account", "builder"),
        ({"automountServiceAccountToken": None}, "mounts_token", True),
        (
            {"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {}}]}}]},
            "mounts_token",
            True,
        ),
    ],
)  # fmt: skip
def test_what_a_pod_shares(change: dict[str, Any], field: str, value: object) -> None:
    (found,) = spec(workload("Deployment", pod_spec(**change)))["pods"]
    assert found[field] == value


def test_what_a_container_may_do() -> None:
    security = {"privileged": True, "capabilities": {"add": ["CAP_SYS_ADMIN", "net_raw"]}}
    made = container(securityContext=security, ports=[{"hostPort": 80}, {"containerPort": 1}])
    (found,) = spec(pod(pod_spec(containers=[made])))["pods"]
    (only,) = found["containers"]
    assert only["privileged"]
    assert only["capabilities"] == ["SYS_ADMIN", "NET_RAW"]
    assert only["host_ports"] == 1


def test_a_windows_host_process_is_privileged() -> None:
    windows = {"windowsOptions": {"hostProcess": True}}
    (found,) = spec(pod(pod_spec(securityContext=windows)))["pods"]
    assert found["containers"][0]["privileged"]


@pytest.mark.parametrize(
    ("image", "repository", "tag", "pinned"),
    [
        ("ubuntu", "docker.io/library/ubuntu", "latest", False),
        ("ubuntu:22.04", "docker.io/library/ubuntu", "22.04", False),
        ("acme/tool", "docker.io/acme/tool", "latest", False),
        ("localhost/tool:1", "localhost/tool", "1", False),
        ("localhost:5000/tool", "localhost:5000/tool", "latest", False),
        ("Registry.Example.com/a/b:1", "registry.example.com/a/b", "1", False),
        (f"registry.example.com/a@{DIGEST}", "registry.example.com/a", "", True),
        (f"registry.example.com/a:latest@{DIGEST}", "registry.example.com/a", "latest", True),
    ],
)  # fmt: skip
def test_images(image: str, repository: str, tag: str, *, pinned: bool) -> None:
    assert read_image(image) == {"repository": repository, "tag": tag, "pinned": pinned}


@pytest.mark.parametrize(
    "image", ["", " ", "a b", "a@sha256:1", "a@md5:0", "a//b", "a/", "a:b:c", "../a", "a\n", "é"]
)
def test_no_images(image: str) -> None:
    assert read_image(image) is None
    assert spec(pod(pod_spec(containers=[container(image=image)])))["problems"]


def test_claims() -> None:
    assert spec(claim("10Gi"))["claims"] == [{"name": "api", "storage_mib": 10240}]
    stateful = workload("StatefulSet")
    stateful["spec"]["volumeClaimTemplates"] = [
        {"metadata": {"name": "home"}, "spec": {"resources": {"requests": {"storage": "1G"}}}}
    ]
    assert spec(stateful)["claims"] == [{"name": "home", "storage_mib": 954}]
    ephemeral = {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}}
    volumes = [{"name": "scratch", "ephemeral": ephemeral}]
    assert spec(pod(pod_spec(volumes=volumes)))["claims"][0]["storage_mib"] == 2048
    assert spec(claim("much"))["problems"]


def test_a_devworkspace_is_a_pod_too() -> None:
    tools = {
        "name": "tools",
        "container": {
            "image": f"registry.example.com/dev/tools@{DIGEST}",
            "cpuLimit": "2",
            "memoryLimit": "4Gi",
            "cpuRequest": "1",
            "env": [{"name": "TOKEN", "value": "very-secret"}],
        },
        "attributes": {"container-overrides": {"securityContext": {"privileged": True}}},
    }
    data = {"name": "data", "volume": {"size": "20Gi"}}
    scratch = {"name": "scratch", "volume": {"size": "20Gi", "ephemeral": True}}
    made = devworkspace(tools, data, scratch, annotations={"charter/egress": "git.example.org, "})
    made["spec"]["template"]["attributes"] = {
        "pod-overrides": '{"spec": {"hostNetwork": true, "runtimeClassName": "kata"}}'
    }
    found = spec(made)
    (judged,) = found["pods"]
    assert judged["host_network"]
    assert judged["runtime_class"] == "kata"
    assert (judged["cpu_milli"], judged["memory_mib"]) == (2000, 4096)
    assert judged["containers"][0]["privileged"]
    assert judged["containers"][0]["secret_variables"] == ["TOKEN"]
    assert found["claims"] == [{"name": "data", "storage_mib": 20480}]
    assert found["egress_allowlist"] == ["git.example.org"]
    assert "very-secret" not in json.dumps(document(made))


def test_secrets_are_masked_everywhere() -> None:
    made = container(
        env=[
            {"name": "DB_PASSWORD", "value": "hunter22"},
            {"name": "SETTING", "value": "AKIA" + "A" * 16},
            {"name": "TOKEN_FILE", "value": "/run/token"},
            {"name": "API_KEY", "value": "$(OTHER)"},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ]
    )
    copied = {"kubectl.kubernetes.io/last-applied-configuration": "…hunter22…"}
    value = pod(pod_spec(containers=[made]), annotations=copied)
    found = document(value, operation="UPDATE", oldObject=copy.deepcopy(value))
    text = json.dumps(found)
    assert "hunter22" not in text
    assert "AKIA" not in text
    assert "/run/token" in text
    (judged,) = found["resource"]["spec"]["pods"]
    assert judged["containers"][0]["secret_variables"] == ["DB_PASSWORD", "SETTING"]


@pytest.mark.parametrize(
    "value",
    [
        pod(labels={"charter/agent": "true"}),
        pod(agent_spec(serviceAccountName="charter-agent-7")),
        workload("Sandbox"),
    ],
    ids=["label", "service account", "sandbox"],
)
def test_what_is_an_agents(value: dict[str, Any]) -> None:
    assert spec(value)["agent"]


def test_a_sign_on_the_template_counts_and_taking_it_away_does_not() -> None:
    deployment = workload("Deployment")
    deployment["spec"]["template"]["metadata"]["labels"]["charter/agent"] = "true"
    assert spec(deployment)["agent"]
    cron = workload("CronJob")
    cron["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]["charter/agent"] = "true"
    assert spec(cron)["agent"]
    before = pod(labels={"charter/agent": "true"})
    assert spec(pod(labels={}), operation="UPDATE", oldObject=before)["agent"]
    assert not spec(pod(labels={"charter/agent": "false"}))["agent"]


@pytest.mark.parametrize(
    ("username", "kind", "name"),
    [
        ("charter:dana", "human", "dana"),
        ("charter-agent:agt_1", "agent", "agt_1"),
        ("system:serviceaccount:kube-system:job-controller", "service", "kubernetes:system:"),
        ("system:kube-scheduler", "service", "kubernetes:system:"),
        ("dana", "human", "kubernetes:dana"),
        ("charter:", "human", "charter:"),
    ],
)  # fmt: skip
def test_who_asks(username: str, kind: str, name: str) -> None:
    subject = document(userInfo={"username": username, "groups": ["g"]})["subject"]
    assert subject["kind"] == kind
    assert subject["id"].startswith(name)
    assert subject["groups"] == ["g"]


def test_an_agents_claims_come_from_the_authenticator() -> None:
    extra = {"charter/sponsor": ["per_1"], "charter/tier": ["standard"], "other": ["x"]}
    subject = document(userInfo={"username": "charter-agent:a", "extra": extra})["subject"]
    assert (subject["sponsor"], subject["tier"]) == ("per_1", "standard")
    assert "task" not in subject


def test_facts_of_labels_annotations_and_namespace() -> None:
    resource = document(
        pod(labels={"team": "a"}, annotations={"charter/team": "b", "charter/data-class": "public"})
    )["resource"]
    assert resource["team"] == "b"
    assert resource["data_class"] == "public"
    assert "owner" not in resource
    documents = shipped_bundle().settings()
    kubernetes: Any = documents["kubernetes"]
    kubernetes["namespaces"]["team-a"] = {"team": "payments", "data_class": "regulated"}
    settings = PolicyData.from_documents(documents).kubernetes
    assert settings is not None
    found = decision_document(read_review(body(pod(labels={}))), settings)["resource"]
    assert (found["team"], found["data_class"]) == ("payments", "regulated")


def test_an_update_counts_when_what_runs_or_whose_it_is_changes() -> None:
    def changed(after: dict[str, Any]) -> bool:
        found: bool = spec(after, operation="UPDATE", oldObject=pod())["changed"]
        return found

    assert not changed(pod(finalizers=["x"]))
    assert changed(pod(pod_spec(hostNetwork=True)))
    assert changed(pod(labels={"owner": "lee"}))
    gone = pod(deletionTimestamp="2026-01-01T00:00:00Z")
    assert spec(gone, operation="UPDATE", oldObject=pod())["deleting"]


def test_names() -> None:
    assert document(pod())["resource"]["id"] == "team-a/api"
    generated = pod(generateName="api-")
    del generated["metadata"]["name"]
    assert document(generated)["resource"]["id"] == "team-a/api-*"
    long = document(name="x" * 253, namespace="n" * 63)["resource"]["id"]
    assert long == "x" * 253


@pytest.mark.parametrize("part", [1, "text", [], [1], {"a": 1}, None, True])
@pytest.mark.parametrize(
    "path",
    [("spec",), ("spec", "containers"), ("spec", "volumes"), ("spec", "hostNetwork")],
    ids=".".join,
)
def test_what_cannot_be_read_is_a_problem_and_never_an_error(
    path: tuple[str, ...], part: object
) -> None:
    value = pod()
    at = value
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = part
    found = spec(value)
    harmless = (path[-1] == "hostNetwork" and (part is None or part is True)) or (
        path[-1] in ("containers", "volumes") and part in (None, [])
    )
    if not harmless and not (path == ("spec",) and part == {"a": 1}):
        assert found["problems"], (path, part)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["containers", "image", "env", "name", "value", "resources", "limits", "cpu",
             "template", "spec", "volumes", "hostPath", "securityContext", "components",
             "container", "volume", "attributes", "pod-overrides", "jobTemplate", "metadata",
             "labels", "requests"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from(sorted(GROUPS)), JSON)
def test_any_spec_is_read_without_an_error(kind: str, value: Any) -> None:
    made = workload(kind)
    made["spec"] = value
    assert isinstance(spec(made)["problems"], list)


@proves("PC-8")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"classes": {"agents": {"failure": "open"}}}, "must be closed"),
        ({"classes": {"system": {"failure": "ajar"}}}, "must be one of closed, open"),
        ({"classes": {"system": {"timeout_seconds": 31}}}, "must be at most 30"),
        ({"identities": {"agent_prefix": "charter:"}}, "must differ"),
        ({"registrys": []}, "is not a known entry"),
        ({"limits": {"agent": {"gpu": -1}}}, "must be at least 0"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(change: dict[str, Any], sentence: str) -> None:
    def merge(into: dict[str, Any], part: dict[str, Any]) -> None:
        for key, value in part.items():
            if isinstance(value, dict):
                merge(into[key], value)
            else:
                into[key] = value

    documents: Any = shipped_bundle().settings()
    merge(documents["kubernetes"], change)
    with pytest.raises(InvalidInputError, match=sentence):
        PolicyData.from_documents(documents)
