"""Subjects and resources as plain JSON, there and back.

A decision is stored with everything that it was made from, so that it can be made again years
later. For policy that is the decision document; for the invariants it is the subject with its
bindings and the resource reference, written down here without loss.

Source: Spec PC-6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from charter.core.access.permissions import Permission
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import Binding, CustomRole, Reach, Scope, ScopeKind
from charter.core.access.subjects import Agent, Human, Subject, System
from charter.core.agents.elevation import Elevation
from charter.core.agents.tasks import TaskScope, TaskState
from charter.core.agents.tiers import Tier
from charter.core.kernel.canonical import parse_rfc3339, rfc3339


def _moment(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def _read_moment(text: str | None) -> datetime | None:
    return None if text is None else parse_rfc3339(text)


def _elevation_json(elevation: Elevation) -> dict[str, object]:
    return {
        "id": elevation.id,
        "task_id": elevation.task_id,
        "tier": None if elevation.tier is None else elevation.tier.value,
        "permissions": sorted(elevation.permissions),
        "repositories": sorted(elevation.repositories),
        "granted_at": rfc3339(elevation.granted_at),
        "expires_at": rfc3339(elevation.expires_at),
        "revoked_at": _moment(elevation.revoked_at),
    }


def _elevation(stored: Mapping[str, Any]) -> Elevation:
    return Elevation(
        id=stored["id"],
        task_id=stored["task_id"],
        tier=None if stored["tier"] is None else Tier(stored["tier"]),
        permissions=frozenset(map(Permission, stored["permissions"])),
        repositories=frozenset(stored["repositories"]),
        granted_at=parse_rfc3339(stored["granted_at"]),
        expires_at=parse_rfc3339(stored["expires_at"]),
        revoked_at=_read_moment(stored["revoked_at"]),
    )


def subject_json(subject: Subject | System) -> dict[str, object]:
    """The subject as JSON; session facts are left out, no invariant reads them."""
    if isinstance(subject, System):
        return {"kind": "system", "id": subject.id, "name": subject.name}
    if isinstance(subject, Agent):
        task = subject.task
        return {
            "kind": "agent",
            "id": subject.id,
            "sponsor": subject_json(subject.sponsor),
            "tier": subject.tier.value,
            "team_id": subject.team_id,
            "credential_id": subject.credential_id,
            "active": subject.active,
            "elevations": [_elevation_json(each) for each in subject.elevations],
            "task": None
            if task is None
            else {
                "id": task.id,
                "repositories": sorted(task.repositories),
                "tier": task.tier.value,
                "deadline": rfc3339(task.deadline),
                "state": task.state.value,
            },
            # Absent where it narrows nothing, as in facts that were stored before there was any.
            **({} if subject.scope is None else {"scope": sorted(subject.scope)}),
            **({} if subject.parent is None else {"parent": subject_json(subject.parent)}),
        }
    return {
        "kind": "human",
        "id": subject.id,
        "handle": subject.handle,
        "teams": sorted(subject.teams),
        "active": subject.active,
        "bindings": [
            {
                "role": b.role,
                "scope_kind": b.scope.kind.value,
                "scope_id": b.scope.id,
                "expires_at": _moment(b.expires_at),
                # Built-in roles are part of the core, whose version every record names.
                **({} if b.custom is None else {"permissions": dict(b.custom.permissions)}),
                **({} if b.break_glass is None else {"break_glass": b.break_glass}),
            }
            for b in subject.bindings
        ],
    }


def _custom(binding: Mapping[str, Any]) -> CustomRole | None:
    if "permissions" not in binding:
        return None
    held = binding["permissions"].items()
    return CustomRole(
        binding["role"], tuple((Permission(name), Reach(reach)) for name, reach in held)
    )


def _human(stored: Mapping[str, Any]) -> Human:
    return Human(
        id=stored["id"],
        handle=stored["handle"],
        teams=frozenset(stored["teams"]),
        active=stored["active"],
        bindings=tuple(
            Binding(
                b["role"],
                Scope(ScopeKind(b["scope_kind"]), b["scope_id"]),
                _read_moment(b["expires_at"]),
                _custom(b),
                b.get("break_glass"),
            )
            for b in stored["bindings"]
        ),
    )


def subject_from_json(stored: Mapping[str, Any]) -> Subject | System:
    """The subject that `subject_json` wrote."""
    if stored["kind"] == "system":
        return System(stored["id"], stored["name"])
    if stored["kind"] == "human":
        return _human(stored)
    return _agent(stored)


def _agent(stored: Mapping[str, Any]) -> Agent:
    task = stored["task"]
    return Agent(
        id=stored["id"],
        sponsor=_human(stored["sponsor"]),
        tier=Tier(stored["tier"]),
        team_id=stored["team_id"],
        credential_id=stored["credential_id"],
        active=stored["active"],
        elevations=tuple(map(_elevation, stored.get("elevations", ()))),
        task=None
        if task is None
        else TaskScope(
            id=task["id"],
            repositories=frozenset(task["repositories"]),
            tier=Tier(task["tier"]),
            deadline=parse_rfc3339(task["deadline"]),
            state=TaskState(task["state"]),
        ),
        scope=None if "scope" not in stored else frozenset(map(Permission, stored["scope"])),
        parent=_agent(stored["parent"]) if "parent" in stored else None,
    )


def resource_json(resource: ResourceRef) -> dict[str, object]:
    """The reference as JSON."""
    plain = {f.name: getattr(resource, f.name) for f in fields(resource)}
    entitled = sorted(plain.pop("entitled_ids"))
    return {**plain, "entitled_ids": entitled} if entitled else plain


def resource_from_json(stored: Mapping[str, Any]) -> ResourceRef:
    """The reference that `resource_json` wrote."""
    entitled = frozenset(stored.get("entitled_ids", ()))
    return ResourceRef(**{**stored, "entitled_ids": entitled})
