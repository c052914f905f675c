"""From an admission review to the decision document that policy judges.

`request` is the Kubernetes request as it came (Spec PC-1; only the values of secrets are masked),
and `resource.spec` is the same object in the one shape that all rules are written over.

Who asks is what the cluster's authentication says. A username in the agreed form (`charter:dana`,
`charter-agent:agt_…`) means a person or an agent of Charter; a ServiceAccount is a `service`;
everybody else is a person whom only the cluster knows. The request of a controller is not told
from that of the person behind it, so *what* is made counts more than *who* sends it: an object is
an agent's when its labels, its group, its ServiceAccount or its namespace say so.

Source: Spec PC-1, PC-8, AG-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from charter.core.kubernetes.objects import workload
from charter.core.kubernetes.review import Review
from charter.core.kubernetes.settings import KubernetesSettings, NamespaceFacts

ACTIONS: Final = {
    "CREATE": "kubernetes.create",
    "UPDATE": "kubernetes.update",
    "DELETE": "kubernetes.delete",
    "CONNECT": "kubernetes.connect",
}
_SERVICE: Final = "system:serviceaccount:"
_LONGEST_ID: Final = 253
_CLAIMS: Final = ("sponsor", "task", "tier")
_UNKNOWN: Final = NamespaceFacts(None, None, None)


def subject_of(review: Review, settings: KubernetesSettings) -> dict[str, Any]:
    """The subject as the cluster names it; facts of Charter's own are put in later."""
    name = review.username
    subject: dict[str, Any] = {"groups": list(review.groups), "roles": []}
    if name.startswith(settings.agent_prefix):
        extra = {
            claim: values[0]
            for claim in _CLAIMS
            if (values := review.extra.get(f"charter/{claim}")) is not None and values
        }
        return {
            **subject,
            "kind": "agent",
            "id": name.removeprefix(settings.agent_prefix) or name,
            **extra,
        }
    if name.startswith(settings.person_prefix):
        return {**subject, "kind": "human", "id": name.removeprefix(settings.person_prefix) or name}
    return {
        **subject,
        "kind": "service" if name.startswith(("system:", _SERVICE)) else "human",
        # Never an id or a handle of Charter's: a cluster may name its users as it likes.
        "id": f"kubernetes:{name}"[:_LONGEST_ID],
    }


def _metadata(value: Mapping[str, Any] | None, key: str) -> Mapping[str, str]:
    metadata = (value or {}).get("metadata")
    found = metadata.get(key) if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def facts_of(
    value: Mapping[str, Any] | None, settings: KubernetesSettings, namespace: str
) -> dict[str, Any]:
    """Owner, team, project, data class and egress list, from labels, annotations or namespace."""
    labels, annotations = _metadata(value, "labels"), _metadata(value, "annotations")

    def said(fact: str) -> str | None:
        for name in settings.labels[fact]:
            for place in (labels, annotations):
                if name in place:
                    return place[name]
        return None

    known = settings.namespaces.get(namespace, _UNKNOWN)
    egress = said("egress")
    return {
        "owner": said("owner"),
        "team": said("team") or known.team,
        "project": said("project") or known.project,
        "data_class": said("data_class") or known.data_class,
        "agent": said("agent") == "true",
        "egress": None
        if egress is None
        else [host for part in egress.split(",") if (host := part.strip())],
    }


def agent_object(
    review: Review, settings: KubernetesSettings, spec: Mapping[str, Any], *, marked: bool
) -> bool:
    """Whether the object is an agent's; any sign suffices, and removing one is no way out."""
    signs = settings.agents
    accounts = {pod["service_account"] for pod in spec["pods"]}
    return (
        marked
        or review.group in signs.groups
        or review.namespace in signs.namespaces
        or any(account.startswith(signs.service_accounts) for account in accounts if account)
        or review.username.startswith(settings.agent_prefix)
    )


def _template_marked(value: Mapping[str, Any] | None, settings: KubernetesSettings) -> bool:
    """Whether the pod template of a workload is marked as an agent's."""
    spec = (value or {}).get("spec")
    template = None
    if isinstance(spec, dict):
        template = spec.get("template") or spec.get("podTemplate")
        job = spec.get("jobTemplate")
        if isinstance(job, dict) and isinstance(job.get("spec"), dict):
            template = job["spec"].get("template")
    if not isinstance(template, dict):
        return False
    labels = _metadata(template, "labels")
    return any(labels.get(name) == "true" for name in settings.labels["agent"])


def decision_document(review: Review, settings: KubernetesSettings) -> dict[str, Any]:
    """The whole document, but for the time and what Charter itself knows of the subject."""
    judged = review.object if review.object is not None else review.old_object
    spec = workload(review.group, review.kind, judged)
    before = None
    if review.old_object is not None and judged is not review.old_object:
        before = workload(review.group, review.kind, review.old_object)
    facts = facts_of(judged, settings, review.namespace)
    earlier = facts_of(review.old_object, settings, review.namespace)
    marked = any(
        (facts["agent"], earlier["agent"], _template_marked(judged, settings))
    ) or _template_marked(review.old_object, settings)
    egress = facts.pop("egress")
    spec |= {
        "agent": agent_object(review, settings, spec, marked=marked),
        "changed": before is None or before != spec or _facts_changed(facts, earlier),
        "deleting": bool(_metadata_value(judged, "deletionTimestamp")),
        "kind": review.kind,
        "group": review.group,
        "subresource": review.subresource,
        "dry_run": review.dry_run,
    }
    if egress is not None:
        spec["egress_allowlist"] = egress
    name = review.name or _metadata_value(judged, "name") or None
    if name is None and (start := _metadata_value(judged, "generateName")):
        name = f"{start}*"
    document: dict[str, Any] = {
        "subject": subject_of(review, settings),
        "action": {"name": ACTIONS[review.operation]},
        "resource": {
            "kind": f"kubernetes.{review.kind.lower()}",
            "id": _identifier(review.namespace, name),
            "labels": dict(_metadata(judged, "labels")),
            "spec": spec,
            **{k: facts[k] for k in ("owner", "team", "project") if facts[k]},
            "data_class": facts["data_class"] or "internal",
        },
        "context": {"dry_run": review.dry_run},
        "request": dict(review.request),
    }
    return document


def _facts_changed(facts: Mapping[str, Any], earlier: Mapping[str, Any]) -> bool:
    return any(earlier[name] != value for name, value in facts.items())


def _metadata_value(value: Mapping[str, Any] | None, key: str) -> str:
    metadata = (value or {}).get("metadata")
    found = metadata.get(key) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else ""


def _identifier(namespace: str, name: str | None) -> str | None:
    if name is None:
        return None
    whole = f"{namespace}/{name}" if namespace else name
    return whole if len(whole) <= _LONGEST_ID else name[:_LONGEST_ID]
