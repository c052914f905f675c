# Secrets stay in the vault: what runs gets references, for a short time, and values that stand in a
# request are taken for leaked. The numbers stand in data/secrets.json, the shapes of secrets in
# data/labels.json.
package admission.secrets

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Secrets come from the vault"
# custom:
#   id: secret/not-in-vault
#   severity: high
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.24", "PCI-DSS 8.6.2", "HIPAA 164.312(a)(2)(iv)"]
#   owner: security-team
#   fix: "Put the secret into the vault and name it by its reference, such as vault:team/payments#password."
deny contains {
	"id": "secret/not-in-vault",
	"message": "The secret is not a reference into the vault.",
} if {
	facts.action == "secret.use"
	not vaulted(object.get(input, ["resource", "spec", "reference"], null))
}

# METADATA
# title: "A workspace's environment holds no secret values"
# custom:
#   id: secret/literal-in-environment
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.24", "PCI-DSS 8.6.2"]
#   owner: security-team
#   fix: "Take the value out, treat it as leaked, rotate it, and give a reference into the vault instead."
deny contains {
	"id": "secret/literal-in-environment",
	"message": sprintf("The variable %v holds what looks like a secret.", [name]),
} if {
	facts.placing
	some name, value in object.get(facts.spec, "environment", {})
	looks_secret(value)
}

# METADATA
# title: "Secrets are rotated"
# custom:
#   id: secret/rotation-overdue
#   severity: medium
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.24", "PCI-DSS 8.6.3"]
#   owner: security-team
#   fix: "Rotate the secret in the vault."
warn contains {
	"id": "secret/rotation-overdue",
	"message": sprintf("The secret has not been rotated for more than %v days.", [data.settings.secrets.rotation_max_seconds / facts.day]),
} if {
	facts.action == "secret.use"
	facts.now_ns - rotated > data.settings.secrets.rotation_max_seconds * 1000000000
}

# METADATA
# title: "It is known when a secret was rotated"
# custom:
#   id: secret/rotation-unknown
#   severity: low
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.24"]
#   owner: security-team
#   fix: "Let the vault report when the secret was last rotated."
warn contains {
	"id": "secret/rotation-unknown",
	"message": "Nothing says when the secret was last rotated.",
} if {
	facts.action == "secret.use"
	not rotated
}

# METADATA
# title: "Secrets are lent for a short time"
# custom:
#   id: secret/lease-too-long
#   severity: medium
#   controls: ["SOC2 CC6.1", "PCI-DSS 8.6.3"]
#   owner: security-team
#   fix: "Ask for a shorter lease and renew it while the work goes on."
deny contains {
	"id": "secret/lease-too-long",
	"message": sprintf("A lease of %v seconds is longer than the %v that secrets are lent for.", [lease, data.settings.secrets.lease_max_seconds]),
} if {
	facts.action == "secret.use"
	lease > data.settings.secrets.lease_max_seconds
}

vaulted(reference) if {
	is_string(reference)
	some scheme in data.settings.secrets.schemes
	startswith(reference, scheme)
}

looks_secret(value) if {
	is_string(value)
	some pattern in data.settings.labels.secret_patterns
	regex.match(pattern, value)
}

rotated := facts.moment(object.get(input, ["context", "secret", "rotated_at"], null))

lease := object.get(input, ["resource", "spec", "seconds"], 0)
