# What an agent may do by itself, what somebody reviews, what somebody approves, and what it never does.
# Asked with agent.act before a tool runs. The class follows from what the action does, its commands,
# paths and targets, and never from what the agent calls it. The gates stand in data/gates.json; an
# action that fits none waits for a person.
package ai_governance.agent_gates

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Some things agents never do"
# custom:
#   id: gate/prohibited
#   severity: critical
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.2", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Leave this to a person."
deny contains {
	"id": "gate/prohibited",
	"message": sprintf("Agents never do this: %v.", [what]),
} if {
	acting
	some what in never
}

# METADATA
# title: "Some things need a yes before"
# custom:
#   id: gate/approval-required
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.32", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask for approval and say what the change is for."
require_approval contains {
	"id": "gate/approval-required",
	"message": sprintf("An agent needs approval for this: %v.", [what]),
} if {
	acting
	some what in needs_approval
}

# METADATA
# title: "Some things need somebody to look"
# custom:
#   id: gate/review-required
#   severity: medium
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.28", "EU-AI-Act Art.14"]
#   owner: platform-team
#   fix: "Ask a colleague to look at the change."
require_approval contains {
	"id": "gate/review-required",
	"message": sprintf("Somebody has to look at this before it counts: %v.", [what]),
} if {
	acting
	count(needs_approval) == 0
	some what in needs_review
}

# METADATA
# title: "What fits no gate waits for a person"
# custom:
#   id: gate/unclassified
#   severity: medium
#   controls: ["SOC2 CC8.1", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask a colleague, or add a gate for this kind of action to data/gates.json."
require_approval contains {
	"id": "gate/unclassified",
	"message": "Nothing says that an agent may do this by itself.",
} if {
	acting
	count(never) + count(needs_approval) + count(needs_review) == 0
	not autonomous
}

# METADATA
# title: "Gates never widen a tier"
# custom:
#   id: agent/act-outside-tier
#   severity: critical
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask the team lead for a wider tier."
deny contains {
	"id": "agent/act-outside-tier",
	"message": sprintf("An agent of the tier %v may not run commands or change files.", [input.subject.tier]),
} if {
	acting
	facts.agent
	facts.tier.write == false
	count(listed("commands")) + count(listed("paths")) > 0
}

acting if facts.action == "agent.act"

listed(name) := object.get(input, ["resource", "spec", name], [])

touched(gate) if {
	some kind in ["commands", "paths", "targets"]
	some pattern in object.get(gate, kind, [])
	some done in listed(kind)
	regex.match(pattern, done)
}

needs_approval contains gate.what if {
	acting
	some gate in data.settings.gates.approval
	touched(gate)
}

needs_review contains gate.what if {
	acting
	some gate in data.settings.gates.review
	touched(gate)
}

# Autonomous is an action of which every single part is: the stronger classes need one match, this one
# needs all of them. A chain of commands is never autonomous.
autonomous if {
	parts > 0
	every kind in ["commands", "paths", "targets"] {
		every done in listed(kind) {
			harmless(kind, done)
		}
	}
}

parts := count(listed("commands")) + count(listed("paths")) + count(listed("targets"))

harmless(kind, done) if {
	some gate in data.settings.gates.autonomous
	some pattern in object.get(gate, kind, [])
	regex.match(pattern, done)
	not regex.match(data.settings.gates.chained, done)
}

never contains gate.what if {
	acting
	some gate in data.settings.gates.prohibited
	touched(gate)
}
