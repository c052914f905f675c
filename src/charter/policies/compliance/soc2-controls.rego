# Changes and evidence: who changes the rules says why, and who takes evidence out says what for.
package compliance.soc2_controls

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "A policy change says why"
# custom:
#   id: soc2/policy-change-reason
#   severity: medium
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.32"]
#   owner: security-team
#   fix: "Give a justification with the change."
warn contains {
	"id": "soc2/policy-change-reason",
	"message": "The policy change does not say why.",
} if {
	facts.action == "policy.apply"
	not facts.justified
}

# METADATA
# title: "An audit export says what for"
# custom:
#   id: soc2/audit-export-reason
#   severity: low
#   controls: ["SOC2 CC7.2", "ISO27001 A.8.15"]
#   owner: security-team
#   fix: "Give a justification with the export."
warn contains {
	"id": "soc2/audit-export-reason",
	"message": "The export of the audit trail does not say what for.",
} if {
	facts.action == "audit.export"
	not facts.justified
}

# METADATA
# title: "Nobody approves their own request"
# custom:
#   id: soc2/own-request
#   severity: critical
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.3"]
#   owner: security-team
#   fix: "Ask another approver."
deny contains {
	"id": "soc2/own-request",
	"message": "Nobody votes on their own request.",
} if {
	facts.action == "approval.vote"
	input.resource.owner == input.subject.id
}

# METADATA
# title: "Privileged roles end by themselves"
# custom:
#   id: soc2/privileged-role-expiry
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.2"]
#   owner: security-team
#   fix: "Give the binding an expiry."
warn contains {
	"id": "soc2/privileged-role-expiry",
	"message": sprintf("The role %v is given without an end.", [input.resource.spec.role]),
} if {
	facts.action == "role.bind"
	input.resource.spec.role in data.settings.compliance.privileged_roles
	object.get(input.resource.spec, "expires_at", null) == null
}

# METADATA
# title: "A quota change says why"
# custom:
#   id: soc2/quota-change-reason
#   severity: low
#   controls: ["SOC2 CC8.1"]
#   owner: platform-team
#   fix: "Give a justification with the change."
warn contains {
	"id": "soc2/quota-change-reason",
	"message": "The change of a quota does not say why.",
} if {
	facts.action == "quota.manage"
	not facts.justified
}
