# Tokens and money for models: every call counts against the budgets of its user, team, agent, task and
# project, together. Reserving them exactly is the gateway's (an invariant); here are the thresholds and
# who must have a budget. The numbers stand in data/llm.json.
package ai_governance.token_budget_limits

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Nobody spends more than the budget"
# custom:
#   id: llm/budget-exhausted
#   severity: medium
#   controls: ["ISO27001 A.8.6", "SOC2 CC1.3"]
#   owner: platform-team
#   fix: "Wait for the next month, ask the team lead for a larger budget, or use a self-hosted model."
deny contains {
	"id": "llm/budget-exhausted",
	"message": sprintf("This would make %v of %v %v: the budget of %v is used up.", [total(line), line.limit, line.unit, object.get(line, "label", line.scope)]),
} if {
	calling
	some line in lines
	total(line) > line.limit
}

# METADATA
# title: "Budgets are announced at 80 and 100 percent"
# custom:
#   id: llm/budget-nearly-used
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Use a cheaper model where it is enough, or ask for a larger budget in good time."
warn contains {
	"id": "llm/budget-nearly-used",
	"message": sprintf("%v percent of the budget of %v are reached: %v of %v %v.", [reached(line), object.get(line, "label", line.scope), total(line), line.limit, line.unit]),
} if {
	calling
	some line in lines
	reached(line)
}

# METADATA
# title: "Every user and team has a budget"
# custom:
#   id: llm/budget-missing
#   severity: medium
#   controls: ["ISO27001 A.8.6", "SOC2 CC1.3"]
#   owner: platform-team
#   fix: "Ask the platform team for a monthly budget."
deny contains {
	"id": "llm/budget-missing",
	"message": sprintf("There is no budget for the %v.", [trim_suffix(prefix, ":")]),
} if {
	calling
	facts.human
	some prefix in data.settings.llm.budget_scopes
	not has_budget(prefix)
}

# METADATA
# title: "One call has a size"
# custom:
#   id: llm/request-too-large
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Send less context, or split the work."
deny contains {
	"id": "llm/request-too-large",
	"message": sprintf("%v tokens are more than the %v of one call.", [tokens, data.settings.llm.request_max_tokens]),
} if {
	calling
	tokens > data.settings.llm.request_max_tokens
}

# METADATA
# title: "Calls have a rate"
# custom:
#   id: llm/too-many-calls
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Wait a minute and try again."
deny contains {
	"id": "llm/too-many-calls",
	"message": sprintf("%v calls in a minute are more than the %v that one subject has.", [calls, data.settings.llm.calls_per_minute]),
} if {
	calling
	calls := object.get(input, ["context", "llm", "calls_last_minute"], 0)
	calls > data.settings.llm.calls_per_minute
}

calling if facts.action == "llm.call"

lines := object.get(input, ["context", "llm", "budgets"], [])

total(line) := line.used + line.wanted

has_budget(prefix) if {
	some line in lines
	startswith(line.scope, prefix)
}

# The highest threshold that the call reaches.
reached(line) := percent if {
	line.limit > 0
	passed := [step | some step in data.settings.llm.alert_percents; total(line) * 100 >= line.limit * step]
	count(passed) > 0
	percent := max(passed)
}

tokens := object.get(input, ["resource", "spec", "tokens"], 0)
