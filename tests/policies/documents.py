"""Decision documents for the tests, as the services build them."""

from __future__ import annotations

import copy
from typing import Any

NOW = "2026-03-02T09:00:00.000000Z"
STRONG = [
    "user-namespace",
    "pid-namespace",
    "network-isolation",
    "seccomp",
    "no-new-privileges",
    "memory-limit",
    "process-limit",
]


def person(action: str = "workspace.view") -> dict[str, Any]:
    """A developer does something with their own workspace."""
    return {
        "subject": {
            "kind": "human",
            "id": "per_dana",
            "roles": ["developer"],
            "teams": ["team_1"],
        },
        "action": {"name": action},
        "resource": {
            "kind": "workspace",
            "id": "ws_1",
            "owner": "per_dana",
            "team": "team_1",
            "project": "prj_1",
            "labels": {},
            "data_class": "internal",
            "spec": {},
        },
        "context": {"now": NOW},
    }


def person_creates() -> dict[str, Any]:
    """A developer creates a small workspace; nothing objects."""
    document = person("workspace.create")
    document["resource"]["id"] = None
    nothing = {"vcpu": 0, "memory_mib": 0, "disk_mib": 0, "gpu": 0, "workspaces": 0}
    document["context"] |= {
        "provider": {"name": "local", "capabilities": STRONG},
        "template": {"name": "python", "version": "1.0.0", "for_kinds": [], "use_instead": None},
        "quota": {
            "wanted": {"vcpu": 2, "memory_mib": 8192, "disk_mib": 51200, "gpu": 0, "workspaces": 1},
            "lines": [
                {
                    "scope": "user:per_dana",
                    "label": "dana",
                    "limit": dict.fromkeys(nothing, 1_000_000),
                    "used": nothing,
                }
            ],
        },
    }
    document["request"] = {
        "uid": "1",
        "operation": "CREATE",
        "kind": {"kind": "Workspace"},
        "userInfo": {"username": "dana", "groups": ["team_1"]},
        "object": {
            "metadata": {"name": "payments-api", "labels": {}},
            "spec": {
                "template": {"name": "python", "version": "1.0.0", "approved": True},
                "size": "small",
                "agent": False,
                "resources": {"cpu": 2, "memoryMib": 8192, "diskMib": 51200, "gpu": 0},
                "network": {"mode": "none"},
            },
        },
    }
    return document


def agent(action: str = "workspace.view") -> dict[str, Any]:
    """A sandboxed agent does something with its own workspace."""
    document = person(action)
    document["subject"] = {
        "kind": "agent",
        "id": "agt_1",
        "roles": ["agent"],
        "teams": ["team_1"],
        "sponsor": "per_dana",
        "task": "tsk_1",
        "tier": "sandboxed",
    }
    document["resource"]["owner"] = "agt_1"
    document["context"]["task"] = {
        "id": "tsk_1",
        "state": "open",
        "deadline": "2026-03-02T10:00:00Z",
    }
    return document


def agent_creates() -> dict[str, Any]:
    """A sandboxed agent creates its workspace; nothing objects."""
    document = merged(person_creates(), agent("workspace.create"))
    document["resource"]["id"] = None
    return merged(
        document,
        {
            "request": {
                "object": {
                    "spec": {
                        "agent": True,
                        "size": "agent",
                        "tier": "sandboxed",
                        "resources": {"cpu": 2, "memoryMib": 4096, "diskMib": 20480},
                        "network": {"mode": "none", "egressAllowlist": []},
                    }
                }
            }
        },
    )


def person_sponsors() -> dict[str, Any]:
    """A developer creates a sandboxed agent for a task; nothing objects."""
    return merged(
        person("agent.create"),
        {
            "resource": {
                "kind": "agent",
                "id": None,
                "spec": {
                    "tier": "sandboxed",
                    "repositories": ["git.example.org/payments"],
                    "deadline": "2026-03-02T10:00:00Z",
                },
            }
        },
    )


BASES = {
    "person creates": person_creates,
    "agent creates": agent_creates,
    "person sponsors": person_sponsors,
}


def base(name: str) -> dict[str, Any]:
    """The document called `name`: one of BASES, or `person ACTION` / `agent ACTION`."""
    if name in BASES:
        return BASES[name]()
    who, action = name.split(" ", 1)
    return {"person": person, "agent": agent}[who](action)


def merged(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`document` with `changes` merged in; a value of `ABSENT` takes the entry away."""
    result = copy.deepcopy(document)
    for key, value in changes.items():
        if value == "ABSENT":
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def spec(**entries: Any) -> dict[str, Any]:
    """Changes to the workspace's spec, for `merged`."""
    return {"request": {"object": {"spec": entries}}}
