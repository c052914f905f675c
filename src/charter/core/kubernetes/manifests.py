"""The objects that make an API server ask Charter, as plain JSON.

One webhook per admission class, so that each fails in its own way. A class that fails open gets a
second webhook that fails closed and matches agents' objects only: the API server, too, must not
let an agent's object pass while Charter cannot be reached.

Namespaces are selected, never objects: who creates an object chooses its labels, and could choose
to be overlooked. The cluster's own namespaces and Charter's are left out, or a cluster whose
webhook is down could not repair itself.

Source: Spec PC-8; Kubernetes, `admissionregistration.k8s.io/v1`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from charter.core.kernel.errors import InvalidInputError
from charter.core.kubernetes.settings import AdmissionClass, KubernetesSettings, MatchRule

PATH: Final = "/kubernetes/v1/admit"
TOKEN_PLACEHOLDER: Final = "TOKEN"  # noqa: S105 — stands where a token is to be put
_NAME_LABEL: Final = "kubernetes.io/metadata.name"
_SUFFIX: Final = "admission.charter.internal"  # a webhook's name has three parts at least
_TLS_PORT: Final = 8443
_RESOURCE: Final = "charter-admission"
_AGENTS: Final = "agents"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the API server finds Charter: a Service in the cluster, or an https address."""

    namespace: str
    service: str | None = None
    url: str | None = None
    token: str = TOKEN_PLACEHOLDER

    def __post_init__(self) -> None:
        """Refuses an address that the API server would refuse."""
        if self.url is None:
            return
        parts = urlsplit(self.url)
        bare = not (parts.query or parts.fragment or parts.username or parts.password)
        if parts.scheme != "https" or not parts.hostname or not bare:
            raise InvalidInputError(
                f"{self.url} is no address that an API server calls.",
                fix="Give https://HOST[:PORT][/PATH], without user, query or fragment.",
                code="webhook-url",
            )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that the certificate has to carry."""
        if self.url is not None:
            return (str(urlsplit(self.url).hostname),)
        name = f"{self.service}.{self.namespace}"
        return (f"{name}.svc", f"{name}.svc.cluster.local", name)

    def client_config(self, class_name: str, authority: str) -> dict[str, Any]:
        """`clientConfig` of a webhook."""
        bundle = _base64(authority)
        path = f"{PATH}/{class_name}/{self.token}"
        if self.url is not None:
            return {"url": self.url.rstrip("/") + path, "caBundle": bundle}
        service = {"namespace": self.namespace, "name": self.service, "path": path, "port": 443}
        return {"service": service, "caBundle": bundle}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _rule(rule: MatchRule) -> dict[str, Any]:
    return {
        "apiGroups": ["" if group == "core" else group for group in rule.groups],
        "apiVersions": list(rule.versions),
        "operations": list(rule.operations),
        "resources": list(rule.resources),
        "scope": "Namespaced",
    }


def _namespaces(settings: KubernetesSettings, one: AdmissionClass, own: str) -> dict[str, Any]:
    left_out = sorted({*settings.excluded_namespaces, own})
    expressions: list[dict[str, Any]] = [
        {"key": _NAME_LABEL, "operator": "NotIn", "values": left_out}
    ]
    # What is an agent's is asked about in every namespace, whatever its class.
    if one.namespaces and one.name != _AGENTS:
        expressions.append(
            {"key": settings.class_label, "operator": "In", "values": list(one.namespaces)}
        )
    elif one.name != _AGENTS:
        others = sorted({value for c in settings.classes.values() for value in c.namespaces})
        if others:
            expressions.append({"key": settings.class_label, "operator": "NotIn", "values": others})
    return {"matchExpressions": expressions}


def _agent_expression(settings: KubernetesSettings) -> str:
    """CEL: whether the object looks like an agent's; `settings.agents` says by what."""
    found = []
    for label in settings.labels["agent"]:
        for place in ("object.metadata", "object.spec.template.metadata"):
            parts = place.split(".")
            has = " && ".join(f"has({'.'.join(parts[: n + 1])})" for n in range(1, len(parts)))
            found.append(
                f"({has} && has({place}.labels) && '{label}' in {place}.labels"
                f" && {place}.labels['{label}'] == 'true')"
            )
    for start in settings.agents.service_accounts:
        for place in ("object.spec", "object.spec.template.spec"):
            parts = place.split(".")
            has = " && ".join(f"has({'.'.join(parts[: n + 1])})" for n in range(1, len(parts)))
            found.append(
                f"({has} && has({place}.serviceAccountName)"
                f" && {place}.serviceAccountName.startsWith('{start}'))"
            )
    found.extend(f"object.apiVersion.startsWith('{g}/')" for g in settings.agents.groups)
    found.extend(f"request.namespace == '{name}'" for name in settings.agents.namespaces)
    return f"object != null && ({' || '.join(found) or 'false'})"


def _webhook(
    settings: KubernetesSettings,
    one: AdmissionClass,
    target: Target,
    authority: str,
    *,
    only_agents: bool = False,
) -> dict[str, Any]:
    conditions = [
        # A node reports pods that it runs already (mirror pods); refusing them changes nothing.
        {"name": "not-a-node", "expression": "!('system:nodes' in request.userInfo.groups)"}
    ]
    if only_agents:
        conditions.append({"name": "is-an-agents", "expression": _agent_expression(settings)})
    prefix = f"{one.name}-agents" if only_agents else one.name
    return {
        "name": f"{prefix}.{_SUFFIX}",
        "admissionReviewVersions": ["v1"],
        "clientConfig": target.client_config(one.name, authority),
        "failurePolicy": "Fail" if one.closed or only_agents else "Ignore",
        "matchConditions": conditions,
        "matchPolicy": "Equivalent",
        "namespaceSelector": _namespaces(settings, one, target.namespace),
        "rules": [_rule(rule) for rule in one.rules],
        "sideEffects": "None",
        "timeoutSeconds": one.timeout_seconds,
    }


def webhook_configuration(
    settings: KubernetesSettings, target: Target, authority: str, classes: Sequence[str] = ()
) -> dict[str, Any]:
    """The ValidatingWebhookConfiguration for the named classes (all of them when none is)."""
    if unknown := sorted(set(classes) - set(settings.classes)):
        raise InvalidInputError(
            f"The policy has no admission class {', '.join(unknown)}.",
            fix=f"Known are {', '.join(sorted(settings.classes))}.",
            code="admission-class-unknown",
        )
    webhooks = []
    for name in sorted(classes or settings.classes):
        one = settings.classes[name]
        webhooks.append(_webhook(settings, one, target, authority))
        if not one.closed:
            webhooks.append(_webhook(settings, one, target, authority, only_agents=True))
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": _RESOURCE, "labels": {"app.kubernetes.io/part-of": "charter"}},
        "webhooks": webhooks,
    }


def install_manifests(
    settings: KubernetesSettings,
    target: Target,
    *,
    authority: str,
    certificate: str,
    key: str,
    classes: Sequence[str] = (),
    image: str | None = None,
) -> list[dict[str, Any]]:
    """Everything to apply, in order; the objects inside the cluster only where a Service is used.

    With `image` a Deployment of Charter comes along; without it the Service looks for pods with the
    label `app.kubernetes.io/name: charter`, however they came there.
    """
    configuration = webhook_configuration(settings, target, authority, classes)
    if target.url is not None:
        return [configuration]
    labels = {"app.kubernetes.io/name": "charter", "app.kubernetes.io/part-of": "charter"}
    place = {"namespace": target.namespace, "labels": labels}
    found: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": target.namespace, "labels": labels},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": f"{_RESOURCE}-tls", **place},
            "data": {
                "ca.crt": _base64(authority),
                "tls.crt": _base64(certificate),
                "tls.key": _base64(key),
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": target.service, **place},
            "spec": {
                "selector": {"app.kubernetes.io/name": "charter"},
                "ports": [
                    {"name": "https", "port": 443, "protocol": "TCP", "targetPort": _TLS_PORT}
                ],
            },
        },
    ]
    if image is not None:
        found.append(_deployment(image, place, labels))
    return [*found, configuration]


def _deployment(image: str, place: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    folder = "/etc/charter/tls"
    environment: list[dict[str, Any]] = [
        {"name": "CHARTER_HOST", "value": "127.0.0.1"},
        {"name": "CHARTER_STATE_DIR", "value": "/var/lib/charter"},
        {"name": "CHARTER_TLS_HOST", "value": "0.0.0.0"},  # noqa: S104 — inside its own pod
        {"name": "CHARTER_TLS_PORT", "value": str(_TLS_PORT)},
        {"name": "CHARTER_TLS_CERTIFICATE", "value": f"{folder}/tls.crt"},
        {"name": "CHARTER_TLS_KEY", "value": f"{folder}/tls.key"},
        {
            "name": "CHARTER_DATABASE_URL",
            "valueFrom": {"secretKeyRef": {"name": "charter-database", "key": "url"}},
        },
    ]
    container = {
        "name": "charter",
        "image": image,
        "args": ["serve"],
        "env": environment,
        "ports": [{"name": "https", "containerPort": _TLS_PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": _TLS_PORT, "scheme": "HTTPS"},
            "periodSeconds": 5,
        },
        "resources": {
            "limits": {"cpu": "2", "memory": "1Gi"},
            "requests": {"cpu": "500m", "memory": "512Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "tls", "mountPath": folder, "readOnly": True},
            {"name": "state", "mountPath": "/var/lib/charter"},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "charter", **place},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app.kubernetes.io/name": "charter"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "containers": [container],
                    "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
                    "volumes": [
                        {"name": "tls", "secret": {"secretName": f"{_RESOURCE}-tls"}},
                        {"name": "state", "emptyDir": {}},
                    ],
                },
            },
        },
    }
