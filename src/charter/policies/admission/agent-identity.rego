# Who agents are: a class of their own, with roles of their own.
package admission.agent_identity

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Agents have roles of their own"
# custom:
#   id: agent/human-role
#   severity: critical
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.15", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Take the role away from the agent; roles of people are for people."
deny contains {
	"id": "agent/human-role",
	"message": sprintf("The agent holds the role %v, which is for people.", [role]),
} if {
	facts.agent
	some role in object.get(input.subject, "roles", [])
	not role in data.settings.access.agent_roles
}
