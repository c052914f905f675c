"""The documented structure of the objects that are printed, checked by hand.

No cluster runs where these tests run. What is held here are the rules of the API reference and of
the API server's validation that concern a webhook configuration: which fields there are, which are
required, which values they take, and what the server refuses when it validates.
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import urlsplit

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
CONDITION = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
WEBHOOK = {
    "name", "admissionReviewVersions", "clientConfig", "failurePolicy", "matchConditions",
    "matchPolicy", "namespaceSelector", "objectSelector", "rules", "sideEffects", "timeoutSeconds",
}  # fmt: skip


def only(value: dict[str, Any], allowed: set[str], required: set[str]) -> None:
    assert set(value) <= allowed, set(value) - allowed
    assert required <= set(value), required - set(value)


def check_metadata(value: dict[str, Any]) -> None:
    only(value, {"name", "namespace", "labels", "annotations"}, {"name"})
    assert SUBDOMAIN.fullmatch(value["name"])
    assert len(value["name"]) <= 253
    for key, text in value.get("labels", {}).items():
        prefix, _, name = key.rpartition("/")
        assert not prefix or SUBDOMAIN.fullmatch(prefix)
        assert LABEL_VALUE.fullmatch(name)
        assert LABEL_VALUE.fullmatch(text)


def check_client(value: dict[str, Any]) -> None:
    only(value, {"url", "service", "caBundle"}, {"caBundle"})
    assert ("url" in value) != ("service" in value)
    assert base64.b64decode(value["caBundle"], validate=True).startswith(b"-----BEGIN CERTIFICATE")
    if "url" in value:
        parts = urlsplit(value["url"])
        assert parts.scheme == "https"
        assert parts.hostname
        assert not (parts.query)
        assert not (parts.fragment)
        assert not (parts.username)
    else:
        only(value["service"], {"namespace", "name", "path", "port"}, {"namespace", "name"})
        assert value["service"]["path"].startswith("/")
        assert 1 <= value["service"]["port"] <= 65535


def check_selector(value: dict[str, Any]) -> None:
    only(value, {"matchExpressions", "matchLabels"}, set())
    for one in value["matchExpressions"]:
        only(one, {"key", "operator", "values"}, {"key", "operator"})
        assert one["operator"] in {"In", "NotIn", "Exists", "DoesNotExist"}
        assert one["values"], "In and NotIn take values"
        assert all(LABEL_VALUE.fullmatch(text) for text in one["values"])


def check_rule(value: dict[str, Any]) -> None:
    only(
        value,
        {"apiGroups", "apiVersions", "operations", "resources", "scope"},
        {"apiGroups", "apiVersions", "operations", "resources"},
    )
    assert value["scope"] in {"Cluster", "Namespaced", "*"}
    assert set(value["operations"]) <= {"CREATE", "UPDATE", "DELETE", "CONNECT", "*"}
    for name in ("apiGroups", "apiVersions", "operations", "resources"):
        assert value[name]
        assert len(set(value[name])) == len(value[name])
    assert all(re.fullmatch(r"[a-z]+(/[a-z]+)?", name) for name in value["resources"])


def check_configuration(value: dict[str, Any]) -> None:
    """A ValidatingWebhookConfiguration."""
    only(value, {"apiVersion", "kind", "metadata", "webhooks"}, {"apiVersion", "kind", "webhooks"})
    assert value["apiVersion"] == "admissionregistration.k8s.io/v1"
    assert value["kind"] == "ValidatingWebhookConfiguration"
    check_metadata(value["metadata"])
    names = [webhook["name"] for webhook in value["webhooks"]]
    assert len(set(names)) == len(names)
    for webhook in value["webhooks"]:
        only(webhook, WEBHOOK, {"name", "clientConfig", "sideEffects", "admissionReviewVersions"})
        assert SUBDOMAIN.fullmatch(webhook["name"])
        assert webhook["name"].count(".") >= 2
        assert webhook["admissionReviewVersions"] == ["v1"]
        assert webhook["sideEffects"] in {"None", "NoneOnDryRun"}
        assert webhook["failurePolicy"] in {"Fail", "Ignore"}
        assert webhook["matchPolicy"] in {"Equivalent", "Exact"}
        assert 1 <= webhook["timeoutSeconds"] <= 30
        check_client(webhook["clientConfig"])
        check_selector(webhook["namespaceSelector"])
        assert webhook["rules"]
        for rule in webhook["rules"]:
            check_rule(rule)
        conditions = webhook["matchConditions"]
        assert len(conditions) <= 64
        assert len({c["name"] for c in conditions}) == len(conditions)
        for condition in conditions:
            only(condition, {"name", "expression"}, {"name", "expression"})
            assert CONDITION.fullmatch(condition["name"])
            expression = condition["expression"]
            assert expression.count("(") == expression.count(")")
