package agent_identity_test

import rego.v1

import data.fixtures

test_human_role if {
	fixtures.fires("agent/human-role", fixtures.subject(fixtures.agent_acts("workspace.execute"), {"roles": ["agent", "developer"]}))
	fixtures.silent("agent/human-role", fixtures.agent_acts("workspace.execute"))
}
