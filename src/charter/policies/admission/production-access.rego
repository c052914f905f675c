# The way of people into production: just in time, for a while, with a yes of the security team, and
# software only through the pipeline. The numbers stand in data/production.json.
package admission.production_access

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Production access needs the security team's yes"
# custom:
#   id: production/needs-approval
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.2", "PCI-DSS 7.2.5", "HIPAA 164.308(a)(4)"]
#   owner: security-team
#   fix: "Ask the security team, say what for and for how long."
require_approval contains {
	"id": "production/needs-approval",
	"message": "Access to production is given just in time, by the security team.",
} if {
	facts.action == "production.access"
}

# METADATA
# title: "Production access has an end"
# custom:
#   id: production/no-end
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.2"]
#   owner: security-team
#   fix: "Say for how many seconds the access is needed (resource.spec.seconds)."
deny contains {
	"id": "production/no-end",
	"message": "Nobody gets into production without an end.",
} if {
	facts.action == "production.access"
	not positive(seconds)
}

# METADATA
# title: "Production access is short"
# custom:
#   id: production/too-long
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.2"]
#   owner: security-team
#   fix: "Ask for less time; it can be asked for again."
deny contains {
	"id": "production/too-long",
	"message": sprintf("%v seconds in production are more than the %v of one access.", [seconds, data.settings.production.access_max_seconds]),
} if {
	facts.action == "production.access"
	positive(seconds)
	seconds > data.settings.production.access_max_seconds
}

# METADATA
# title: "Production access needs a second factor"
# custom:
#   id: production/no-second-factor
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.5", "PCI-DSS 8.4.2"]
#   owner: security-team
#   fix: "Add a passkey on the page Account and sign in with it; charter login --step-up takes a link from there."
deny contains {
	"id": "production/no-second-factor",
	"message": "Production is entered with a second factor only.",
} if {
	facts.action == "production.access"
	object.get(input, ["subject", "mfa"], false) != true
}

# METADATA
# title: "Software reaches production through the pipeline"
# custom:
#   id: production/outside-pipeline
#   severity: critical
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.32", "PCI-DSS 6.5.1"]
#   owner: platform-team
#   fix: "Merge the change and let the pipeline deploy it."
deny contains {
	"id": "production/outside-pipeline",
	"message": "Nothing is deployed to production past the pipeline.",
} if {
	to_production
	object.get(input, ["resource", "spec", "via"], "") != "pipeline"
}

# METADATA
# title: "Deployments to production need a yes"
# custom:
#   id: production/deployment-needs-approval
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.32", "PCI-DSS 6.5.1"]
#   owner: platform-team
#   fix: "Ask somebody who did not write the change."
require_approval contains {
	"id": "production/deployment-needs-approval",
	"message": "A deployment to production needs the yes of somebody who did not write the change.",
} if {
	to_production
}

# METADATA
# title: "Nobody deploys their own change to production"
# custom:
#   id: production/own-deployment
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.3", "PCI-DSS 6.5.4"]
#   owner: security-team
#   fix: "Let somebody who did not write the change start the deployment."
deny contains {
	"id": "production/own-deployment",
	"message": "Who wrote the change does not deploy it to production.",
} if {
	to_production
	input.resource.spec.author == input.subject.id
}

seconds := object.get(input, ["resource", "spec", "seconds"], 0)

positive(value) if {
	is_number(value)
	value > 0
}

to_production if {
	facts.action == "deployment.run"
	input.resource.spec.environment in data.settings.production.environments
}
