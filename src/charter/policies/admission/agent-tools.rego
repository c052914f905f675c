# Tools of agents: no editors and no assistants inside an agent.
package admission.agent_tools

import rego.v1

import data.charter.facts

# METADATA
# title: "Agents use no editor and no other assistant"
# custom:
#   id: agent/editor
#   severity: medium
#   controls: ["ISO27001 A.8.9", "EU-AI-Act Art.15"]
#   owner: platform-team
#   fix: "Take the editor out of the agent's template; another assistant needs a task and a sponsor of its own."
deny contains {
	"id": "agent/editor",
	"message": sprintf("An agent has no use for the %v %v.", [input.resource.spec.category, input.resource.spec.name]),
} if {
	facts.action == "tool.use"
	facts.agent
	input.resource.spec.category in data.settings.catalogue.not_for_agents
}
