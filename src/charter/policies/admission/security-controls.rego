# What the provider must be able to enforce, and what must never stand in a request.
package admission.security_controls

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "The provider confines every workspace"
# custom:
#   id: security/capability-missing
#   severity: critical
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.22"]
#   owner: security-team
#   fix: "Choose another provider, or install what the provider lacks: charter provider capabilities."
deny contains {
	"id": "security/capability-missing",
	"message": sprintf("The provider cannot enforce %v, which every workspace needs.", [needed]),
} if {
	facts.placing
	some needed in data.settings.providers.required_capabilities.all
	not needed in facts.capabilities
}

# METADATA
# title: "Secrets are references, never values"
# custom:
#   id: security/secret-in-labels
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.24"]
#   owner: security-team
#   fix: "Remove the value, treat the secret as leaked and rotate it."
deny contains {
	"id": "security/secret-in-labels",
	"message": sprintf("The label %v holds what looks like a secret.", [name]),
} if {
	facts.placing
	some name, value in facts.labels
	is_string(value)
	some pattern in data.settings.labels.secret_patterns
	regex.match(pattern, value)
}

# METADATA
# title: "Regulated data needs a stronger provider"
# custom:
#   id: security/regulated-capability-missing
#   severity: high
#   controls: ["SOC2 CC6.6", "HIPAA 164.312(a)(1)"]
#   owner: security-team
#   fix: "Choose a provider with these capabilities, or work without regulated data."
deny contains {
	"id": "security/regulated-capability-missing",
	"message": sprintf("The provider cannot enforce %v, which regulated data needs.", [needed]),
} if {
	facts.placing
	facts.data_class == "regulated"
	some needed in data.settings.providers.required_capabilities.regulated
	not needed in facts.capabilities
}

# METADATA
# title: "Nobody works inside a workspace of somebody else"
# custom:
#   id: security/foreign-workspace
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.3"]
#   owner: security-team
#   fix: "Ask the owner to share the work through the repository."
deny contains {
	"id": "security/foreign-workspace",
	"message": "Commands and files in a workspace belong to its owner alone.",
} if {
	facts.action in {"workspace.execute", "workspace.read-files", "workspace.write-files"}
	owner := object.get(input.resource, "owner", null)
	owner != null
	owner != input.subject.id
}
