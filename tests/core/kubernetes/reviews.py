"""Admission reviews as an API server sends them."""

from __future__ import annotations

import copy
import json
from typing import Any

DIGEST = "sha256:" + "0" * 64
LABELS = {"charter/owner": "dana", "charter/team": "payments", "charter/project": "ledger"}


def container(**changes: Any) -> dict[str, Any]:
    """A container that nothing speaks against."""
    amounts = {"cpu": "500m", "memory": "1Gi"}
    return {
        "name": "tools",
        "image": f"registry.example.com/dev/tools@{DIGEST}",
        "resources": {"limits": dict(amounts), "requests": dict(amounts)},
        **changes,
    }


def pod_spec(**changes: Any) -> dict[str, Any]:
    return {"containers": [container()], "automountServiceAccountToken": False, **changes}


def agent_spec(**changes: Any) -> dict[str, Any]:
    return pod_spec(runtimeClassName="gvisor", **changes)


def pod(spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "api", "namespace": "team-a", "labels": dict(LABELS), **metadata},
        "spec": spec or pod_spec(),
    }


def workload(kind: str, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """An object of any kind with a pod in it."""
    inner = spec or pod_spec()
    template = {"metadata": {"labels": {"app": "api"}}, "spec": inner}
    specs: dict[str, dict[str, Any]] = {
        "Pod": inner,
        "CronJob": {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}},
        "Sandbox": {"podTemplate": template},
        "SandboxTemplate": {"podTemplate": template},
    }
    return {**pod(None, **metadata), "kind": kind, "spec": specs.get(kind, {"template": template})}


def claim(size: str, **metadata: Any) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {**pod(None, **metadata), "kind": "PersistentVolumeClaim", "spec": spec}


def devworkspace(*components: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    template = {"components": list(components)}
    return {
        **pod(None, **metadata),
        "kind": "DevWorkspace",
        "spec": {"started": True, "template": template},
    }


GROUPS = {
    "Pod": "",
    "ReplicationController": "",
    "PersistentVolumeClaim": "",
    "Deployment": "apps",
    "StatefulSet": "apps",
    "DaemonSet": "apps",
    "ReplicaSet": "apps",
    "Job": "batch",
    "CronJob": "batch",
    "Sandbox": "agents.x-k8s.io",
    "SandboxTemplate": "extensions.agents.x-k8s.io",
    "DevWorkspace": "workspace.devfile.io",
    "DevWorkspaceTemplate": "workspace.devfile.io",
}


def review(value: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    """The review of creating `value`; `request` changes fields of the request."""
    value = pod() if value is None else value
    kind = value["kind"]
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": GROUPS[kind], "version": "v1", "kind": kind},
            "resource": {"group": GROUPS[kind], "version": "v1", "resource": f"{kind.lower()}s"},
            "name": value["metadata"].get("name", ""),
            "namespace": "team-a",
            "operation": "CREATE",
            "userInfo": {"username": "dana@example.org", "groups": ["system:authenticated"]},
            "object": copy.deepcopy(value),
            "oldObject": None,
            "dryRun": False,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
            **request,
        },
    }


def body(value: dict[str, Any] | None = None, **request: Any) -> bytes:
    return json.dumps(review(value, **request)).encode()
