package agent_costs_test

import rego.v1

import data.fixtures

test_cost_limit if {
	fixtures.fires("agent/cost-limit", fixtures.context(fixtures.agent_acts("workspace.execute"), {"task": {"spent_cents": 500, "budget_cents": 500}}))
	fixtures.silent("agent/cost-limit", fixtures.context(fixtures.agent_acts("workspace.execute"), {"task": {"spent_cents": 499, "budget_cents": 500}}))
}

test_loops if {
	fixtures.fires("agent/loops", fixtures.context(fixtures.agent_acts("workspace.execute"), {"task": {"repeated": 21}}))
	fixtures.silent("agent/loops", fixtures.context(fixtures.agent_acts("workspace.execute"), {"task": {"repeated": 20}}))
}

test_too_many_workspaces if {
	fixtures.fires("agent/too-many-workspaces", fixtures.context(fixtures.agent_creates, {"task": {"workspaces_last_hour": 10}}))
	fixtures.silent("agent/too-many-workspaces", fixtures.context(fixtures.agent_creates, {"task": {"workspaces_last_hour": 9}}))
}
