# What agents may cost, apart from people: an agent that has spent its task's money does nothing more, and
# one that repeats itself is stopped.
package runtime.agent_costs

import rego.v1

import data.charter.facts

# METADATA
# title: "An agent stops when its task's money is spent"
# custom:
#   id: agent/cost-limit
#   severity: high
#   controls: ["ISO27001 A.8.6", "EU-AI-Act Art.14"]
#   owner: platform-team
#   fix: "Ask the sponsor for a new task with a larger budget."
deny contains {
	"id": "agent/cost-limit",
	"message": sprintf("The task has spent %v of its %v cents.", [task.spent_cents, task.budget_cents]),
} if {
	facts.agent
	task.spent_cents >= task.budget_cents
}

# METADATA
# title: "An agent that repeats itself stops"
# custom:
#   id: agent/loops
#   severity: medium
#   controls: ["ISO27001 A.8.16", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Look at what the agent is stuck with, then give it a new task."
deny contains {
	"id": "agent/loops",
	"message": sprintf("The agent has done the same thing %v times; %v are the limit.", [task.repeated, data.settings.costs.agent_repeats_max]),
} if {
	facts.agent
	task.repeated > data.settings.costs.agent_repeats_max
}

# METADATA
# title: "Agents do not multiply workspaces"
# custom:
#   id: agent/too-many-workspaces
#   severity: high
#   controls: ["ISO27001 A.8.6", "EU-AI-Act Art.15"]
#   owner: platform-team
#   fix: "Delete workspaces of the task, or ask the sponsor."
deny contains {
	"id": "agent/too-many-workspaces",
	"message": sprintf("The agent has made %v workspaces within an hour; %v are the limit.", [task.workspaces_last_hour, data.settings.costs.agent_workspaces_per_hour]),
} if {
	facts.creating
	facts.agent
	task.workspaces_last_hour >= data.settings.costs.agent_workspaces_per_hour
}

task := object.get(input, ["context", "task"], {})
