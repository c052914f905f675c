# Which model of which provider may be called, by whom and how. Asked with llm.call; the providers,
# their models and agreements stand in data/llm.json.
package ai_governance.llm_provider_allowlist

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Only approved providers of models are called"
# custom:
#   id: llm/provider-not-approved
#   severity: high
#   controls: ["SOC2 CC9.2", "ISO27001 A.5.19", "EU-AI-Act Art.26"]
#   owner: security-team
#   fix: "Use an approved provider; data/llm.json lists them."
deny contains {
	"id": "llm/provider-not-approved",
	"message": sprintf("The provider %v is not approved.", [object.get(asked, "provider", "without a name")]),
} if {
	calling
	not provider
}

# METADATA
# title: "Only approved models are called"
# custom:
#   id: llm/model-not-approved
#   severity: high
#   controls: ["SOC2 CC9.2", "ISO27001 A.5.23", "EU-AI-Act Art.26"]
#   owner: security-team
#   fix: "Use an approved model of this provider; data/llm.json lists them."
deny contains {
	"id": "llm/model-not-approved",
	"message": sprintf("The model %v of %v is not approved.", [asked.model, asked.provider]),
} if {
	calling
	provider
	not model_allowed
}

# METADATA
# title: "A data processing agreement is on file"
# custom:
#   id: llm/no-agreement
#   severity: high
#   controls: ["SOC2 CC9.2", "HIPAA 164.308(b)(1)", "GDPR Art.28", "ISO27001 A.5.20"]
#   owner: security-team
#   fix: "Ask the compliance officer for an agreement with the provider, or use a self-hosted model."
deny contains {
	"id": "llm/no-agreement",
	"message": sprintf("No data processing agreement with %v is in force, which %v data needs.", [asked.provider, facts.data_class]),
} if {
	calling
	provider
	facts.data_class in data.settings.llm.agreement_classes
	not agreed
}

# METADATA
# title: "Nobody trains on our data"
# custom:
#   id: llm/trains-on-data
#   severity: high
#   controls: ["SOC2 C1.1", "ISO27001 A.5.34", "GDPR Art.28"]
#   owner: security-team
#   fix: "Use a provider that has agreed not to train on what it is sent."
deny contains {
	"id": "llm/trains-on-data",
	"message": sprintf("%v may train on what it is sent, which %v data must not be.", [asked.provider, facts.data_class]),
} if {
	calling
	provider.trains_on_data == true
	facts.data_class in data.settings.llm.no_training_classes
}

# METADATA
# title: "Some providers are for some roles"
# custom:
#   id: llm/not-for-role
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.15"]
#   owner: security-team
#   fix: "Use a provider that is open to your role, or ask the platform team."
deny contains {
	"id": "llm/not-for-role",
	"message": sprintf("The provider %v is open to the roles %v only.", [asked.provider, concat(", ", provider.roles)]),
} if {
	calling
	provider
	not role_fits
}

# METADATA
# title: "Some providers are for some teams"
# custom:
#   id: llm/not-for-team
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.15"]
#   owner: security-team
#   fix: "Use a provider that is open to your team, or ask the platform team."
deny contains {
	"id": "llm/not-for-team",
	"message": sprintf("The provider %v is not open to your teams.", [asked.provider]),
} if {
	calling
	provider
	not team_fits
}

# METADATA
# title: "Production calls pinned models"
# custom:
#   id: llm/floating-model
#   severity: medium
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9", "EU-AI-Act Art.15"]
#   owner: platform-team
#   fix: "Name a dated version of the model, so that the same request gives the same kind of answer tomorrow."
deny contains {
	"id": "llm/floating-model",
	"message": sprintf("%v is an alias that can become another model; production calls pinned versions.", [asked.model]),
} if {
	calling
	pinning
	some pattern in data.settings.llm.floating_patterns
	regex.match(pattern, asked.model)
}

# METADATA
# title: "Calls go through the gateway"
# custom:
#   id: llm/past-the-gateway
#   severity: high
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.15", "EU-AI-Act Art.12"]
#   owner: security-team
#   fix: "Point the base URL of the client to the gateway."
deny contains {
	"id": "llm/past-the-gateway",
	"message": "The call would go past the gateway, where nobody logs, limits or inspects it.",
} if {
	calling
	object.get(input, ["context", "llm", "gateway"], false) != true
}

# METADATA
# title: "Simple tasks go to cheaper models"
# custom:
#   id: llm/premium-for-simple-task
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Use a cheaper model for this kind of task."
warn contains {
	"id": "llm/premium-for-simple-task",
	"message": sprintf("%v is a premium model, and %v is a simple task.", [asked.model, input.context.llm.task]),
} if {
	calling
	input.context.llm.task in data.settings.llm.simple_tasks
	some entry in data.settings.llm.premium_models
	named(entry, asked.model)
}

calling if facts.action == "llm.call"

asked := object.get(input, ["resource", "spec"], {})

provider := data.settings.llm.providers[asked.provider]

model_allowed if {
	some entry in provider.models
	named(entry, asked.model)
}

# An entry that ends with a star stands for all models whose name begins so.
named(entry, name) if entry == name

named(entry, name) if {
	endswith(entry, "*")
	startswith(name, trim_suffix(entry, "*"))
}

agreed if facts.now_ns < facts.moment(provider.agreement_until)

agreed if provider.self_hosted == true

pinning if input.context.environment in data.settings.llm.pinned_environments

role_fits if count(provider.roles) == 0

role_fits if {
	some role in provider.roles
	role in object.get(input, ["subject", "roles"], [])
}

team_fits if count(provider.teams) == 0

team_fits if {
	some team in provider.teams
	team in object.get(input, ["subject", "teams"], [])
}
