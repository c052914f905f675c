# Requests to start from, and what the tests ask about a decision.
package fixtures

import rego.v1
import future.keywords.not

now := "2026-03-02T09:00:00.000000Z"

strong := ["user-namespace", "pid-namespace", "network-isolation", "seccomp", "no-new-privileges", "memory-limit", "process-limit"]

workspace := {
	"kind": "workspace", "id": "ws_1", "owner": "per_dana", "team": "team_1", "project": "prj_1",
	"labels": {}, "data_class": "internal", "spec": {},
}

small := {"cpu": 2, "memoryMib": 8192, "diskMib": 51200, "gpu": 0}

# A person creates a small workspace: nothing speaks.
person_creates := {
	"subject": {"kind": "human", "id": "per_dana", "roles": ["developer"], "teams": ["team_1"]},
	"action": {"name": "workspace.create"},
	"resource": workspace,
	"context": {
		"now": now,
		"provider": {"name": "local", "capabilities": strong},
		"template": {"name": "python", "version": "1.0.0", "for_kinds": ["human", "agent"], "use_instead": null},
		"quota": {
			"wanted": {"vcpu": 2, "memory_mib": 8192, "disk_mib": 51200, "gpu": 0, "workspaces": 1},
			"lines": [{
				"scope": "user:per_dana", "label": "dana",
				"limit": {"vcpu": 128, "memory_mib": 524288, "disk_mib": 512000, "gpu": 1, "workspaces": 10},
				"used": {"vcpu": 0, "memory_mib": 0, "disk_mib": 0, "gpu": 0, "workspaces": 0},
			}],
		},
	},
	"request": {
		"uid": "1", "operation": "CREATE", "kind": {"kind": "Workspace"},
		"object": {
			"metadata": {"name": "payments-api", "labels": {}},
			"spec": {
				"template": {"name": "python", "version": "1.0.0", "approved": true},
				"size": "small", "agent": false, "resources": small, "network": {"mode": "none"},
			},
		},
	},
}

agent := {"kind": "agent", "id": "agt_1", "roles": ["agent"], "teams": ["team_1"], "sponsor": "per_dana", "task": "tsk_1", "tier": "sandboxed"}

# An agent creates its workspace: nothing speaks.
agent_creates := object.union(person_creates, {
	"subject": agent,
	"resource": {"owner": "agt_1"},
	"request": {"object": {"spec": {
		"agent": true, "size": "agent", "tier": "sandboxed",
		"resources": {"cpu": 2, "memoryMib": 4096, "diskMib": 20480, "gpu": 0},
		"network": {"mode": "none", "egressAllowlist": []},
	}}},
})

# The same with network, in the tier standard.
agent_connects := object.union(agent_creates, {
	"subject": {"tier": "standard"},
	"request": {"object": {"spec": {"tier": "standard", "network": {"mode": "egress", "egressAllowlist": ["git.example.org"]}}}},
})

# An agent acts inside its workspace; the action is to be filled in.
agent_acts(action) := {
	"subject": agent, "action": {"name": action},
	"resource": object.union(workspace, {"owner": "agt_1"}),
	"context": {"now": now, "task": {"id": "tsk_1", "state": "open", "deadline": "2026-03-02T10:00:00Z"}},
}

person_acts(action) := {
	"subject": {"kind": "human", "id": "per_dana", "roles": ["developer"], "teams": ["team_1"]},
	"action": {"name": action}, "resource": workspace, "context": {"now": now},
}

person_extends := object.union(person_acts("workspace.extend"), {"context": {"extension": {"seconds": 3600, "used": 0}}})

# A person creates an agent for a task: nothing speaks.
person_sponsors := object.union(person_acts("agent.create"), {"resource": {
	"kind": "agent", "id": null,
	"spec": {"tier": "sandboxed", "repositories": ["git.example.org/payments"], "deadline": "2026-03-02T10:00:00Z"},
}})

# The same document with something put into its parts: the request's spec, the resource, the context.
spec(document, part) := object.union(document, {"request": {"object": {"spec": part}}})

resource(document, part) := object.union(document, {"resource": part})

context(document, part) := object.union(document, {"context": part})

subject(document, part) := object.union(document, {"subject": part})

# What the decision says about one rule.
fires(id, document) if {
	answer := data.charter.decision with input as document
	some spoken in answer.violations
	spoken.id == id
}

silent(id, document) if not fires(id, document)

violation(id, document) := found if {
	answer := data.charter.decision with input as document
	some found in answer.violations
	found.id == id
}
