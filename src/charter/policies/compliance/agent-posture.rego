# Whether the controls over agents are in order: each with an identity and a trail of its own, keys that
# age, a kill switch that has been tried and a plan for the day it is needed.
package compliance.agent_posture

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Keys of agents are rotated"
# custom:
#   id: agent/key-rotation-overdue
#   severity: high
#   controls: ["SOC2 CC6.1", "PCI-DSS 8.6.3", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Rotate the agent's key."
deny contains {
	"id": "agent/key-rotation-overdue",
	"message": sprintf("The agent's key is older than %v days, or nobody knows how old.", [data.settings.compliance.agent_key_rotation_days]),
} if {
	assessing("agent")
	not within("key_rotated_at", data.settings.compliance.agent_key_rotation_days)
}

# METADATA
# title: "The kill switch is there and has been tried"
# custom:
#   id: agent/kill-switch-not-drilled
#   severity: critical
#   controls: ["EU-AI-Act Art.14", "SOC2 CC7.4"]
#   owner: security-team
#   fix: "Drill the kill switch and record it."
deny contains {
	"id": "agent/kill-switch-not-drilled",
	"message": sprintf("The kill switch for agents has not been tried for more than %v days.", [data.settings.compliance.kill_switch_drill_days]),
} if {
	assessing("installation")
	not within("kill_switch_drilled_at", data.settings.compliance.kill_switch_drill_days)
}

# METADATA
# title: "There is a plan for failing agents"
# custom:
#   id: agent/incident-plan-missing
#   severity: high
#   controls: ["SOC2 CC7.4", "ISO27001 A.5.24", "EU-AI-Act Art.26"]
#   owner: security-team
#   fix: "Write or review the plan for incidents with agents."
deny contains {
	"id": "agent/incident-plan-missing",
	"message": sprintf("No plan for incidents with agents has been reviewed for %v days.", [data.settings.compliance.incident_plan_review_days]),
} if {
	assessing("installation")
	not within("incident_plan_reviewed_at", data.settings.compliance.incident_plan_review_days)
}

# METADATA
# title: "The actions of agents are logged"
# custom:
#   id: agent/trail-off
#   severity: critical
#   controls: ["SOC2 CC7.2", "EU-AI-Act Art.12"]
#   owner: security-team
#   fix: "Switch the trail of this agent's actions on."
deny contains {
	"id": "agent/trail-off",
	"message": "The actions of this agent are not logged.",
} if {
	assessing("agent")
	object.get(posture, "audit_trail", false) != true
}

# METADATA
# title: "Every running agent has an identity of its own"
# custom:
#   id: agent/identity-shared
#   severity: critical
#   controls: ["SOC2 CC6.1", "PCI-DSS 8.2.1", "EU-AI-Act Art.12"]
#   owner: security-team
#   fix: "Give each instance a credential of its own."
deny contains {
	"id": "agent/identity-shared",
	"message": sprintf("%v running instances share one identity.", [instances]),
} if {
	assessing("agent")
	instances := object.get(posture, "instances", 0)
	instances > 1
}

assessing(kind) if {
	facts.action == "posture.assess"
	input.resource.kind == kind
}

posture := object.get(input, ["context", "posture"], {})

# Done, and not longer ago than so many days.
within(name, days) if facts.now_ns - facts.moment(posture[name]) <= days * facts.day * 1000000000
