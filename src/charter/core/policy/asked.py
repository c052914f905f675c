"""The request in stored facts: what stands in one of its fields, and the facts with another value.

Facts say the same thing in several places: the spec of a workspace is part of the resource and of
the admission review, the amount stands in the quota that invariants check and in the one that
policy reads. `with_change` keeps them together. Facts that were stored once are never changed: each
change gives a new document.

Source: Spec PC-13.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from charter.core.access.resource import ResourceRef
from charter.core.access.roles import permissions_of, roles_of, scope_chain
from charter.core.access.snapshot import subject_from_json
from charter.core.access.subjects import Human
from charter.core.kernel.canonical import parse_rfc3339, rfc3339

Facts = Mapping[str, Any]

AMOUNTS: Final = {"vcpu": "cpu", "memory_mib": "memoryMib", "disk_mib": "diskMib", "gpu": "gpu"}
"""Amounts as requests name them, and as the spec of a workspace does."""
LABEL: Final = "labels."
"""How the field of one label begins."""
_NETWORK: Final = {"network": "mode", "egress_allowlist": "egressAllowlist"}


def action_of(facts: Facts) -> str:
    """The action that was asked for."""
    return str(facts["document"]["action"]["name"])


def resource_of(facts: Facts) -> Mapping[str, Any]:
    """The resource as policy sees it."""
    resource: Mapping[str, Any] = facts["document"].get("resource") or {}
    return resource


def spec_of(facts: Facts) -> Mapping[str, Any]:
    """Its spec; empty where there is none."""
    spec = resource_of(facts).get("spec")
    return spec if isinstance(spec, Mapping) else {}


def current(facts: Facts, field: str) -> Any:
    """What stands in `field` now; None when nothing does."""
    spec = spec_of(facts)
    if field in AMOUNTS:
        return (spec.get("resources") or {}).get(AMOUNTS[field])
    if field.startswith(LABEL):
        return (resource_of(facts).get("labels") or {}).get(field.removeprefix(LABEL))
    if field == "template":
        return version_of(spec.get("template") or {})
    if field in _NETWORK:
        return (spec.get("network") or {}).get(_NETWORK[field])
    if field == "justification":
        return facts["document"]["context"].get("justification")
    return spec.get(field)


def version_of(template: Mapping[str, Any]) -> str:
    """A template as people name it: `python@1.0.0`."""
    return f"{template.get('name')}@{template.get('version')}"


def sizes_of(settings: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The named sizes of a bundle's data."""
    sizes = (settings.get("sizes") or {}).get("sizes")
    return sizes if isinstance(sizes, Mapping) else {}


# --- changing one field -------------------------------------------------------------------------
def with_change(
    facts: Facts, field: str, value: Any, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The facts of the same request with `value` in `field`, wherever the facts repeat it."""
    changed: dict[str, Any] = copy.deepcopy(dict(facts))
    if field in AMOUNTS:
        _set_amount(changed, field, value)
    elif field == "size":
        _set_size(changed, value, settings)
    elif field == "place":
        _set_place(changed, value)
    elif field == "justification":
        changed["document"]["context"]["justification"] = value
    elif field.startswith(LABEL):
        _set_label(changed, field.removeprefix(LABEL), value)
    elif field == "minutes":
        _set_minutes(changed, value)
    else:
        for spec in _specs(changed):
            _set_spec(spec, field, value)
        if field == "template":
            changed["document"]["context"]["template"] = dict(value)
    return changed


def _specs(changed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The spec, as the resource has it and as the admission review has it."""
    document = changed["document"]
    for holder in (document.get("resource"), (document.get("request") or {}).get("object")):
        if isinstance(holder, dict) and isinstance(holder.get("spec"), dict):
            yield holder["spec"]


def _wanted(changed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is to be reserved, as the invariants see it and as policy sees it."""
    for holder in (changed.get("quota"), changed["document"]["context"].get("quota")):
        if isinstance(holder, dict) and isinstance(holder.get("wanted"), dict):
            yield holder["wanted"]


def _set_amount(changed: dict[str, Any], field: str, value: int) -> None:
    before = current(changed, field)
    difference = value - before if isinstance(before, int) else 0
    for spec in _specs(changed):
        spec.setdefault("resources", {})[AMOUNTS[field]] = value
    for wanted in _wanted(changed):  # a resize reserves the difference, so the difference is added
        wanted[field] = wanted.get(field, 0) + difference


def _set_size(changed: dict[str, Any], name: str, settings: Mapping[str, Any]) -> None:
    """Another size, with what the request overrides kept."""
    sizes = sizes_of(settings)
    old, new = sizes.get(str(spec_of(changed).get("size")), {}), sizes[name]
    for field in AMOUNTS:
        if current(changed, field) == old.get(field):
            _set_amount(changed, field, new[field])
    for spec in _specs(changed):
        spec["size"] = name


def _set_spec(spec: dict[str, Any], field: str, value: Any) -> None:
    if field == "template":
        spec["template"] = {name: value[name] for name in ("name", "version", "approved")}
    elif field in _NETWORK:
        spec.setdefault("network", {})[_NETWORK[field]] = value
    else:
        spec[field] = value


def _set_label(changed: dict[str, Any], name: str, value: str | None) -> None:
    document = changed["document"]
    metadata = ((document.get("request") or {}).get("object") or {}).get("metadata")
    for holder in (document.get("resource"), metadata):
        if isinstance(holder, dict):
            labels = holder.setdefault("labels", {})
            if value is None:
                labels.pop(name, None)
            else:
                labels[name] = value


def _set_minutes(changed: dict[str, Any], minutes: int) -> None:
    now = parse_rfc3339(changed["document"]["context"]["now"])
    for spec in _specs(changed):
        spec["minutes"] = minutes
        spec["deadline"] = rfc3339(now + timedelta(minutes=minutes))


def _set_place(changed: dict[str, Any], place: Mapping[str, Any]) -> None:
    """Another team or project: the roles that hold there, its environment, its quotas."""
    document, ref = changed["document"], changed["resource"]
    ref |= {"team_id": place["team"], "project_id": place["project"]}
    document["resource"] |= {"team": place["team"], "project": place["project"]}
    document["context"]["environment"] = place["environment"]
    for holder in (changed.get("quota"), document["context"].get("quota")):
        if isinstance(holder, dict):
            holder["lines"] = copy.deepcopy(list(place["lines"]))
    subject = subject_from_json(changed["subject"])
    if isinstance(subject, Human):
        now = parse_rfc3339(document["context"]["now"])
        chain = scope_chain(ResourceRef(**ref).team_id, ResourceRef(**ref).project_id)
        roles = sorted(roles_of(subject.bindings, chain, now))
        document["subject"] |= {
            "roles": roles,
            "permissions": sorted(permissions_of(subject.bindings, chain, now)),
        }
        if "userInfo" in (document.get("request") or {}):
            document["request"]["userInfo"]["groups"] = roles
