# What may be sent to which model, by the class of the data, and what the inspection of a prompt found.
# The classes of each provider stand in data/llm.json.
package ai_governance.llm_data_classes

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Each provider gets the classes it is approved for"
# custom:
#   id: llm/class-not-for-provider
#   severity: high
#   controls: ["SOC2 CC6.7", "ISO27001 A.5.12", "GDPR Art.28"]
#   owner: security-team
#   fix: "Use a provider that is approved for this class of data; data/llm.json says which."
deny contains {
	"id": "llm/class-not-for-provider",
	"message": sprintf("%v is not approved for %v data.", [asked.provider, facts.data_class]),
} if {
	calling
	provider
	not facts.data_class in provider.classes
}

# METADATA
# title: "Regulated data stays with self-hosted models"
# custom:
#   id: llm/regulated-needs-self-hosted
#   severity: critical
#   controls: ["HIPAA 164.308(b)(1)", "SOC2 CC6.7", "PCI-DSS 12.8.2", "GDPR Art.44"]
#   owner: security-team
#   fix: "Use a self-hosted model for this repository."
deny contains {
	"id": "llm/regulated-needs-self-hosted",
	"message": sprintf("%v data may go to self-hosted models only.", [facts.data_class]),
} if {
	calling
	facts.data_class in data.settings.llm.self_hosted_classes
	object.get(provider, "self_hosted", false) != true
}

# METADATA
# title: "A call says how sensitive its data is"
# custom:
#   id: llm/class-unknown
#   severity: high
#   controls: ["SOC2 C1.1", "ISO27001 A.5.12"]
#   owner: security-team
#   fix: "Let an administrator classify the repository as public, internal, confidential or regulated."
deny contains {
	"id": "llm/class-unknown",
	"message": sprintf("There is no data class %v.", [facts.data_class]),
} if {
	calling
	not facts.data_class in data.settings.data_classes.classes
}

# METADATA
# title: "Secrets do not leave in prompts"
# custom:
#   id: llm/blocked-content
#   severity: critical
#   controls: ["SOC2 CC6.7", "ISO27001 A.8.12", "HIPAA 164.312(e)(1)"]
#   owner: security-team
#   fix: "Take it out of the prompt; a secret that was about to leave counts as leaked and is rotated."
deny contains {
	"id": "llm/blocked-content",
	"message": sprintf("The prompt holds what must not leave: %v.", [kind]),
} if {
	calling
	some kind in found
	kind in data.settings.llm.blocked_findings
}

# METADATA
# title: "Personal data in prompts is pointed out"
# custom:
#   id: llm/alerted-content
#   severity: medium
#   controls: ["GDPR Art.32", "ISO27001 A.8.12"]
#   owner: security-team
#   fix: "Leave personal data out where the task does not need it."
warn contains {
	"id": "llm/alerted-content",
	"message": sprintf("The prompt holds %v.", [kind]),
} if {
	calling
	some kind in found
	kind in data.settings.llm.alerted_findings
}

# METADATA
# title: "Prompts are logged as their class demands"
# custom:
#   id: llm/prompts-not-logged
#   severity: high
#   controls: ["SOC2 CC7.2", "HIPAA 164.312(b)", "EU-AI-Act Art.12"]
#   owner: security-team
#   fix: "Switch the prompt log to the level that data/llm.json demands for this class."
deny contains {
	"id": "llm/prompts-not-logged",
	"message": sprintf("The prompt log is on the level %v, and %v data needs %v.", [logging, facts.data_class, needed]),
} if {
	calling
	needed := data.settings.llm.prompt_log_by_class[facts.data_class]
	logging := object.get(input, ["context", "llm", "prompt_log"], "off")
	object.get(data.settings.llm.prompt_log_levels, logging, 0) < data.settings.llm.prompt_log_levels[needed]
}

calling if facts.action == "llm.call"

asked := object.get(input, ["resource", "spec"], {})

provider := data.settings.llm.providers[asked.provider]

found contains finding.kind if {
	calling
	some finding in object.get(input, ["context", "llm", "findings"], [])
}
