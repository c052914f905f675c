# Protected health information (label data=phi): US regions only, regulated class.
package compliance.hipaa_controls

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "PHI stays in US regions"
# custom:
#   id: hipaa/phi-region
#   severity: critical
#   controls: ["HIPAA 164.308(b)(1)", "HITRUST 13.k"]
#   owner: security-team
#   fix: "Choose a US region (label region)."
deny contains {
	"id": "hipaa/phi-region",
	"message": "Health data may be processed in US regions only, and the request does not name one.",
} if {
	facts.workspace_or_agent
	phi
	not facts.label("region") in data.settings.compliance.phi_regions
}

# METADATA
# title: "PHI is regulated data"
# custom:
#   id: hipaa/phi-class
#   severity: high
#   controls: ["HIPAA 164.308(a)(1)"]
#   owner: security-team
#   fix: "Classify the project as regulated."
deny contains {
	"id": "hipaa/phi-class",
	"message": "Health data belongs into a project of the class regulated.",
} if {
	facts.workspace_or_agent
	phi
	facts.data_class != "regulated"
}

# METADATA
# title: "PHI has no open network"
# custom:
#   id: hipaa/phi-network
#   severity: high
#   controls: ["HIPAA 164.312(e)(1)"]
#   owner: security-team
#   fix: "Use the network mode none or egress."
deny contains {
	"id": "hipaa/phi-network",
	"message": "Workspaces with health data may not use the network of the host.",
} if {
	facts.placing
	phi
	facts.spec.network.mode == "host"
}

phi if facts.label("data") == "phi"
