"""What is printed for a cluster has the documented structure, and fails as its class says."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.errors import InvalidInputError
from charter.core.kubernetes.manifests import Target, install_manifests, webhook_configuration
from charter.core.policy.data import PolicyData
from tests.core.kubernetes.structure import check_configuration, check_metadata
from tests.spec import spec as proves

FOUND = PolicyData.from_bundle(shipped_bundle()).kubernetes
assert FOUND is not None
SETTINGS = FOUND
CA = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
OUTSIDE = Target("charter", url="https://charter.example.com:8443/", token="cep_x")
INSIDE = Target("charter", service="charter", token="cep_x")


def manifests(target: Target, **more: Any) -> list[dict[str, Any]]:
    return install_manifests(SETTINGS, target, authority=CA, certificate="cert", key="key", **more)


@proves("PC-8")
@pytest.mark.parametrize("target", [OUTSIDE, INSIDE], ids=["outside", "inside"])
def test_the_structure(target: Target) -> None:
    *others, configuration = manifests(target, image="registry.example.com/charter@sha256:0")
    check_configuration(configuration)
    for one in others:
        check_metadata(one["metadata"])
    kinds = [one["kind"] for one in others]
    assert kinds == ([] if target is OUTSIDE else ["Namespace", "Secret", "Service", "Deployment"])


@proves("PC-8")
def test_each_class_fails_in_its_own_way() -> None:
    made = webhook_configuration(SETTINGS, OUTSIDE, CA)
    policies = {w["name"].split(".")[0]: w["failurePolicy"] for w in made["webhooks"]}
    assert policies == {
        "agents": "Fail",
        "system": "Ignore",
        "system-agents": "Fail",
        "workspaces": "Fail",
    }
    by_name = {w["name"].split(".")[0]: w for w in made["webhooks"]}
    guarded = by_name["system-agents"]["matchConditions"][-1]["expression"]
    assert "object.metadata.labels['charter/agent'] == 'true'" in guarded
    assert guarded.startswith("object != null && (")
    assert by_name["system"]["clientConfig"] == by_name["system-agents"]["clientConfig"]


def test_namespaces() -> None:
    made = webhook_configuration(SETTINGS, Target("gov", service="charter"), CA)
    selectors = {
        w["name"].split(".")[0]: {
            (e["key"], e["operator"]): e["values"]
            for e in w["namespaceSelector"]["matchExpressions"]
        }
        for w in made["webhooks"]
    }
    name = "kubernetes.io/metadata.name"
    for found in selectors.values():
        assert {"gov", "kube-system"} <= set(found[(name, "NotIn")])
    assert selectors["system"][("charter/class", "In")] == ["system"]
    assert selectors["workspaces"][("charter/class", "NotIn")] == ["system"]
    assert list(selectors["agents"]) == [(name, "NotIn")]


def test_the_secret_holds_what_the_deployment_mounts() -> None:
    _, secret, service, deployment, _ = manifests(INSIDE, image="charter")
    assert base64.b64decode(secret["data"]["tls.key"]) == b"key"
    spec = deployment["spec"]["template"]["spec"]
    assert spec["volumes"][0]["secret"]["secretName"] == secret["metadata"]["name"]
    port = service["spec"]["ports"][0]["targetPort"]
    assert spec["containers"][0]["ports"][0]["containerPort"] == port
    assert service["spec"]["selector"].items() <= (
        deployment["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_same_call_prints_the_same() -> None:
    assert manifests(INSIDE) == manifests(INSIDE)


def test_only_the_named_classes() -> None:
    made = webhook_configuration(SETTINGS, OUTSIDE, CA, ["agents"])
    assert [w["name"].split(".")[0] for w in made["webhooks"]] == ["agents"]
    with pytest.raises(InvalidInputError, match="no admission class nothing"):
        webhook_configuration(SETTINGS, OUTSIDE, CA, ["nothing"])


@pytest.mark.parametrize(
    "url",
    [
        "http://charter.example.com",
        "charter.example.com",
        "https://",
        "https://user:pw@charter.example.com",
        "https://charter.example.com?x=1",
        "https://charter.example.com#x",
    ],
)
def test_addresses_that_an_api_server_refuses(url: str) -> None:
    with pytest.raises(InvalidInputError, match="no address that an API server calls"):
        Target("charter", url=url)


def test_the_names_of_a_certificate() -> None:
    assert OUTSIDE.hosts == ("charter.example.com",)
    assert INSIDE.hosts[0] == "charter.charter.svc"
