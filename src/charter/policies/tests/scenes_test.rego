# More requests to start from: what enforcement points beside the portal ask. Nothing speaks against
# them, except where a yes of somebody is always needed.
package scenes

import rego.v1

import data.fixtures

digest := "sha256:4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"

good_image := {
	"reference": concat("", ["registry.example.org/mine/shop@", digest]), "base": "registry.example.org/base/python:3.13",
	"scan": {"at": "2026-03-01T09:00:00Z", "findings": {"critical": 0, "high": 0, "medium": 2}},
}

image(part) := fixtures.context(fixtures.person_acts("image.use"), {"images": [object.union(good_image, part)]})

person_uses_image := image({})

person_uses_secret := object.union(fixtures.person_acts("secret.use"), {
	"resource": {"kind": "secret", "spec": {"reference": "vault:team/payments#password", "environment": "development", "seconds": 900}},
	"context": {"secret": {"rotated_at": "2026-02-01T09:00:00Z"}},
})

agent_uses_secret := object.union(fixtures.agent_acts("secret.use"), {
	"resource": {"kind": "secret", "spec": {"reference": "vault:team/payments#password", "environment": "development", "seconds": 900}},
	"context": {"secret": {"rotated_at": "2026-02-01T09:00:00Z"}},
})

# Always needs the security team.
person_enters_production := object.union(fixtures.person_acts("production.access"), {
	"subject": {"mfa": true}, "resource": {"kind": "production", "spec": {"seconds": 3600}},
	"context": {"justification": "Incident 4711"},
})

# Always needs somebody's yes.
person_deploys := object.union(fixtures.person_acts("deployment.run"), {"resource": {"spec": {"environment": "production", "via": "pipeline", "author": "per_lee"}}})

agent_deploys := object.union(fixtures.agent_acts("deployment.run"), {"resource": {"spec": {"environment": "staging", "via": "pipeline", "author": "per_lee"}}})

tool(category, name) := object.union(fixtures.person_acts("tool.use"), {"resource": {"kind": "tool", "spec": {"category": category, "name": name}}})

template_published := object.union(fixtures.person_acts("template.publish"), {
	"resource": {"kind": "template", "spec": {
		"version": "1.4.0", "for_kinds": ["human"], "extends": "base", "change_log": "A newer compiler.",
		"settings": {"network_policy": true, "tls": true, "signed_commits": true, "llm_routing": true, "logging": true},
		"security_tools": ["secret-scanning", "dependency-scanning", "static-analysis", "audit-agent", "llm-proxy"],
	}},
	"context": {
		"justification": "The payments team builds with it.",
		"publication": {
			"proposed_by": "per_dana", "security_sign_off": {"by": "per_sec"}, "platform_review": {"by": "per_plat"},
			"checks": {"schema": "passed", "policy": "passed", "secret-scan": "passed", "static-analysis": "passed", "build": "passed"},
		},
	},
})

agent_template_published := object.union(template_published, {"resource": {"spec": {
	"for_kinds": ["agent"], "image": "registry.example.org/base/agent:2", "tools": [{"category": "tool", "name": "git"}],
	"network": {"egressAllowlist": []}, "max_runtime_seconds": 7200,
}}})

person_calls_llm := object.union(fixtures.person_acts("llm.call"), {
	"resource": {"kind": "llm", "data_class": "internal", "spec": {"provider": "openai", "model": "gpt-5-2025-08-07", "tokens": 1000}},
	"context": {"llm": {
		"gateway": true, "prompt_log": "full", "findings": [],
		"budgets": [
			{"scope": "team:team_1", "label": "payments", "unit": "tokens", "limit": 1000000, "used": 0, "wanted": 1000},
			{"scope": "user:per_dana", "label": "dana", "unit": "tokens", "limit": 1000000, "used": 0, "wanted": 1000},
		],
	}},
})

self_hosted_call := fixtures.resource(person_calls_llm, {"spec": {"provider": "self-hosted", "model": "qwen3-coder-30b"}})

premium_call := fixtures.resource(person_calls_llm, {"spec": {"provider": "anthropic", "model": "claude-opus-4-1-20250805"}})

spent(used) := fixtures.context(person_calls_llm, {"llm": {"budgets": [
	{"scope": "team:team_1", "label": "payments", "unit": "tokens", "limit": 1000000, "used": used, "wanted": 1000},
	{"scope": "user:per_dana", "unit": "tokens", "limit": 1000000, "used": 0, "wanted": 1000},
]}})

agent_calls_llm := object.union(fixtures.agent_acts("llm.call"), {
	"resource": {"kind": "llm", "data_class": "internal", "spec": {"provider": "openai", "model": "gpt-5-2025-08-07", "tokens": 1000}},
	"context": {"llm": {
		"gateway": true, "prompt_log": "full", "findings": [],
		"budgets": [
			{"scope": "agent:agt_1", "label": "fixer", "unit": "tokens", "limit": 1000000, "used": 0, "wanted": 1000},
			{"scope": "task:tsk_1", "label": "the task", "unit": "tokens", "limit": 1000000, "used": 0, "wanted": 1000},
		],
	}},
})

agent_does(what) := object.union(fixtures.agent_acts("agent.act"), {"resource": {"kind": "act", "spec": object.union({"tool": "shell"}, what)}})

agent_tests := agent_does({"commands": ["pytest -q tests/test_money.py"]})

person_connects_to(host) := object.union(fixtures.person_acts("network.connect"), {"resource": {"kind": "connection", "spec": {"host": host, "port": 443, "encrypted": true}}})

person_connects := person_connects_to("docs.example.com")

agent_connects := object.union(fixtures.agent_acts("network.connect"), {
	"subject": {"tier": "standard"},
	"resource": {"kind": "connection", "spec": {"host": "git.example.org", "port": 443, "encrypted": true}},
	"context": {"connection": {"logged": true}, "egress": {"allowlist": ["api.example.com:443"]}},
})

agent_looks_up(host) := object.union(fixtures.agent_acts("network.resolve"), {
	"subject": {"tier": "standard"}, "resource": {"kind": "name", "spec": {"host": host}},
})

costly(used) := fixtures.context(fixtures.person_creates, {"budgets": [{"scope": "team:team_1", "label": "payments", "unit": "cents", "limit": 100000, "used": used, "wanted": 0}]})

person_merges := object.union(fixtures.person_acts("code.merge"), {
	"resource": {"kind": "change", "spec": {"repository": "git.example.org/payments"}},
	"context": {
		"environment": "production",
		"change": {
			"author": "per_dana", "written_by": "human", "target": "main", "description": "Round money by the bank's rule.",
			"reviewers": [{"kind": "human", "id": "per_lee"}, {"kind": "human", "id": "per_kim"}],
			"tests": "passed", "signed": true, "protected": true, "secrets_found": 0, "undocumented_endpoints": [],
			"scans": {"secrets": "passed", "dependencies": "passed", "static-analysis": "passed"},
		},
	},
})

person_pushes := object.union(fixtures.person_acts("code.push"), {
	"resource": {"kind": "change", "spec": {"repository": "git.example.org/payments"}},
	"context": {"change": {"author": "per_dana", "target": "rounding", "signed": true, "secrets_found": 0}},
})

agent_change_merged := fixtures.context(person_merges, {"change": {"author": "agt_1", "written_by": "agent"}})

agent_merges := object.union(object.remove(agent_change_merged, ["subject"]), {
	"subject": object.union(fixtures.agent, {"tier": "trusted"}),
	"resource": {"owner": "per_dana"},
	"context": {
		"change": {"author": "per_dana"},
		"task": {"id": "tsk_1", "state": "open", "deadline": "2026-03-02T10:00:00Z", "repositories": ["git.example.org/payments"]},
	},
})

posture(kind, part) := {
	"subject": {"kind": "service", "id": "charter-controllers"}, "action": {"name": "posture.assess"},
	"resource": {"kind": kind, "id": "the-one"},
	"context": {"now": data.fixtures.now, "posture": object.union(postures[kind], part)},
}

postures := {
	"access": {"reviewed_at": "2026-02-01T09:00:00Z"},
	"agent": {"key_rotated_at": "2026-02-01T09:00:00Z", "audit_trail": true, "instances": 1},
	"installation": {
		"audit_trail": true, "audit_retention_days": 2557, "segmented": true, "encrypted_at_rest": true,
		"kill_switch_drilled_at": "2026-02-01T09:00:00Z", "incident_plan_reviewed_at": "2026-02-01T09:00:00Z",
		"policy_reviewed_at": "2026-02-01T09:00:00Z", "scanned_at": "2026-03-02T03:00:00Z",
	},
}
