# Agents and production: never with its credentials, never inside, and out to it only by the pipeline.
package admission.agent_production

import rego.v1

import data.charter.facts

# METADATA
# title: "Agents get no production credentials"
# custom:
#   id: agent/production-credential
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.2", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let a person do the part of the work that needs production."
deny contains {
	"id": "agent/production-credential",
	"message": "An agent may not use a credential of production.",
} if {
	facts.action == "secret.use"
	facts.agent
	production(object.get(input, ["resource", "spec", "environment"], "production"))
}

# METADATA
# title: "Agents do not enter production"
# custom:
#   id: agent/production-access
#   severity: critical
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.2", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let the sponsor ask for access and look."
deny contains {
	"id": "agent/production-access",
	"message": "An agent may not enter production.",
} if {
	facts.action == "production.access"
	facts.agent
}

# METADATA
# title: "Only trusted agents start deployments"
# custom:
#   id: agent/deploys
#   severity: critical
#   controls: ["SOC2 CC8.1", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let a person start the deployment."
deny contains {
	"id": "agent/deploys",
	"message": sprintf("An agent of the tier %v may not deploy.", [input.subject.tier]),
} if {
	facts.action == "deployment.run"
	facts.agent
	input.subject.tier != "trusted"
}

production(name) if name in data.settings.production.environments
