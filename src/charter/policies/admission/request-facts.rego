# What every request must carry. A rule can only judge facts that are there, so a request that lacks
# what its action must bring is refused here, before silence could be taken for consent.
# Which action must bring what stands in data/actions.json.
package admission.request_facts

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "The action must be known to the policy"
# custom:
#   id: admission/unknown-action
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.5.15"]
#   owner: platform-team
#   fix: "Add the action to data/actions.json, with the facts it must carry."
deny contains {
	"id": "admission/unknown-action",
	"message": "The policy does not know this action, so nothing can be said in its favour.",
} if {
	not facts.known_action
}

# METADATA
# title: "A request carries the facts its action needs"
# custom:
#   id: admission/missing-facts
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.5.15"]
#   owner: platform-team
#   fix: "Send the missing fact; docs/reference/policy-input.md lists those of each action."
deny contains {
	"id": "admission/missing-facts",
	"message": sprintf("The request does not say %s.", [concat(".", path)]),
} if {
	some path in object.get(data.settings.actions.actions, [facts.action, "required"], [])
	object.get(input, path, null) in nothing
}

# METADATA
# title: "A request says who is asking"
# custom:
#   id: admission/missing-subject-facts
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.5.16"]
#   owner: platform-team
#   fix: "Send the missing fact; docs/reference/policy-input.md lists those of each kind of subject."
deny contains {
	"id": "admission/missing-subject-facts",
	"message": sprintf("The request does not say %s.", [concat(".", path)]),
} if {
	some path in object.get(data.settings.actions.subjects, facts.subject_kind, [["subject", "kind"]])
	object.get(input, path, null) in nothing
}

# METADATA
# title: "Only known kinds of subjects act"
# custom:
#   id: admission/unknown-subject-kind
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.5.16"]
#   owner: platform-team
#   fix: "Ask as a human, as an agent, or as a service account or system in an action that is open to it."
deny contains {
	"id": "admission/unknown-subject-kind",
	"message": "Whoever is asking is neither a human nor an agent, nor a service account or system that may do this.",
} if {
	not facts.subject_kind in {"human", "agent"}
	not service_may_ask
	not system_may_ask
}

# METADATA
# title: "The environment is one of those that the policy knows"
# custom:
#   id: admission/environment-unknown
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.31"]
#   owner: platform-team
#   fix: "Use an environment of data/enforcement.json: production, staging, test, development, experimental."
deny contains {
	"id": "admission/environment-unknown",
	"message": sprintf("The policy does not know the environment %v, so it cannot say how strict it is.", [environment]),
} if {
	environment := object.get(input, ["context", "environment"], null)
	environment != null
	not data.settings.enforcement.environments[environment]
}

# METADATA
# title: "A request carries a readable time"
# custom:
#   id: admission/unreadable-time
#   severity: high
#   controls: ["ISO27001 A.8.17"]
#   owner: platform-team
#   fix: "Send context.now as RFC 3339 with a zone."
deny contains {
	"id": "admission/unreadable-time",
	"message": "The time of the request cannot be read.",
} if {
	not facts.now_ns
}

# A cluster's own accounts ask at the doors that are made for them.
service_may_ask if {
	facts.subject_kind == "service"
	facts.action in data.settings.actions.services_too
}

# A directory that provisions people and teams by SCIM.
system_may_ask if {
	facts.subject_kind == "system"
	facts.action in data.settings.actions.systems_too
}

# A fact is missing when it is not there, null or an empty text.
nothing := {null, ""}
