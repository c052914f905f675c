"""Any workload object as one shape: its pods, its storage and its facts (`resource.spec`).

Pods stand in Pods, in the templates of Deployments, StatefulSets, Jobs and their kin, in Sandboxes
of agent-sandbox, and, in words of their own, in DevWorkspaces. A rule that is written over this
shape holds for all of them, and for the next kind when one line is added here.

Source: Spec PC-8; devfile API v1alpha2; agents.x-k8s.io v1beta1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from charter.core.kubernetes import pods
from charter.core.kubernetes.looking import Look
from charter.core.kubernetes.quantities import cpu_milli, mib

AGENT_GROUPS_DEFAULT: Final = ("agents.x-k8s.io", "extensions.agents.x-k8s.io")
DEVFILE_GROUP: Final = "workspace.devfile.io"
_TEMPLATE: Final = ("spec", "template", "spec")
_SANDBOX: Final = ("spec", "podTemplate", "spec")

POD_AT: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("", "Pod"): ("spec",),
    ("", "PodTemplate"): ("template", "spec"),
    ("", "ReplicationController"): _TEMPLATE,
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("batch", "Job"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template", "spec"),
    ("agents.x-k8s.io", "Sandbox"): _SANDBOX,
    ("extensions.agents.x-k8s.io", "SandboxTemplate"): _SANDBOX,
}
"""Where the pod of each kind stands; without regard to versions, which share these paths."""

_DEVWORKSPACES: Final = {
    (DEVFILE_GROUP, "DevWorkspace"): ("spec", "template"),
    (DEVFILE_GROUP, "DevWorkspaceTemplate"): ("spec",),
}
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def workload(group: str, kind: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """`pods`, `claims` and `problems` of an object; secrets in it are masked in place."""
    problems: list[str] = []
    found: dict[str, Any] = {"pods": [], "claims": [], "problems": problems}
    if value is None:
        return found
    look = Look(value, "", problems)
    at = POD_AT.get((group, kind))
    if at is not None:
        spec = look.inner(*at)
        if not spec.value and not problems:
            look.wrong(".".join(at), "is missing, and a workload has a pod")
        found["pods"] = [pods.pod(spec)]
        found["claims"] = pods.claims(spec)
        found["claims"] += [
            pods.claim(one, one.inner("metadata").text("name"))
            for one in look.inner("spec").items("volumeClaimTemplates")
        ]
    elif (group, kind) == ("", "PersistentVolumeClaim"):
        found["claims"] = [pods.claim(look, look.inner("metadata").text("name"))]
    elif (group, kind) in _DEVWORKSPACES:
        _devworkspace(look.inner(*_DEVWORKSPACES[(group, kind)]), found)
    replicas = (
        value.get("spec", {}).get("replicas") if isinstance(value.get("spec"), dict) else None
    )
    if isinstance(replicas, int) and not isinstance(replicas, bool):
        found["replicas"] = replicas
    if any(c["secret_variables"] for p in found["pods"] for c in p["containers"]):
        _mask_copy(value)
    return found


def _mask_copy(value: Mapping[str, Any]) -> None:
    """`kubectl apply` keeps the whole object, secrets too, in an annotation."""
    metadata = value.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(annotations, dict) and _LAST_APPLIED in annotations:
        annotations[_LAST_APPLIED] = pods.MASKED


# --- DevWorkspaces ----------------------------------------------------------------------------
def _devworkspace(template: Look, found: dict[str, Any]) -> None:
    """The one pod that the DevWorkspace operator makes of all container components."""
    spec: dict[str, Any] = dict(_override(template, "pod-overrides").inner("spec").value)
    containers = []
    for component in template.items("components"):
        spec |= _override(component, "pod-overrides").inner("spec").value
        if component.has("container"):
            containers.append(_component(component))
        if component.has("volume"):
            volume = component.inner("volume")
            storage = volume.amount("size", mib)
            if storage is not None and not volume.flag("ephemeral"):
                found["claims"].append({"name": component.text("name"), "storage_mib": storage})
    look = Look(spec, template.where, template.problems)
    made = pods.pod(look)
    made["containers"] += containers
    found["pods"] = [made | pods.size(made["containers"])]
    found["claims"] += pods.claims(look)


def _override(look: Look, name: str) -> Look:
    """An override in the attributes, written as an object or as JSON in a text."""
    attributes = look.inner("attributes")
    value = attributes.value.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            attributes.wrong(name, "is not JSON")
            value = None
    return Look(value, f"{attributes.where}.{name}", look.problems)


def _component(component: Look) -> dict[str, Any]:
    look = component.inner("container")
    own = dict(_override(component, "container-overrides").value)
    merged = Look({**look.value, **own}, look.where, look.problems)
    made = pods.container(merged, "main")
    written = {
        "limits": {
            "cpu_milli": look.amount("cpuLimit", cpu_milli),
            "memory_mib": look.amount("memoryLimit", mib),
        },
        "requests": {
            "cpu_milli": look.amount("cpuRequest", cpu_milli),
            "memory_mib": look.amount("memoryRequest", mib),
        },
    }
    for kind, amounts in written.items():
        made[kind] = {k: v for k, v in amounts.items() if v is not None} | made[kind]
    return {**made, "name": component.text("name")}
