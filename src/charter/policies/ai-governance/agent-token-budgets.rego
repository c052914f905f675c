# The budgets of agents, apart from those of people: an agent spends for a task, and the task ends with its budget.
package ai_governance.agent_token_budgets

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Every agent's task has a budget"
# custom:
#   id: agent/budget-missing
#   severity: high
#   controls: ["ISO27001 A.8.6", "EU-AI-Act Art.14"]
#   owner: platform-team
#   fix: "Let the sponsor give the task a budget of tokens."
deny contains {
	"id": "agent/budget-missing",
	"message": sprintf("There is no budget for the %v.", [trim_suffix(prefix, ":")]),
} if {
	facts.action == "llm.call"
	facts.agent
	some prefix in data.settings.llm.agent_budget_scopes
	not has_budget(prefix)
}

# METADATA
# title: "Agents call the models that are open to agents"
# custom:
#   id: agent/model-for-people
#   severity: medium
#   controls: ["ISO27001 A.8.6", "EU-AI-Act Art.26"]
#   owner: security-team
#   fix: "Use a provider that is open to agents; data/llm.json says which."
deny contains {
	"id": "agent/model-for-people",
	"message": sprintf("The provider %v is not open to agents.", [input.resource.spec.provider]),
} if {
	facts.action == "llm.call"
	facts.agent
	data.settings.llm.providers[input.resource.spec.provider].agents == false
}

has_budget(prefix) if {
	some line in object.get(input, ["context", "llm", "budgets"], [])
	startswith(line.scope, prefix)
}
