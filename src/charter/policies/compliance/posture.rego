# Whether the controls themselves are in order: reviews held, plans at hand, trails kept. Asked with
# posture.assess on a schedule, for the installation as a whole, for one access, or for one agent. The
# numbers stand in data/compliance.json.
package compliance.posture

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Access is reviewed every quarter"
# custom:
#   id: soc2/access-review-overdue
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.18", "PCI-DSS 7.2.4", "HIPAA 164.308(a)(4)"]
#   owner: security-team
#   fix: "Let the team lead confirm or take away the access."
deny contains {
	"id": "soc2/access-review-overdue",
	"message": sprintf("The access has not been confirmed for more than %v days.", [data.settings.compliance.access_review_days]),
} if {
	assessing("access")
	not within("reviewed_at", data.settings.compliance.access_review_days)
}

# METADATA
# title: "Policies are reviewed every quarter"
# custom:
#   id: soc2/policy-review-overdue
#   severity: medium
#   controls: ["SOC2 CC5.3", "ISO27001 A.5.1"]
#   owner: security-team
#   fix: "Hold the quarterly review and keep its minutes."
deny contains {
	"id": "soc2/policy-review-overdue",
	"message": sprintf("The policies have not been reviewed for more than %v days.", [data.settings.compliance.policy_review_days]),
} if {
	assessing("installation")
	not within("policy_reviewed_at", data.settings.compliance.policy_review_days)
}

# METADATA
# title: "Workspaces are scanned for drift"
# custom:
#   id: soc2/compliance-scan-overdue
#   severity: medium
#   controls: ["SOC2 CC4.1", "ISO27001 A.5.36"]
#   owner: security-team
#   fix: "Start the scan and see why the schedule did not."
deny contains {
	"id": "soc2/compliance-scan-overdue",
	"message": sprintf("No compliance scan has finished for more than %v days.", [data.settings.compliance.compliance_scan_days]),
} if {
	assessing("installation")
	not within("scanned_at", data.settings.compliance.compliance_scan_days)
}

# METADATA
# title: "The audit trail is kept for seven years"
# custom:
#   id: soc2/retention-too-short
#   severity: high
#   controls: ["SOC2 CC7.2", "HIPAA 164.316(b)(2)", "ISO27001 A.5.33", "PCI-DSS 10.5.1"]
#   owner: security-team
#   fix: "Set the retention to what data/compliance.json demands, or longer."
deny contains {
	"id": "soc2/retention-too-short",
	"message": sprintf("The audit trail would be kept for %v days; %v are needed.", [days, data.settings.compliance.audit_retention_days]),
} if {
	facts.action == "retention.set"
	days := object.get(input, ["resource", "spec", "days"], 0)
	days < data.settings.compliance.audit_retention_days
}

# METADATA
# title: "The trail that exists is kept for seven years"
# custom:
#   id: soc2/retention-found-short
#   severity: high
#   controls: ["SOC2 CC7.2", "HIPAA 164.316(b)(2)", "ISO27001 A.5.33", "PCI-DSS 10.5.1"]
#   owner: security-team
#   fix: "Set the retention to what data/compliance.json demands, or longer."
deny contains {
	"id": "soc2/retention-found-short",
	"message": sprintf("The audit trail is kept for %v days; %v are needed.", [days, data.settings.compliance.audit_retention_days]),
} if {
	assessing("installation")
	days := object.get(posture, "audit_retention_days", 0)
	days < data.settings.compliance.audit_retention_days
}

# METADATA
# title: "Every access is logged"
# custom:
#   id: soc2/audit-trail-off
#   severity: critical
#   controls: ["SOC2 CC7.2", "HIPAA 164.312(b)", "PCI-DSS 10.2.1", "ISO27001 A.8.15"]
#   owner: security-team
#   fix: "Switch the audit trail on."
deny contains {
	"id": "soc2/audit-trail-off",
	"message": "The audit trail of accesses is not on.",
} if {
	assessing("installation")
	object.get(posture, "audit_trail", false) != true
}

# METADATA
# title: "There is a self-hosted model for regulated code"
# custom:
#   id: llm/no-self-hosted-option
#   severity: medium
#   controls: ["HIPAA 164.308(b)(1)", "ISO27001 A.5.23"]
#   owner: platform-team
#   fix: "Add a self-hosted provider that is approved for regulated data to data/llm.json."
deny contains {
	"id": "llm/no-self-hosted-option",
	"message": "No self-hosted model is approved for regulated data.",
} if {
	assessing("installation")
	count([name | some name, provider in data.settings.llm.providers; provider.self_hosted; "regulated" in provider.classes]) == 0
}

# METADATA
# title: "Workspaces have networks of their own"
# custom:
#   id: network/not-segmented
#   severity: high
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.22", "PCI-DSS 1.4.1"]
#   owner: security-team
#   fix: "Put each workspace into a private network of its own."
warn contains {
	"id": "network/not-segmented",
	"message": "Workspaces share one network.",
} if {
	assessing("installation")
	object.get(posture, "segmented", false) != true
}

# METADATA
# title: "What is stored is encrypted"
# custom:
#   id: security/not-encrypted
#   severity: high
#   controls: ["SOC2 CC6.7", "ISO27001 A.8.24", "HIPAA 164.312(a)(2)(iv)", "PCI-DSS 3.5.1"]
#   owner: security-team
#   fix: "Encrypt the storage, and give the name of the key's keeper."
warn contains {
	"id": "security/not-encrypted",
	"message": "The storage of workspaces, prompts and secrets is not encrypted.",
} if {
	assessing("installation")
	object.get(posture, "encrypted_at_rest", false) != true
}

assessing(kind) if {
	facts.action == "posture.assess"
	input.resource.kind == kind
}

posture := object.get(input, ["context", "posture"], {})

# Done, and not longer ago than so many days.
within(name, days) if facts.now_ns - facts.moment(posture[name]) <= days * facts.day * 1000000000
