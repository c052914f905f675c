# What workspaces cost: whom it is charged to, and the budgets of teams and projects. The numbers stand
# in data/costs.json.
package runtime.cost_controls

import rego.v1

import data.charter.facts

# METADATA
# title: "Costs can be charged to somebody"
# custom:
#   id: cost/tags-missing
#   severity: medium
#   controls: ["SOC2 CC1.3", "ISO27001 A.5.9"]
#   owner: platform-team
#   fix: "Add the label, such as cost-center=4711."
warn contains {
	"id": "cost/tags-missing",
	"message": sprintf("The workspace lacks the label %v, so nobody can say who pays.", [tag]),
} if {
	facts.creating
	some tag in object.get(data.settings.costs.required_tags, object.get(input, ["context", "environment"], "development"), [])
	facts.label(tag) == ""
}

# METADATA
# title: "Above its budget a team asks"
# custom:
#   id: cost/budget-exhausted
#   severity: medium
#   controls: ["ISO27001 A.8.6", "SOC2 CC1.3"]
#   owner: platform-team
#   fix: "Delete what is no longer needed, or ask for approval."
require_approval contains {
	"id": "cost/budget-exhausted",
	"message": sprintf("This would make %v of %v %v: the budget of %v is used up.", [total(line), line.limit, line.unit, object.get(line, "label", line.scope)]),
} if {
	facts.placing
	some line in lines
	total(line) > line.limit
}

# METADATA
# title: "Budgets are announced at 80 and 100 percent"
# custom:
#   id: cost/budget-nearly-used
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Choose a smaller size, or ask for a larger budget in good time."
warn contains {
	"id": "cost/budget-nearly-used",
	"message": sprintf("%v percent of the budget of %v are reached: %v of %v %v.", [reached(line), object.get(line, "label", line.scope), total(line), line.limit, line.unit]),
} if {
	facts.placing
	some line in lines
	reached(line)
}

# METADATA
# title: "Home directories are small"
# custom:
#   id: cost/home-too-large
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Keep projects in the workspace's storage and build outputs in an artefact repository."
deny contains {
	"id": "cost/home-too-large",
	"message": sprintf("A home directory of %s is larger than the %s that each person has.", [facts.size(home), facts.size(data.settings.costs.home_max_mib)]),
} if {
	facts.placing
	home := object.get(facts.spec, ["resources", "homeMib"], 0)
	home > data.settings.costs.home_max_mib
}

# METADATA
# title: "Idle GPUs are given back"
# custom:
#   id: cost/gpu-idle
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Stop the workspace, or move the work that needs no GPU."
warn contains {
	"id": "cost/gpu-idle",
	"message": sprintf("The GPU has been idle for %v seconds; after %v it is reclaimed.", [idle, data.settings.costs.gpu_idle_seconds]),
} if {
	facts.action == "workspace.extend"
	idle := input.context.gpu.idle_seconds
	idle >= data.settings.costs.gpu_idle_seconds
}

lines := object.get(input, ["context", "budgets"], [])

total(line) := line.used + line.wanted

reached(line) := percent if {
	line.limit > 0
	passed := [step | some step in data.settings.costs.alert_percents; total(line) * 100 >= line.limit * step]
	count(passed) > 0
	percent := max(passed)
}
