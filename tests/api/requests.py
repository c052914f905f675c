"""For every route: a request that is well-formed and that a permitted caller carries out.

`{names}` in paths are filled in from the stage. `ABOUT` holds the second look at some routes, about
other things than dana's: her agent's workspace, the agent itself.
"""

from __future__ import annotations

from typing import Any, Final

from charter.adapters.rego.load import shipped_bundle
from tests.support import HOOK_SECRET

API: Final = "/api/v1"
_BUNDLE: Final = shipped_bundle()
FILES: Final = {path: _BUNDLE.text(path) for path in _BUNDLE.files}

WORKSPACE: Final = {
    "name": "fresh",
    "template": "python",
    "size": "agent",
    "team": "payments",
    "egress_allowlist": ["git.example.org"],
}
SPONSORED: Final = {
    "name": "helper",
    "task": "Tidy the docs.",
    "team": "payments",
    "repositories": ["git.example.org/payments/docs"],
}

BODIES: Final[dict[str, dict[str, Any]]] = {
    f"POST {API}/sign-in": {"json": {"link": "{link}"}},
    f"POST {API}/tokens": {"json": {"name": "laptop"}},
    f"PUT {API}/passkeys/{{passkey}}": {"json": {"name": "laptop"}},
    f"DELETE {API}/passkeys/{{passkey}}": {"params": {"last": "true"}},
    f"POST {API}/people": {"json": {"handle": "newcomer"}},
    f"POST {API}/scim/tokens": {"json": {"name": "okta-two", "directory": "okta"}},
    f"POST {API}/scim/adoptions": {"json": {"directory": "okta", "kind": "person", "ref": "otto"}},
    f"POST {API}/teams": {"json": {"name": "search-two"}},
    f"POST {API}/teams/{{team}}/members": {"json": {"person": "otto"}},
    f"POST {API}/projects": {"json": {"name": "ledger", "team": "payments"}},
    f"POST {API}/role-bindings": {
        "json": {"person": "otto", "role": "read-only", "scope_kind": "team", "scope": "payments"}
    },
    f"PUT {API}/roles/{{name}}": {
        "json": {"title": "Stops things", "permissions": {"workspace.stop": "team"}}
    },
    f"POST {API}/access/reviews": {"json": {"reason": "A laptop was lost."}},
    f"POST {API}/access/review-items/{{item}}/answer": {"json": {"answer": "revoke"}},
    f"POST {API}/templates": {"json": {"name": "go", "version": "1.0.0", "title": "Go"}},
    f"POST {API}/templates/{{template}}/approval": {"json": {"approved": True}},
    f"POST {API}/workspaces/preview": {"json": WORKSPACE},
    f"POST {API}/workspaces": {"json": WORKSPACE},
    f"POST {API}/workspaces/{{workspace}}/execute": {"json": {"command": ["true"]}},
    f"POST {API}/agents/{{agent}}/elevations": {
        "json": {"repositories": ["git.example.org/payments/web"], "reason": "It is there too."}
    },
    f"POST {API}/production/accesses": {
        "json": {"project": "ledger-live", "minutes": 30, "reason": "Incident 4711."}
    },
    f"POST {API}/quotas/overrides": {
        "json": {
            "of": "payments",
            "dimension": "vcpu",
            "amount": 8,
            "until": "2026-03-03T09:00:00Z",
            "reason": "The release.",
        }
    },
    f"POST {API}/break-glass": {"json": {"role": "platform-admin", "reason": "It burns."}},
    f"POST {API}/break-glass/{{emergency}}/review": {
        "json": {"outcome": "justified", "findings": "A real outage."}
    },
    f"GET {API}/access/why": {"params": {"subject": "dana", "action": "workspace.stop"}},
    f"GET {API}/workspaces/{{workspace}}/files": {"params": {"path": "note"}},
    f"PUT {API}/workspaces/{{workspace}}/files": {
        "params": {"path": "note"},
        "json": {"content": "kept\n"},
    },
    f"POST {API}/approvals/{{approval}}/comments": {"json": {"text": "For how long?"}},
    f"POST {API}/absences": {"json": {"delegate": "dana", "ends_at": "2026-03-04T00:00:00Z"}},
    f"POST {API}/agents": {"json": SPONSORED},
    f"POST {API}/agent-definitions": {"json": {"name": "mender", "team": "payments"}},
    f"PATCH {API}/agent-definitions/{{definition}}": {
        "json": {"tier": "read-only", "why": "It wrote too much."}
    },
    f"POST {API}/agent-definitions/{{definition}}/retire": {"json": {"why": "Replaced."}},
    f"POST {API}/keys/rotate": {"json": {}},
    f"POST {API}/agents/{{agent}}/end": {"json": {"outcome": "completed"}},
    f"POST {API}/agents/{{agent}}/kill": {"json": {"reason": "It went astray."}},
    f"POST {API}/policies/bundles": {"json": {"files": FILES, "note": "The same again."}},
    f"POST {API}/policies/impact": {"json": {"digest": "{digest}"}},
    f"POST {API}/enforcement-points": {"json": {"name": "edge-two", "kind": "opa"}},
    f"POST {API}/enforcement-points/{{point}}/rotate": {"json": {"grace_seconds": 60}},
    f"POST {API}/policies/changes": {
        "json": {"files": {**FILES, "docs/more.md": "More.\n"}, "title": "More"}
    },
    f"POST {API}/policies/changes/{{change}}/approve": {"json": {"digest": "{candidate}"}},
    f"POST {API}/policies/changes/{{change}}/reject": {
        "json": {"digest": "{candidate}", "comment": "No."}
    },
    f"POST {API}/policies/changes/{{change}}/withdraw": {"json": {"why": "Not now."}},
    f"POST {API}/policies/source/webhook": {
        "headers": {"X-Gitlab-Token": HOOK_SECRET.get_secret_value()},
        "json": {"ref": "refs/heads/main"},
    },
    f"POST {API}/policies/rollback": {"json": {"digest": "{digest}", "why": "A slip."}},
    f"POST {API}/decisions/replay": {"json": {"limit": 5}},
    f"POST {API}/policies/playground": {"json": {"decision": "{decision}"}},
    f"POST {API}/governance/reviews": {
        "json": {"trigger": "incident", "reason": "A token was in a log."}
    },
    f"POST {API}/governance/reviews/{{review}}/hold": {
        "json": {"committee": [{"person": "sam", "side": "security"}]}
    },
    f"PUT {API}/governance/reviews/{{review}}/minutes": {
        "json": {
            "minutes": "We met.",
            "findings": [{"text": "Mend it.", "owner": "dana", "due_on": "2026-06-30"}],
        }
    },
    f"PUT {API}/notifications/preferences": {"json": {"kinds": {"lifecycle": "off"}}},
    f"POST {API}/notifications/channels": {
        "json": {
            "name": "fresh-channel",
            "kind": "webhook",
            "team": "payments",
            "url": "https://hooks.example.org/in",
            "secret": "a-secret-of-some-length",
        }
    },
    f"POST {API}/governance/reviews/{{review}}/close": {"json": {"outcome": "effective"}},
}

# What a name in a path means for the row `about` of the table.
ABOUT: Final[dict[str, dict[str, str]]] = {
    "": {"agent": "{idle_agent}", "channel": "{team_channel}"},
    "the organisation": {"channel": "{organisation_channel}"},
    "otto": {"person": "otto"},
    "own agent": {"agent": "{agent}"},
    "agent's": {"workspace": "{agent_workspace}"},
    "self": {"agent": "self"},
    "over": {"emergency": "{over}"},
    "staged": {"change": "{staged_change}"},
}


def filled(value: Any, ids: dict[str, str]) -> Any:
    """`value` with every `{name}` of the stage put in."""
    match value:
        case str():
            for name, found in ids.items():
                value = value.replace(f"{{{name}}}", found)
            return value
        case dict() if value is not FILES:
            return {key: filled(inner, ids) for key, inner in value.items()}
        case _:
            return value


def build(route: str, about: str, ids: dict[str, str]) -> tuple[str, str, dict[str, Any]]:
    """Method, path and the other parts of the request for one row."""
    method, path = route.split(" ", 1)
    here = {**ids, **{name: filled(value, ids) for name, value in ABOUT[about].items()}}
    return method, filled(path, here), filled(BODIES.get(route, {}), here)
