# The EU AI Act's classes of risk, by the label ai-risk of the project or task.
package compliance.eu_ai_act_controls

import rego.v1

import data.charter.facts

# METADATA
# title: "Prohibited practices have no agents"
# custom:
#   id: eu-ai-act/prohibited-practice
#   severity: critical
#   controls: ["EU-AI-Act Art.5"]
#   owner: security-team
#   fix: "Ask the compliance officer; this work must not be done with AI."
deny contains {
	"id": "eu-ai-act/prohibited-practice",
	"message": "The work is labelled as a prohibited practice, so no agent may take part.",
} if {
	facts.workspace_or_agent
	facts.agent_involved
	facts.label("ai-risk") == "unacceptable"
}

# METADATA
# title: "High-risk work needs human oversight"
# custom:
#   id: eu-ai-act/high-risk-oversight
#   severity: high
#   controls: ["EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask the security team to oversee the task."
require_approval contains {
	"id": "eu-ai-act/high-risk-oversight",
	"message": "An agent for high-risk work needs a person who oversees it.",
} if {
	facts.action == "agent.create"
	facts.label("ai-risk") == "high"
}
