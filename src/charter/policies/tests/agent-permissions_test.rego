package agent_permissions_test

import rego.v1

import data.fixtures

test_egress_allowlist_missing if {
	fixtures.fires("agent/egress-allowlist-missing", json.remove(fixtures.agent_creates, ["request/object/spec/network/egressAllowlist"]))
	fixtures.silent("agent/egress-allowlist-missing", fixtures.agent_creates)
}

test_egress_allowlist_missing_2 if {
	fixtures.fires("agent/egress-allowlist-missing", fixtures.spec(fixtures.agent_creates, {"network": {"mode": "none", "egressAllowlist": "git.example.org"}}))
	fixtures.silent("agent/egress-allowlist-missing", fixtures.person_creates)
}

test_allowlist_empty if {
	fixtures.fires("agent/allowlist-empty", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": []}}))
	fixtures.silent("agent/allowlist-empty", fixtures.agent_connects)
}

test_allowlist_long if {
	fixtures.fires("agent/allowlist-long", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": [host | some n in numbers.range(1, 21); host := sprintf("h%d.example.org", [n])]}}))
	fixtures.silent("agent/allowlist-long", fixtures.agent_connects)
}

test_no_task if {
	fixtures.fires("agent/no-task", fixtures.subject(fixtures.agent_creates, {"task": null}))
	fixtures.silent("agent/no-task", fixtures.agent_creates)
}

test_no_sponsor if {
	fixtures.fires("agent/no-sponsor", fixtures.subject(fixtures.agent_creates, {"sponsor": null}))
	fixtures.silent("agent/no-sponsor", fixtures.agent_creates)
}

test_unknown_tier if {
	fixtures.fires("agent/unknown-tier", fixtures.subject(fixtures.agent_creates, {"tier": "godlike"}))
	fixtures.silent("agent/unknown-tier", fixtures.agent_creates)
}

test_not_marked if {
	fixtures.fires("agent/not-marked", fixtures.spec(fixtures.agent_creates, {"agent": false}))
	fixtures.silent("agent/not-marked", fixtures.agent_creates)
}

test_host_network if {
	fixtures.fires("agent/host-network", fixtures.spec(fixtures.agent_creates, {"network": {"mode": "host", "egressAllowlist": []}}))
	fixtures.silent("agent/host-network", fixtures.agent_creates)
}

test_network_outside_tier if {
	fixtures.fires("agent/network-outside-tier", fixtures.spec(fixtures.agent_creates, {"network": {"mode": "egress", "egressAllowlist": ["git.example.org"]}}))
	fixtures.silent("agent/network-outside-tier", fixtures.agent_connects)
}

test_workspace_tier_unknown if {
	fixtures.fires("agent/workspace-tier-unknown", fixtures.spec(fixtures.agent_creates, {"tier": "godlike"}))
	fixtures.silent("agent/workspace-tier-unknown", fixtures.agent_creates)
}

test_wider_than_tier if {
	fixtures.fires("agent/wider-than-tier", fixtures.spec(fixtures.agent_creates, {"tier": "trusted"}))
	fixtures.silent("agent/wider-than-tier", fixtures.agent_creates)
}

test_cpu_above_maximum if {
	fixtures.fires("agent/cpu-above-maximum", fixtures.spec(fixtures.agent_creates, {"resources": {"cpu": 9}}))
	fixtures.silent("agent/cpu-above-maximum", fixtures.spec(fixtures.agent_creates, {"resources": {"cpu": 8}}))
}

test_memory_above_maximum if {
	fixtures.fires("agent/memory-above-maximum", fixtures.spec(fixtures.agent_creates, {"resources": {"memoryMib": 16385}}))
	fixtures.silent("agent/memory-above-maximum", fixtures.spec(fixtures.agent_creates, {"resources": {"memoryMib": 16384}}))
}

test_disk_above_maximum if {
	fixtures.fires("agent/disk-above-maximum", fixtures.spec(fixtures.agent_creates, {"resources": {"diskMib": 51201}}))
	fixtures.silent("agent/disk-above-maximum", fixtures.spec(fixtures.agent_creates, {"resources": {"diskMib": 51200}}))
}

test_gpu if {
	fixtures.fires("agent/gpu", fixtures.spec(fixtures.agent_creates, {"resources": {"gpu": 1}}))
	fixtures.silent("agent/gpu", fixtures.agent_creates)
}

test_size_not_for_agents if {
	fixtures.fires("agent/size-not-for-agents", fixtures.spec(fixtures.agent_creates, {"size": "medium"}))
	fixtures.silent("agent/size-not-for-agents", fixtures.spec(fixtures.person_creates, {"size": "medium"}))
}

test_write_outside_tier if {
	fixtures.fires("agent/write-outside-tier", fixtures.subject(fixtures.agent_acts("workspace.write-files"), {"tier": "read-only"}))
	fixtures.silent("agent/write-outside-tier", fixtures.agent_acts("workspace.write-files"))
}

test_execute_outside_tier if {
	fixtures.fires("agent/execute-outside-tier", fixtures.subject(fixtures.agent_acts("workspace.execute"), {"tier": "read-only"}))
	fixtures.silent("agent/execute-outside-tier", fixtures.agent_acts("workspace.execute"))
}

test_humans_only if {
	fixtures.fires("agent/humans-only", fixtures.agent_acts("policy.apply"))
	fixtures.silent("agent/humans-only", fixtures.person_acts("policy.apply"))
}

test_approves if {
	fixtures.fires("agent/approves", fixtures.agent_acts("approval.vote"))
	fixtures.silent("agent/approves", fixtures.person_acts("approval.vote"))
}

test_creates_agents if {
	fixtures.fires("agent/creates-agents", fixtures.agent_acts("agent.create"))
	fixtures.silent("agent/creates-agents", fixtures.person_sponsors)
}

test_extends if {
	fixtures.fires("agent/extends", fixtures.agent_acts("workspace.extend"))
	fixtures.silent("agent/extends", fixtures.person_extends)
}

test_foreign_team if {
	fixtures.fires("agent/foreign-team", fixtures.resource(fixtures.agent_creates, {"team": "team_2"}))
	fixtures.silent("agent/foreign-team", fixtures.agent_creates)
}

test_the_message_about_the_allowlist if {
	document := json.remove(fixtures.agent_creates, ["request/object/spec/network/egressAllowlist"])
	fixtures.violation("agent/egress-allowlist-missing", document).message == "Agent workspaces require explicit egress allowlist"
}

test_read_outside_tier if {
	document := fixtures.agent_acts("workspace.read-files")
	fixtures.fires("agent/read-outside-tier", document) with data.settings.tiers.sandboxed.read as false
	fixtures.silent("agent/read-outside-tier", document)
}

test_capability_missing if {
	fixtures.fires("agent/capability-missing", fixtures.agent_creates) with data.settings.providers.required_capabilities.agent as ["disk-limit"]
	fixtures.silent("agent/capability-missing", fixtures.person_creates) with data.settings.providers.required_capabilities.agent as ["disk-limit"]
	fixtures.silent("agent/capability-missing", fixtures.agent_creates)
}
