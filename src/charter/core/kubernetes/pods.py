"""A pod as the rules see it: one shape for the pods of every kind of workload.

Amounts are what the pod may take at most: CPUs in thousandths, memory and disk in MiB, devices by
count. Containers that run beside each other add up; those that run before them take turns.

Source: Spec PC-8; Kubernetes, PodSpec.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from charter.core.kernel.errors import CharterError
from charter.core.kubernetes.images import read_image
from charter.core.kubernetes.looking import Look
from charter.core.kubernetes.quantities import count, cpu_milli, mib

MASKED: Final = "***"
_ROLES: Final = {"containers": "main", "initContainers": "init", "ephemeralContainers": "ephemeral"}
_SECRET_NAME: Final = re.compile(
    r"(?i)(passw(or)?d|passphrase|secret|token|api_?key|access_?key|private_?key|credential)"
    r"(?!.*(_file|_path|_name|_url|_dir)$)"
)
_SECRET_VALUE: Final = re.compile(
    r"AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abps]-[A-Za-z0-9-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\."
)
_REFERENCE: Final = re.compile(r"\$\([A-Za-z_][A-Za-z0-9_]*\)")
AMOUNTS: Final = ("cpu_milli", "memory_mib", "ephemeral_mib", "gpu")


def mask_secrets(container: Look) -> list[str]:
    """Names of the variables whose value is a secret; the values are replaced in place.

    A decision is kept for years, and a secret must not be kept with it. The rules see the names.
    """
    found = []
    for variable in container.items("env"):
        name, value = variable.text("name"), variable.text("value")
        if not value or value == MASKED or _REFERENCE.fullmatch(value):
            continue
        if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
            if not isinstance(variable.value, dict):  # pragma: no cover — an object of a list
                raise CharterError("A variable is no object.", fix="Report this.")
            variable.value["value"] = MASKED
            found.append(name)
    return found


def _limits(resources: Look, kind: str) -> dict[str, int]:
    part = resources.inner(kind)
    found = {
        "cpu_milli": part.amount("cpu", cpu_milli),
        "memory_mib": part.amount("memory", mib),
        "ephemeral_mib": part.amount("ephemeral-storage", mib),
        "gpu": sum(part.amount(name, count) or 0 for name in part.value if "gpu" in name.lower()),
    }
    return {name: value for name, value in found.items() if value is not None}


def container(look: Look, role: str) -> dict[str, Any]:
    """One container."""
    image = look.text("image")
    parsed = read_image(image)
    if parsed is None:
        look.wrong("image", "is not an image reference")
    security = look.inner("securityContext")
    always = role == "init" and look.text("restartPolicy") == "Always"
    return {
        "name": look.text("name"),
        "role": "sidecar" if always else role,
        "image": image,
        **(parsed or {"repository": "", "tag": "", "pinned": False}),
        "privileged": security.flag("privileged")
        or security.inner("windowsOptions").flag("hostProcess"),
        "capabilities": [
            name.upper().removeprefix("CAP_")
            for name in security.inner("capabilities").texts("add")
        ],
        "host_ports": sum(1 for port in look.items("ports") if port.value.get("hostPort")),
        "limits": _limits(look.inner("resources"), "limits"),
        "requests": _limits(look.inner("resources"), "requests"),
        "secret_variables": mask_secrets(look),
    }


def pod(spec: Look) -> dict[str, Any]:
    """The pod that `spec` (a PodSpec) describes."""
    containers = [container(look, role) for key, role in _ROLES.items() for look in spec.items(key)]
    volumes = list(spec.items("volumes"))
    host_process = spec.inner("securityContext", "windowsOptions").flag("hostProcess")
    if host_process:
        containers = [{**one, "privileged": True} for one in containers]
    return {
        "where": spec.where,
        "containers": containers,
        "host_network": spec.flag("hostNetwork"),
        "host_pid": spec.flag("hostPID"),
        "host_ipc": spec.flag("hostIPC"),
        "host_paths": [
            volume.inner("hostPath").text("path") or "/"
            for volume in volumes
            if volume.has("hostPath")
        ],
        "runtime_class": spec.text("runtimeClassName"),
        "service_account": spec.text("serviceAccountName") or spec.text("serviceAccount"),
        "mounts_token": spec.flag("automountServiceAccountToken", default=True)
        or any(
            source.has("serviceAccountToken")
            for volume in volumes
            for source in volume.inner("projected").items("sources")
        ),
        **size(containers),
    }


def size(containers: Iterable[dict[str, Any]]) -> dict[str, int]:
    """What the containers may take together at most."""
    beside: dict[str, int] = dict.fromkeys(AMOUNTS, 0)
    before: dict[str, int] = dict.fromkeys(AMOUNTS, 0)
    for one in containers:
        for name in AMOUNTS:
            amount = one["limits"].get(name, 0)
            if one["role"] == "init":
                before[name] = max(before[name], amount)
            else:
                beside[name] += amount
    return {name: max(beside[name], before[name]) for name in AMOUNTS}


def claims(spec: Look) -> list[dict[str, Any]]:
    """Storage that the pod brings with it (generic ephemeral volumes)."""
    return [
        claim(volume.inner("ephemeral", "volumeClaimTemplate"), volume.text("name"))
        for volume in spec.items("volumes")
        if volume.has("ephemeral")
    ]


def claim(look: Look, name: str) -> dict[str, Any]:
    """One claim for storage; without a readable size it is noted as a problem."""
    requests = look.inner("spec", "resources", "requests")
    storage = requests.amount("storage", mib)
    if storage is None:
        requests.wrong("storage", "is missing")
    return {"name": name, "storage_mib": storage or 0}
