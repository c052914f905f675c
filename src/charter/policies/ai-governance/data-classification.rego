# Which data agents may touch, by the class of the project.
package ai_governance.data_classification

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Regulated data stays with narrow agents"
# custom:
#   id: ai/regulated-tier
#   severity: high
#   controls: ["HIPAA 164.312(a)(1)", "EU-AI-Act Art.10"]
#   owner: security-team
#   fix: "Use an agent of the tier read-only or sandboxed."
deny contains {
	"id": "ai/regulated-tier",
	"message": "Agents with network may not work on regulated data.",
} if {
	facts.placing
	facts.agent_workspace
	facts.data_class == "regulated"
	not facts.spec.tier in data.settings.data_classes.regulated_tiers
}

# METADATA
# title: "Agents for regulated data begin narrow"
# custom:
#   id: ai/regulated-task-tier
#   severity: high
#   controls: ["HIPAA 164.312(a)(1)", "EU-AI-Act Art.10"]
#   owner: security-team
#   fix: "Use the tier read-only or sandboxed."
deny contains {
	"id": "ai/regulated-task-tier",
	"message": "An agent for regulated data may not have network.",
} if {
	facts.action == "agent.create"
	facts.data_class == "regulated"
	not facts.asked_tier in data.settings.data_classes.regulated_tiers
}

# METADATA
# title: "Agents on regulated data need the security team"
# custom:
#   id: ai/regulated-task-needs-approval
#   severity: high
#   controls: ["HIPAA 164.308(a)(4)", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask the security team and say why an agent is needed."
require_approval contains {
	"id": "ai/regulated-task-needs-approval",
	"message": "An agent that works on regulated data needs the approval of the security team.",
} if {
	facts.action == "agent.create"
	facts.data_class == "regulated"
}

# METADATA
# title: "Confidential work reaches internal destinations only"
# custom:
#   id: ai/confidential-destinations
#   severity: high
#   controls: ["SOC2 CC6.7", "ISO27001 A.8.12"]
#   owner: security-team
#   fix: "Keep to the destinations of data/data_classes.json."
deny contains {
	"id": "ai/confidential-destinations",
	"message": sprintf("The destination %v is not approved for confidential work of agents.", [entry]),
} if {
	facts.placing
	facts.agent_workspace
	facts.data_class == "confidential"
	some entry in facts.allowlist
	is_string(entry)
	host := split(entry, ":")[0]
	not within(host)
}

within(host) if host in data.settings.data_classes.confidential_destinations

within(host) if {
	some suffix in data.settings.data_classes.confidential_destinations
	endswith(host, concat("", [".", suffix]))
}
